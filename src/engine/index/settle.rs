//! Bringing recent entries into the tree, and noting which packs never have to be scanned again.

use super::changes::Changes;
use super::lookup::Shared;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::sys::yield_point;

/// Entries settled in one batch: a few milliseconds under the lock.
const BATCH_ENTRIES: usize = 256;

impl Shared {
    /// When it returns, no entry is beside the tree that was when it was called, and of this kind.
    pub(super) fn settle_recent(&self, which: impl Fn(&IndexEntry) -> bool) -> Result<(), EngineError> {
        let ids = self.store.recent().ids(which);
        for some in ids.chunks(BATCH_ENTRIES) {
            let mut totals = self.totals.lock();
            let mut changes = Changes::new(&self.store);
            for id in some {
                changes.settle(id)?;
            }
            changes.commit(&mut totals)?;
        }
        Ok(())
    }

    /// Notes which packs never have to be scanned again: they are sealed, and everybody who may have appended
    /// to them has added what was appended. Settles all that is recent.
    pub(super) fn settle_packs(&self) -> Result<(), EngineError> {
        let mut settling = self.settling.lock();
        let (serial, packs) = &mut *settling;
        // First of all: what those add who are gone now is recent by now, or in the tree.
        let is_complete = self.holds.all_gone_before(*serial);
        self.settle_recent(|_| true)?;
        if !is_complete {
            return Ok(());
        }
        yield_point();
        for pack in std::mem::take(packs) {
            self.store.mark_known(pack)?;
        }
        for pack in self.packs.ids() {
            if self.packs.sealed_records(pack).is_some() && !self.store.is_known(pack)? {
                packs.push(pack);
            }
        }
        // Whoever began before the packs were seen sealed may have appended to them.
        *serial = self.holds.next_serial();
        Ok(())
    }
}
