//! The bytes of a request: small ones whole, larger ones as they are read.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http_body::Frame;
use parking_lot::Mutex;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Up to so many bytes are sent from memory, and signed.
const WHOLE_BYTES: u64 = 1 << 20;
/// Frames that wait for the connection.
const FRAMES: usize = 4;

/// Why the bytes could not be given, for whoever sees only that the request failed.
#[derive(Debug)]
pub struct Trouble<E>(Arc<Mutex<Option<E>>>);

impl<E> Default for Trouble<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E> Trouble<E> {
    #[must_use]
    pub fn take(&self) -> Option<E> {
        self.0.lock().take()
    }
}

#[derive(Debug)]
pub enum BodySource {
    Whole(Bytes),
    /// Frames that together have the announced length. An error ends the call.
    Frames(mpsc::Receiver<Result<Bytes, std::io::Error>>),
    /// So many bytes that stand for others, for another Sediment.
    Delta(Box<Self>, u64),
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
    /// So many bytes of a stream.
    ///
    /// # Errors
    /// When those of a small body cannot be read; what happens to a larger one later is told to `trouble`.
    pub async fn of<E: Display + Send + 'static>(
        mut body: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        bytes: u64,
        trouble: &Trouble<E>,
    ) -> Result<Self, E> {
        if bytes <= WHOLE_BYTES {
            let mut whole = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or(0));
            while let Some(frame) = body.next().await {
                whole.extend_from_slice(&frame?);
            }
            return Ok(Self::Whole(whole.freeze()));
        }
        let (frames, source) = mpsc::channel(FRAMES);
        let trouble = Arc::clone(&trouble.0);
        // Ends with the request: then nobody takes frames any more.
        tokio::spawn(async move {
            while let Some(frame) = body.next().await {
                let sent: Result<Bytes, std::io::Error> = frame.map_err(|error| {
                    let said = std::io::Error::other(error.to_string());
                    *trouble.lock() = Some(error);
                    said
                });
                let is_last = sent.is_err();
                if frames.send(sent).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Self::Frames(source))
    }

    /// How many bytes are sent for so many of a body.
    pub(super) const fn bytes_of(&self, body: u64) -> u64 {
        match self {
            Self::Delta(_, bytes) => *bytes,
            Self::Whole(_) | Self::Frames(_) => body,
        }
    }

    pub(super) const fn is_delta(&self) -> bool {
        matches!(self, Self::Delta(..))
    }

    pub(super) fn stream(self, left: u64) -> ByteStream {
        match self {
            Self::Delta(source, bytes) => source.stream(bytes),
            Self::Whole(bytes) => ByteStream::from(bytes),
            Self::Frames(frames) => ByteStream::new(SdkBody::from_body_1_x(Frames { frames, left })),
        }
    }
}
