//! Deleting configurations that no bucket has.

use super::{Answer, Operations, caller};
use crate::service::{Action, Feature, parse_bucket_name};
use s3s::dto;
use s3s::{S3Request, S3Response};

/// Deletes of what a bucket has at most one of: it is gone afterwards, as it was before.
macro_rules! deletes {
    ($($name:ident: $input:ident => $output:ident, $action:ident;)*) => {
        impl Operations {
            $(pub(in crate::s3::ops) async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> Answer<dto::$output> {
                let name = parse_bucket_name(&request.input.bucket)?;
                self.service.unconfigured(&caller(&request), Action::$action, &name).await?;
                Ok(S3Response::new(dto::$output {}))
            })*
        }
    };
}

deletes! {
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput, PutEncryptionConfiguration;
    delete_bucket_metadata_table_configuration: DeleteBucketMetadataTableConfigurationInput => DeleteBucketMetadataTableConfigurationOutput, DeleteBucketMetadataTableConfiguration;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, DeleteBucketPolicy;
    delete_bucket_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput, PutReplicationConfiguration;
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, DeleteBucketWebsite;
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, PutBucketPublicAccessBlock;
}

/// Deletes of one configuration among several, by its name: there is none of that name.
macro_rules! deletes_by_name {
    ($($name:ident: $input:ident => $output:ident, $action:ident;)*) => {
        impl Operations {
            $(pub(in crate::s3::ops) async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> Answer<dto::$output> {
                let name = parse_bucket_name(&request.input.bucket)?;
                self.service.missing(&caller(&request), Action::$action, &name, Feature::Named).await
            })*
        }
    };
}

deletes_by_name! {
    delete_bucket_analytics_configuration: DeleteBucketAnalyticsConfigurationInput => DeleteBucketAnalyticsConfigurationOutput, PutAnalyticsConfiguration;
    delete_bucket_intelligent_tiering_configuration: DeleteBucketIntelligentTieringConfigurationInput => DeleteBucketIntelligentTieringConfigurationOutput, PutIntelligentTieringConfiguration;
    delete_bucket_inventory_configuration: DeleteBucketInventoryConfigurationInput => DeleteBucketInventoryConfigurationOutput, PutInventoryConfiguration;
    delete_bucket_metrics_configuration: DeleteBucketMetricsConfigurationInput => DeleteBucketMetricsConfigurationOutput, PutMetricsConfiguration;
}
