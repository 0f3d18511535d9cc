//! The socket as hyper sees it: checked on the way in, completed on the way out, closed politely.

use super::activity::Activity;
use super::crowd::Member;
use super::framing::{Framing, Phase};
use super::reading::ReadShare;
use super::settings::HttpSettings;
use super::turns::Turn;
use super::unreadable::{Refuser, Unreadable, refusal_to};
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Nobody pays for more turns than that, or time would run out for the body behind them.
const MOST_OWED: u32 = 256;
/// Not part of any request, and an end of head: hyper looks at a head only once that has come.
const REFUSED: &[u8] = b"\0\r\n\r\n";
/// What is still read from a client that has not noticed the end of its connection.
const LINGER_BYTES: usize = 8 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// One of the connections that there may be, and that its address may have.
#[derive(Debug)]
pub(super) struct Place {
    /// Given back first: who gets the permit may be of the same address.
    pub(super) _member: Member,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A connection's socket.
pub(super) struct GuardedStream {
    /// Taken on drop only.
    tcp: Option<TcpStream>,
    framing: Framing,
    activity: Arc<Activity>,
    http2_permits: Arc<Semaphore>,
    http2: Option<OwnedSemaphorePermit>,
    /// Held until the peer has been let go of.
    place: Option<Place>,
    limits: HttpSettings,
    /// Nothing more is read: the peer ended, or broke the rules.
    ended: bool,
    peer_ended: bool,
    /// What is still to be read in place of a violation.
    refused: &'static [u8],
    interim: &'static [u8],
    refuser: Refuser,
    /// Why the rules were broken, once they were.
    violated: Option<Unreadable>,
    share: ReadShare,
    turn: Turn,
    /// Heads that were read without a turn, behind another one or behind a body: each takes one before more is read.
    owed: u32,
    /// What is written in place of hyper's answer to what it cannot read. Empty once it has left.
    own: Option<Bytes>,
}

impl GuardedStream {
    pub(super) fn new(
        tcp: TcpStream,
        activity: Arc<Activity>,
        (place, http2_permits): (Place, Arc<Semaphore>),
        limits: &HttpSettings,
        refuser: Refuser,
        (share, turn): (ReadShare, Turn),
    ) -> Self {
        Self {
            tcp: Some(tcp),
            framing: Framing::new(limits.max_header_bytes),
            activity,
            http2_permits,
            http2: None,
            place: Some(place),
            limits: limits.clone(),
            ended: false,
            peer_ended: false,
            refused: &[],
            interim: &[],
            refuser,
            violated: None,
            own: None,
            share,
            turn,
            owed: 0,
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.tcp.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Looks at what was just read and returns how much of it may be believed. A violation becomes bytes that
    /// hyper must refuse, and the end: so its 400 comes after the answers to the requests before.
    fn check(&mut self, read: &[u8]) -> usize {
        let took_turn = u32::from(self.framing.phase() == Phase::Idle);
        let checked = self.framing.advance(read);
        let phase = self.framing.phase();
        self.owed = self.framing.take_heads().saturating_sub(took_turn).min(MOST_OWED);
        self.activity.phase(phase);
        self.share.set(phase == Phase::Body);
        if phase == Phase::Http2 && self.http2.is_none() {
            self.http2 = Arc::clone(&self.http2_permits).try_acquire_owned().ok();
            if self.http2.is_none() {
                self.ended = true;
                return 0;
            }
        }
        match checked {
            Ok(()) => read.len(),
            Err(violation) => {
                metrics::counter!("sediment_http_framing_violations_total").increment(1);
                self.ended = true;
                let is_full = self.framing.is_head_full();
                self.violated = Some(if is_full { Unreadable::HeadTooLarge } else { Unreadable::Malformed });
                self.refused = REFUSED;
                violation.at
            }
        }
    }

    /// A request that has come is read when it is its client's turn, and more of whatever is sent once those read before it
    /// have had theirs.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let begins = matches!(self.framing.phase(), Phase::Idle | Phase::Http2);
        if !begins && self.owed == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.tcp()?.poll_read_ready(cx))?;
        let turn = self.poll_turns(u32::from(begins), cx);
        self.activity.waits_for_turn(turn.is_pending());
        turn.map(Ok)
    }

    fn poll_turns(&mut self, next: u32, cx: &mut Context<'_>) -> Poll<()> {
        while self.owed > 0 {
            ready!(self.turn.poll(cx));
            self.owed -= 1;
        }
        if next > 0 { self.turn.poll(cx) } else { Poll::Ready(()) }
    }

    /// Reads no more at once than this connection's share.
    fn poll_share(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let share = self.share.bytes();
        if share >= buffer.remaining() {
            return self.tcp()?.poll_read(cx, buffer);
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(share));
        ready!(self.tcp()?.poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }

    fn put_refused(&mut self, buffer: &mut ReadBuf<'_>) {
        let (now, later) = self.refused.split_at(self.refused.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.refused = later;
    }

    /// hyper answers what it cannot read by itself, and says no more than a status. The first bytes of such an answer
    /// are known by nobody else having any to write.
    fn look_at(&mut self, answer: &[u8]) {
        let is_own = self.framing.phase() != Phase::Http2 && self.activity.is_quiet();
        if self.own.is_none() && is_own && Unreadable::is_answered_by(answer) {
            let why = self.violated.unwrap_or_else(|| Unreadable::of_answer(answer));
            self.own = Some(refusal_to(&(self.refuser)(why)));
        }
    }

    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(own) = self.own.clone().filter(|own| !own.is_empty()) {
            let written = ready!(self.tcp()?.poll_write(cx, &own))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own = Some(own.slice(written..));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.take_interim() {
            self.interim = INTERIM;
        }
        while !self.interim.is_empty() {
            let interim = self.interim;
            let written = ready!(self.tcp()?.poll_write(cx, interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = &interim[written..];
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            self.put_refused(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(self.poll_turn(cx))?;
        ready!(self.poll_share(cx, buffer))?;
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            self.ended = true;
            self.peer_ended = true;
            return Poll::Ready(Ok(()));
        }
        self.activity.progress.read(read.len());
        let believed = self.check(read);
        if self.framing.phase() == Phase::Http2 && self.activity.progress.is_flood(&self.limits) {
            metrics::counter!("sediment_http_floods_total").increment(1);
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        buffer.set_filled(before + believed);
        self.put_refused(buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.look_at(bytes);
        self.activity.wrote();
        if self.own.is_some() {
            return Poll::Ready(ready!(self.poll_own(cx)).map(|()| bytes.len()));
        }
        let written = ready!(self.tcp()?.poll_write(cx, bytes))?;
        self.activity.progress.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.look_at(slices.first().map_or(&[], |slice| slice));
        self.activity.wrote();
        if self.own.is_some() {
            let length = slices.iter().map(|slice| slice.len()).sum();
            return Poll::Ready(ready!(self.poll_own(cx)).map(|()| length));
        }
        let written = ready!(self.tcp()?.poll_write_vectored(cx, slices))?;
        self.activity.progress.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this once its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.tcp()?.poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_shutdown(cx)
    }
}

/// Closing a socket with unread bytes resets the connection, and the reset may overtake the answer: a client in
/// the middle of a body that was refused would see "broken pipe" instead of why. So the write side is ended first
/// and the rest read for a moment.
impl Drop for GuardedStream {
    fn drop(&mut self) {
        let (Some(tcp), Ok(runtime)) = (self.tcp.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        if self.peer_ended {
            return;
        }
        let place = self.place.take();
        runtime.spawn(async move {
            let _ = tokio::time::timeout(LINGER, linger(tcp)).await;
            drop(place);
        });
    }
}

async fn linger(mut tcp: TcpStream) {
    use tokio::io::AsyncWriteExt;
    if tcp.shutdown().await.is_err() {
        return;
    }
    let mut scratch = vec![0; 16 << 10];
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = tcp.read(&mut scratch).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
