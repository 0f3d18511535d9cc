//! One atomic change: what it reads it sees as already changed, what it writes appears all at once.

use super::encoding::{encode_entry, encode_usage, owed_key, zero_key};
use super::store::{Handles, Store, Totals, pack_key};
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::types::ChunkId;
use std::collections::{HashMap, HashSet};

/// Changes to entries, on top of what is stored. Made and committed under the index's lock.
pub(super) struct Changes<'a> {
    store: &'a Store,
    slots: HashMap<ChunkId, Slot>,
    /// What stood and what is to stand.
    owed: HashMap<ChunkId, (Option<Owed>, Option<Owed>)>,
    steps: usize,
}

/// A node's entries are still to be counted, or to be counted no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) adds: bool,
    /// It was tried, and the node could not be read.
    pub(super) unread: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    old: Option<IndexEntry>,
    new: Option<IndexEntry>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, slots: HashMap::new(), owed: HashMap::new(), steps: 0 }
    }

    /// Entries set so far, each time counted.
    pub(super) const fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn get(&mut self, id: &ChunkId) -> Result<Option<IndexEntry>, EngineError> {
        if let Some(slot) = self.slots.get(id) {
            return Ok(slot.new);
        }
        let old = self.store.get(id)?;
        self.slots.insert(*id, Slot { old, new: old });
        Ok(old)
    }

    pub(super) fn set(&mut self, id: &ChunkId, entry: Option<IndexEntry>) -> Result<(), EngineError> {
        self.get(id)?;
        self.steps += 1;
        if let Some(slot) = self.slots.get_mut(id) {
            slot.new = entry;
        }
        Ok(())
    }

    pub(super) fn owed(&mut self, id: &ChunkId) -> Result<Option<Owed>, EngineError> {
        if let Some((_, owed)) = self.owed.get(id) {
            return Ok(*owed);
        }
        let owed = self.store.owed(id)?;
        self.owed.insert(*id, (owed, owed));
        Ok(owed)
    }

    pub(super) fn owe(&mut self, id: &ChunkId, owed: Option<Owed>) -> Result<(), EngineError> {
        self.owed(id)?;
        if let Some((_, new)) = self.owed.get_mut(id) {
            *new = owed;
        }
        Ok(())
    }

    /// Writes what is owed; returns how many more nodes in use are unread.
    fn put_owed(&self, handles: &Handles, batch: &mut fjall::OwnedWriteBatch) -> i64 {
        let mut uncounted = 0;
        for (id, (old, new)) in self.owed.iter().filter(|(_, (old, new))| old != new) {
            if let Some(old) = old {
                uncounted -= i64::from(old.adds && old.unread);
                if new.is_none_or(|new| new.unread != old.unread) {
                    batch.remove(&handles.owed, owed_key(old.unread, id));
                }
            }
            if let Some(new) = new {
                uncounted += i64::from(new.adds && new.unread);
                batch.insert(&handles.owed, owed_key(new.unread, id), [u8::from(new.adds)]);
            }
        }
        uncounted
    }

    fn is_nothing(&self) -> bool {
        self.slots.values().all(|slot| slot.old == slot.new)
            && self.owed.values().all(|(old, new)| old == new)
    }

    /// Writes everything in one batch, totals included. After an error nothing of it counts, nor do `totals`.
    pub(super) fn commit(self, totals: &mut Totals) -> Result<(), EngineError> {
        if !totals.moved && self.is_nothing() {
            return Ok(());
        }
        let mut next = totals.counts;
        let handles = self.store.handles()?;
        let mut batch = handles.batch();
        let mut touched = HashSet::new();
        let mut usage = UsageDelta::default();
        for (id, slot) in self.slots.iter().filter(|(_, slot)| slot.old != slot.new) {
            if let Some(old) = &slot.old {
                next.remove(old);
                usage.count(old, -1, &mut touched);
                let moved =
                    slot.new.is_none_or(|new| new.references != 0 || new.zero_since != old.zero_since);
                if old.references == 0 && moved {
                    batch.remove(&handles.zero, zero_key(old.zero_since, id));
                }
            }
            match &slot.new {
                Some(new) => {
                    next.add(new);
                    usage.count(new, 1, &mut touched);
                    if new.references == 0 {
                        batch.insert(&handles.zero, zero_key(new.zero_since, id), []);
                    }
                    batch.insert(&handles.entries, *id.as_bytes(), encode_entry(new));
                }
                None => batch.remove(&handles.entries, *id.as_bytes()),
            }
        }
        let mut all = std::mem::take(&mut totals.usage);
        let before: Vec<_> = touched.iter().map(|pack| (*pack, all.get(pack).copied())).collect();
        for pack in touched {
            match usage.apply(pack, &mut all) {
                (0, _) => batch.remove(&handles.packs, pack_key(pack)),
                (records, bytes) => {
                    batch.insert(&handles.packs, pack_key(pack), encode_usage(records, bytes));
                }
            }
        }
        let old_counts = std::mem::replace(&mut totals.counts, next);
        handles.put_totals(&mut batch, totals);
        let uncounted = self.put_owed(&handles, &mut batch);
        let committed = self.store.written(batch.commit());
        if committed.is_err() {
            totals.counts = old_counts;
            for (pack, row) in before {
                match row {
                    Some(row) => drop(all.insert(pack, row)),
                    None => drop(all.remove(&pack)),
                }
            }
        }
        if committed.is_ok() {
            self.store.add_uncounted(uncounted);
        }
        totals.usage = all;
        totals.moved &= committed.is_err();
        committed
    }
}

/// How much more, or less, packs hold.
#[derive(Default)]
struct UsageDelta(HashMap<PackId, (i64, i64)>);

impl UsageDelta {
    fn count(&mut self, entry: &IndexEntry, sign: i64, touched: &mut HashSet<PackId>) {
        let pack = entry.location.pack;
        if pack.get() == 0 {
            return;
        }
        touched.insert(pack);
        let delta = self.0.entry(pack).or_default();
        delta.0 += sign;
        delta.1 += sign * entry.location.record_len().cast_signed();
    }

    fn apply(&self, pack: PackId, all: &mut HashMap<PackId, (u64, u64)>) -> (u64, u64) {
        let (records, bytes) = self.0.get(&pack).copied().unwrap_or_default();
        let row = all.entry(pack).or_default();
        *row = (row.0.saturating_add_signed(records), row.1.saturating_add_signed(bytes));
        let row = *row;
        if row.0 == 0 {
            all.remove(&pack);
        }
        row
    }
}
