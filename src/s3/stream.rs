//! Bodies on their way out.

use crate::engine::BodyStream;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use s3s::dto::StreamingBlob;
use std::pin::Pin;
use std::task::{Context, Poll};

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
