//! Entries that were added and that nothing references yet, kept beside the tree. Most are referenced moments later:
//! then the tree gets one row, instead of two rows of which one is written anew and the other removed.

use super::id_hash::IdHash;
use super::types::{IndexCounts, IndexEntry};
use crate::storage::PackId;
use crate::types::ChunkId;
use std::collections::HashMap;

/// Lives in memory alone; nothing here is referenced, and nothing here is in the tree.
#[derive(Debug)]
pub(super) struct Recent {
    /// The most that are kept. What comes on top goes to the tree at once.
    most: usize,
    entries: HashMap<ChunkId, IndexEntry, IdHash>,
    counts: IndexCounts,
    usage: HashMap<PackId, (u64, u64)>,
}

impl Recent {
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::default(), counts: IndexCounts::default(), usage: HashMap::new() }
    }

    pub(super) fn get(&self, id: &ChunkId) -> Option<&IndexEntry> {
        self.entries.get(id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }

    pub(super) const fn counts(&self) -> &IndexCounts {
        &self.counts
    }

    /// Records and bytes for each pack.
    pub(super) const fn usage(&self) -> &HashMap<PackId, (u64, u64)> {
        &self.usage
    }

    pub(super) fn ids(&self, which: impl Fn(&IndexEntry) -> bool) -> Vec<ChunkId> {
        self.entries.iter().filter(|(_, entry)| which(entry)).map(|(id, _)| *id).collect()
    }

    pub(super) fn set(&mut self, id: ChunkId, entry: Option<IndexEntry>) {
        let old = match entry {
            Some(entry) => {
                self.counts.add(&entry);
                let usage = self.usage.entry(entry.location.pack).or_default();
                *usage = (usage.0 + 1, usage.1 + entry.location.record_len());
                self.entries.insert(id, entry)
            }
            None => self.entries.remove(&id),
        };
        if let Some(old) = old {
            self.counts.remove(&old);
            if let Some(usage) = self.usage.get_mut(&old.location.pack) {
                *usage = (usage.0 - 1, usage.1 - old.location.record_len());
                if usage.0 == 0 {
                    self.usage.remove(&old.location.pack);
                }
            }
        }
    }
}
