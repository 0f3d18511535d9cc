//! The index itself: looking up, holding, adding.

use super::apply::ToCount;
use super::changes::Changes;
use super::heal::Reopened;
use super::hold::{Hold, Holds};
use super::stamps;
use super::store::{Home, Store, Totals};
use super::types::{IndexCounts, IndexEntry, PackUsage};
use super::unnamed::Unnamed;
use crate::engine::EngineError;
use crate::engine::pack::{Location, PackSet, RecordKind};
use crate::storage::PackId;
use crate::sys::{FailPoint, stall_point, yield_point};
use crate::types::{ChunkId, CommitSeq};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The chunk index. Clones share everything.
#[derive(Debug, Clone)]
pub struct ChunkIndex(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) packs: PackSet,
    pub(super) holds: Arc<Holds>,
    /// Whoever changes entries has it; held for milliseconds at most.
    pub(super) totals: Mutex<Totals>,
    /// One record's references are counted at a time. Taken before `totals`.
    pub(super) applying: Mutex<ToCount>,
    pub(super) published: watch::Sender<CommitSeq>,
    pub(super) is_new: AtomicBool,
    /// Every pack was scanned, and nothing is counted yet.
    pub(super) is_catalogued: AtomicBool,
    /// Batches of the log applied by this process.
    pub(super) batches: AtomicU64,
    /// Whoever looks up without `totals`; closed while the index is opened anew.
    pub(super) gate: RwLock<()>,
    /// Taken before all other locks.
    pub(super) steady: RwLock<()>,
    pub(super) reopened: Mutex<Reopened>,
    /// Packs that were sealed at the last checkpoint, and the hold that came next then. Taken before `totals`.
    pub(super) settling: Mutex<(u64, Vec<PackId>)>,
    pub(super) unnamed: Unnamed,
}

impl ChunkIndex {
    /// The log position up to which references are counted.
    #[must_use]
    pub fn applied(&self) -> CommitSeq {
        self.0.holds.applied()
    }

    /// As [`Self::applied`], the record that is half counted included.
    #[must_use]
    pub fn begun(&self) -> CommitSeq {
        let position = self.0.totals.lock().position;
        if position.cursor.is_some() { position.applied.next() } else { position.applied }
    }

    /// Returns once the position is applied.
    pub async fn wait_applied(&self, seq: CommitSeq) {
        // The sender lives in `self`.
        let _ = self.0.published.subscribe().wait_for(|applied| *applied >= seq).await;
    }

    /// Whether it knows nothing of the log yet: it was just created, or was not usable.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_new.load(Ordering::Acquire)
    }

    /// Grows as long as the log is being applied, also in the middle of a long record.
    #[must_use]
    pub fn batches_applied(&self) -> u64 {
        self.0.batches.load(Ordering::Acquire)
    }

    /// Keeps from collection what is referenced now, and what is hit or inserted with it. Does not block.
    pub fn hold(&self) -> Hold {
        self.0.holds.take()
    }

    /// Files of whole bodies that nobody may have.
    #[must_use]
    pub fn unnamed(&self) -> &Unnamed {
        &self.0.unnamed
    }

    #[must_use]
    pub fn oldest_hold(&self) -> Option<CommitSeq> {
        // What those hit before may be forgotten: nothing may go while they are at work.
        let is_older = !self.0.holds.all_gone_before(self.0.reopened.lock().serial);
        if is_older { Some(CommitSeq::ZERO) } else { self.0.holds.oldest() }
    }

    /// For how long the oldest hold has been held: as long, garbage stays that is younger than it.
    #[must_use]
    pub fn oldest_hold_age(&self) -> Option<Duration> {
        self.0.holds.oldest_age()
    }

    /// Where the records are, in the order asked for.
    ///
    /// # Errors
    /// `Index` and `Io` when the index cannot be read; so for all methods here.
    pub fn get(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        let _open = self.0.gate.read();
        let entries = self.0.store.get_all(ids)?;
        Ok(entries.into_iter().map(|entry| entry.and_then(|entry| self.0.place(&entry))).collect())
    }

    /// As [`Self::get`], for a writer that is going to reference what it finds.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn hit(&self, hold: &Hold, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        let _ = hold;
        let open = self.0.gate.read();
        let mut found = Vec::with_capacity(ids.len());
        let mut unreferenced = Vec::new();
        for entry in self.0.store.get_all(ids)? {
            if entry.is_some_and(|entry| entry.references == 0) {
                unreferenced.push(found.len());
            }
            found.push(entry.and_then(|entry| self.0.place(&entry)));
        }
        if unreferenced.is_empty() {
            return Ok(found);
        }
        drop(open);
        yield_point();
        // A collection may be about to take these: look again under the lock, and stamp them.
        let mut totals = self.0.totals.lock();
        let now = self.applied();
        let mut changes = Changes::new(&self.0.store);
        for at in unreferenced {
            let entry = changes.get(&ids[at])?;
            found[at] = entry.and_then(|entry| self.0.place(&entry));
            let Some(entry) = entry else { continue };
            if let Some(zero_since) = stamps::hit(entry.references, entry.zero_since, now) {
                changes.set(&ids[at], Some(IndexEntry { zero_since, ..entry }))?;
            }
        }
        changes.commit(&mut totals)?;
        Ok(found)
    }

    /// Adds records that were appended. Of several with one id the first stays, as long as it is there.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn insert(
        &self,
        hold: &Hold,
        records: &[(ChunkId, RecordKind, Location)],
    ) -> Result<(), EngineError> {
        let _ = hold;
        stall_point();
        let mut totals = self.0.totals.lock();
        let now = self.applied();
        let mut changes = Changes::new(&self.0.store);
        for (id, kind, location) in records {
            let home = self.0.home_of(location.pack);
            self.0.add(&mut changes, id, *kind, *location, now, home)?;
        }
        changes.commit(&mut totals)
    }

    /// Makes everything up to the returned position survive a power cut.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn checkpoint(&self) -> Result<CommitSeq, EngineError> {
        let applied = self.applied();
        self.0.settle_packs()?;
        FailPoint::IndexCheckpoint.pass()?;
        self.0.store.persist()?;
        FailPoint::IndexPersisted.pass()?;
        self.report();
        Ok(applied)
    }

    /// Brings the gauges up to date.
    pub fn report(&self) {
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        let gauge = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
        let counts = self.0.counts();
        gauge("sediment_index_applied_seq", self.applied().get());
        gauge("sediment_index_chunks", counts.chunks);
        gauge("sediment_index_nodes", counts.nodes);
        gauge("sediment_index_raw_bytes", counts.raw_bytes);
        gauge("sediment_index_stored_bytes", counts.stored_bytes);
        gauge("sediment_index_unreferenced_bytes", counts.unreferenced_stored_bytes);
        gauge("sediment_index_uncounted_nodes", self.uncounted_nodes());
        // A reader holds what it needs also while nobody writes.
        let held = self.oldest_hold_age().unwrap_or_default();
        metrics::gauge!("sediment_index_oldest_hold_seconds").set(held.as_secs_f64());
    }

    /// # Errors
    /// Never today.
    pub fn counts(&self) -> Result<IndexCounts, EngineError> {
        Ok(self.0.counts())
    }

    /// In order of pack; packs of which nothing is named, and packs that are gone, are left out.
    ///
    /// # Errors
    /// Never today.
    pub fn pack_usage(&self) -> Result<Vec<PackUsage>, EngineError> {
        let totals = self.0.totals.lock();
        let mut usage: BTreeMap<PackId, (u64, u64)> = totals.usage.iter().map(|(k, v)| (*k, *v)).collect();
        for (pack, (records, bytes)) in self.0.store.recent().usage() {
            let sum = usage.entry(*pack).or_default();
            *sum = (sum.0 + records, sum.1 + bytes);
        }
        drop(totals);
        let packs = self.0.packs.ids();
        usage.retain(|pack, _| packs.binary_search(pack).is_ok());
        let usage = usage.into_iter();
        Ok(usage
            .map(|(pack, (live_records, live_bytes))| PackUsage { pack, live_records, live_bytes })
            .collect())
    }

    /// How many records the index names in a pack.
    #[must_use]
    pub fn live_records(&self, pack: PackId) -> u64 {
        let totals = self.0.totals.lock();
        let recent = self.0.store.recent().usage().get(&pack).map_or(0, |(records, _)| *records);
        totals.usage.get(&pack).map_or(0, |(records, _)| *records) + recent
    }

    /// Entries in order of id, behind `after`, phantoms too.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn entries(
        &self,
        after: Option<ChunkId>,
        limit: usize,
    ) -> Result<Vec<(ChunkId, IndexEntry)>, EngineError> {
        self.0.settle_recent(|_| true)?;
        let _open = self.0.gate.read();
        self.0.store.entries_after(after, limit)
    }
}

impl Shared {
    /// Where an entry's record is, if it is there: after a power cut the index may name bytes that never reached
    /// the disk.
    pub(super) fn place(&self, entry: &IndexEntry) -> Option<Location> {
        self.packs.is_valid(&entry.location).then_some(entry.location)
    }

    /// Of the tree.
    pub(super) fn rows(&self) -> u64 {
        let counts = self.totals.lock().counts;
        counts.chunks + counts.nodes
    }

    fn counts(&self) -> IndexCounts {
        let totals = self.totals.lock();
        let recent = *self.store.recent().counts();
        totals.counts.plus(&recent)
    }

    /// Where a new entry of a record may be. The pack of one beside the tree must not be known, so that a scan finds
    /// the record again: so its pack is open, and cannot be known before the hold is gone that the record was
    /// appended with.
    fn home_of(&self, pack: PackId) -> Home {
        let may_wait = self.packs.sealed_records(pack).is_none() && !self.store.recent().is_full();
        if may_wait { Home::Recent } else { Home::Tree }
    }

    pub(super) fn add(
        &self,
        changes: &mut Changes<'_>,
        id: &ChunkId,
        kind: RecordKind,
        location: Location,
        now: CommitSeq,
        home: Home,
    ) -> Result<(), EngineError> {
        let entry = match changes.get(id)? {
            // As a hit: whoever inserts with a hold is going to reference what is there already.
            Some(entry) if self.place(&entry).is_some() => match entry.references {
                0 => IndexEntry { zero_since: entry.zero_since.max(now), ..entry },
                _ => return Ok(()),
            },
            Some(phantom) => IndexEntry { kind, location, zero_since: now, ..phantom },
            None => {
                let entry = IndexEntry { kind, location, references: 0, zero_since: now };
                return match home {
                    Home::Recent => changes.set_recent(id, entry),
                    Home::Tree => changes.set(id, Some(entry)),
                };
            }
        };
        changes.set(id, Some(entry))
    }
}
