//! Who makes a request: AWS Signature Version 4, in the `Authorization` header or in a presigned URL. Who signs
//! nothing is nobody, and may do what the service lets nobody do.
//!
//! A request is signed once, for this region and for S3, at most 15 minutes off (seven days in a URL). The signature
//! covers the host and every `x-amz-*` header that is there, so that nothing that changes a request's meaning can be
//! added to it; every header said to be signed is there. The query is read decoded, as everybody after this reads it.
//! Signatures are compared in constant time. Version 2 is refused.

mod canonical;
mod claim;
mod form;
mod kept;
mod key;
mod payload;

pub(super) use claim::Claim;
pub(super) use form::FormClaim;
pub(super) use kept::SigningKeys;
pub(super) use key::SigningKey;
pub(super) use payload::{ChunkSigner, Payload};

use super::credentials::Credentials;
use super::query::Query;
use super::refusal::{Refusal, refuse};
use crate::types::Principal;
use canonical::{Form, Subject};
use claim::{Presigned, SignedAt};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use payload::PayloadKind;
use s3s::S3ErrorCode as Code;
use time::{Duration, OffsetDateTime};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const MAX_SKEW: Duration = Duration::minutes(15);
/// Seven days.
const MAX_EXPIRES_SECONDS: u32 = 604_800;
/// They cannot change what a request does: they are in the signature otherwise, or say how the body is framed, which
/// is checked against what comes.
const MAY_STAY_UNSIGNED: [&str; 4] =
    ["x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-checksum-algorithm"];

/// A request whose signature is right, or that has none.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) principal: Principal,
    pub(super) payload: Payload,
}

/// What signatures are checked against.
#[derive(Debug, Clone)]
pub(super) struct Authenticator {
    pub(super) credentials: Credentials,
    pub(super) region: String,
}

/// A claim with the time it was made at.
struct Made<'a> {
    claim: Claim<'a>,
    signed_at: SignedAt,
    /// Of a presigned URL.
    expires_seconds: Option<u32>,
}

impl Authenticator {
    /// # Errors
    /// The answer to a request that is not signed as it must be.
    pub(super) fn check(
        &self,
        head: &Parts,
        query: &Query,
        host: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Verified, Refusal> {
        let Some(made) = made(head, query)? else { return anonymous(head) };
        self.check_scope(&made)?;
        check_time(&made, now)?;
        check_coverage(&made.claim, head, host)?;
        if head.headers.contains_key("x-amz-security-token")
            || query.values_of("x-amz-security-token").next().is_some()
        {
            return Err(refuse(Code::InvalidToken, "The provided token is malformed or otherwise invalid."));
        }
        let Some(identity) = self.credentials.find(made.claim.access_key) else {
            let message = "The AWS Access Key Id you provided does not exist in our records.";
            let refusal = refuse(Code::InvalidAccessKeyId, message);
            return Err(refusal.with("AWSAccessKeyId", made.claim.access_key));
        };
        let payload = payload_line(&made, head, query)?;
        let kind = kind_of(&made, head, payload)?;
        let subject = Subject { head, query, host: host.unwrap_or_default(), payload };
        let key = identity.signing_key(&made.claim);
        verify(&key, &subject, &made)?;
        identity.keep(&made.claim, &key);
        Ok(Verified { principal: identity.principal().clone(), payload: payload_of(kind, key, made) })
    }

    fn check_scope(&self, made: &Made<'_>) -> Result<(), Refusal> {
        let wrong = |message: &str| {
            if made.expires_seconds.is_some() {
                return query_error(&format!("Error parsing the X-Amz-Credential parameter; {message}"));
            }
            let message = format!("The authorization header is malformed; {message}");
            refuse(Code::AuthorizationHeaderMalformed, message)
        };
        if made.claim.region != self.region {
            let region: String = made.claim.region.chars().take(64).collect();
            return Err(wrong(&format!("the region '{region}' is wrong; expecting '{}'", self.region))
                .with("Region", &self.region)
                .header("x-amz-bucket-region", &self.region));
        }
        if made.claim.service != "s3" {
            return Err(wrong("incorrect service. This endpoint belongs to \"s3\"."));
        }
        Ok(())
    }
}

fn query_error(message: &str) -> Refusal {
    refuse(Code::Custom("AuthorizationQueryParametersError".into()), message.to_owned())
        .status(StatusCode::BAD_REQUEST)
}

/// A request that claims nothing. It may come in chunks, but none of them is signed.
fn anonymous(head: &Parts) -> Result<Verified, Refusal> {
    let sent = one(&head.headers, "x-amz-content-sha256")?;
    let payload = match sent.map_or(Some(PayloadKind::Unsigned), PayloadKind::parse) {
        Some(PayloadKind::Unsigned) => Payload::Unsigned,
        Some(PayloadKind::Hashed(hash)) => Payload::Hashed(hash),
        Some(PayloadKind::Chunked { is_signed: false, has_trailer }) => {
            Payload::Chunked { signer: None, has_trailer }
        }
        Some(PayloadKind::Chunked { is_signed: true, .. }) => {
            return Err(refuse(Code::AccessDenied, "Access Denied"));
        }
        None => return Err(wrong_payload_line()),
    };
    Ok(Verified { principal: Principal::Anonymous, payload })
}

/// The one claim that a request makes, if it makes any.
fn made<'a>(head: &'a Parts, query: &'a Query) -> Result<Option<Made<'a>>, Refusal> {
    let has_header = head.headers.contains_key(header::AUTHORIZATION);
    match from_query(query)? {
        None => from_header(&head.headers),
        Some(made) if !has_header => Ok(Some(made)),
        Some(_) => {
            let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified";
            Err(refuse(Code::InvalidArgument, message))
        }
    }
}

pub(super) fn unsupported() -> Refusal {
    let message =
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    refuse(Code::InvalidRequest, message)
}

fn from_header(headers: &HeaderMap) -> Result<Option<Made<'_>>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(Code::InvalidArgument, "Only one Authorization header is allowed"));
    }
    let malformed = || refuse(Code::AuthorizationHeaderMalformed, "The authorization header is malformed.");
    let text = value.to_str().map_err(|_| malformed())?;
    let fields = text.strip_prefix(ALGORITHM).ok_or_else(unsupported)?;
    let fields = fields.strip_prefix(' ').ok_or_else(malformed)?;
    let claim = Claim::parse_header(fields).ok_or_else(malformed)?;
    let signed_at = match one(headers, "x-amz-date")? {
        Some(date) => SignedAt::parse(date),
        None => one(headers, "date")?.and_then(SignedAt::parse_http),
    };
    let undated =
        || refuse(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header");
    Ok(Some(Made { claim, signed_at: signed_at.ok_or_else(undated)?, expires_seconds: None }))
}

/// The only value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    let wrong = || refuse(Code::InvalidRequest, format!("The header {name} must have one value in ASCII."));
    if second.is_some() {
        return Err(wrong());
    }
    first.map(|value| value.to_str().map_err(|_| wrong())).transpose()
}

fn from_query(query: &Query) -> Result<Option<Made<'_>>, Refusal> {
    if query.has("AWSAccessKeyId") || query.has("Signature") {
        return Err(unsupported());
    }
    let says_one = |name: &str| query.values_of(name).next().is_some();
    if !["x-amz-signature", "x-amz-algorithm", "x-amz-credential"].into_iter().any(says_one) {
        return Ok(None);
    }
    let Presigned { claim, signed_at, expires_seconds } = Presigned::parse(query).ok_or_else(|| {
        query_error("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each of them once.")
    })?;
    if !(1..=MAX_EXPIRES_SECONDS).contains(&expires_seconds) {
        return Err(query_error("X-Amz-Expires must be between 1 and 604800 seconds"));
    }
    Ok(Some(Made { claim, signed_at, expires_seconds: Some(expires_seconds) }))
}

fn check_time(made: &Made<'_>, now: OffsetDateTime) -> Result<(), Refusal> {
    if made.claim.date != made.signed_at.day() {
        let message = "The date of the credential is not that of the request.";
        return Err(refuse(Code::SignatureDoesNotMatch, message));
    }
    let age = now - made.signed_at.at;
    let oldest = made.expires_seconds.map_or(MAX_SKEW, |seconds| Duration::seconds(i64::from(seconds)));
    if age < -MAX_SKEW && made.expires_seconds.is_some() {
        return Err(refuse(Code::AccessDenied, "Request is not valid yet"));
    }
    if age < -MAX_SKEW || (made.expires_seconds.is_none() && age > oldest) {
        let message = "The difference between the request time and the server's time is too large.";
        return Err(refuse(Code::RequestTimeTooSkewed, message)
            .with("RequestTime", &made.signed_at.text)
            .with("ServerTime", &shown(now))
            .with("MaxAllowedSkewMilliseconds", &MAX_SKEW.whole_milliseconds().to_string()));
    }
    if age > oldest {
        return Err(refuse(Code::AccessDenied, "Request has expired")
            .with("X-Amz-Expires", &oldest.whole_seconds().to_string())
            .with("Expires", &shown(made.signed_at.at + oldest))
            .with("ServerTime", &shown(now)));
    }
    Ok(())
}

fn shown(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// Nothing of meaning is left out of the signature, and nothing in it is made up.
fn check_coverage(claim: &Claim<'_>, head: &Parts, host: Option<&str>) -> Result<(), Refusal> {
    let denied = |name: &str| {
        let message = "There were headers present in the request which were not signed";
        refuse(Code::AccessDenied, message).with("HeadersNotSigned", name)
    };
    if !claim.covers("host") {
        return Err(denied("host"));
    }
    let has_meaning = |name: &&str| {
        name.starts_with("x-sediment-") || (name.starts_with("x-amz-") && !MAY_STAY_UNSIGNED.contains(name))
    };
    let mut names = head.headers.keys().map(http::HeaderName::as_str).filter(has_meaning);
    if let Some(name) = names.find(|name| !claim.covers(name)) {
        return Err(denied(name));
    }
    let is_there = |name: &&&str| head.headers.contains_key(**name) || (**name == "host" && host.is_some());
    match claim.headers.iter().find(|name| !is_there(name)) {
        None => Ok(()),
        Some(missing) => {
            let name: String = missing.chars().take(64).collect();
            let message = format!("The signed header {name} is not in the request");
            Err(refuse(Code::SignatureDoesNotMatch, message))
        }
    }
}

/// The payload's line in the canonical request. In a URL it stands for nothing unless it is signed itself.
fn payload_line<'a>(made: &Made<'_>, head: &'a Parts, query: &'a Query) -> Result<&'a str, Refusal> {
    let header = one(&head.headers, "x-amz-content-sha256")?;
    if made.expires_seconds.is_none() {
        let message = "Missing required header for this request: x-amz-content-sha256";
        return header.ok_or_else(|| refuse(Code::InvalidRequest, message));
    }
    let in_query = query.values_of("x-amz-content-sha256").next().map(|(_, value)| value);
    let signed = in_query.or_else(|| header.filter(|_| made.claim.covers("x-amz-content-sha256")));
    Ok(signed.unwrap_or(UNSIGNED))
}

/// How the body comes. In a URL an unsigned header may still bind the body to a hash, but not reframe it.
fn kind_of(made: &Made<'_>, head: &Parts, line: &str) -> Result<PayloadKind, Refusal> {
    let kind = PayloadKind::parse(line).ok_or_else(wrong_payload_line)?;
    let sent = one(&head.headers, "x-amz-content-sha256")?;
    if kind == PayloadKind::Unsigned
        && let Some(sent) = sent
    {
        let sent = PayloadKind::parse(sent).ok_or_else(wrong_payload_line)?;
        return if matches!(sent, PayloadKind::Chunked { .. }) {
            Err(wrong_payload_line())
        } else {
            Ok(sent)
        };
    }
    match kind {
        PayloadKind::Chunked { is_signed: true, .. } if made.expires_seconds.is_some() => {
            Err(wrong_payload_line())
        }
        kind => Ok(kind),
    }
}

fn wrong_payload_line() -> Refusal {
    let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.";
    refuse(Code::InvalidArgument, message).with("ArgumentName", "x-amz-content-sha256")
}

fn verify(key: &SigningKey, subject: &Subject<'_>, made: &Made<'_>) -> Result<(), Refusal> {
    let fits = |form| {
        key.verifies(&subject.string_to_sign(&made.claim, &made.signed_at, form), made.claim.signature)
    };
    if Form::ALL.into_iter().any(fits) {
        return Ok(());
    }
    let message = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    let refusal = refuse(Code::SignatureDoesNotMatch, message);
    let form = Form::Reference;
    let canonical = subject.canonical_request(&made.claim, form);
    let signed = subject.string_to_sign(&made.claim, &made.signed_at, form);
    // All of it came with the request: it tells a client's author what was signed otherwise.
    Err(refusal
        .with("AWSAccessKeyId", made.claim.access_key)
        .with("StringToSign", &String::from_utf8_lossy(&signed))
        .with("SignatureProvided", made.claim.signature)
        .with("CanonicalRequest", &String::from_utf8_lossy(&canonical)))
}

fn payload_of(kind: PayloadKind, key: SigningKey, made: Made<'_>) -> Payload {
    match kind {
        PayloadKind::Unsigned => Payload::Unsigned,
        PayloadKind::Hashed(hash) => Payload::Hashed(hash),
        PayloadKind::Chunked { is_signed, has_trailer } => {
            let scope = made.claim.scope();
            let signer = is_signed.then(|| ChunkSigner {
                key,
                signed_at: made.signed_at,
                scope,
                previous: made.claim.signature.to_owned(),
            });
            Payload::Chunked { signer, has_trailer }
        }
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
