//! One client of the server: a connection that is kept, and requests over it, one after the other.

use super::body::Outgoing;
use super::buffers::Buffers;
use super::connection;
use super::context::Context;
use super::failure::{Failure, element};
use super::requests::Call;
use super::sign::Signer;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::sync::Arc;

/// Longer answers that are to be read as text are cut.
const MAX_TEXT: usize = 4 << 20;

pub(super) struct Client<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) buffers: Buffers,
    signer: Signer,
    sender: Option<SendRequest<Outgoing>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        let (target, clock) = (context.target, Arc::clone(&context.clock));
        let host = target.endpoint.authority();
        let signer = Signer::new(target.credentials.clone(), &context.plan.region, host, clock);
        Self { context, buffers: Buffers::default(), signer, sender: None }
    }

    /// Opens the connection if there is none that can be used.
    pub(super) async fn connect(&mut self) -> Result<&mut SendRequest<Outgoing>, Failure> {
        // A server may close a kept connection whenever it is idle: that is no failure.
        let is_usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            self.sender = None;
        }
        let opened = match self.sender.take() {
            Some(sender) => sender,
            None => connection::open(&self.context.target.endpoint).await?,
        };
        Ok(self.sender.insert(opened))
    }

    /// Sends a request and reads the answer to its end; `take` sees the body of a success, piece by piece. Returns how
    /// long that body was.
    pub(super) async fn exchange(
        &mut self,
        call: &Call,
        body: Outgoing,
        take: impl FnMut(&[u8]),
    ) -> Result<(HeaderMap, u64), Failure> {
        let timeout = self.context.plan.timeout;
        let answered = tokio::time::timeout(timeout, self.exchange_in_time(call, body, take)).await;
        let answered = answered.unwrap_or(Err(Failure::Timeout));
        // What stays unread would be taken for the next answer.
        if answered.as_ref().is_err_and(|failure| !matches!(failure, Failure::Refused { .. })) {
            self.sender = None;
        }
        answered
    }

    /// As [`Self::exchange`]; returns the answer's body.
    pub(super) async fn ask(&mut self, call: &Call, body: Outgoing) -> Result<(HeaderMap, String), Failure> {
        let mut text = Vec::new();
        let keep = |piece: &[u8]| {
            text.extend_from_slice(&piece[..piece.len().min(MAX_TEXT - text.len())]);
        };
        let (headers, _) = self.exchange(call, body, keep).await?;
        Ok((headers, String::from_utf8_lossy(&text).into_owned()))
    }

    async fn exchange_in_time(
        &mut self,
        call: &Call,
        body: Outgoing,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(HeaderMap, u64), Failure> {
        let mut request = Request::builder().method(&call.method).uri(call.target());
        for (name, value) in self.signer.headers(call) {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|_| Failure::Answer("it makes no valid request"))?;
        let sender = self.connect().await?;
        let answer = sender.send_request(request).await.map_err(Failure::Broken)?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        let (head, mut body) = answer.into_parts();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Failure::Broken)?;
            let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
            received += data.len() as u64;
            take(data);
        }
        Ok((head.headers, received))
    }
}

/// Reads the answer to its end, so that the connection can be used again.
async fn refusal(answer: Response<Incoming>) -> Failure {
    let status: StatusCode = answer.status();
    let body = match http_body_util::Limited::new(answer.into_body(), MAX_TEXT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let code = element(&String::from_utf8_lossy(&body), "Code").map(str::to_owned);
    Failure::Refused { status, code }
}
