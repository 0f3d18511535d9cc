//! Records that nothing names, but that something is missing.

use crate::engine::EngineError;
use crate::engine::codec::{decode_node, decode_record};
use crate::engine::index::ChunkIndex;
use crate::engine::pack::{PackSet, Record, RecordKind, ScannedRecord};
use crate::types::ChunkId;
use sha2::{Digest, Sha256};

/// Gives entries that are referenced and have no place these records of theirs: a pack came back from a backup, or
/// there were two copies and the one that the index knew is damaged. Only records whose bytes have their hash are taken. Returns
/// how many were.
pub(super) fn adopt_strays(
    packs: &PackSet,
    index: &ChunkIndex,
    records: &[ScannedRecord],
) -> Result<usize, EngineError> {
    let hold = index.hold();
    let ids: Vec<_> = records.iter().map(|record| record.id).collect();
    let homeless = index.homeless(&ids)?;
    let wanted = records.iter().zip(homeless).filter(|(record, homeless)| *homeless && !record.dead);
    let mut adopted = 0;
    for (record, _) in wanted {
        let read = packs.read(&[(record.id, record.location)]).pop();
        if read.and_then(Result::ok).is_some_and(|read| is_sound(&read)) {
            index.insert(&hold, &[(record.id, record.kind, record.location)])?;
            adopted += 1;
        }
    }
    Ok(adopted)
}

fn is_sound(record: &Record) -> bool {
    match record.kind {
        RecordKind::Node => decode_node(record).is_ok(),
        RecordKind::Chunk => {
            decode_record(record).is_ok_and(|bytes| ChunkId::new(Sha256::digest(&bytes).into()) == record.id)
        }
    }
}
