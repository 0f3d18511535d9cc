//! Copying objects.

use super::{Answer, Operations, caller};
use crate::s3::convert::{
    Sums, algorithm, attributes, etag, expiration, source_conditions, timestamp, write_conditions,
};
use crate::s3::lock::lock_of;
use crate::s3::tagging::tags_of_header;
use crate::service::{
    CopyRequest, CopySource, MetadataDirective, ServiceError, parse_bucket_name, parse_key, parse_version_id,
};
use crate::types::TagSet;
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn copy_object(
        &self,
        request: S3Request<dto::CopyObjectInput>,
    ) -> Answer<dto::CopyObjectOutput> {
        let caller = caller(&request);
        let mut input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let headers = &request.headers;
        let copy = CopyRequest {
            source: source(&input.copy_source)?,
            directive: directive(input.metadata_directive.as_ref())?,
            checksum: algorithm(input.checksum_algorithm.as_ref())?,
            attributes: attributes!(input, headers),
            lock: lock_of(headers)?,
            tags: tags(input.tagging_directive.as_ref(), input.tagging.as_deref())?,
            source_conditions: source_conditions(headers),
            conditions: write_conditions(headers),
        };
        let done = self.service.copy(&caller, &bucket, &key, &copy).await?;
        let sums = Sums::of(done.checksum.as_ref());
        Ok(S3Response::new(dto::CopyObjectOutput {
            copy_object_result: Some(dto::CopyObjectResult {
                e_tag: etag(done.etag),
                last_modified: Some(timestamp(done.modified)),
                checksum_crc32: sums.crc32,
                checksum_crc32c: sums.crc32c,
                checksum_crc64nvme: sums.crc64nvme,
                checksum_sha1: sums.sha1,
                checksum_sha256: sums.sha256,
                checksum_type: sums.kind,
            }),
            copy_source_version_id: done.source_version_id.map(|id| id.to_string()),
            expiration: done.expiry.as_ref().map(expiration),
            version_id: done.version_id.map(|id| id.to_string()),
            ..Default::default()
        }))
    }
}

fn directive(asked: Option<&dto::MetadataDirective>) -> Result<MetadataDirective, ServiceError> {
    match asked.map(dto::MetadataDirective::as_str) {
        None | Some(dto::MetadataDirective::COPY) => Ok(MetadataDirective::Copy),
        Some(dto::MetadataDirective::REPLACE) => Ok(MetadataDirective::Replace),
        Some(unknown) => Err(ServiceError::InvalidArgument {
            name: "x-amz-metadata-directive",
            value: unknown.chars().take(256).collect(),
            reason: "Unknown metadata directive.",
        }),
    }
}

/// `None`: the source's, whatever tags the request has.
fn tags(
    directive: Option<&dto::TaggingDirective>,
    asked: Option<&str>,
) -> Result<Option<TagSet>, ServiceError> {
    match directive.map(dto::TaggingDirective::as_str) {
        None | Some(dto::TaggingDirective::COPY) => Ok(None),
        Some(dto::TaggingDirective::REPLACE) => tags_of_header(asked).map(Some),
        Some(other) => Err(ServiceError::InvalidArgument {
            name: "x-amz-tagging-directive",
            value: other.chars().take(256).collect(),
            reason: "Unknown tagging directive.",
        }),
    }
}

pub(in crate::s3) fn source(asked: &dto::CopySource) -> Result<CopySource, ServiceError> {
    match asked {
        dto::CopySource::Bucket { bucket, key, version_id } => Ok(CopySource {
            bucket: parse_bucket_name(bucket)?,
            key: parse_key(key)?,
            version: version_id.as_deref().map(parse_version_id).transpose()?,
        }),
        _ => Err(ServiceError::NotImplemented { what: "copying from access points" }),
    }
}
