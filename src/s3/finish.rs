//! What every answer has: a request id, and in an error's document where and which request it was.

use super::gateway::ResponseBody;
use crate::sys::Random;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use s3s::{Body, S3Error};

/// Sixteen digits, as S3's own.
pub(super) fn request_id(random: &dyn Random) -> String {
    format!("{:016X}", random.u64())
}

pub(super) fn refusal(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

pub(super) fn finish(
    response: Response<Body>,
    id: &str,
    method: &Method,
    resource: &str,
) -> Response<ResponseBody> {
    let (mut head, mut body) = response.into_parts();
    if let Ok(value) = HeaderValue::from_str(id) {
        head.headers.insert("x-amz-request-id", value);
    }
    head.headers.insert("x-amz-id-2", HeaderValue::from_static("sediment"));
    head.headers.insert(header::SERVER, HeaderValue::from_static("Sediment"));
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    let no_body = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    if no_body && (is_error || head.status == StatusCode::NOT_MODIFIED) {
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(head, Body::empty().map_err(Into::into).boxed_unsync());
    }
    if is_error && let Some(document) = body.take_bytes() {
        let document = annotate(&document, id, resource);
        head.headers.remove(header::CONTENT_LENGTH);
        let body = Full::new(document).map_err(|never| match never {});
        return Response::from_parts(head, body.boxed_unsync());
    }
    Response::from_parts(head, body.map_err(Into::into).boxed_unsync())
}

fn annotate(document: &Bytes, id: &str, resource: &str) -> Bytes {
    let Some(text) = std::str::from_utf8(document).ok().and_then(|text| text.strip_suffix("</Error>")) else {
        return document.clone();
    };
    let resource = escape(resource);
    let more = format!(
        "<Resource>{resource}</Resource><RequestId>{id}</RequestId><HostId>sediment</HostId></Error>"
    );
    Bytes::from(format!("{text}{more}"))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
