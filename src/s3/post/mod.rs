//! Uploads from HTML forms: a form becomes the put that it stands for, before s3s sees anything of it.
//!
//! The way of a form: its fields are read (20 KiB at most), its policy's signature is checked and then the policy, and
//! the fields become a put's headers and its key; from there on it is a put like any other, with the file streaming
//! into it. The put's answer becomes the form's. Nothing is stored unless the whole form came and kept to its policy.
//!
//! Sources: "POST Object" and "POST Policy" in Amazon S3's documentation, and answers of S3 that its users have shown.

mod answer;
mod fields;
mod form;
#[doc(hidden)]
pub(super) mod fuzzing;
mod json;
mod multipart;
mod part;
mod policy;
mod put;
mod refusals;
mod tagging;

use super::address::Address;
use super::auth::{Authenticator, FormClaim};
use super::body::Upload;
use super::error::refusal_of;
use super::query::Query;
use super::refusal::Refusal;
use super::rules::has_subresource;
use crate::service::{InputStream, parse_key};
use crate::types::Principal;
use answer::Success;
use fields::Fields;
use form::{Form, Verdict};
use http::request::Parts;
use http::{Method, Response, header};
use multipart::{Boundary, NoBoundary};
use policy::{Policy, SizeRange};
pub(super) use refusals::not_a_form;
use refusals::{argument, malformed, missing_field};
use s3s::Body;
use time::OffsetDateTime;

/// The most bytes before the file, boundaries included.
const MAX_FIELD_BYTES: u64 = 20 << 10;

/// The bucket that a form is sent to. A request that is signed in its head or its URL is none.
pub(super) fn target<'a>(head: &Parts, address: &'a Address, query: &Query) -> Option<&'a str> {
    let Address::Bucket(bucket) = address else { return None };
    let is_signed_elsewhere = head.headers.contains_key(header::AUTHORIZATION) || signs(query);
    let is_form = head.method == Method::POST && !has_subresource(query) && !is_signed_elsewhere;
    is_form.then_some(bucket)
}

/// Nothing in a form's URL counts for it; what looks as if it should is somebody else's to refuse.
fn signs(query: &Query) -> bool {
    query.names().any(|name| {
        let is_ours = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        is_ours || matches!(name, "AWSAccessKeyId" | "Signature")
    })
}

/// A form up to its file, as a put.
pub(super) struct Posted {
    pub(super) principal: Principal,
    pub(super) address: Address,
    pub(super) head: Parts,
    pub(super) upload: Upload,
    pub(super) outcome: FormOutcome,
}

/// What becomes of the put's answer.
pub(super) struct FormOutcome {
    success: Success,
    verdict: Verdict,
}

impl FormOutcome {
    /// # Errors
    /// What the file or what followed it was refused for.
    pub(super) fn answer(self, put: Response<Body>) -> Result<Response<Body>, Refusal> {
        match self.verdict.lock().take() {
            Some(refusal) => Err(refusal),
            None => Ok(self.success.answer(put)),
        }
    }
}

/// Reads a form's fields and decides on them; the file is yet to come.
///
/// # Errors
/// The answer to a form that cannot be taken.
pub(super) async fn receive(
    head: &Parts,
    bucket: &str,
    frames: InputStream,
    authenticator: &Authenticator,
    now: OffsetDateTime,
) -> Result<Posted, Refusal> {
    let boundary = Boundary::of(&head.headers).map_err(|why| match why {
        NoBoundary::NotAForm => not_a_form(),
        NoBoundary::Malformed => malformed(),
    })?;
    let Form { mut fields, filename, file } = Form::read(&boundary, frames).await?;
    fields.expand(filename.as_deref())?;
    let key = key_of(&fields)?.to_owned();
    let (principal, range) = authorise(&fields, bucket, authenticator, now)?;
    let (stream, verdict) = file.stream(range);
    let success = Success::new(&fields, &bucket_url(head, bucket), bucket, &key);
    Ok(Posted {
        principal,
        head: put::put_head(head, &fields)?,
        address: Address::Object { bucket: bucket.to_owned(), key },
        upload: Upload::of_stream(stream),
        outcome: FormOutcome { success, verdict },
    })
}

fn key_of(fields: &Fields) -> Result<&str, Refusal> {
    let key = fields.get("key").ok_or_else(|| missing_field("key"))?;
    if key.is_empty() {
        return Err(argument("User key must have a length greater than 0.", "key", ""));
    }
    parse_key(key).map_err(refusal_of)?;
    Ok(key)
}

/// Who sends a form, and how long its file may be. A form without a signature is nobody's: what the anonymous may do
/// is decided where every put is.
fn authorise(
    fields: &Fields,
    bucket: &str,
    authenticator: &Authenticator,
    now: OffsetDateTime,
) -> Result<(Principal, SizeRange), Refusal> {
    if fields.get("AWSAccessKeyId").is_some() || fields.get("signature").is_some() {
        return Err(super::auth::unsupported());
    }
    const SIGNED: [&str; 4] = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"];
    if SIGNED.into_iter().all(|name| fields.get(name).is_none()) {
        return Ok((Principal::Anonymous, SizeRange::ANY));
    }
    let required = |name: &str| fields.get(name).ok_or_else(|| missing_field(name));
    let claim = FormClaim {
        algorithm: required(SIGNED[0])?,
        credential: required(SIGNED[1])?,
        date: required(SIGNED[2])?,
        signature: required(SIGNED[3])?,
        policy: required("policy")?,
        has_token: fields.get("x-amz-security-token").is_some(),
    };
    let principal = authenticator.check_form(&claim, now)?;
    let range = Policy::parse(claim.policy)?.check(fields, bucket, now)?;
    Ok((principal, range))
}

/// As the client wrote it: the bucket in the host, or in the path.
fn bucket_url(head: &Parts, bucket: &str) -> String {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    // All that this changes is the client's own answer.
    let is_https = head.uri.scheme_str() == Some("https") || text("x-forwarded-proto") == Some("https");
    let scheme = if is_https { "https" } else { "http" };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let host = text("host").or(authority).unwrap_or_default();
    let is_in_path = !head.uri.path().trim_matches('/').is_empty();
    if is_in_path { format!("{scheme}://{host}/{bucket}/") } else { format!("{scheme}://{host}/") }
}
