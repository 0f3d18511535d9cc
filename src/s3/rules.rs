//! What a request may ask for at all: silence about a thing that is not done would be a promise that it is.

use super::address::Address;
use super::lock::LOCK_HEADERS;
use super::methods::is_form;
use super::ops::{REPLICA_OF, is_implemented};
use super::promises::check_promises;
use super::query::Query;
use super::refusal::{Refusal, refuse};
use crate::types::{CHUNKS_PARAMETER, ChecksumAlgorithm, DELTA_HEADER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, request::Parts};
use s3s::S3ErrorCode as Code;

/// Every sub-resource of AWS, and one of Sediment: a request with one of them is never the plain operation on the bucket or the object.
const SUBRESOURCES: [&str; 45] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
    "append",
    "events",
    CHUNKS_PARAMETER,
];
/// What s3s takes a request for when it knows no more special operation.
const PLAIN: [&str; 11] = [
    "CopyObject",
    "CreateBucket",
    "DeleteBucket",
    "DeleteObject",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListObjects",
    "ListObjectsV2",
    "PutObject",
];
/// Operations whose body is an object's or a part's.
const UPLOADS: [&str; 2] = ["PutObject", "UploadPart"];

pub(super) fn is_subresource(name: &str) -> bool {
    SUBRESOURCES.contains(&name)
}

const CANNED_ACLS: [&str; 8] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];
/// Operations that lock and tag what they write.
const WRITING: [&str; 3] = ["CopyObject", "CreateMultipartUpload", "PutObject"];

/// Operations that write what is a copy of another store's.
const REPLICATING: [&str; 3] = ["CreateMultipartUpload", "DeleteObject", "PutObject"];

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Upload,
    Document,
}

impl Shape {
    pub(super) fn of(head: &Parts, address: &Address, query: &Query) -> Self {
        let is_copy = head.headers.contains_key("x-amz-copy-source");
        let is_part = query.has("uploadId") && query.has("partNumber");
        let is_plain = is_part || !has_subresource(query);
        if head.method == Method::PUT && address.is_object() && is_plain && !is_copy {
            Self::Upload
        } else {
            Self::Document
        }
    }
}

/// Whether a query names a sub-resource.
pub(super) fn has_subresource(query: &Query) -> bool {
    query.names().any(|name| SUBRESOURCES.contains(&name))
}

pub(super) fn not_implemented(what: &str) -> Refusal {
    let message = format!(
        "A header or query parameter you provided implies functionality that is not implemented: {what}"
    );
    refuse(Code::NotImplemented, message)
}

/// Compares what s3s takes a request for with what it asks for.
pub(super) fn check_operation(
    operation: &str,
    shape: Shape,
    query: &Query,
    sent: &HeaderMap,
) -> Result<(), Refusal> {
    if !is_implemented(operation) {
        return Err(not_implemented(operation));
    }
    check_promises(operation, UPLOADS.contains(&operation), sent)?;
    let is_writing = WRITING.contains(&operation);
    if !is_writing && sent.contains_key("x-amz-tagging") {
        return Err(not_implemented("x-amz-tagging of this operation"));
    }
    if !is_writing && sent.keys().any(|name| name.as_str().starts_with(LOCK_HEADERS)) {
        return Err(not_implemented("object lock headers"));
    }
    if !REPLICATING.contains(&operation) && sent.contains_key(REPLICA_OF) {
        return Err(not_implemented(REPLICA_OF));
    }
    if !UPLOADS.contains(&operation) && sent.contains_key(DELTA_HEADER) {
        return Err(not_implemented(DELTA_HEADER));
    }
    if PLAIN.contains(&operation) {
        if let Some(name) = query.names().find(|name| SUBRESOURCES.contains(name)) {
            return Err(not_implemented(name));
        }
        let is_write = matches!(operation, "PutObject" | "CopyObject");
        if is_write && query.has("versionId") {
            let message = "This operation does not accept a version-id.";
            return Err(refuse(Code::InvalidArgument, message).with("ArgumentName", "versionId"));
        }
        if is_write && query.has("partNumber") {
            return Err(not_implemented("partNumber without uploadId"));
        }
    }
    if UPLOADS.contains(&operation) == (shape == Shape::Upload) {
        Ok(())
    } else {
        Err(not_implemented(operation))
    }
}

/// Headers that ask for what is not there, whatever the operation.
pub(super) fn check_headers(head: &Parts) -> Result<(), Refusal> {
    let headers = &head.headers;
    const REFUSED: [(&str, &str); 3] = [
        ("x-amz-server-side-encryption", "server-side encryption"),
        ("x-amz-copy-source-server-side-encryption", "server-side encryption"),
        ("x-amz-write-offset-bytes", "appending"),
    ];
    for name in headers.keys().map(http::HeaderName::as_str) {
        if let Some((_, what)) = REFUSED.iter().find(|(start, _)| name.starts_with(start)) {
            return Err(not_implemented(what).with("Header", name));
        }
    }
    check_checksums(headers)?;
    check_acl(headers)?;
    if head.method == Method::POST && is_form(headers) {
        return Err(not_implemented("forms that are signed in their head, or are not sent to a bucket"));
    }
    Ok(())
}

/// A checksum of an algorithm that is not known cannot be compared, and must not look as if it had been.
fn check_checksums(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_known = |name: &str| {
        let is_about = matches!(name, "algorithm" | "mode" | "type");
        is_about || ChecksumAlgorithm::from_name(name).is_some()
    };
    let unknown = |name: &str| name.strip_prefix("x-amz-checksum-").is_some_and(|name| !is_known(name));
    if let Some(name) = headers.keys().map(http::HeaderName::as_str).find(|name| unknown(name)) {
        return Err(not_implemented(name));
    }
    let named = headers.get_all("x-amz-sdk-checksum-algorithm").iter().map(|name| (name, ""));
    let trailing = headers.get_all("x-amz-trailer").iter().map(|name| (name, "x-amz-checksum-"));
    for (names, prefix) in named.chain(trailing) {
        let names = names.to_str().unwrap_or("?").to_ascii_lowercase();
        for name in names.split(',').map(str::trim) {
            let algorithm = name.strip_prefix(prefix).and_then(ChecksumAlgorithm::from_name);
            if algorithm.is_none() {
                return Err(not_implemented(&format!("the checksum {name}")));
            }
        }
    }
    Ok(())
}

/// Buckets do not have ACLs, as AWS's have none by default: only what says as much is taken.
fn check_acl(headers: &HeaderMap) -> Result<(), Refusal> {
    let says_nothing =
        |acl: &[u8]| matches!(acl, b"private" | b"bucket-owner-full-control" | b"bucket-owner-read");
    let is_known = |acl: &&HeaderValue| CANNED_ACLS.iter().any(|known| known.as_bytes() == acl.as_bytes());
    if let Some(unknown) = headers.get_all("x-amz-acl").iter().find(|acl| !is_known(acl)) {
        let value: String = String::from_utf8_lossy(unknown.as_bytes()).chars().take(256).collect();
        let refusal = refuse(Code::InvalidArgument, "There is no canned ACL of this name");
        return Err(refusal.with("ArgumentName", "x-amz-acl").with("ArgumentValue", &value));
    }
    let is_granted = headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    let is_asked = headers.get_all("x-amz-acl").iter().any(|acl| !says_nothing(acl.as_bytes()));
    if is_granted || is_asked {
        let code = Code::Custom("AccessControlListNotSupported".into());
        return Err(refuse(code, "The bucket does not allow ACLs").status(StatusCode::BAD_REQUEST));
    }
    Ok(())
}
