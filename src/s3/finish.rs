//! What every answer has: a request id, and in an error's document where and which request it was.

use super::body::AnswerMemory;
use super::contents::Contents;
use super::refusal::{Fields, Refusal};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{Either, Full};
use parking_lot::Mutex;
use s3s::Body;
use std::sync::Arc;

/// For what says nothing of its own.
const RETRY_AFTER_SECONDS: &str = "5";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");

/// A document, or what streams.
pub(super) type Answer = Either<Full<Bytes>, Body>;

/// What an error's document says besides its code and message; noted where the error is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted(Arc<Mutex<Fields>>);

impl Noted {
    pub(super) fn fields(&self) -> Arc<Mutex<Fields>> {
        Arc::clone(&self.0)
    }

    pub(super) fn note(&self, fields: Fields) {
        *self.0.lock() = fields;
    }
}

/// Marks an answer whose document has the `ETag` without its quotes, as S3's `GetObjectAttributes` alone does.
#[derive(Debug, Clone, Copy)]
pub(super) struct BareETag;

/// Marks an answer whose body is an object's bytes: they leave as they came, whatever their type.
#[derive(Debug, Clone, Copy)]
pub(super) struct ObjectBytes;

fn bare_etag(document: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(document);
    text.replacen("<ETag>\"", "<ETag>", 1).replacen("\"</ETag>", "</ETag>", 1).into()
}

pub(super) fn refused(refusal: Refusal, noted: &Noted) -> Response<Body> {
    noted.note(refusal.fields);
    refusal.error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

pub(super) fn finish(
    response: Response<Body>,
    noted: &Noted,
    id: &str,
    method: &Method,
    resource: &str,
) -> Response<Answer> {
    let (mut head, body) = response.into_parts();
    // The one place that says so: s3s does for a GET, and forgets a HEAD.
    if head.status == StatusCode::OK && head.headers.contains_key(header::CONTENT_RANGE) {
        head.status = StatusCode::PARTIAL_CONTENT;
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        head.headers.insert(REQUEST_ID, value);
    }
    head.headers.insert(ID_2, HeaderValue::from_static("sediment"));
    head.headers.insert(header::SERVER, HeaderValue::from_static("Sediment"));
    if head.status == StatusCode::SERVICE_UNAVAILABLE {
        let soon = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        head.headers.entry(header::RETRY_AFTER).or_insert(soon);
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    let no_body = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    if no_body && (is_error || head.status == StatusCode::NOT_MODIFIED) {
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(head, Either::Left(Full::default()));
    }
    if is_error && let Some(document) = body.bytes() {
        let document = annotate(&document, &noted.0.lock(), id, (method, resource));
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        return Response::from_parts(head, Either::Left(Full::new(document)));
    }
    let is_xml = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    let is_document = is_xml && head.extensions.get::<ObjectBytes>().is_none();
    if is_document
        && !no_body
        && let Some(document) = body.bytes()
    {
        let document = match head.extensions.get::<BareETag>() {
            Some(BareETag) => bare_etag(&document),
            None => {
                let document = reference_controls(document);
                Contents::complete(&document, &head.extensions).unwrap_or(document)
            }
        };
        head.headers.remove(header::CONTENT_LENGTH);
        let document = match head.extensions.remove::<AnswerMemory>() {
            Some(memory) => memory.keep(document),
            None => document,
        };
        return Response::from_parts(head, Either::Left(Full::new(document)));
    }
    Response::from_parts(head, Either::Right(body))
}

/// Keys may hold control characters. Written as they are, no parser would take the document, or it would take a carriage
/// return for a line feed; they become character references, as AWS writes them.
pub(super) fn reference_controls(document: Bytes) -> Bytes {
    let is_special = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n');
    if !document.iter().any(is_special) {
        return document;
    }
    let mut written = Vec::with_capacity(document.len() + 64);
    for byte in &document {
        if is_special(byte) {
            written.extend_from_slice(format!("&#x{byte:x};").as_bytes());
        } else {
            written.push(*byte);
        }
    }
    written.into()
}

fn annotate(document: &Bytes, fields: &Fields, id: &str, (method, resource): (&Method, &str)) -> Bytes {
    let Some(text) = std::str::from_utf8(document).ok().and_then(|text| text.strip_suffix("</Error>")) else {
        return document.clone();
    };
    let mut text = text.to_owned();
    let mut add = |name: &str, value: &str| {
        text.push_str(&format!("<{name}>{}</{name}>", escape(value)));
    };
    if !document.windows(9).any(|window| window == b"<Message>") {
        add("Message", default_message(document));
    }
    let has = |name: &str| fields.iter().any(|(known, _)| *known == name);
    if has("ResourceType") && !has("Method") {
        add("Method", method.as_str());
    }
    for (name, value) in fields {
        add(name, value);
    }
    if !resource.is_empty() {
        add("Resource", resource);
    }
    add("RequestId", id);
    add("HostId", "sediment");
    text.push_str("</Error>");
    Bytes::from(text)
}

/// What AWS says where s3s says nothing.
fn default_message(document: &Bytes) -> &'static str {
    let has = |code: &str| {
        let element = format!("<Code>{code}</Code>");
        document.windows(element.len()).any(|window| window == element.as_bytes())
    };
    const MESSAGES: [(&str, &str); 10] = [
        ("InvalidBucketName", "The specified bucket is not valid."),
        ("KeyTooLongError", "Your key is too long"),
        ("InvalidURI", "Couldn't parse the specified URI."),
        (
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        ),
        ("MethodNotAllowed", "The specified method is not allowed against this resource."),
        ("MissingRequestBodyError", "Request Body is empty"),
        ("MissingContentLength", "You must provide the Content-Length HTTP header."),
        (
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        ),
        ("NotImplemented", "A header you provided implies functionality that is not implemented"),
        ("InternalError", "We encountered an internal error. Please try again."),
    ];
    MESSAGES.iter().find(|(code, _)| has(code)).map_or("The request was refused.", |(_, message)| message)
}

/// Text inside an element. Characters that XML cannot hold become the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{Noted, ObjectBytes, finish};
    use bytes::Bytes;
    use futures::FutureExt;
    use http::{Method, Response, StatusCode};
    use http_body_util::BodyExt;
    use s3s::Body;

    #[test]
    fn who_is_sent_away_is_told_for_how_long() {
        let retry_after = |told: Option<&str>| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            if let Some(told) = told {
                response.headers_mut().insert("retry-after", told.parse().unwrap());
            }
            let finished = finish(response, &Noted::default(), "0", &Method::GET, "/");
            finished.headers()["retry-after"].to_str().unwrap().to_owned()
        };
        assert_eq!(retry_after(None), "5");
        assert_eq!(retry_after(Some("1")), "1");
    }

    #[test]
    fn i1_no_answer_loses_its_bytes_when_it_is_finished() {
        let finished = |body: Body, is_object: bool| {
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", "application/xml".parse().unwrap());
            if is_object {
                response.extensions_mut().insert(ObjectBytes);
            }
            let finished = finish(response, &Noted::default(), "0", &Method::GET, "/").into_body();
            finished.collect().now_or_never().unwrap().unwrap().to_bytes()
        };
        let stream = || Body::http_body(http_body_util::Full::new(Bytes::from_static(b"<a>\r</a>")));
        let whole = || Body::from(Bytes::from_static(b"<a>\r</a>"));
        assert_eq!(finished(stream(), true), "<a>\r</a>");
        assert_eq!(finished(stream(), false), "<a>\r</a>");
        assert_eq!(finished(whole(), true), "<a>\r</a>");
        assert_eq!(finished(whole(), false), "<a>&#xd;</a>");
    }
}
