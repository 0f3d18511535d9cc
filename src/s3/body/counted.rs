//! What a request moved and how long it took, counted when its answer has been sent or given up.

use crate::s3::admission::Place;
use crate::s3::meters::{Meters, OperationMeters};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// One request's numbers, until they are added to the metrics.
#[derive(Debug)]
pub(in crate::s3) struct Traffic {
    began: Instant,
    all: Arc<Meters>,
    meters: OnceLock<Arc<OperationMeters>>,
    received_bytes: AtomicU64,
    /// Among its client's requests, to the end of the answer.
    place: OnceLock<Place>,
}

impl Traffic {
    pub(in crate::s3) fn new(all: Arc<Meters>) -> Self {
        let (began, received_bytes) = (Instant::now(), AtomicU64::new(0));
        Self { began, all, meters: OnceLock::new(), received_bytes, place: OnceLock::new() }
    }

    pub(in crate::s3) fn keep(&self, place: Place) {
        let _ = self.place.set(place);
    }

    pub(in crate::s3) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The operation, once it is known.
    pub(in crate::s3) fn names(&self, operation: &str) {
        self.meters.get_or_init(|| self.all.of(operation));
    }

    pub(in crate::s3) fn operation(&self) -> &str {
        self.meters().operation()
    }

    fn meters(&self) -> &OperationMeters {
        self.meters.get_or_init(|| self.all.unknown())
    }

    /// Counts an answer, as its head leaves.
    pub(in crate::s3) fn answered(&self, status: StatusCode) {
        self.meters().answered(status, self.seconds());
    }

    pub(in crate::s3) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// An answer's body that counts what is taken of it.
#[derive(Debug)]
pub(in crate::s3) struct Counted<B> {
    body: B,
    traffic: Arc<Traffic>,
    sent_bytes: u64,
}

impl<B> Counted<B> {
    pub(in crate::s3) const fn new(body: B, traffic: Arc<Traffic>) -> Self {
        Self { body, traffic, sent_bytes: 0 }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.sent_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        let received = self.traffic.received_bytes.load(Ordering::Relaxed);
        self.traffic.meters().ended(received, self.sent_bytes, self.traffic.seconds());
    }
}
