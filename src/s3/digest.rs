//! Whether a body comes with something to compare it with.

use super::convert::content_md5;
use crate::service::ServiceError;
use crate::types::ChecksumAlgorithm;
use http::HeaderMap;

/// A checksum that was sent, or is announced for the trailer, has been or will be compared.
///
/// # Errors
/// `InvalidDigest` for a `Content-MD5` that is none.
pub(super) fn has_digest(headers: &HeaderMap) -> Result<bool, ServiceError> {
    let is_checksum = |name: &str| {
        name.strip_prefix("x-amz-checksum-").is_some_and(|name| ChecksumAlgorithm::from_name(name).is_some())
    };
    let is_sent = headers.keys().any(|name| is_checksum(name.as_str()));
    Ok(is_sent || headers.contains_key("x-amz-trailer") || content_md5(headers)?.is_some())
}

/// What locks, deletes many objects or opens a bucket to pages has to have come as it was sent.
///
/// # Errors
/// `InvalidRequest`, or as [`has_digest`].
pub(super) fn require_digest(headers: &HeaderMap) -> Result<(), ServiceError> {
    if has_digest(headers)? {
        return Ok(());
    }
    let reason = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    Err(ServiceError::InvalidRequest { reason: reason.into() })
}
