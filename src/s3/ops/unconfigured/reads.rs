//! What a bucket shows of configurations that it does not have.

use super::{Answer, Operations, caller};
use crate::service::{Action, Feature, parse_bucket_name};
use s3s::dto;
use s3s::{S3Request, S3Response};

/// Reads of what a bucket has only once it was given some.
macro_rules! missing {
    ($($name:ident: $input:ident => $output:ident, $action:ident, $feature:ident;)*) => {
        impl Operations {
            $(pub(in crate::s3::ops) async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> Answer<dto::$output> {
                let name = parse_bucket_name(&request.input.bucket)?;
                self.service.missing(&caller(&request), Action::$action, &name, Feature::$feature).await
            })*
        }
    };
}

missing! {
    get_bucket_analytics_configuration: GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput, GetAnalyticsConfiguration, Named;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, GetEncryptionConfiguration, Encryption;
    get_bucket_intelligent_tiering_configuration: GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput, GetIntelligentTieringConfiguration, Named;
    get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput, GetInventoryConfiguration, Named;
    get_bucket_metadata_table_configuration: GetBucketMetadataTableConfigurationInput => GetBucketMetadataTableConfigurationOutput, GetBucketMetadataTableConfiguration, MetadataTable;
    get_bucket_metrics_configuration: GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput, GetMetricsConfiguration, Named;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, GetBucketPolicy, Policy;
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, GetBucketPolicyStatus, Policy;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput, GetReplicationConfiguration, Replication;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, GetBucketWebsite, Website;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, GetBucketPublicAccessBlock, PublicAccessBlock;
}

/// Reads of what every bucket has: a document with what holds by default.
macro_rules! defaults {
    ($($name:ident: $input:ident => $output:ident, $action:ident, $default:expr;)*) => {
        impl Operations {
            $(pub(in crate::s3::ops) async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> Answer<dto::$output> {
                let name = parse_bucket_name(&request.input.bucket)?;
                self.service.unconfigured(&caller(&request), Action::$action, &name).await?;
                Ok(S3Response::new($default))
            })*
        }
    };
}

defaults! {
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, GetAccelerateConfiguration, dto::GetBucketAccelerateConfigurationOutput::default();
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, GetBucketLogging, dto::GetBucketLoggingOutput::default();
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, GetBucketNotification, dto::GetBucketNotificationConfigurationOutput::default();
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, GetBucketOwnershipControls, bucket_owner_enforced();
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, GetBucketRequestPayment, bucket_owner_pays();
    list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput, GetAnalyticsConfiguration, empty_list!(ListBucketAnalyticsConfigurationsOutput);
    list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput, GetIntelligentTieringConfiguration, empty_list!(ListBucketIntelligentTieringConfigurationsOutput);
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput, GetInventoryConfiguration, empty_list!(ListBucketInventoryConfigurationsOutput);
    list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput, GetMetricsConfiguration, empty_list!(ListBucketMetricsConfigurationsOutput);
}

macro_rules! empty_list {
    ($output:ident) => {
        dto::$output { is_truncated: Some(false), ..Default::default() }
    };
}
use empty_list;

/// Objects belong to the bucket's owner, and have no ACLs of their own.
fn bucket_owner_enforced() -> dto::GetBucketOwnershipControlsOutput {
    let object_ownership = dto::ObjectOwnership::from_static(dto::ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let rules = vec![dto::OwnershipControlsRule { object_ownership }];
    dto::GetBucketOwnershipControlsOutput { ownership_controls: Some(dto::OwnershipControls { rules }) }
}

fn bucket_owner_pays() -> dto::GetBucketRequestPaymentOutput {
    let payer = dto::Payer::from_static(dto::Payer::BUCKET_OWNER);
    dto::GetBucketRequestPaymentOutput { payer: Some(payer) }
}
