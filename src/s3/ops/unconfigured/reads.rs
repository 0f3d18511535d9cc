//! What a bucket shows of configurations that it does not have.

use super::{Answer, Operations, caller, lacks};
use crate::service::{Action, Feature, ServiceError, parse_bucket_name, parse_key};
use crate::types::BucketName;
use s3s::dto;
use s3s::{S3Request, S3Response};

// What a bucket has only once it was given some.
of_a_bucket! {
    get_bucket_analytics_configuration: GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput, GetAnalyticsConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput, GetEncryptionConfiguration, |_, bucket| lacks(bucket, Feature::Encryption);
    get_bucket_intelligent_tiering_configuration: GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput, GetIntelligentTieringConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput, GetInventoryConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    get_bucket_metadata_table_configuration: GetBucketMetadataTableConfigurationInput => GetBucketMetadataTableConfigurationOutput, GetBucketMetadataTableConfiguration, |_, bucket| lacks(bucket, Feature::MetadataTable);
    get_bucket_metrics_configuration: GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput, GetMetricsConfiguration, |_, bucket| lacks(bucket, Feature::Named);
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput, GetBucketPolicy, |_, bucket| lacks(bucket, Feature::Policy);
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput, GetBucketPolicyStatus, |_, bucket| lacks(bucket, Feature::Policy);
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput, GetBucketWebsite, |_, bucket| lacks(bucket, Feature::Website);
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput, GetBucketPublicAccessBlock, |_, bucket| lacks(bucket, Feature::PublicAccessBlock);
}

// What every bucket has: a document with what holds by default.
of_a_bucket! {
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, GetAccelerateConfiguration, |_, _| Ok(Default::default());
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, GetBucketLogging, |_, _| Ok(Default::default());
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, GetBucketNotification, |_, _| Ok(Default::default());
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput, GetBucketOwnershipControls, |_, _| Ok(bucket_owner_enforced());
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput, GetBucketRequestPayment, |_, _| Ok(bucket_owner_pays());
    list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput, GetAnalyticsConfiguration, |_, _| Ok(empty_list!(ListBucketAnalyticsConfigurationsOutput));
    list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput, GetIntelligentTieringConfiguration, |_, _| Ok(empty_list!(ListBucketIntelligentTieringConfigurationsOutput));
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput, GetInventoryConfiguration, |_, _| Ok(empty_list!(ListBucketInventoryConfigurationsOutput));
    list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput, GetMetricsConfiguration, |_, _| Ok(empty_list!(ListBucketMetricsConfigurationsOutput));
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

impl Operations {
    pub(in crate::s3::ops) async fn get_object_torrent(
        &self,
        request: S3Request<dto::GetObjectTorrentInput>,
    ) -> Answer<dto::GetObjectTorrentOutput> {
        let (bucket, key) = (parse_bucket_name(&request.input.bucket)?, parse_key(&request.input.key)?);
        self.service.torrent(&caller(&request), (&bucket, &key)).await
    }
}
