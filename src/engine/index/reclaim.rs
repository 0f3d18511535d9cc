//! What collection needs: finding, removing and moving entries.

use super::changes::Changes;
use super::encoding::zero_key;
use super::lookup::ChunkIndex;
use super::stamps;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::engine::pack::Location;
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Entries removed in one batch: a few milliseconds under the lock.
const BATCH_ENTRIES: usize = 256;

impl ChunkIndex {
    /// Entries without references since before `bound`, longest first, behind `after`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn candidates(
        &self,
        bound: CommitSeq,
        after: Option<(CommitSeq, ChunkId)>,
        limit: usize,
    ) -> Result<Vec<(CommitSeq, ChunkId, Location)>, EngineError> {
        let from = after.map_or(Bound::Unbounded, |(since, id)| Bound::Excluded(zero_key(since, &id)));
        let end = Bound::Excluded(zero_key(bound, &ChunkId::new([0; 32])));
        if let Bound::Excluded(from) = &from
            && *from >= zero_key(bound, &ChunkId::new([0; 32]))
        {
            return Ok(Vec::new());
        }
        self.0.settle_recent(|entry| entry.zero_since < bound)?;
        let _open = self.0.gate.read();
        let mut found = Vec::new();
        for (since, id) in self.0.store.zeros((from, end), limit)? {
            if let Some(entry) = self.0.store.get(&id)? {
                found.push((since, id, entry.location));
            }
        }
        Ok(found)
    }

    /// As many times [`Self::collect`] as it takes with few entries each. In between, with no lock held, `rest` is told
    /// how long the last step took. After an error some may be gone, of which only a scan of their packs tells.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn collect_in_steps(
        &self,
        ids: &[ChunkId],
        bound: CommitSeq,
        rest: &mut dyn FnMut(Duration),
    ) -> Result<Vec<(ChunkId, Location)>, EngineError> {
        let mut removed = Vec::new();
        for some in ids.chunks(BATCH_ENTRIES) {
            let began = Instant::now();
            removed.extend(self.collect(some, bound)?);
            rest(began.elapsed());
        }
        Ok(removed)
    }

    /// Removes those that still have no references since before `bound`. Returns the removed ones whose records
    /// are there: nothing names them any more. Make the removal durable before touching them.
    ///
    /// # Errors
    /// `Busy` after [`Self::heal`], as long as anybody is at work from before; `Index` while there are
    /// [`Self::uncounted_nodes`]; as [`Self::get`]. Then nothing was removed.
    pub fn collect(
        &self,
        ids: &[ChunkId],
        bound: CommitSeq,
    ) -> Result<Vec<(ChunkId, Location)>, EngineError> {
        let mut totals = self.0.totals.lock();
        if !self.0.is_whole(&totals) {
            return Err(EngineError::Busy(
                "requests are under way that began before the chunk index was opened anew",
            ));
        }
        let uncounted = self.uncounted_nodes();
        if uncounted > 0 {
            return Err(EngineError::Index(format!(
                "{uncounted} manifest nodes cannot be read: nothing is collected, for what they need is not known"
            )));
        }
        // After it was opened anew, holds may be older than the bound, which was made before.
        let bound = stamps::bound(bound, self.0.holds.oldest());
        let mut changes = Changes::new(&self.0.store);
        let mut removed = Vec::new();
        for id in ids {
            let entry = changes.get(id)?;
            if let Some(entry) =
                entry.filter(|entry| stamps::may_go(entry.references, entry.zero_since, bound))
            {
                changes.set(id, None)?;
                removed.extend(self.0.place(&entry).map(|location| (*id, location)));
            }
        }
        changes.commit(&mut totals)?;
        Ok(removed)
    }

    /// Points entries that are still at `from` to `to`, where the same record is durable. Returns how many.
    ///
    /// # Errors
    /// As [`Self::get`]; then none was moved.
    pub fn relocate(&self, moves: &[(ChunkId, Location, Location)]) -> Result<usize, EngineError> {
        let mut totals = self.0.totals.lock();
        let mut changes = Changes::new(&self.0.store);
        let mut moved = 0;
        for (id, from, to) in moves {
            if let Some(entry) = changes.get(id)?.filter(|entry| entry.location == *from) {
                changes.set(id, Some(IndexEntry { location: *to, ..entry }))?;
                moved += 1;
            }
        }
        changes.commit(&mut totals)?;
        Ok(moved)
    }

    /// The pack was removed.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn forget_pack(&self, pack: PackId) -> Result<(), EngineError> {
        self.0.totals.lock().usage.remove(&pack);
        self.0.settling.lock().1.retain(|other| *other != pack);
        self.0.store.remove_usage(pack)?;
        self.0.store.unmark_known(pack)
    }
}
