//! Records that the rows name and a footer calls dead.
//!
//! Footers are copied last: a record that lived at the moment that is restored may have been collected before its footer was copied. Its bytes
//! were copied while it lived. So what the index counts as referenced and finds nowhere is looked for among the dead; only that is read, and
//! made live in its pack. What nothing names stays dead, and is never taken for stored.

use crate::backup::BackupError;
use crate::engine::EngineError;
use crate::engine::index::ChunkIndex;
use crate::engine::pack::PackSet;
use crate::types::ChunkId;
use std::collections::HashSet;

/// Entries of the index that are looked at together.
const PAGE: usize = 4096;
/// Ids that are looked for together.
const MOST_WANTED: usize = 1 << 16;

/// Blocks. The index has counted all rows; nobody else is at work. What is found nowhere is left to the checker.
pub(super) fn revive(packs: &PackSet, index: &ChunkIndex) -> Result<u64, BackupError> {
    let mut revived = 0;
    loop {
        let (mut after, mut found) = (None, 0);
        loop {
            let wanted = homeless(packs, index, &mut after)?;
            if wanted.is_empty() {
                break;
            }
            found += search(packs, index, &wanted)?;
        }
        revived += found;
        // A node that lives again names others.
        index.count_unread()?;
        if found == 0 {
            index.checkpoint()?;
            return Ok(revived);
        }
    }
}

/// The next ids that are referenced and in no pack.
fn homeless(
    packs: &PackSet,
    index: &ChunkIndex,
    after: &mut Option<ChunkId>,
) -> Result<HashSet<ChunkId>, EngineError> {
    let mut wanted = HashSet::new();
    while wanted.len() < MOST_WANTED {
        let page = index.entries(*after, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        *after = Some(*last);
        let nowhere =
            page.iter().filter(|(_, entry)| entry.references > 0 && !packs.is_valid(&entry.location));
        wanted.extend(nowhere.map(|(id, _)| *id));
    }
    Ok(wanted)
}

fn search(packs: &PackSet, index: &ChunkIndex, wanted: &HashSet<ChunkId>) -> Result<u64, EngineError> {
    let mut found = 0;
    for pack in packs.ids() {
        let revived = packs.revive_those(pack, &|id| wanted.contains(id))?;
        let records: Vec<_> =
            revived.iter().map(|record| (record.id, record.kind, record.location)).collect();
        index.insert(&index.hold(), &records)?;
        found += records.len() as u64;
    }
    Ok(found)
}
