//! One atomic change: what it reads it sees as already changed, what it writes appears all at once.

use super::encoding::{encode_entry, encode_usage, owed_key, zero_key};
use super::id_hash::IdHash;
use super::store::{Handles, Home, Store, Totals, pack_key};
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::yield_point;
use crate::types::ChunkId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Changes to entries, on top of what is stored. Made and committed under the index's lock.
pub(super) struct Changes<'a> {
    store: &'a Store,
    slots: HashMap<ChunkId, Slot, IdHash>,
    /// What stood and what is to stand.
    owed: HashMap<ChunkId, (Option<Owed>, Option<Owed>), IdHash>,
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
    /// The old one is beside the tree.
    was_recent: bool,
    /// The new one may be beside the tree as long as nothing references it.
    may_wait: bool,
}

impl Slot {
    const fn recent_before(&self) -> Option<&IndexEntry> {
        if self.was_recent { self.old.as_ref() } else { None }
    }

    const fn tree_before(&self) -> Option<&IndexEntry> {
        if self.was_recent { None } else { self.old.as_ref() }
    }

    fn recent_after(&self) -> Option<&IndexEntry> {
        self.new.as_ref().filter(|entry| self.may_wait && entry.references == 0)
    }

    fn tree_after(&self) -> Option<&IndexEntry> {
        self.new.as_ref().filter(|entry| !self.may_wait || entry.references > 0)
    }

    fn changes_tree(&self) -> bool {
        self.tree_before() != self.tree_after()
    }
}

impl<'a> Changes<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, slots: HashMap::default(), owed: HashMap::default(), steps: 0 }
    }

    /// Entries set so far, each time counted.
    pub(super) const fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn get(&mut self, id: &ChunkId) -> Result<Option<IndexEntry>, EngineError> {
        Ok(self.slot(id)?.new)
    }

    /// An entry that moves, too, is in the tree from then on.
    pub(super) fn set(&mut self, id: &ChunkId, entry: Option<IndexEntry>) -> Result<(), EngineError> {
        let slot = self.slot(id)?;
        let place = |entry: Option<IndexEntry>| entry.map(|entry| entry.location);
        slot.may_wait &= place(slot.new) == place(entry);
        slot.new = entry;
        self.steps += 1;
        Ok(())
    }

    /// For an entry that there was none of: it may be beside the tree as long as nothing references it.
    pub(super) fn set_recent(&mut self, id: &ChunkId, entry: IndexEntry) -> Result<(), EngineError> {
        let slot = self.slot(id)?;
        slot.may_wait = slot.old.is_none();
        slot.new = Some(entry);
        self.steps += 1;
        Ok(())
    }

    /// If the entry is beside the tree, it is not from now on.
    pub(super) fn settle(&mut self, id: &ChunkId) -> Result<(), EngineError> {
        self.slot(id)?.may_wait = false;
        Ok(())
    }

    fn slot(&mut self, id: &ChunkId) -> Result<&mut Slot, EngineError> {
        match self.slots.entry(*id) {
            Entry::Occupied(slot) => Ok(slot.into_mut()),
            Entry::Vacant(place) => {
                let (old, home) = self.store.find(id)?.unzip();
                let was_recent = home == Some(Home::Recent);
                Ok(place.insert(Slot { old, new: old, was_recent, may_wait: was_recent }))
            }
        }
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

    fn leaves_tree(&self) -> bool {
        !self.slots.values().any(Slot::changes_tree) && self.owed.values().all(|(old, new)| old == new)
    }

    /// Writes everything in one batch, totals included. After an error nothing of it counts, nor do `totals`.
    pub(super) fn commit(self, totals: &mut Totals) -> Result<(), EngineError> {
        if totals.moved || !self.leaves_tree() {
            self.commit_tree(totals)?;
        }
        yield_point();
        // Only now: who looks up looks here first, and finds an entry that went to the tree in one of them.
        self.commit_recent();
        Ok(())
    }

    fn commit_recent(&self) {
        let mut moves =
            self.slots.iter().filter(|(_, slot)| slot.recent_before() != slot.recent_after()).peekable();
        if moves.peek().is_some() {
            let mut recent = self.store.recent_mut();
            moves.for_each(|(id, slot)| recent.set(*id, slot.recent_after().copied()));
        }
    }

    fn commit_tree(&self, totals: &mut Totals) -> Result<(), EngineError> {
        let mut next = totals.counts;
        let handles = self.store.handles()?;
        self.store.written(handles.flush_full())?;
        let mut batch = handles.batch();
        let mut usage = UsageDelta::default();
        let rows = self.slots.iter().filter(|(_, slot)| slot.changes_tree() && slot.tree_after().is_some());
        self.store.filters.add(&rows.map(|(id, _)| *id).collect::<Vec<_>>());
        for (id, slot) in self.slots.iter().filter(|(_, slot)| slot.changes_tree()) {
            let (old, new) = (slot.tree_before(), slot.tree_after());
            if let Some(old) = old {
                next.remove(old);
                usage.count(old, -1);
                let moved = new.is_none_or(|new| new.references != 0 || new.zero_since != old.zero_since);
                if old.references == 0 && moved {
                    batch.remove(&handles.zero, zero_key(old.zero_since, id));
                }
            }
            match new {
                Some(new) => {
                    next.add(new);
                    usage.count(new, 1);
                    if new.references == 0 {
                        batch.insert(&handles.zero, zero_key(new.zero_since, id), []);
                    }
                    batch.insert(&handles.entries, *id.as_bytes(), encode_entry(new));
                }
                None => batch.remove(&handles.entries, *id.as_bytes()),
            }
        }
        let before: Vec<_> = usage.packs().map(|pack| (pack, totals.usage.get(&pack).copied())).collect();
        for (pack, _) in &before {
            match usage.apply(*pack, &mut totals.usage) {
                (0, _) => batch.remove(&handles.packs, pack_key(*pack)),
                (records, bytes) => {
                    batch.insert(&handles.packs, pack_key(*pack), encode_usage(records, bytes));
                }
            }
        }
        let old_counts = std::mem::replace(&mut totals.counts, next);
        handles.put_totals(&mut batch, totals);
        let uncounted = self.put_owed(&handles, &mut batch);
        let committed = self.store.written(batch.commit());
        if committed.is_ok() {
            self.store.add_uncounted(uncounted);
        } else {
            totals.counts = old_counts;
            for (pack, row) in before {
                match row {
                    Some(row) => drop(totals.usage.insert(pack, row)),
                    None => drop(totals.usage.remove(&pack)),
                }
            }
        }
        totals.moved &= committed.is_err();
        committed
    }
}

/// How much more, or less, packs hold.
#[derive(Default)]
struct UsageDelta(HashMap<PackId, (i64, i64)>);

impl UsageDelta {
    fn packs(&self) -> impl Iterator<Item = PackId> {
        self.0.keys().copied()
    }

    fn count(&mut self, entry: &IndexEntry, sign: i64) {
        let pack = entry.location.pack;
        if pack.get() == 0 {
            return;
        }
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
