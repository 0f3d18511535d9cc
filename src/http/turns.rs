//! Whose request is read next, where more have come than can be begun at once: by turns of the clients.
//!
//! Before a head is read nobody knows what it asks for, and reading it, checking its signature and answering what is in memory is most of what a small request
//! costs. A thousand connections that are ready together would each have that done before the one that came last is looked at. So only a
//! few are begun in a round; the others stand in a line of their client, which costs a look at the connection, and a round later the next few are
//! called, a client each in turn. A round is as long as it takes the runtime to look at everything that is ready.
//!
//! A client is an address and, from the first request of a connection on that was signed, by whom.

use crate::types::Caller;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// So many requests are begun in a round.
const ROUND: usize = 32;

type Client = (IpAddr, u64);

/// The lines of a listener.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: Mutex<Lines>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    /// How many more are begun in this round.
    left: usize,
    lines: HashMap<Client, VecDeque<Arc<Ticket>>>,
    /// Those who have a line, in the order of their turns.
    turns: VecDeque<Client>,
}

/// A connection's place in its client's line.
#[derive(Debug, Default)]
struct Ticket(Mutex<Standing>);

#[derive(Debug, Default)]
enum Standing {
    #[default]
    Outside,
    Waiting(Waker),
    Called,
    Gone,
}

/// What a connection comes to the lines with.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    ticket: Arc<Ticket>,
    address: IpAddr,
    caller: Caller,
}

impl Turns {
    /// Calls whoever waits. Ends never.
    pub(super) async fn call(&self) {
        loop {
            self.wanted.notified().await;
            loop {
                // Who is ready by now comes to the lines first.
                tokio::task::yield_now().await;
                if !self.round() {
                    break;
                }
            }
        }
    }

    /// Whether anybody is left in the lines.
    fn round(&self) -> bool {
        let mut called = Vec::new();
        let mut lines = self.lines.lock();
        while called.len() < ROUND
            && let Some(ticket) = lines.next()
        {
            called.extend(ticket.call());
        }
        lines.left = ROUND - called.len();
        let is_left = !lines.turns.is_empty();
        drop(lines);
        called.into_iter().for_each(Waker::wake);
        is_left
    }
}

impl Lines {
    fn next(&mut self) -> Option<Arc<Ticket>> {
        let client = self.turns.pop_front()?;
        let line = self.lines.get_mut(&client)?;
        let ticket = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        ticket
    }

    fn join(&mut self, client: Client, ticket: &Arc<Ticket>) {
        let line = self.lines.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back(Arc::clone(ticket));
    }
}

impl Ticket {
    /// `None`: the connection has gone.
    fn call(&self) -> Option<Waker> {
        let mut standing = self.0.lock();
        match std::mem::replace(&mut *standing, Standing::Called) {
            Standing::Waiting(waker) => Some(waker),
            other => {
                *standing = other;
                None
            }
        }
    }
}

impl Turn {
    pub(super) fn new(turns: Arc<Turns>, address: IpAddr, caller: Caller) -> Self {
        Self { turns, ticket: Arc::default(), address, caller }
    }

    /// Ready when the connection's next request may be read.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut lines = self.turns.lines.lock();
        let mut standing = self.ticket.0.lock();
        match &mut *standing {
            Standing::Called => {
                *standing = Standing::Outside;
                return Poll::Ready(());
            }
            Standing::Waiting(waker) => waker.clone_from(cx.waker()),
            Standing::Gone => {}
            Standing::Outside if lines.left > 0 && lines.turns.is_empty() => {
                lines.left -= 1;
                if lines.left == ROUND / 2 {
                    self.turns.wanted.notify_one();
                }
                return Poll::Ready(());
            }
            Standing::Outside => {
                *standing = Standing::Waiting(cx.waker().clone());
                lines.join((self.address, self.caller.name()), &self.ticket);
                self.turns.wanted.notify_one();
            }
        }
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.ticket.0.lock() = Standing::Gone;
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
