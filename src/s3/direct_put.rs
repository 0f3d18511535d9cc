//! Puts of an object that ask for little more than to store it go around s3s, as plain reads do (`direct`).
//!
//! Only which requests these are is decided here: those whose every header is in a list, is there once and is plain
//! text, so that s3s would hand on just what was sent. All checks, before and after, are those of the way through s3s (I6).

use super::address::Address;
use super::body::{Traffic, Upload, UploadHead};
use super::convert::{Sums, checksum_header, content_encoding, expiration, header, kind_name, user_metadata};
use super::direct::{is_of_any_request, plain};
use super::error::refusal_of;
use super::ops::{caller_of, put_request};
use super::query::Query;
use super::refusal::Refusal;
use super::rules::{Shape, check_operation};
use crate::s3::auth::Payload;
use crate::s3::gateway::BoxError;
use crate::service::{ObjectService, PutOutcome, ServiceError, parse_bucket_name, parse_key};
use crate::types::{Attributes, BucketName, ChecksumAlgorithm, ObjectKey, Principal};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header as names};
use s3s::Body;
use std::sync::Arc;

const OPERATION: &str = "PutObject";
/// A length of more digits is left to s3s, which counts in 63 bits.
const MOST_DIGITS: usize = 18;

/// Headers that a put reads, and those that mean nothing to S3.
fn is_known(name: &str) -> bool {
    is_of_any_request(name)
        || name.starts_with("x-amz-meta-")
        || matches!(
            name,
            "cache-control"
                | "content-disposition"
                | "content-encoding"
                | "content-language"
                | "content-md5"
                | "content-type"
                | "if-match"
                | "if-none-match"
                | "x-amz-acl"
                | "x-amz-checksum-crc32"
                | "x-amz-checksum-crc32c"
                | "x-amz-checksum-crc64nvme"
                | "x-amz-checksum-sha1"
                | "x-amz-checksum-sha256"
                | "x-amz-decoded-content-length"
                | "x-amz-sdk-checksum-algorithm"
                | "x-amz-trailer"
        )
}

/// Where a plain put stores its object.
#[derive(Debug)]
pub(super) struct DirectPut {
    bucket: BucketName,
    key: ObjectKey,
}

impl DirectPut {
    /// The put that a request is, if it is a plain one.
    pub(super) fn of(head: &Parts, address: &Address, query: &Query) -> Option<Self> {
        let Address::Object { bucket, key } = address else { return None };
        let mut parameters = query.names();
        // Some SDKs repeat the operation's name there.
        let is_plain = parameters.next().is_none_or(|name| name == "x-id") && parameters.next().is_none();
        if head.method != Method::PUT || !is_plain || !has_known_headers(&head.headers) {
            return None;
        }
        Some(Self { bucket: parse_bucket_name(bucket).ok()?, key: parse_key(key).ok()? })
    }

    /// Stores the object.
    ///
    /// # Errors
    /// Those of the operation.
    pub(super) async fn answer<B>(
        &self,
        service: &ObjectService,
        (head, query): (&Parts, &Query),
        (principal, payload): (Principal, Payload),
        body: B,
        traffic: &Arc<Traffic>,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let upload_head = UploadHead::parse(head, payload, true, body.is_end_stream())?;
        let upload = Upload::new(upload_head, body, Arc::clone(traffic));
        traffic.names(OPERATION);
        check_operation(OPERATION, Shape::Upload, query, &head.headers)?;
        let caller = caller_of(principal, &head.headers);
        let (sent, attributes) = (sums(&head.headers), attributes(&head.headers));
        let put = put_request(&head.headers, &upload, sent, attributes, None);
        let put = put.map_err(refusal_of)?;
        let done = service.put(&caller, &self.bucket, &self.key, put).await.map_err(refusal_of)?;
        let headers = headers(&done);
        let headers =
            headers.ok_or_else(|| refusal_of(ServiceError::Internal("a value that no header can hold")));
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers?;
        Ok(response)
    }
}

fn has_known_headers(headers: &HeaderMap) -> bool {
    let is_unique = headers.len() == headers.keys_len();
    let has_length = is_length(headers.get(names::CONTENT_LENGTH), true)
        && is_length(headers.get("x-amz-decoded-content-length"), false);
    let is_text = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        !bytes.is_empty()
            && bytes.trim_ascii() == bytes
            && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
    };
    is_unique && has_length && headers.iter().all(|(name, value)| is_known(name.as_str()) && is_text(value))
}

fn is_length(value: Option<&HeaderValue>, is_needed: bool) -> bool {
    value.map_or(!is_needed, |value| {
        value.len() <= MOST_DIGITS && value.as_bytes().iter().all(u8::is_ascii_digit)
    })
}

fn sums(headers: &HeaderMap) -> Sums {
    let sent = |algorithm| header(headers, checksum_header(algorithm));
    Sums {
        crc32: sent(ChecksumAlgorithm::Crc32),
        crc32c: sent(ChecksumAlgorithm::Crc32c),
        crc64nvme: sent(ChecksumAlgorithm::Crc64Nvme),
        sha1: sent(ChecksumAlgorithm::Sha1),
        sha256: sent(ChecksumAlgorithm::Sha256),
        kind: None,
    }
}

fn attributes(headers: &HeaderMap) -> Attributes {
    Attributes {
        content_type: header(headers, "content-type"),
        content_encoding: content_encoding(header(headers, "content-encoding").as_deref()),
        content_language: header(headers, "content-language"),
        content_disposition: header(headers, "content-disposition"),
        cache_control: header(headers, "cache-control"),
        expires: None,
        website_redirect_location: None,
        storage_class: None,
        user: user_metadata(headers),
        replica_of: None,
    }
}

/// `None` where one cannot be written.
fn headers(done: &PutOutcome) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(12);
    let checksum = &done.checksum;
    headers.insert(names::ETAG, HeaderValue::try_from(format!("\"{}\"", done.etag)).ok()?);
    headers.insert(checksum_header(checksum.algorithm()), HeaderValue::try_from(checksum.to_string()).ok()?);
    let kind = kind_name(checksum.kind());
    headers.insert("x-amz-checksum-type", HeaderValue::from_str(kind.as_str()).ok()?);
    if let Some(expiry) = &done.expiry {
        headers.insert("x-amz-expiration", plain(&expiration(expiry))?);
    }
    if let Some(id) = done.version_id {
        headers.insert("x-amz-version-id", HeaderValue::try_from(id.to_string()).ok()?);
    }
    Some(headers)
}

#[cfg(test)]
#[path = "direct_put_tests.rs"]
mod tests;
