//! Opening the index anew while it serves, after a write failed.
//!
//! The tree takes no write after one failed, also when the device has space again. Opened anew it is as after a
//! crash: what was not durable is taken from the packs and the log again.

use super::catalogue::Prefer;
use super::lookup::{ChunkIndex, Shared};
use super::store::Totals;
use super::types::Progress;
use crate::engine::EngineError;
use crate::types::CommitSeq;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// What has to be past before the index knows all again that it knew before it was opened anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reopened {
    /// Holds with a smaller serial are from before.
    pub(super) serial: u64,
    /// What was applied before.
    applied: CommitSeq,
}

/// See [`ChunkIndex::steady`].
#[derive(Debug)]
pub struct Steady<'a> {
    _guard: parking_lot::RwLockReadGuard<'a, ()>,
}

impl ChunkIndex {
    /// Why nothing can be written until [`Self::heal`] succeeds.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.0.store.failure().subscribe()
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(crate) fn fail(&self, why: &str) {
        self.0.store.failure().send_replace(Some(why.to_owned()));
    }

    /// As when it could not be opened anew: nothing is read or written.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.0.store.close();
        self.fail("on purpose");
    }

    /// Whether it is opened anew now, or as soon as the steps under way have ended.
    #[cfg(test)]
    pub(crate) fn is_reopening(&self) -> bool {
        self.0.steady.try_read().is_none()
    }

    /// As long as the guard lives, what the index said stays so: a step of a collection acts on it.
    #[must_use]
    pub fn steady(&self) -> Steady<'_> {
        Steady { _guard: self.0.steady.read() }
    }

    /// Opens the index anew if a write failed. What it had applied may be less than before; reading waits
    /// meanwhile. Blocks for as long as the packs take that are not known completely.
    ///
    /// # Errors
    /// `Full` and `Io` as long as the device takes no writes; then, or when it is in use for too long, it can be
    /// tried again. `Index` when it cannot be used any more: then only a restart builds another.
    pub fn heal(&self) -> Result<(), EngineError> {
        if self.0.store.failure().borrow().is_none() {
            return Ok(());
        }
        let _steps_ended = self.0.steady.write();
        let mut to_count = self.0.applying.lock();
        let mut settling = self.0.settling.lock();
        let mut totals = self.0.totals.lock();
        let _closed = self.0.gate.write();
        *to_count = None;
        {
            let mut reopened = self.0.reopened.lock();
            reopened.applied = reopened.applied.max(self.applied());
            reopened.serial = self.0.holds.next_serial();
        }
        settling.1.clear();
        self.0.store.reopen()?;
        let healed = self.take_over(&mut totals);
        if healed.is_err() {
            // Half of it must not be read or written: closed, until it is whole.
            self.0.store.close();
        }
        healed
    }

    /// Goes on with what the tree holds now, and finds again what it has lost.
    fn take_over(&self, totals: &mut Totals) -> Result<(), EngineError> {
        let lost = || EngineError::Index("it was lost; restart to have it built anew".into());
        *totals = self.0.store.load()?.ok_or_else(lost)?;
        let applied = totals.position.applied;
        self.0.holds.publish(applied);
        self.0.published.send_replace(applied);
        // Whoever began meanwhile took the position from before for his own.
        self.0.reopened.lock().serial = self.0.holds.next_serial();
        // What is under way may not be durable: an entry must not go from what is to what is not.
        self.catalogue_unknown(totals, Prefer::Known, Progress::SILENT)?;
        self.0.store.persist()?;
        self.0.is_catalogued.store(false, Ordering::Release);
        self.0.store.failure().send_replace(None);
        tracing::warn!(%applied, "the chunk index was opened anew after a failed write");
        Ok(())
    }
}

impl Shared {
    /// Whether the stamps of everybody at work are known.
    pub(super) fn is_whole(&self, totals: &Totals) -> bool {
        let reopened = *self.reopened.lock();
        totals.position.applied >= reopened.applied && self.holds.all_gone_before(reopened.serial)
    }
}

#[cfg(test)]
#[path = "heal_tests.rs"]
mod tests;
