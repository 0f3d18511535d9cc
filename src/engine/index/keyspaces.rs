//! How the tree's keyspaces are made.

use fjall::compaction::Leveled;
use fjall::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
};
use fjall::{CompressionType, KeyspaceCreateOptions};
use std::sync::Arc;

/// What fjall is told that `entries`, and each of the others, may keep in memory. An index keeps what it was made with, so these
/// never change; what is set is written to disk before (`make_room`).
pub(super) const ENTRIES_BYTES: u64 = 16 << 20;
pub(super) const SMALL_BYTES: u64 = 4 << 20;
/// So much below what fjall is told.
pub(super) const MARGIN_BYTES: u64 = 1 << 20;

/// For tens of millions of rows in random order: `docs/decisions/014-fifty-million-chunks.md` has the reasons and numbers. An index
/// keeps those that it was made with.
pub(super) fn entries() -> KeyspaceCreateOptions {
    let bloom = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
    // Two levels of 128 and 768 MiB above the last one, in steps of 16 MiB: no merge is long.
    let levels = Leveled::default()
        .with_l0_threshold(8)
        .with_table_target_size(16 << 20)
        .with_level_ratio_policy(vec![6.0]);
    KeyspaceCreateOptions::default()
        .max_memtable_size(ENTRIES_BYTES)
        .compaction_strategy(Arc::new(levels))
        // Ids do not compress.
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .filter_policy(FilterPolicy::all(bloom))
        // Of the levels above the last one; read through the cache they would push each other out of it.
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
}

/// All others.
pub(super) fn small() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(SMALL_BYTES)
}
