//! So much at a time, and whoever waits is let in by turns of the clients, not of the requests.
//!
//! A client that asks for a thousand things at once waits in a line of its own: another one's first request is next but
//! one. Where all the lines together are full, the longest loses its last.

use super::Party;
use super::shares::Shares;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most that wait at one gate: each keeps its request's head in memory.
const MOST_WAITING: usize = 4096;

/// Waited too long, or too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) struct Refused;

/// Clones are one gate.
#[derive(Debug, Clone)]
pub(in crate::s3) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: Mutex<Lines>,
    limit: usize,
    patience: Duration,
    meters: Meters,
}

#[derive(Debug, Default)]
struct Lines {
    free: usize,
    /// Where clients have shares.
    shares: Option<Shares>,
    waiting: usize,
    lines: HashMap<Party, VecDeque<Turn>>,
    /// Those who have a line, in the order of their turns.
    turns: VecDeque<Party>,
}

/// Somebody in a line, and how much he wants of what there is.
#[derive(Debug)]
struct Turn {
    weight: usize,
    let_in: oneshot::Sender<Slot>,
}

/// A place behind the gate, until it is dropped.
#[derive(Debug)]
pub(in crate::s3) struct Slot {
    gate: Option<Arc<Shared>>,
    weight: usize,
    /// Whose share it is of.
    party: Option<Party>,
}

impl Gate {
    pub(in crate::s3) fn new(class: &'static str, limit: usize, patience: Duration) -> Self {
        Self::of(class, limit, None, patience)
    }

    /// Where one client has no more than its share as long as another one comes, too. All weights are one.
    pub(super) fn shared(class: &'static str, limit: usize, shares: Shares, patience: Duration) -> Self {
        Self::of(class, limit, Some(shares), patience)
    }

    fn of(class: &'static str, limit: usize, shares: Option<Shares>, patience: Duration) -> Self {
        let lines = Mutex::new(Lines { free: limit, shares, ..Lines::default() });
        Self(Arc::new(Shared { lines, limit, patience, meters: Meters::new(class) }))
    }

    /// Waits its turn. Who wants more than there is gets all of it.
    pub(in crate::s3) async fn enter(&self, party: &Party, weight: usize) -> Result<Slot, Refused> {
        let turn = match self.0.try_enter(party, weight.min(self.0.limit)) {
            Ok(slot) => return Ok(slot),
            Err(turn) => turn,
        };
        let _waiting = Waiting::new(&self.0);
        let let_in = tokio::time::timeout(self.0.patience, turn).await;
        let_in.ok().and_then(Result::ok).ok_or_else(|| {
            self.0.meters.refused.increment(1);
            Refused
        })
    }

    /// How many wait.
    pub(in crate::s3) fn waiting(&self) -> usize {
        self.0.meters.now_waiting.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn in_lines(&self) -> usize {
        self.0.lines.lock().waiting
    }
}

impl Shared {
    fn try_enter(self: &Arc<Self>, party: &Party, weight: usize) -> Result<Slot, oneshot::Receiver<Slot>> {
        let mut lines = self.lines.lock();
        if lines.lets_in(party, weight) {
            let party = lines.take(party, weight);
            drop(lines);
            return Ok(self.slot(weight, party));
        }
        let (let_in, turn) = oneshot::channel();
        let may_wait = lines.waiting < MOST_WAITING || lines.make_room(party);
        if may_wait {
            lines.join(party, Turn { weight, let_in });
        }
        drop(lines);
        if may_wait {
            // Those before may all have given up.
            self.pass_on(0, None);
        }
        Err(turn)
    }

    fn slot(self: &Arc<Self>, weight: usize, party: Option<Party>) -> Slot {
        self.meters.running.increment(1.0);
        Slot { gate: Some(Arc::clone(self)), weight, party }
    }

    /// Gives back, and lets in whose turn it is, as far as there is room for them.
    fn pass_on(self: &Arc<Self>, weight: usize, party: Option<Party>) {
        let mut free = (weight, party);
        loop {
            let next = {
                let mut lines = self.lines.lock();
                lines.give_back(std::mem::take(&mut free));
                lines.next()
            };
            let Some((Turn { weight, let_in }, party)) = next else { return };
            // Who gave up this moment leaves his place to the next.
            if let Err(slot) = let_in.send(self.slot(weight, party)) {
                free = slot.void();
            }
        }
    }
}

impl Lines {
    /// Whether somebody who comes now need not wait.
    fn lets_in(&self, party: &Party, weight: usize) -> bool {
        match &self.shares {
            None => self.waiting == 0 && self.free >= weight,
            // Who waits although there is room has his share.
            Some(shares) => self.free >= weight && !self.lines.contains_key(party) && shares.allow(party),
        }
    }

    /// Whose share is less by it, where there are any.
    fn take(&mut self, party: &Party, weight: usize) -> Option<Party> {
        self.free -= weight;
        let shares = self.shares.as_mut()?;
        shares.take(party);
        Some(party.clone())
    }

    fn give_back(&mut self, (weight, party): (usize, Option<Party>)) {
        self.free += weight;
        if let (Some(shares), Some(party)) = (&mut self.shares, party) {
            shares.give_back(&party);
        }
    }

    fn join(&mut self, party: &Party, turn: Turn) {
        let line = self.lines.entry(party.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(party.clone());
        }
        line.push_back(turn);
        self.waiting += 1;
    }

    /// Whose turn it is, if there is room for him; his share is taken.
    fn next(&mut self) -> Option<(Turn, Option<Party>)> {
        let mut with_all_of_theirs = 0;
        loop {
            if let (Some(shares), Some(party)) = (&self.shares, self.turns.front())
                && !shares.allow(party)
            {
                if with_all_of_theirs >= self.turns.len() {
                    return None;
                }
                with_all_of_theirs += 1;
                self.turns.rotate_left(1);
                continue;
            }
            let line = self.lines.get_mut(self.turns.front()?)?;
            let has_gone = |turn: &Turn| turn.let_in.is_closed();
            if line.front().is_some_and(|turn| !has_gone(turn) && turn.weight > self.free) {
                return None;
            }
            let turn = line.pop_front();
            let is_last = line.is_empty();
            self.waiting -= usize::from(turn.is_some());
            let turn = turn.filter(|turn| !has_gone(turn));
            // Who has gone has not had the client's turn.
            let party = self.turns.pop_front()?;
            let taken = turn.map(|turn| (self.take(&party, turn.weight), turn));
            if is_last {
                self.lines.remove(&party);
            } else if taken.is_some() {
                self.turns.push_back(party);
            } else {
                self.turns.push_front(party);
            }
            if let Some((party, turn)) = taken {
                return Some((turn, party));
            }
        }
    }

    /// Sends the last of the longest line away, if that is longer than the party's own.
    fn make_room(&mut self, party: &Party) -> bool {
        let own = self.lines.get(party).map_or(0, VecDeque::len);
        let longest = self.lines.values_mut().max_by_key(|line| line.len());
        // More than one is left in it, so it keeps its turn.
        let Some(longest) = longest.filter(|line| line.len() > own + 1) else { return false };
        longest.pop_back();
        self.waiting -= 1;
        true
    }
}

impl Slot {
    /// Keeps the place, and lets another one of its client in.
    pub(super) fn leave_share(&mut self) {
        if let (Some(gate), Some(party)) = (&self.gate, self.party.take()) {
            gate.pass_on(0, Some(party));
        }
    }

    /// Forgets a place whose share is passed on by whoever made this.
    fn void(mut self) -> (usize, Option<Party>) {
        if let Some(gate) = self.gate.take() {
            gate.meters.running.decrement(1.0);
        }
        (self.weight, self.party.take())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.meters.running.decrement(1.0);
            gate.pass_on(self.weight, self.party.take());
        }
    }
}

/// Counted as long as it lives.
struct Waiting<'a>(&'a Arc<Shared>);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Arc<Shared>) -> Self {
        gate.meters.waiting.increment(1.0);
        gate.meters.now_waiting.fetch_add(1, Ordering::Relaxed);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.meters.waiting.decrement(1.0);
        self.0.meters.now_waiting.fetch_sub(1, Ordering::Relaxed);
        // Who gave up may have kept those behind him from what is free.
        self.0.pass_on(0, None);
    }
}

struct Meters {
    running: metrics::Gauge,
    waiting: metrics::Gauge,
    now_waiting: AtomicUsize,
    refused: metrics::Counter,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    fn new(class: &'static str) -> Self {
        Self {
            running: metrics::gauge!("sediment_admission_running", "class" => class),
            waiting: metrics::gauge!("sediment_admission_waiting", "class" => class),
            now_waiting: AtomicUsize::new(0),
            refused: metrics::counter!("sediment_admission_refused_total", "class" => class),
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
