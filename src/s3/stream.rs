//! Bodies between s3s and the service.

use crate::engine::BodyStream;
use crate::service::{InputError, InputStream};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use s3s::StdError;
use s3s::dto::StreamingBlob;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A client's body. `None` is an empty one.
pub(super) fn input(body: Option<StreamingBlob>) -> InputStream {
    match body {
        None => futures::stream::empty().boxed(),
        Some(body) => body.map(|bytes| bytes.map_err(|error| read_error(&error))).boxed(),
    }
}

/// s3s keeps the type of these errors to itself, so their words have to do.
fn read_error(error: &StdError) -> InputError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.contains("Sha256Mismatch") || text.contains("SignatureMismatch") {
        InputError::Signature
    } else if text.contains("no byte of the body arrived") {
        InputError::TimedOut
    } else if text.contains("Incomplete") || text.contains("LengthMismatch") || text.contains("ended early") {
        InputError::Incomplete
    } else if text.contains("AwsChunkedStreamError") {
        InputError::Malformed(text)
    } else {
        InputError::Io(text)
    }
}

/// A body for the client.
pub(super) fn output(body: BodyStream) -> StreamingBlob {
    StreamingBlob::wrap(Shared(Mutex::new(body)))
}

/// s3s asks for `Sync`, which a stream that is only ever polled with `&mut` has no use for.
struct Shared(Mutex<BodyStream>);

impl Stream for Shared {
    type Item = Result<Bytes, crate::engine::EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().poll_next_unpin(cx)
    }
}
