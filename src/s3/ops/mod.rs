//! The operations, a file per family; here they get their names.

mod attributes;
mod buckets;
mod copy;
mod cors;
mod delete;
mod get;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod put;
mod replication;
mod tagging;
mod unconfigured;

pub(super) use copy::source as copy_source;
pub(super) use put::put_request;
pub(super) use replication::{REPLICA_OF, origin, replica_of};

use super::body::Upload;
use super::error::{fields, s3_error};
use super::finish::Noted;
use super::rewrite::Sent;
use crate::service::{Caller, ObjectService, ServiceError};
use crate::types::Principal;
use http::{Extensions, HeaderMap};
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

/// s3s's view of the service. Operations that are not here answer `NotImplemented`.
#[derive(Debug, Clone)]
pub(super) struct Operations {
    pub(super) service: ObjectService,
}

type Answer<T> = Result<S3Response<T>, ServiceError>;

fn caller<T>(request: &S3Request<T>) -> Caller {
    let principal = request.extensions.get::<Principal>().cloned().unwrap_or(Principal::Anonymous);
    caller_of(principal, &request.headers)
}

/// Who asks, and whose the bucket has to be.
pub(super) fn caller_of(principal: Principal, headers: &HeaderMap) -> Caller {
    let expected = |name: &str| {
        // What is no text is nobody's id.
        headers.get(name).map(|owner| owner.to_str().unwrap_or_default())
    };
    let owner = expected("x-amz-expected-bucket-owner");
    Caller::new(principal).expecting(owner, expected("x-amz-source-expected-bucket-owner"))
}

/// The body of an upload; the gateway has put it beside the request.
fn upload(extensions: &Extensions) -> Result<Upload, ServiceError> {
    extensions.get::<Upload>().cloned().ok_or(ServiceError::Internal("an upload without a body"))
}

/// The operation gets the headers as they were sent.
fn restore<T>(request: &mut S3Request<T>) {
    if let Some(Sent(headers)) = request.extensions.remove::<Sent>() {
        request.headers = headers;
    }
}

/// Refuses what a request asks for and this server does not do: silence would be a promise.
fn refuse(asked: bool, what: &'static str) -> Result<(), ServiceError> {
    if asked { Err(ServiceError::NotImplemented { what }) } else { Ok(()) }
}

macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident;)*) => {
        /// Whether this server has an operation, by AWS's name for it.
        pub(super) fn is_implemented(operation: &str) -> bool {
            [$(stringify!($input)),*].iter().any(|input| input.strip_suffix("Input") == Some(operation))
        }

        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(
                &self,
                mut request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                restore(&mut request);
                let noted = request.extensions.get::<Noted>().cloned().unwrap_or_default();
                Operations::$name(self, request).await.map_err(|error| {
                    noted.note(fields(&error));
                    s3_error(error)
                })
            })*
        }
    };
}

operations! {
    create_bucket: CreateBucketInput => CreateBucketOutput;
    head_bucket: HeadBucketInput => HeadBucketOutput;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput;
    list_buckets: ListBucketsInput => ListBucketsOutput;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    put_object_lock_configuration: PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput;
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput;
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput;
    delete_bucket_cors: DeleteBucketCorsInput => DeleteBucketCorsOutput;
    put_object: PutObjectInput => PutObjectOutput;
    get_object: GetObjectInput => GetObjectOutput;
    head_object: HeadObjectInput => HeadObjectOutput;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput;
    put_bucket_tagging: PutBucketTaggingInput => PutBucketTaggingOutput;
    delete_bucket_tagging: DeleteBucketTaggingInput => DeleteBucketTaggingOutput;
    get_object_retention: GetObjectRetentionInput => GetObjectRetentionOutput;
    put_object_retention: PutObjectRetentionInput => PutObjectRetentionOutput;
    get_object_legal_hold: GetObjectLegalHoldInput => GetObjectLegalHoldOutput;
    put_object_legal_hold: PutObjectLegalHoldInput => PutObjectLegalHoldOutput;
    delete_object: DeleteObjectInput => DeleteObjectOutput;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput;
    copy_object: CopyObjectInput => CopyObjectOutput;
    list_objects: ListObjectsInput => ListObjectsOutput;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part: UploadPartInput => UploadPartOutput;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput;
    list_parts: ListPartsInput => ListPartsOutput;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput;
    get_bucket_accelerate_configuration: GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput;
    get_bucket_analytics_configuration: GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput;
    get_bucket_intelligent_tiering_configuration: GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput;
    get_bucket_inventory_configuration: GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput;
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput;
    get_bucket_metadata_table_configuration: GetBucketMetadataTableConfigurationInput => GetBucketMetadataTableConfigurationOutput;
    get_bucket_metrics_configuration: GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
    get_bucket_ownership_controls: GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput;
    get_bucket_policy: GetBucketPolicyInput => GetBucketPolicyOutput;
    get_bucket_policy_status: GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput;
    get_bucket_request_payment: GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput;
    get_object_torrent: GetObjectTorrentInput => GetObjectTorrentOutput;
    get_object_acl: GetObjectAclInput => GetObjectAclOutput;
    get_public_access_block: GetPublicAccessBlockInput => GetPublicAccessBlockOutput;
    list_bucket_analytics_configurations: ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput;
    list_bucket_intelligent_tiering_configurations: ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput;
    list_bucket_inventory_configurations: ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput;
    list_bucket_metrics_configurations: ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput;
    put_bucket_accelerate_configuration: PutBucketAccelerateConfigurationInput => PutBucketAccelerateConfigurationOutput;
    put_bucket_acl: PutBucketAclInput => PutBucketAclOutput;
    put_bucket_logging: PutBucketLoggingInput => PutBucketLoggingOutput;
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput;
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput;
    put_bucket_replication: PutBucketReplicationInput => PutBucketReplicationOutput;
    put_bucket_request_payment: PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput;
    put_object_acl: PutObjectAclInput => PutObjectAclOutput;
    restore_object: RestoreObjectInput => RestoreObjectOutput;
    delete_bucket_analytics_configuration: DeleteBucketAnalyticsConfigurationInput => DeleteBucketAnalyticsConfigurationOutput;
    delete_bucket_encryption: DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput;
    delete_bucket_intelligent_tiering_configuration: DeleteBucketIntelligentTieringConfigurationInput => DeleteBucketIntelligentTieringConfigurationOutput;
    delete_bucket_inventory_configuration: DeleteBucketInventoryConfigurationInput => DeleteBucketInventoryConfigurationOutput;
    delete_bucket_metadata_table_configuration: DeleteBucketMetadataTableConfigurationInput => DeleteBucketMetadataTableConfigurationOutput;
    delete_bucket_metrics_configuration: DeleteBucketMetricsConfigurationInput => DeleteBucketMetricsConfigurationOutput;
    delete_bucket_policy: DeleteBucketPolicyInput => DeleteBucketPolicyOutput;
    delete_bucket_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput;
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput;
    delete_public_access_block: DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput;
}
