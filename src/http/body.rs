//! Bodies on their way in and out, watched.

use super::activity::Activity;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
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
    #[error("no byte of the body arrived for {} s", .0.as_secs())]
    Stalled(Duration),
    #[error("the body ended early or was malformed: {0}")]
    Broken(#[from] hyper::Error),
}

/// A request's body. It fails when nothing arrives for too long while somebody waits for it.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl RequestBody {
    pub(super) const fn new(incoming: Incoming, timeout: Duration) -> Self {
        Self { incoming, timeout, timer: None, waiting: false }
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
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame.map(|f| f.map_err(RequestBodyError::from)));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.timeout)));
        if !this.waiting {
            timer.as_mut().reset(Instant::now() + this.timeout);
            this.waiting = true;
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(RequestBodyError::Stalled(this.timeout))))
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
        self.handled();
        self.activity.request_ended();
    }
}

/// A response's body that tells the watchdog when the client takes some of it.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: ResponseBody,
    request: OpenRequest,
}

impl WatchedBody {
    pub(super) const fn new(body: ResponseBody, request: OpenRequest) -> Self {
        Self { body, request }
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
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.request.activity.response_moved();
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
