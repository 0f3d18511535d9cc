//! Deleting configurations that no bucket has.

use super::{Answer, Operations, caller, lacks};
use crate::service::{Action, Feature, ServiceError, parse_bucket_name};
use crate::types::BucketName;
use s3s::dto;
use s3s::{S3Request, S3Response};

// What a bucket has at most one of: it is gone afterwards, as it was before.
of_a_bucket! {
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput, PutEncryptionConfiguration, |_, _| Ok(Default::default());
    delete_bucket_metadata_table_configuration: DeleteBucketMetadataTableConfigurationInput => DeleteBucketMetadataTableConfigurationOutput, DeleteBucketMetadataTableConfiguration, |_, _| Ok(Default::default());
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput, DeleteBucketPolicy, |_, _| Ok(Default::default());
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, DeleteBucketWebsite, |_, _| Ok(Default::default());
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput, PutBucketPublicAccessBlock, |_, _| Ok(Default::default());
}

// One configuration among several, by its name: there is none of that name.
of_a_bucket! {
    delete_bucket_analytics_configuration: DeleteBucketAnalyticsConfigurationInput => DeleteBucketAnalyticsConfigurationOutput, PutAnalyticsConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    delete_bucket_intelligent_tiering_configuration: DeleteBucketIntelligentTieringConfigurationInput => DeleteBucketIntelligentTieringConfigurationOutput, PutIntelligentTieringConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    delete_bucket_inventory_configuration: DeleteBucketInventoryConfigurationInput => DeleteBucketInventoryConfigurationOutput, PutInventoryConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    delete_bucket_metrics_configuration: DeleteBucketMetricsConfigurationInput => DeleteBucketMetricsConfigurationOutput, PutMetricsConfiguration, |_, bucket| lacks(bucket, Feature::Named);
}
