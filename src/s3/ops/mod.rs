//! The operations, a file per family; here they get their names.

mod buckets;
mod copy;
mod delete;
mod get;
mod list;
mod multipart;
mod put;

use super::convert::principal;
use super::error::s3_error;
use crate::service::{Caller, ObjectService, ServiceError};
use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

/// s3s's view of the service. Operations that are not here answer `NotImplemented`.
#[derive(Debug, Clone)]
pub(super) struct Operations {
    pub(super) service: ObjectService,
}

type Answer<T> = Result<S3Response<T>, ServiceError>;

fn caller<T>(request: &S3Request<T>) -> Caller {
    Caller::new(principal(request.credentials.as_ref()))
}

/// Refuses what a request asks for and this server does not do: silence would be a promise.
fn refuse(asked: bool, what: &'static str) -> Result<(), ServiceError> {
    if asked { Err(ServiceError::NotImplemented { what }) } else { Ok(()) }
}

macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                Operations::$name(self, request).await.map_err(s3_error)
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
    put_object: PutObjectInput => PutObjectOutput;
    get_object: GetObjectInput => GetObjectOutput;
    head_object: HeadObjectInput => HeadObjectOutput;
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
}
