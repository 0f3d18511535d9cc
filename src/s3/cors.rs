//! Pages of other origins: a browser's question before a request (*preflight*), and the headers that let a page see an
//! answer. Nothing is said of an origin that no rule of the bucket allows, and nobody's credentials are looked at.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html>

use super::address::{Address, Domains, host};
use super::error::refusal_of;
use super::methods::resource_type;
use super::refusal::{Refusal, refuse};
use crate::service::{CorsVerdict, ObjectService, parse_bucket_name};
use crate::types::{CorsMethod, CorsQuestion, CorsRule, ExposedHeader};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use s3s::{Body, S3ErrorCode as Code};

/// The methods that AWS takes a question about; rules may be about the first five.
const ASKED_METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"];
/// The most headers that a question may name: each is compared with every one that is allowed.
const MAX_ASKED_HEADERS: usize = 256;
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const NOT_ALLOWED: &str = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";

/// The answer to a browser's question.
///
/// # Errors
/// When it is no question, or its answer is no.
pub(super) async fn preflight(
    service: &ObjectService,
    address: &Address,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let origin = origin(headers)
        .ok_or_else(|| bad_request("Insufficient information. Origin request header needed.".to_owned()))?;
    let method = asked_method(headers)?;
    let no = |message: &'static str, kind: &str| {
        let refusal = refuse(Code::Custom("AccessForbidden".into()), message).status(StatusCode::FORBIDDEN);
        refusal.with("Method", method.unwrap_or("OPTIONS")).with("ResourceType", kind)
    };
    let question = CorsQuestion {
        origin: origin.to_owned(),
        method: method.unwrap_or_default().to_owned(),
        headers: asked_headers(headers),
    };
    match verdict(service, address, &question).await? {
        CorsVerdict::NoSuchBucket => Err(no("CORSResponse: Bucket not found", "BUCKET")),
        CorsVerdict::NotEnabled => Err(no("CORSResponse: CORS is not enabled for this bucket.", "BUCKET")),
        CorsVerdict::Refused | CorsVerdict::Allowed(_) if method.is_none() => Err(invalid_method("null")),
        CorsVerdict::Refused => Err(no(NOT_ALLOWED, resource_type(address))),
        CorsVerdict::Allowed(rule) => {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = granted(&rule, &question);
            Ok(response)
        }
    }
}

/// What the answer to a page's own request gets beside its other headers, whatever the answer is. Nothing for a
/// request that says of no origin that it comes from there.
pub(super) async fn headers_of_answer(
    service: &ObjectService,
    head: &Parts,
    domains: &Domains,
) -> Option<HeaderMap> {
    let origin = origin(&head.headers)?;
    let host = host(head).ok()?;
    let address = Address::of(&head.uri, host.as_deref(), domains).ok()?;
    let method = one(&head.headers, &header::ACCESS_CONTROL_REQUEST_METHOD);
    let question = CorsQuestion {
        origin: origin.to_owned(),
        method: method.unwrap_or(head.method.as_str()).to_owned(),
        headers: asked_headers(&head.headers),
    };
    match verdict(service, &address, &question).await {
        Ok(CorsVerdict::Allowed(rule)) => Some(granted(&rule, &question)),
        // A store that cannot be read says so to the request itself.
        _ => None,
    }
}

async fn verdict(
    service: &ObjectService,
    address: &Address,
    question: &CorsQuestion,
) -> Result<CorsVerdict, Refusal> {
    let (Address::Bucket(bucket) | Address::Object { bucket, .. }) = address else {
        return Ok(CorsVerdict::NoSuchBucket);
    };
    match parse_bucket_name(bucket) {
        Ok(bucket) => service.cors_verdict(&bucket, question).await.map_err(refusal_of),
        Err(_) => Ok(CorsVerdict::NoSuchBucket),
    }
}

/// The page's origin, if there is one and it can be repeated in a header.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let is_plain = |origin: &&str| !origin.is_empty() && origin.bytes().all(|byte| byte.is_ascii_graphic());
    one(headers, &header::ORIGIN).filter(is_plain)
}

/// The value of a header that is there once, in ASCII.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The method that a question is about; `None` where it names none.
fn asked_method(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let name = header::ACCESS_CONTROL_REQUEST_METHOD;
    let Some(sent) = headers.get(&name) else { return Ok(None) };
    match one(headers, &name).filter(|method| ASKED_METHODS.contains(method)) {
        Some(method) => Ok(Some(method)),
        None => {
            let sent: String = String::from_utf8_lossy(sent.as_bytes()).chars().take(64).collect();
            Err(invalid_method(&sent))
        }
    }
}

/// The headers that a page wants to send, in lower case. `None` where they are not names of headers.
fn asked_headers(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for line in headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        for name in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            if names.len() == MAX_ASKED_HEADERS {
                return None;
            }
            names.push(HeaderName::from_bytes(name).ok()?.as_str().to_owned());
        }
    }
    Some(names)
}

/// The headers that tell a browser what a rule allows.
fn granted(rule: &CorsRule, question: &CorsQuestion) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value: String| {
        if !value.is_empty()
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
    };
    let is_for_all = rule.is_for_every_origin();
    let origin = if is_for_all { "*" } else { question.origin.as_str() };
    let methods: Vec<_> = rule.methods.iter().copied().map(CorsMethod::as_str).collect();
    let asked = question.headers.as_deref().unwrap_or_default();
    let exposed = rule.exposed.iter().map(ExposedHeader::as_str);
    let exposed: Vec<_> = exposed.filter(|name| !name.is_empty()).collect();
    add(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned());
    add(header::ACCESS_CONTROL_ALLOW_METHODS, methods.join(", "));
    add(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.join(", "));
    add(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.join(", "));
    if let Some(seconds) = rule.max_age_seconds {
        add(header::ACCESS_CONTROL_MAX_AGE, seconds.to_string());
    }
    if !is_for_all {
        add(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
    }
    headers.insert(header::VARY, HeaderValue::from_static(VARY));
    headers
}

fn bad_request(message: String) -> Refusal {
    refuse(Code::Custom("BadRequest".into()), message).status(StatusCode::BAD_REQUEST)
}

fn invalid_method(method: &str) -> Refusal {
    bad_request(format!("Invalid Access-Control-Request-Method: {method}"))
}

#[doc(hidden)]
pub(super) mod fuzzing {
    use http::HeaderMap;

    /// What is repeated in an answer is an origin or the names of headers.
    pub(in crate::s3) fn question(headers: &HeaderMap) {
        let origin = super::origin(headers).unwrap_or_default();
        assert!(origin.bytes().all(|byte| byte.is_ascii_graphic()));
        let names = super::asked_headers(headers).unwrap_or_default();
        assert!(names.iter().all(|name| http::HeaderName::try_from(name).is_ok()));
        let _ = super::asked_method(headers);
    }
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;
