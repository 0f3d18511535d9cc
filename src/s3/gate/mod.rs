//! What every request must pass before s3s sees it: closes what s3s leaves open about signatures.
//!
//! A request is signed in its `Authorization` header or in its query, once, with AWS4-HMAC-SHA256, for this
//! region and for S3. The signature covers the host and every `x-amz-*` header that is there, so that nothing
//! that changes a request's meaning can be added to it; every header said to be signed is there. Query signatures
//! live for seven days at most. The signature itself is computed and compared by s3s.

mod nesting;
mod scope;

pub(super) use nesting::NestingGuard;

use http::{HeaderMap, Uri, header, request::Parts};
use s3s::{S3Error, S3ErrorCode as Code};
use scope::Signed;

/// Seven days.
const MAX_EXPIRES_SECONDS: u32 = 604_800;
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
const UNSUPPORTED: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";

/// # Errors
/// The answer to a request that is not signed as it must be.
pub(super) fn check(request: &Parts, region: &str) -> Result<(), S3Error> {
    if is_form(&request.headers) {
        return Err(error(Code::NotImplemented, "POST uploads from HTML forms are not implemented"));
    }
    let signed = match (authorization(&request.headers)?, query_signature(&request.uri)?) {
        (Some(signed), None) | (None, Some(signed)) => signed,
        (Some(_), Some(_)) => {
            let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified";
            return Err(error(Code::InvalidArgument, message));
        }
        (None, None) => return Err(error(Code::AccessDenied, "Access Denied")),
    };
    check_scope(&signed, region)?;
    check_coverage(&signed, request)?;
    if signed.has_well_formed_signature() { Ok(()) } else { Err(error(Code::SignatureDoesNotMatch, MISMATCH)) }
}

fn error(code: Code, message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"multipart/form-data"))
}

fn authorization(headers: &HeaderMap) -> Result<Option<Signed>, S3Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(error(Code::InvalidArgument, "Only one Authorization header is allowed"));
    }
    let malformed = || error(Code::AuthorizationHeaderMalformed, "The authorization header is malformed.");
    let text = value.to_str().map_err(|_| malformed())?;
    let Some(fields) = text.strip_prefix("AWS4-HMAC-SHA256") else {
        return Err(error(Code::InvalidRequest, UNSUPPORTED));
    };
    Signed::parse_header(fields).map(Some).ok_or_else(malformed)
}

fn query_signature(uri: &Uri) -> Result<Option<Signed>, S3Error> {
    let query = uri.query().unwrap_or_default();
    let names = || query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    if names().any(|name| name == "AWSAccessKeyId" || name == "Signature") {
        return Err(error(Code::InvalidRequest, UNSUPPORTED));
    }
    if !names().any(|name| name.to_ascii_lowercase().starts_with("x-amz-signature")) {
        return Ok(None);
    }
    let malformed = || {
        let message = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each of them once.";
        error(Code::Custom("AuthorizationQueryParametersError".into()), message)
    };
    let signed = Signed::parse_query(query).ok_or_else(malformed)?;
    match signed.expires {
        Some(1..=MAX_EXPIRES_SECONDS) => Ok(Some(signed)),
        _ => Err(error(
            Code::Custom("AuthorizationQueryParametersError".into()),
            "X-Amz-Expires must be between 1 and 604800 seconds",
        )),
    }
}

fn check_scope(signed: &Signed, region: &str) -> Result<(), S3Error> {
    if signed.region != region {
        let message = format!(
            "The authorization header is malformed; the region '{}' is wrong; expecting '{region}'",
            signed.region.chars().take(64).collect::<String>()
        );
        return Err(error(Code::AuthorizationHeaderMalformed, message));
    }
    if signed.service != "s3" {
        let message =
            "The authorization header is malformed; incorrect service. This endpoint belongs to \"s3\".";
        return Err(error(Code::AuthorizationHeaderMalformed, message));
    }
    Ok(())
}

/// Nothing of meaning is left out of the signature, and nothing in it is made up.
fn check_coverage(signed: &Signed, request: &Parts) -> Result<(), S3Error> {
    let covers = |name: &str| signed.headers.iter().any(|signed| signed == name);
    let denied = |name: &str| {
        let message = format!("There were headers present in the request which were not signed: {name}");
        error(Code::AccessDenied, message)
    };
    if !covers("host") {
        return Err(denied("host"));
    }
    let meaningful = |name: &&http::HeaderName| name.as_str().starts_with("x-amz-");
    if let Some(name) = request.headers.keys().filter(meaningful).find(|name| !covers(name.as_str())) {
        return Err(denied(name.as_str()));
    }
    // The host of HTTP/2 stands in the URI.
    let is_there = |name: &String| {
        request.headers.contains_key(name.as_str()) || (name == "host" && request.uri.authority().is_some())
    };
    if let Some(missing) = signed.headers.iter().find(|name| !is_there(name)) {
        let message = format!(
            "The signed header {} is not in the request",
            missing.chars().take(64).collect::<String>()
        );
        return Err(error(Code::SignatureDoesNotMatch, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
