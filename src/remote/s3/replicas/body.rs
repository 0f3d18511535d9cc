//! The bytes of a request.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

#[derive(Debug)]
pub enum BodySource {
    Whole(Bytes),
    /// Frames that together have the announced length. An error ends the call.
    Frames(mpsc::Receiver<Result<Bytes, std::io::Error>>),
}

/// Frames from a channel as the body of a request.
struct Frames {
    frames: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    left: u64,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        match this.frames.poll_recv(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.left = this.left.saturating_sub(bytes.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            // Whoever reads the body has given up: a shorter one must not pass for it.
            Poll::Ready(None) if this.left > 0 => {
                Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

impl BodySource {
    pub(super) fn stream(self, left: u64) -> ByteStream {
        match self {
            Self::Whole(bytes) => ByteStream::from(bytes),
            Self::Frames(frames) => ByteStream::new(SdkBody::from_body_1_x(Frames { frames, left })),
        }
    }
}
