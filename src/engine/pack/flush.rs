//! Group sync: one leader makes everything appended so far durable while the others wait for it.
//!
//! Only the leader ever syncs a pack that clients append to. The kernel reports a failed write-back once; with two threads syncing one
//! file the wrong one could see it. After a failure nothing may count as durable: the set is poisoned for good.

use crate::engine::EngineError;
use crate::storage::PackId;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Flush {
    /// Writes so far. Raised after the write and after its pack stands in `dirty`.
    written: AtomicU64,
    dirty: Mutex<BTreeSet<PackId>>,
    state: Mutex<State>,
    changed: Condvar,
    poison: OnceLock<String>,
}

#[derive(Debug, Default)]
struct State {
    /// All writes up to this one are durable.
    synced: u64,
    leading: bool,
}

impl Flush {
    /// # Errors
    /// When a sync has failed before.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.poison.get().map_or(Ok(()), |why| Err(EngineError::Poisoned(why.clone())))
    }

    /// # Errors
    /// Always: from now on nothing may count as durable.
    pub(super) fn poison(&self, why: String) -> Result<(), EngineError> {
        let _ = self.poison.set(why);
        self.check()
    }

    /// Notes bytes that were written to a pack.
    pub(super) fn wrote(&self, pack: PackId) {
        self.dirty.lock().insert(pack);
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns once everything noted before the call is durable. `sync` is called for one pack after the other.
    pub(super) fn sync(&self, sync: impl Fn(PackId) -> io::Result<()>) -> Result<(), EngineError> {
        let target = self.written.load(Ordering::Acquire);
        let mut state = self.state.lock();
        loop {
            self.check()?;
            if state.synced >= target {
                return Ok(());
            }
            if !state.leading {
                break;
            }
            self.changed.wait(&mut state);
        }
        state.leading = true;
        drop(state);
        let mut leader = Leader { flush: self, through: None };
        let through = self.written.load(Ordering::Acquire);
        let dirty = std::mem::take(&mut *self.dirty.lock());
        for pack in dirty {
            if let Err(error) = sync(pack) {
                return self.poison(format!("pack {pack}: {error}"));
            }
        }
        leader.through = Some(through);
        Ok(())
    }
}

/// Gives the lead back, also when the sync panicked.
struct Leader<'a> {
    flush: &'a Flush,
    through: Option<u64>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = self.flush.state.lock();
        match self.through {
            Some(through) => state.synced = through,
            None => drop(self.flush.poison.set("a sync was interrupted".to_owned())),
        }
        state.leading = false;
        self.flush.changed.notify_all();
    }
}
