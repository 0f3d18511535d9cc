//! Bodies on their way in and out, watched.

use super::activity::{Activity, Sent};
use super::pace::Pace;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// What a response body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response's body.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why a request's body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    #[error("the body came too slowly")]
    Stalled(#[source] io::Error),
    #[error("the body ended early or was malformed: {0}")]
    Broken(#[from] hyper::Error),
    /// HTTP/2: the stream was reset, which hyper takes for an end when the reason is "no error".
    #[error("the body was given up")]
    Reset(#[source] io::Error),
}

/// A request's body. It fails when nothing arrives for too long while somebody waits for it, or too little in all.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    /// For the client; not the time that the bytes were worked on.
    waited: Duration,
    received_bytes: u64,
    is_http2: bool,
    asked: Arc<AtomicBool>,
    activity: Arc<Activity>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, pace: Pace, is_http2: bool, activity: Arc<Activity>) -> Self {
        let (timer, waiting_since, waited) = (None, None, Duration::ZERO);
        let asked = Arc::new(AtomicBool::new(false));
        Self { incoming, pace, timer, waiting_since, waited, received_bytes: 0, is_http2, asked, activity }
    }

    /// Whether anybody has asked for the body yet; a client that waits to be told has been told then.
    pub(super) fn asked(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// For how long the client was waited for, if it was.
    fn stop_waiting(&mut self) -> Duration {
        let Some(since) = self.waiting_since.take() else { return Duration::ZERO };
        self.activity.progress.awaits(false);
        since.elapsed()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        this.asked.store(true, Ordering::Release);
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            let waited = this.stop_waiting();
            this.waited += waited;
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            let received = data.map_or(0, Bytes::len) as u64;
            this.received_bytes += received;
            this.activity.progress.received(received);
            if frame.is_none() && this.is_http2 && !this.incoming.is_end_stream() {
                let reset = io::ErrorKind::UnexpectedEof.into();
                return Poll::Ready(Some(Err(RequestBodyError::Reset(reset))));
            }
            return Poll::Ready(frame.map(|f| f.map_err(RequestBodyError::from)));
        }
        let left = this.pace.allows(this.received_bytes).saturating_sub(this.waited).min(this.pace.grace);
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(left)));
        if this.waiting_since.is_none() {
            let now = Instant::now();
            timer.as_mut().reset(now + left);
            this.waiting_since = Some(now);
            this.activity.progress.awaits(true);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(RequestBodyError::Stalled(io::ErrorKind::TimedOut.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// From a request's head to the end of its response, or of the interest in it.
#[derive(Debug)]
pub(super) struct OpenRequest {
    activity: Arc<Activity>,
    handled: bool,
}

impl OpenRequest {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        activity.request_began();
        Self { activity, handled: false }
    }

    pub(super) fn handled(&mut self) {
        if !std::mem::replace(&mut self.handled, true) {
            self.activity.handler_ended();
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.handled {
            self.activity.progress.request_given_up();
        }
        self.handled();
        self.activity.request_ended();
    }
}

/// A response's body that tells the watchdog when the client takes some of it, and ends when that is too little.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: ResponseBody,
    request: OpenRequest,
    pace: Pace,
    began: Instant,
    sent_bytes: u64,
    sent: Option<Arc<Sent>>,
}

impl WatchedBody {
    pub(super) fn new(body: ResponseBody, request: OpenRequest, pace: Pace, is_http2: bool) -> Self {
        let sent = is_http2.then(|| request.activity.watch_answer());
        Self { body, request, pace, began: Instant::now(), sent_bytes: 0, sent }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.request.activity.response_moved();
        if self.began.elapsed() > self.pace.allows(self.sent_bytes) {
            return Poll::Ready(Some(Err("the client takes the response too slowly".into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            self.request.activity.response_moved();
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            let bytes = data.map_or(0, Bytes::len) as u64;
            self.sent_bytes += bytes;
            if let Some(sent) = &self.sent {
                sent.add(bytes);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
