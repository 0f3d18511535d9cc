//! One atomic change: what it reads it sees as already changed, what it writes appears all at once.

use super::encoding::{encode_entry, encode_usage, zero_key};
use super::store::{Store, Totals, fjall_error, pack_key};
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::types::ChunkId;
use std::collections::{HashMap, HashSet};

/// Changes to entries, on top of what is stored. Made and committed under the index's lock.
pub(super) struct Changes<'a> {
    store: &'a Store,
    slots: HashMap<ChunkId, Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    old: Option<IndexEntry>,
    new: Option<IndexEntry>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, slots: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
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
        if let Some(slot) = self.slots.get_mut(id) {
            slot.new = entry;
        }
        Ok(())
    }

    /// Writes everything in one batch, totals included. After an error nothing of it counts, nor do `totals`.
    pub(super) fn commit(self, totals: &mut Totals) -> Result<(), EngineError> {
        if !totals.moved && self.slots.values().all(|slot| slot.old == slot.new) {
            return Ok(());
        }
        let mut next = totals.counts;
        let mut batch = self.store.batch();
        let mut touched = HashSet::new();
        let mut usage = UsageDelta::default();
        for (id, slot) in self.slots.iter().filter(|(_, slot)| slot.old != slot.new) {
            if let Some(old) = &slot.old {
                next.remove(old);
                usage.count(old, -1, &mut touched);
                let moved =
                    slot.new.is_none_or(|new| new.references != 0 || new.zero_since != old.zero_since);
                if old.references == 0 && moved {
                    batch.remove(&self.store.zero, zero_key(old.zero_since, id));
                }
            }
            match &slot.new {
                Some(new) => {
                    next.add(new);
                    usage.count(new, 1, &mut touched);
                    if new.references == 0 {
                        batch.insert(&self.store.zero, zero_key(new.zero_since, id), []);
                    }
                    batch.insert(&self.store.entries, *id.as_bytes(), encode_entry(new));
                }
                None => batch.remove(&self.store.entries, *id.as_bytes()),
            }
        }
        let mut all = std::mem::take(&mut totals.usage);
        let before: Vec<_> = touched.iter().map(|pack| (*pack, all.get(pack).copied())).collect();
        for pack in touched {
            match usage.apply(pack, &mut all) {
                (0, _) => batch.remove(&self.store.packs, pack_key(pack)),
                (records, bytes) => {
                    batch.insert(&self.store.packs, pack_key(pack), encode_usage(records, bytes));
                }
            }
        }
        let old_counts = std::mem::replace(&mut totals.counts, next);
        self.store.put_totals(&mut batch, totals);
        let committed = batch.commit().map_err(fjall_error);
        if committed.is_err() {
            totals.counts = old_counts;
            for (pack, row) in before {
                match row {
                    Some(row) => drop(all.insert(pack, row)),
                    None => drop(all.remove(&pack)),
                }
            }
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
