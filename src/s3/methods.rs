//! Which methods AWS has on what, and how it answers the others; s3s has one answer for all of them.

use super::address::Address;
use super::post::not_a_form;
use super::query::Query;
use super::refusal::{Refusal, refuse};
use crate::types::CHUNKS_PARAMETER;
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use s3s::S3ErrorCode as Code;

/// The methods of a bucket's sub-resources.
const OF_A_BUCKET: [(&str, &[&str]); 25] = [
    ("accelerate", &["GET", "PUT"]),
    ("acl", &["GET", "PUT"]),
    ("analytics", &["GET", "PUT", "DELETE"]),
    ("cors", &["GET", "PUT", "DELETE"]),
    ("delete", &["POST"]),
    ("encryption", &["GET", "PUT", "DELETE"]),
    ("intelligent-tiering", &["GET", "PUT", "DELETE"]),
    ("inventory", &["GET", "PUT", "DELETE"]),
    ("lifecycle", &["GET", "PUT", "DELETE"]),
    ("location", &["GET"]),
    ("logging", &["GET", "PUT"]),
    ("metrics", &["GET", "PUT", "DELETE"]),
    ("notification", &["GET", "PUT"]),
    ("object-lock", &["GET", "PUT"]),
    ("ownershipControls", &["GET", "PUT", "DELETE"]),
    ("policy", &["GET", "PUT", "DELETE"]),
    ("policyStatus", &["GET"]),
    ("publicAccessBlock", &["GET", "PUT", "DELETE"]),
    ("replication", &["GET", "PUT", "DELETE"]),
    ("requestPayment", &["GET", "PUT"]),
    ("tagging", &["GET", "PUT", "DELETE"]),
    ("uploads", &["GET"]),
    ("versioning", &["GET", "PUT"]),
    ("versions", &["GET"]),
    ("website", &["GET", "PUT", "DELETE"]),
];
/// The methods of an object's sub-resources.
const OF_AN_OBJECT: [(&str, &[&str]); 11] = [
    ("acl", &["GET", "PUT"]),
    ("attributes", &["GET"]),
    ("legal-hold", &["GET", "PUT"]),
    ("restore", &["POST"]),
    ("retention", &["GET", "PUT"]),
    ("select", &["POST"]),
    ("tagging", &["GET", "PUT", "DELETE"]),
    ("torrent", &["GET"]),
    ("uploadId", &["GET", "PUT", "POST", "DELETE"]),
    ("uploads", &["POST"]),
    (CHUNKS_PARAMETER, &["POST"]),
];

/// # Errors
/// `MethodNotAllowed`, or what AWS says of a POST on a bucket that is no form.
pub(super) fn check_method(head: &Parts, address: &Address, query: &Query) -> Result<(), Refusal> {
    let method = &head.method;
    let (plain, known): (&[&str], &[(&str, &[&str])]) = match address {
        Address::Service => (&["GET"], &[]),
        Address::Bucket(_) => (&["GET", "HEAD", "PUT", "DELETE", "POST"], &OF_A_BUCKET),
        Address::Object { .. } => (&["GET", "HEAD", "PUT", "DELETE"], &OF_AN_OBJECT),
    };
    // Of a sub-resource that is unknown nothing can be said.
    let named = known.iter().find(|(name, _)| query.has(name));
    match named {
        Some((_, methods)) if methods.contains(&method.as_str()) || method == Method::HEAD => Ok(()),
        Some((name, _)) => Err(not_allowed(method, &name.to_ascii_uppercase())),
        None if query.names().any(super::rules::is_subresource) => Ok(()),
        None if method == Method::POST && matches!(address, Address::Bucket(_)) => form(&head.headers),
        None if plain.contains(&method.as_str()) => Ok(()),
        None => Err(not_allowed(method, resource_type(address))),
    }
}

pub(super) const fn resource_type(address: &Address) -> &'static str {
    match address {
        Address::Service => "SERVICE",
        Address::Bucket(_) => "BUCKET",
        Address::Object { .. } => "OBJECT",
    }
}

fn not_allowed(method: &Method, resource: &str) -> Refusal {
    let method: String = method.as_str().chars().take(32).collect();
    refuse(Code::MethodNotAllowed, "The specified method is not allowed against this resource.")
        .with("Method", &method)
        .with("ResourceType", resource)
}

/// An upload from a form, or of what only object lambdas send.
fn form(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_form(headers) || headers.contains_key("x-amz-request-route") {
        return Ok(());
    }
    Err(not_a_form())
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"multipart/form-data"))
}
