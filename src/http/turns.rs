//! Whose request is read next, where more have come than can be begun at once: by turns of the clients.
//!
//! Before a head is read nobody knows what it asks for, and reading it, checking its signature and answering what is in memory is most of what a small request
//! costs. A thousand connections that are ready together would each have that done before the one that came last is looked at. So while several clients
//! ask, only a few requests are begun at a time; the others stand in a line of their client, which costs a look at the connection, and the next
//! few are called, a client each in turn, as those before them come to be read. One client alone takes no turns.
//!
//! A client is an address and, from the first request of a connection on that was signed, by whom.

use crate::sys::step_aside;
use crate::types::Caller;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections that were called and have not come: they stand in the runtime's line, which knows no clients.
const CALLED: usize = 8;
/// Whoever was called and has not come for so long is not waited for: it may be busy with something else.
const PATIENCE: Duration = Duration::from_millis(5);
/// Where nobody waits, so many requests are begun uncalled, until the runtime has looked for others.
const UNCALLED: usize = 4;
/// Turns are taken for so many requests of one client behind one of another: some seconds, if it sends as many as can be answered.
const REMEMBERED: u32 = 100_000;
/// So many more requests whose client is not known than others, from one address, are of another client than those.
const UNNAMED: u32 = 256;
/// So many requests of a connection are begun for each time that its thread lets the store's threads run first: with all cores at work they
/// would wait some milliseconds for theirs, several times for each write.
const GIVES_WAY: u32 = 2;

type Client = (IpAddr, u64);

/// The lines of a listener.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: Mutex<Lines>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    lines: HashMap<Client, VecDeque<Arc<Ticket>>>,
    /// Those who have a line, in the order of their turns.
    turns: VecDeque<Client>,
    /// Who asked last, of those whose client is known; or else from where.
    latest: Option<Client>,
    /// For so many more requests of that one turns are taken.
    contended: u32,
    uncalled: usize,
    /// How many were called in this epoch and have not come.
    called: usize,
    epoch: u64,
    /// When the first of them was called.
    epoch_began: Option<Instant>,
    /// How far those whose client is not known at the address of the latest outnumber those who are.
    unnamed: u32,
}

/// A connection's place in its client's line.
#[derive(Debug, Default)]
struct Ticket(Mutex<Standing>);

#[derive(Debug, Default)]
enum Standing {
    #[default]
    Outside,
    Waiting(Waker),
    /// In that epoch.
    Called(u64),
    Gone,
}

/// What a connection comes to the lines with.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    ticket: Arc<Ticket>,
    address: IpAddr,
    caller: Caller,
    begun: u32,
}

/// What a round found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nobody,
    /// More are left.
    Some,
    /// More are left, and none could be called.
    Full,
}

impl Turns {
    /// Calls whoever waits. Ends never.
    pub(super) async fn call(&self) {
        loop {
            self.wanted.notified().await;
            loop {
                // Who is ready by now comes to the lines first.
                tokio::task::yield_now().await;
                match self.round() {
                    Found::Nobody => break,
                    Found::Some => {}
                    // Who joins wakes it as well, so the next round looks at the time itself.
                    Found::Full => drop(tokio::time::timeout(PATIENCE, self.wanted.notified()).await),
                }
            }
        }
    }

    fn round(&self) -> Found {
        let mut wakers = Vec::new();
        let mut lines = self.lines.lock();
        lines.uncalled = UNCALLED;
        if lines.called == CALLED && lines.epoch_began.is_some_and(|began| began.elapsed() >= PATIENCE) {
            lines.forget();
        }
        if lines.called == 0 {
            lines.epoch_began = Some(Instant::now());
        }
        while lines.called < CALLED
            && let Some(ticket) = lines.next()
        {
            if let Some(waker) = ticket.call(lines.epoch) {
                lines.called += 1;
                wakers.push(waker);
            }
        }
        let is_left = !lines.turns.is_empty();
        drop(lines);
        let is_full = wakers.is_empty();
        wakers.into_iter().for_each(Waker::wake);
        match is_left {
            false => Found::Nobody,
            true if is_full => Found::Full,
            true => Found::Some,
        }
    }

    /// Somebody who was called has come, or gone.
    fn came(&self, lines: &mut Lines, epoch: u64) {
        if epoch == lines.epoch {
            lines.called -= 1;
            if !lines.turns.is_empty() {
                self.wanted.notify_one();
            }
        }
    }
}

impl Lines {
    /// Whether a request is of another client than the latest. Before its first request a connection's client is its address alone: of
    /// those a client has some, but not hundreds in a row.
    fn is_another(&mut self, client: Client) -> bool {
        let Some(latest) = self.latest else { return false };
        if client.0 != latest.0 {
            return true;
        }
        if client.1 != 0 {
            self.unnamed = self.unnamed.saturating_sub(UNNAMED / 4);
            return latest.1 != 0 && client.1 != latest.1;
        }
        if latest.1 != 0 {
            self.unnamed = (self.unnamed + 1).min(2 * UNNAMED);
        }
        self.unnamed > UNNAMED
    }

    /// Whoever was called is not waited for any more.
    fn forget(&mut self) {
        self.epoch += 1;
        self.called = 0;
    }

    /// Whether a request may be read without being called.
    fn may_begin(&mut self, client: Client) -> bool {
        self.contended = if self.is_another(client) { REMEMBERED } else { self.contended.saturating_sub(1) };
        if client.1 != 0 || self.latest.is_none_or(|latest| latest.0 != client.0) {
            self.latest = Some(client);
        }
        if self.contended == 0 {
            return true;
        }
        if !self.turns.is_empty() || self.uncalled == 0 {
            return false;
        }
        self.uncalled -= 1;
        true
    }

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
    fn call(&self, epoch: u64) -> Option<Waker> {
        let mut standing = self.0.lock();
        match std::mem::replace(&mut *standing, Standing::Called(epoch)) {
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
        Self { turns, ticket: Arc::default(), address, caller, begun: 0 }
    }

    /// How many turns it had.
    #[cfg(test)]
    pub(super) const fn begun(&self) -> u32 {
        self.begun
    }

    /// Ready when the connection's next request may be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_contended = ready!(self.poll_begin(cx));
        self.begun = self.begun.wrapping_add(1);
        if is_contended && self.begun.is_multiple_of(GIVES_WAY) {
            step_aside();
        }
        Poll::Ready(())
    }

    /// Whether several clients ask.
    fn poll_begin(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut lines = self.turns.lines.lock();
        let mut standing = self.ticket.0.lock();
        match &mut *standing {
            Standing::Called(epoch) => {
                self.turns.came(&mut lines, *epoch);
                *standing = Standing::Outside;
                Poll::Ready(lines.contended > 0)
            }
            Standing::Waiting(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            Standing::Gone => Poll::Pending,
            Standing::Outside => {
                let client = self.client();
                let may_begin = lines.may_begin(client);
                if lines.contended > 0 && lines.uncalled == 0 {
                    self.turns.wanted.notify_one();
                }
                if may_begin {
                    return Poll::Ready(lines.contended > 0);
                }
                *standing = Standing::Waiting(cx.waker().clone());
                lines.join(client, &self.ticket);
                self.turns.wanted.notify_one();
                Poll::Pending
            }
        }
    }

    fn client(&self) -> Client {
        (self.address, self.caller.name())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.turns.lines.lock();
        if let Standing::Called(epoch) = std::mem::replace(&mut *self.ticket.0.lock(), Standing::Gone) {
            self.turns.came(&mut lines, epoch);
        }
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "turns_served_tests.rs"]
mod served_tests;
