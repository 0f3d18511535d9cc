//! Group sync: one leader makes everything appended so far durable while the others wait for it.
//!
//! Only the leader ever syncs a pack that clients append to. The kernel reports a failed write-back once; with two threads syncing one
//! file the wrong one could see it. After a failure nothing may count as durable: the set is poisoned for good.

use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::lacks_descriptors;
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
        let mut leader = Leader { flush: self, end: End::Interrupted };
        let through = self.written.load(Ordering::Acquire);
        let mut dirty = std::mem::take(&mut *self.dirty.lock());
        while let Some(pack) = dirty.pop_first() {
            match sync(pack) {
                Ok(()) => {}
                // It could not even be opened: nothing was synced, and nothing is lost.
                Err(error) if lacks_descriptors(&error) => {
                    dirty.insert(pack);
                    self.dirty.lock().append(&mut dirty);
                    leader.end = End::NotBegun;
                    return Err(NO_DESCRIPTORS);
                }
                Err(error) => return self.poison(format!("pack {pack}: {error}")),
            }
        }
        leader.end = End::Synced(through);
        Ok(())
    }
}

pub(super) const NO_DESCRIPTORS: EngineError = EngineError::Busy("too many files are open");

enum End {
    Synced(u64),
    NotBegun,
    Interrupted,
}

/// Gives the lead back, also when the sync panicked.
struct Leader<'a> {
    flush: &'a Flush,
    end: End,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = self.flush.state.lock();
        match self.end {
            End::Synced(through) => state.synced = through,
            End::NotBegun => {}
            End::Interrupted => drop(self.flush.poison.set("a sync was interrupted".to_owned())),
        }
        state.leading = false;
        self.flush.changed.notify_all();
    }
}
