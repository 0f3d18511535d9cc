//! Building the index from the packs and the manifests.

use super::apply::Position;
use super::changes::Changes;
use super::lookup::ChunkIndex;
use super::store::{Home, Totals};
use super::types::{IndexEntry, Progress};
use crate::engine::EngineError;
use crate::engine::pack::{Location, ScannedRecord};
use crate::meta::ManifestRow;
use crate::storage::PackId;
use crate::sys::FailPoint;
use crate::types::CommitSeq;
use std::sync::atomic::Ordering;

const BATCH_RECORDS: usize = 4096;
const BATCH_MANIFESTS: usize = 64;

/// Which of two records of a chunk an index takes that finds both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefer {
    /// The one that it knows.
    Known,
    /// The one that was appended last: it was stored again to stand beside its neighbours. All are durable.
    Newest,
}

impl ChunkIndex {
    /// Replaces the whole content: scans all packs, then counts the manifests, which are those of `seq`. Nobody
    /// may write or collect meanwhile. When it fails or is cut off, the next start finds a new index.
    ///
    /// # Errors
    /// `Io` and `Index`; those of `manifests`.
    pub fn rebuild(
        &self,
        manifests: &mut dyn Iterator<Item = Result<ManifestRow, EngineError>>,
        seq: CommitSeq,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        if self.0.is_catalogued.swap(false, Ordering::AcqRel) {
            // Opening it has just done that.
            self.0.store.mark_building()?;
        } else {
            self.clear()?;
            self.0.packs.sync()?;
            let packs = self.0.packs.ids();
            for (done, pack) in packs.iter().enumerate() {
                (progress.0)(done as u64, packs.len() as u64);
                self.catalogue(*pack, &mut self.0.totals.lock(), Prefer::Newest)?;
            }
            (progress.0)(packs.len() as u64, packs.len() as u64);
        }
        FailPoint::IndexBuilding.pass()?;
        let mut batch = Vec::with_capacity(BATCH_MANIFESTS);
        for manifest in manifests {
            batch.push(manifest?);
            if batch.len() == BATCH_MANIFESTS {
                self.count(&batch)?;
                batch.clear();
            }
        }
        self.count(&batch)?;
        FailPoint::IndexCounted.pass()?;
        self.stamp_unused(seq)?;
        let mut totals = self.0.totals.lock();
        totals.position = Position { applied: seq, cursor: None };
        totals.moved = true;
        Changes::new(&self.0.store).commit(&mut totals)?;
        drop(totals);
        FailPoint::IndexRebuilt.pass()?;
        self.0.store.finished()?;
        FailPoint::IndexFinished.pass()?;
        self.0.holds.publish(seq);
        self.0.published.send_replace(seq);
        self.0.is_new.store(false, Ordering::Release);
        Ok(())
    }

    /// Since when the unused entries have been unused nobody knows any more: since now, for whoever copies the store may not
    /// have them yet.
    fn stamp_unused(&self, now: CommitSeq) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.candidates(now, after, BATCH_RECORDS)?;
            let Some((since, id, _)) = page.last() else { return Ok(()) };
            after = Some((*since, *id));
            let mut totals = self.0.totals.lock();
            let mut changes = Changes::new(&self.0.store);
            for (_, id, _) in &page {
                if let Some(entry) = changes.get(id)?.filter(|entry| entry.references == 0) {
                    changes.set(id, Some(IndexEntry { zero_since: now, ..entry }))?;
                }
            }
            changes.commit(&mut totals)?;
        }
    }

    pub(super) fn clear(&self) -> Result<(), EngineError> {
        let mut totals = self.0.totals.lock();
        self.0.store.begin_building()?;
        *totals = Totals::default();
        drop(totals);
        *self.0.applying.lock() = None;
        self.0.settling.lock().1.clear();
        Ok(())
    }

    /// Adds the records of packs that are not known completely. Nobody else changes anything meanwhile.
    pub(super) fn catalogue_unknown(
        &self,
        totals: &mut Totals,
        prefer: Prefer,
        progress: Progress<'_>,
    ) -> Result<(), EngineError> {
        let packs = self.0.packs.ids();
        for pack in totals.usage.keys().filter(|pack| packs.binary_search(pack).is_err()) {
            tracing::warn!(%pack, "a pack is gone that the chunk index names");
        }
        for pack in self.0.store.known_packs()? {
            if packs.binary_search(&pack).is_err() {
                // What is named in it stays counted as named: it may come back.
                self.0.store.unmark_known(pack)?;
            }
        }
        let mut unknown = Vec::new();
        for pack in packs {
            if !self.0.store.is_known(pack)? {
                unknown.push(pack);
            }
        }
        let had_entries = totals.counts.chunks > 0;
        for (done, pack) in unknown.iter().enumerate() {
            (progress.0)(done as u64, unknown.len() as u64);
            self.catalogue(*pack, totals, prefer)?;
            FailPoint::IndexScanned.pass()?;
            if had_entries {
                self.count_usage(*pack, totals)?;
            }
        }
        Ok(())
    }

    /// Counts anew what the index names in a pack, should its row say less. Returns whether it did.
    ///
    /// # Errors
    /// When the pack cannot be scanned; as [`Self::get`].
    pub fn correct_usage(&self, pack: PackId) -> Result<bool, EngineError> {
        self.count_usage(pack, &mut self.0.totals.lock())
    }

    fn count_usage(&self, pack: PackId, totals: &mut Totals) -> Result<bool, EngineError> {
        let mut records = Vec::new();
        self.0.packs.scan(pack, &mut |record| records.push((record.id, record.location)))?;
        let mut named = (0, 0);
        for (id, location) in records {
            let entry = self.0.store.find(&id)?;
            // The row says what the tree holds.
            if entry.is_some_and(|(entry, home)| home == Home::Tree && entry.location == location) {
                named = (named.0 + 1, named.1 + location.record_len());
            }
        }
        let told = totals.usage.get(&pack).copied().unwrap_or_default();
        if told.0 >= named.0 {
            return Ok(false);
        }
        metrics::counter!("sediment_index_miscounts_total").increment(1);
        tracing::error!(%pack, records = named.0, counted = told.0, "a pack holds more in use than was counted");
        self.0.store.put_usage(pack, named)?;
        totals.usage.insert(pack, named);
        Ok(true)
    }

    fn catalogue(&self, pack: PackId, totals: &mut Totals, prefer: Prefer) -> Result<(), EngineError> {
        let mut records = Vec::with_capacity(BATCH_RECORDS);
        let mut failed = None;
        // Asked before: what is appended behind the scan's end, and seals the pack meanwhile, was not seen.
        let was_sealed = self.0.packs.sealed_records(pack).is_some();
        self.0.packs.scan(pack, &mut |record| {
            if record.dead || failed.is_some() {
                return;
            }
            records.push(record);
            if records.len() == BATCH_RECORDS {
                failed = self.add_scanned(&records, totals, prefer).err();
                records.clear();
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.add_scanned(&records, totals, prefer)?;
        if was_sealed {
            self.0.store.mark_known(pack)?;
        }
        Ok(())
    }

    fn add_scanned(
        &self,
        records: &[ScannedRecord],
        totals: &mut Totals,
        prefer: Prefer,
    ) -> Result<(), EngineError> {
        let now = self.applied();
        let mut changes = Changes::new(&self.0.store);
        for record in records {
            let is_newer = |entry: &IndexEntry| age(&entry.location) < age(&record.location);
            let known = if prefer == Prefer::Newest { changes.get(&record.id)? } else { None };
            if let Some(entry) = known.filter(is_newer) {
                changes.set(&record.id, Some(IndexEntry { location: record.location, ..entry }))?;
                continue;
            }
            self.0.add(&mut changes, &record.id, record.kind, record.location, now, Home::Tree)?;
        }
        changes.commit(totals)
    }
}

/// Packs are begun one after the other, and written from front to back. Not exact between a pack of the clients and one of collection's
/// own that was begun before and is still appended to: then both copies are durable, and only the order is lost.
const fn age(location: &Location) -> (PackId, u32) {
    (location.pack, location.offset)
}
