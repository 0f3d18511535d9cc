//! Who is reading or writing, and since which log position.

use super::sync::{AtomicU64, Mutex, Ordering};
use crate::types::CommitSeq;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keeps what its owner hit, inserted or found referenced from collection, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    serial: u64,
    epoch: CommitSeq,
    holds: Arc<Holds>,
}

impl Hold {
    /// The log position that was applied when the hold was taken.
    #[must_use]
    pub const fn epoch(&self) -> CommitSeq {
        self.epoch
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.live.lock().by_serial.remove(&self.serial);
    }
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    live: Mutex<Live>,
    /// Written only by [`Holds::publish`].
    applied: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    by_serial: BTreeMap<u64, (CommitSeq, Instant)>,
}

impl Holds {
    pub(super) fn applied(&self) -> CommitSeq {
        CommitSeq::new(self.applied.load(Ordering::Acquire))
    }

    pub(super) fn publish(&self, applied: CommitSeq) {
        self.applied.store(applied.get(), Ordering::Release);
    }

    /// The position is read under the lock: a hold taken after [`Holds::oldest`] has an epoch no older than what
    /// was applied then.
    pub(super) fn take(self: &Arc<Self>) -> Hold {
        let mut live = self.live.lock();
        let (serial, epoch) = (live.next, self.applied());
        live.next += 1;
        live.by_serial.insert(serial, (epoch, Instant::now()));
        drop(live);
        Hold { serial, epoch, holds: Arc::clone(self) }
    }

    pub(super) fn oldest(&self) -> Option<CommitSeq> {
        // Positions grow, but for an index that was opened anew: so not simply the first.
        self.live.lock().by_serial.values().map(|(epoch, _)| *epoch).min()
    }

    pub(super) fn oldest_age(&self) -> Option<Duration> {
        self.live.lock().by_serial.first_key_value().map(|(_, (_, since))| since.elapsed())
    }

    /// The serial that the next hold gets.
    pub(super) fn next_serial(&self) -> u64 {
        self.live.lock().next
    }

    /// Whether every hold taken before that serial is gone.
    pub(super) fn all_gone_before(&self, serial: u64) -> bool {
        self.live.lock().by_serial.first_key_value().is_none_or(|(first, _)| *first >= serial)
    }
}
