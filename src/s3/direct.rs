//! Reads that ask for no more than an object go around s3s: all that they mean stands in few headers, and their answer
//! has no document.
//!
//! What is not understood here is left to s3s: every parameter, every header that is not listed, every refusal, every
//! value that no header can hold as it is. So whatever is said here is a yes, and s3s would have said the same (I6).
//! The request has passed every check that comes before s3s: it is signed, and so is what it asks for.

use super::address::Address;
use super::auth::Payload;
use super::convert::{checksum_header, expiration, kind_name, range, read_conditions};
use super::dates::http_date;
use super::finish::ObjectBytes;
use super::ops::{REPLICA_OF, caller_of, origin};
use super::query::Query;
use super::stream;
use crate::service::{
    Caller, GetRequest, HeadOutcome, ObjectService, STANDARD_CLASS, Selection, parse_bucket_name, parse_key,
};
use crate::types::{BucketName, ObjectKey, Principal};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};
use s3s::{Body, dto};

const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
/// SHA-256 of nothing.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Headers that are the request's and not the operation's, or mean nothing to S3.
pub(super) fn is_of_any_request(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "amz-sdk-invocation-id"
            | "amz-sdk-request"
            | "amz-sdk-retry"
            | "authorization"
            | "connection"
            | "content-length"
            | "date"
            | "host"
            | "origin"
            | "referer"
            | "user-agent"
            | "x-amz-content-sha256"
            | "x-amz-date"
            | "x-amz-expected-bucket-owner"
            | "x-amz-user-agent"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-real-ip"
    )
}

/// Headers that are read here, and those that mean nothing to S3 on a read without a body.
fn is_known(name: &str) -> bool {
    is_of_any_request(name)
        || matches!(
            name,
            "if-match"
                | "if-modified-since"
                | "if-none-match"
                | "if-unmodified-since"
                | "range"
                | "x-amz-checksum-mode"
        )
}

/// A GET or HEAD of an object as it is now.
#[derive(Debug)]
pub(super) struct DirectRead {
    is_head: bool,
    bucket: BucketName,
    key: ObjectKey,
    asked: GetRequest,
    with_checksum: bool,
    caller: Caller,
}

impl DirectRead {
    /// The read that a request means, if all of it is understood. `is_empty`: it has no body.
    pub(super) fn of(
        head: &Parts,
        address: &Address,
        query: &Query,
        (principal, payload): (&Principal, &Payload),
        is_empty: bool,
    ) -> Option<Self> {
        let Address::Object { bucket, key } = address else { return None };
        let is_head = head.method == Method::HEAD;
        let is_read = is_head || head.method == Method::GET;
        let is_whole = match payload {
            Payload::Unsigned => true,
            Payload::Hashed(hash) => *hash == EMPTY,
            Payload::Chunked { .. } => false,
        };
        let mut parameters = query.names();
        // Some SDKs repeat the operation's name there.
        let is_plain = parameters.next().is_none_or(|name| name == "x-id") && parameters.next().is_none();
        if !(is_read && is_empty && is_whole && is_plain && has_known_headers(&head.headers)) {
            return None;
        }
        let selection = range(&head.headers).map_or(Selection::Whole, Selection::Range);
        Some(Self {
            is_head,
            bucket: parse_bucket_name(bucket).ok()?,
            key: parse_key(key).ok()?,
            asked: GetRequest { version: None, conditions: read_conditions(&head.headers), selection },
            with_checksum: wants_checksum(&head.headers)?,
            caller: caller_of(principal.clone(), &head.headers),
        })
    }

    pub(super) const fn operation(&self) -> &'static str {
        if self.is_head { "HeadObject" } else { "GetObject" }
    }

    /// The answer, where it is a yes.
    pub(super) async fn answer(&self, service: &ObjectService) -> Option<Response<Body>> {
        let (head, body) = if self.is_head {
            let head = service.head(&self.caller, &self.bucket, &self.key, &self.asked).await.ok()?;
            (head, Body::empty())
        } else {
            let got = service.get(&self.caller, &self.bucket, &self.key, &self.asked).await.ok()?;
            (got.head, Body::from(stream::output(got.body)))
        };
        let headers = headers(&head, self.with_checksum)?;
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        if !self.is_head {
            response.extensions_mut().insert(ObjectBytes);
        }
        Some(response)
    }
}

/// Each of them once, so that no two readers could take different lines.
fn has_known_headers(headers: &HeaderMap) -> bool {
    let is_unique = headers.len() == headers.keys_len();
    let has_no_length = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    is_unique && has_no_length && headers.keys().all(|name| is_known(name.as_str()))
}

/// `None` for what is no mode.
fn wants_checksum(headers: &HeaderMap) -> Option<bool> {
    let Some(mode) = headers.get(CHECKSUM_MODE).filter(|mode| !mode.is_empty()) else { return Some(false) };
    mode.to_str().ok()?.eq_ignore_ascii_case(dto::ChecksumMode::ENABLED).then_some(true)
}

/// What GET and HEAD say of an object, or nothing where s3s would have to say some of it.
fn headers(head: &HeadOutcome, with_checksum: bool) -> Option<HeaderMap> {
    let (info, attributes) = (&head.info, &head.info.attributes);
    if !info.lock.is_unset() || head.parts_count.is_some() {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(24);
    let kind = attributes.content_type.as_deref().unwrap_or("binary/octet-stream");
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(head.range.len()));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).ok()?);
    headers.insert(header::ETAG, HeaderValue::try_from(format!("\"{}\"", info.etag)).ok()?);
    headers.insert(header::LAST_MODIFIED, HeaderValue::try_from(http_date(info.modified)).ok()?);
    if head.partial && !head.range.is_empty() {
        let range = format!("bytes {}-{}/{}", head.range.start, head.range.end - 1, info.size);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).ok()?);
    }
    let texts = [
        (header::CACHE_CONTROL, attributes.cache_control.as_deref()),
        (header::CONTENT_DISPOSITION, attributes.content_disposition.as_deref()),
        (header::CONTENT_ENCODING, attributes.content_encoding.as_deref()),
        (header::CONTENT_LANGUAGE, attributes.content_language.as_deref()),
        (header::EXPIRES, attributes.expires.as_deref()),
        (
            HeaderName::from_static("x-amz-website-redirect-location"),
            attributes.website_redirect_location.as_deref(),
        ),
        (
            HeaderName::from_static("x-amz-storage-class"),
            attributes.storage_class.as_deref().filter(|class| *class != STANDARD_CLASS),
        ),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            headers.insert(name, HeaderValue::from_str(text).ok()?);
        }
    }
    for (name, value) in &attributes.user {
        let name = HeaderName::try_from(format!("x-amz-meta-{name}")).ok()?;
        headers.insert(name, plain(value)?);
    }
    add_rest(&mut headers, head, with_checksum)?;
    Some(headers)
}

fn add_rest(headers: &mut HeaderMap, head: &HeadOutcome, with_checksum: bool) -> Option<()> {
    let info = &head.info;
    if let Some(expiry) = &info.expiry {
        headers.insert("x-amz-expiration", HeaderValue::try_from(expiration(expiry)).ok()?);
    }
    if let Some(id) = info.version_id {
        headers.insert("x-amz-version-id", HeaderValue::try_from(id.to_string()).ok()?);
    }
    if let Some(status) = info.replication {
        headers.insert("x-amz-replication-status", HeaderValue::from_static(status.name()));
    }
    if let Some(origin) = origin(info) {
        headers.insert(REPLICA_OF, origin);
    }
    if info.tags > 0 {
        headers.insert("x-amz-tagging-count", HeaderValue::from(info.tags));
    }
    let Some(checksum) = head.checksum.as_ref().filter(|_| with_checksum) else { return Some(()) };
    let whole = info.checksum.as_ref().map_or(checksum.kind(), crate::types::Checksum::kind);
    let kind = kind_name(whole);
    headers.insert(checksum_header(checksum.algorithm()), HeaderValue::try_from(checksum.to_string()).ok()?);
    headers.insert("x-amz-checksum-type", HeaderValue::from_str(kind.as_str()).ok()?);
    Some(())
}

/// A value that needs no encoding.
pub(super) fn plain(value: &str) -> Option<HeaderValue> {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~')).then(|| HeaderValue::from_str(value).ok())?
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
