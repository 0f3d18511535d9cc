//! Names from outside become types here, with the error that S3 gives for each.

use super::ServiceError;
use crate::types::{BucketName, MAX_KEY_BYTES, ObjectKey, PartNumber, UploadId, VersionId};

/// # Errors
/// `InvalidBucketName`.
pub fn parse_bucket_name(name: &str) -> Result<BucketName, ServiceError> {
    BucketName::parse(name)
        .map_err(|e| ServiceError::InvalidBucketName { name: name.chars().take(256).collect(), why: e.why })
}

/// # Errors
/// `KeyTooLong`, or `InvalidArgument` for an empty key.
pub fn parse_key(key: &str) -> Result<ObjectKey, ServiceError> {
    ObjectKey::parse(key).map_err(|e| {
        if key.len() > MAX_KEY_BYTES {
            ServiceError::KeyTooLong { length: key.len(), maximum: MAX_KEY_BYTES }
        } else {
            ServiceError::InvalidArgument { name: "key", value: String::new(), reason: e.why }
        }
    })
}

/// # Errors
/// `InvalidArgument`.
pub fn parse_version_id(text: &str) -> Result<VersionId, ServiceError> {
    VersionId::parse(text).map_err(|_| invalid("versionId", text, "Invalid version id specified"))
}

/// # Errors
/// `NoSuchUpload`: an id that no upload can have names an upload that does not exist.
pub fn parse_upload_id(text: &str) -> Result<UploadId, ServiceError> {
    UploadId::parse(text).map_err(|_| ServiceError::NoSuchUpload { upload: text.chars().take(256).collect() })
}

/// A listing's `version-id-marker`.
///
/// # Errors
/// `InvalidArgument`.
pub fn parse_version_marker(text: &str) -> Result<VersionId, ServiceError> {
    VersionId::parse(text).map_err(|_| invalid("version-id-marker", text, "Invalid version id specified"))
}

pub(super) const INVALID_UPLOAD_MARKER: &str = "Invalid uploadId marker";

/// A listing's `upload-id-marker`.
///
/// # Errors
/// `InvalidArgument`.
pub fn parse_upload_marker(text: &str) -> Result<UploadId, ServiceError> {
    UploadId::parse(text).map_err(|_| invalid("upload-id-marker", text, INVALID_UPLOAD_MARKER))
}

/// # Errors
/// `InvalidArgument`.
pub fn parse_part_number(number: i64) -> Result<PartNumber, ServiceError> {
    PartNumber::parse(number).map_err(|_| {
        let reason = "Part number must be an integer between 1 and 10000, inclusive";
        invalid("partNumber", &number.to_string(), reason)
    })
}

/// An argument refused, its value kept short.
pub(super) fn invalid(name: &'static str, value: &str, reason: &'static str) -> ServiceError {
    ServiceError::InvalidArgument { name, value: value.chars().take(256).collect(), reason }
}
