//! What the index says of itself and of its entries.

use crate::engine::pack::{Location, RecordKind};
use crate::storage::PackId;
use crate::types::CommitSeq;
use serde::{Deserialize, Serialize};

/// Settings of the chunk index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexSettings {
    /// Memory for blocks read from disk, in bytes. What finds blocks comes on top: up to 32 MiB, from ten million chunks on.
    pub cache_bytes: u64,
    /// Memory for what is not written yet and for what is not referenced yet, in bytes; at least 4 MiB.
    pub write_bytes: u64,
    /// The most memory for the filter that answers for chunks that are not there, in bytes. It grows with the index, 10 bits for each
    /// chunk are enough; half as much comes on top while it grows. Below 64: none, the disk is asked.
    pub filter_bytes: u64,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, write_bytes: 64 << 20, filter_bytes: 128 << 20 }
    }
}

impl IndexSettings {
    /// # Errors
    /// With the setting that is out of bounds, and what they are.
    pub fn validate(&self) -> Result<(), String> {
        if self.write_bytes < 4 << 20 {
            Err("write_bytes must be at least 4194304".to_owned())
        } else {
            Ok(())
        }
    }

    /// What the tree may keep of its largest keyspace before it writes it: a quarter. The others have a sixteenth each.
    pub(super) const fn entries_buffer_bytes(&self) -> u64 {
        self.write_bytes / 4
    }

    pub(super) const fn small_buffer_bytes(&self) -> u64 {
        self.write_bytes / 16
    }

    /// Entries that nothing references yet. They fit in tables of 2^n places of 81 bytes; seven eighths of them are used.
    pub(super) fn most_recent(&self) -> usize {
        usize::try_from(self.write_bytes / 640).unwrap_or(usize::MAX)
    }
}

/// One chunk or node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    pub kind: RecordKind,
    /// Not valid for a phantom: something referenced whose record is in no pack.
    pub location: Location,
    pub references: u64,
    /// Since when there are no references; meaningless while there are.
    pub zero_since: CommitSeq,
}

/// What the index names in one pack, whatever the references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackUsage {
    pub pack: PackId,
    pub live_records: u64,
    /// Record headers included.
    pub live_bytes: u64,
}

/// Sums over all entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IndexCounts {
    pub chunks: u64,
    pub nodes: u64,
    /// Before compression.
    pub raw_bytes: u64,
    /// As stored, record headers included.
    pub stored_bytes: u64,
    /// Entries without references, among those above.
    pub unreferenced: u64,
    pub unreferenced_stored_bytes: u64,
}

impl IndexCounts {
    pub(super) const fn add(&mut self, entry: &IndexEntry) {
        self.sum(entry, 1);
    }

    pub(super) const fn remove(&mut self, entry: &IndexEntry) {
        self.sum(entry, -1);
    }

    pub(super) const fn plus(&self, other: &Self) -> Self {
        Self {
            chunks: self.chunks + other.chunks,
            nodes: self.nodes + other.nodes,
            raw_bytes: self.raw_bytes + other.raw_bytes,
            stored_bytes: self.stored_bytes + other.stored_bytes,
            unreferenced: self.unreferenced + other.unreferenced,
            unreferenced_stored_bytes: self.unreferenced_stored_bytes + other.unreferenced_stored_bytes,
        }
    }

    const fn sum(&mut self, entry: &IndexEntry, sign: i64) {
        const fn step(total: &mut u64, sign: i64, amount: u64) {
            *total = if sign > 0 { total.saturating_add(amount) } else { total.saturating_sub(amount) };
        }
        match entry.kind {
            RecordKind::Chunk => step(&mut self.chunks, sign, 1),
            RecordKind::Node => step(&mut self.nodes, sign, 1),
        }
        step(&mut self.raw_bytes, sign, entry.location.raw_len as u64);
        let stored = stored_bytes(entry);
        step(&mut self.stored_bytes, sign, stored);
        if entry.references == 0 {
            step(&mut self.unreferenced, sign, 1);
            step(&mut self.unreferenced_stored_bytes, sign, stored);
        }
    }
}

/// Nothing for a phantom that never had a place.
const fn stored_bytes(entry: &IndexEntry) -> u64 {
    if entry.location.pack.get() == 0 { 0 } else { entry.location.record_len() }
}

/// Told how much is done, of how much.
#[derive(Clone, Copy)]
pub struct Progress<'a>(pub &'a (dyn Fn(u64, u64) + Sync));

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

impl Progress<'_> {
    /// Tells nobody.
    pub const SILENT: Progress<'static> = Progress(&|_, _| ());
}
