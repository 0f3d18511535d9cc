//! Answers to what is no request: nobody but the listener sees it, so it has to say no in somebody else's words.

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use std::sync::Arc;

/// Why there is no request to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The bytes are not HTTP, or HTTP that can be read in two ways.
    Malformed,
    /// The request line and the headers are more than is read.
    HeadTooLarge,
    /// `CONNECT`: this is no proxy.
    Connect,
}

/// What is said to it. The connection ends behind the answer.
pub type Refuser = Arc<dyn Fn(Unreadable) -> Response<Bytes> + Send + Sync>;

impl Unreadable {
    /// Whether bytes begin an answer that hyper could make by itself.
    pub(super) fn is_answered_by(answer: &[u8]) -> bool {
        answer.starts_with(b"HTTP/1.") && answer.get(8..10) == Some(b" 4")
    }

    /// What hyper made of it, by the status in its answer.
    pub(super) fn of_answer(answer: &[u8]) -> Self {
        match answer.get(9..12) {
            Some(b"431" | b"414") => Self::HeadTooLarge,
            _ => Self::Malformed,
        }
    }
}

/// A status and nothing else.
pub(super) fn plain() -> Refuser {
    Arc::new(|why| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = match why {
            Unreadable::Malformed => StatusCode::BAD_REQUEST,
            Unreadable::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Unreadable::Connect => StatusCode::METHOD_NOT_ALLOWED,
        };
        response
    })
}

/// The answer as HTTP/1.1 has it.
pub(super) fn refusal_to(response: &Response<Bytes>) -> Bytes {
    let mut text = BytesMut::new();
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| text.extend_from_slice(part));
        text.extend_from_slice(b"\r\n");
    };
    let reason = response.status().canonical_reason().unwrap_or_default();
    line(&[b"HTTP/1.1 ", response.status().as_str().as_bytes(), b" ", reason.as_bytes()]);
    let ours = [header::CONNECTION, header::CONTENT_LENGTH];
    for (name, value) in response.headers().iter().filter(|(name, _)| !ours.contains(name)) {
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]);
    }
    line(&[b"content-length: ", response.body().len().to_string().as_bytes()]);
    line(&[b"connection: close"]);
    line(&[]);
    text.extend_from_slice(response.body());
    text.freeze()
}
