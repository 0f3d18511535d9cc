//! The bytes of the index's rows. Fixed width, little-endian; keys that sort are big-endian.

use super::types::{IndexCounts, IndexEntry};
use crate::engine::EngineError;
use crate::engine::pack::{Location, RecordKind};
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq};

/// `kind:u8 pack:u64 offset:u32 stored:u32 raw:u32 references:u64 zero_since:u64`
pub(super) const ENTRY_BYTES: usize = 1 + 8 + 4 + 4 + 4 + 8 + 8;
/// `zero_since:u64be id:[32]`
pub(super) const ZERO_BYTES: usize = 8 + 32;
/// `unread:u8 id:[32]`
pub(super) const OWED_BYTES: usize = 1 + 32;

pub(super) fn encode_entry(entry: &IndexEntry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[0] = kind_byte(entry.kind);
    bytes[1..9].copy_from_slice(&entry.location.pack.get().to_le_bytes());
    bytes[9..13].copy_from_slice(&entry.location.offset.to_le_bytes());
    bytes[13..17].copy_from_slice(&entry.location.stored_len.to_le_bytes());
    bytes[17..21].copy_from_slice(&entry.location.raw_len.to_le_bytes());
    bytes[21..29].copy_from_slice(&entry.references.to_le_bytes());
    bytes[29..37].copy_from_slice(&entry.zero_since.get().to_le_bytes());
    bytes
}

pub(super) fn decode_entry(bytes: &[u8]) -> Result<IndexEntry, EngineError> {
    let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().map_err(|_| damaged("an entry"))?;
    Ok(IndexEntry {
        kind: kind_of(bytes[0])?,
        location: Location {
            pack: PackId::new(u64_at(bytes, 1)),
            offset: u32_at(bytes, 9),
            stored_len: u32_at(bytes, 13),
            raw_len: u32_at(bytes, 17),
        },
        references: u64_at(bytes, 21),
        zero_since: CommitSeq::new(u64_at(bytes, 29)),
    })
}

pub(super) fn zero_key(since: CommitSeq, id: &ChunkId) -> [u8; ZERO_BYTES] {
    let mut key = [0; ZERO_BYTES];
    key[..8].copy_from_slice(&since.get().to_be_bytes());
    key[8..].copy_from_slice(id.as_bytes());
    key
}

pub(super) fn decode_zero_key(key: &[u8]) -> Result<(CommitSeq, ChunkId), EngineError> {
    let (since, id) = key.split_first_chunk::<8>().ok_or_else(|| damaged("a key"))?;
    Ok((CommitSeq::new(u64::from_be_bytes(*since)), decode_id(id)?))
}

pub(super) fn decode_id(bytes: &[u8]) -> Result<ChunkId, EngineError> {
    Ok(ChunkId::new(bytes.try_into().map_err(|_| damaged("a key"))?))
}

/// How far the manifests of a record are counted: whole manifests, those added first, and entries of the next root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    pub(super) manifest: usize,
    pub(super) entry: usize,
}

pub(super) fn encode_cursor(cursor: &Cursor) -> [u8; 16] {
    encode_usage(cursor.manifest as u64, cursor.entry as u64)
}

pub(super) fn decode_cursor(bytes: &[u8]) -> Result<Cursor, EngineError> {
    let (manifest, entry) = decode_usage(bytes)?;
    let number = |n| usize::try_from(n).map_err(|_| damaged("the place in the log"));
    Ok(Cursor { manifest: number(manifest)?, entry: number(entry)? })
}

/// Rows of nodes to count come before those of nodes that could not be read.
pub(super) fn owed_key(unread: bool, id: &ChunkId) -> [u8; OWED_BYTES] {
    let mut key = [0; OWED_BYTES];
    key[0] = u8::from(unread);
    key[1..].copy_from_slice(id.as_bytes());
    key
}

pub(super) fn decode_owed_id(key: &[u8]) -> Result<ChunkId, EngineError> {
    let (_, id) = key.split_first().ok_or_else(|| damaged("a key"))?;
    decode_id(id)
}

pub(super) fn encode_usage(records: u64, bytes: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&records.to_le_bytes());
    value[8..].copy_from_slice(&bytes.to_le_bytes());
    value
}

pub(super) fn decode_usage(bytes: &[u8]) -> Result<(u64, u64), EngineError> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| damaged("a pack's row"))?;
    Ok((u64_at(bytes, 0), u64_at(bytes, 8)))
}

pub(super) fn encode_counts(counts: &IndexCounts) -> Vec<u8> {
    let all = [
        counts.chunks,
        counts.nodes,
        counts.raw_bytes,
        counts.stored_bytes,
        counts.unreferenced,
        counts.unreferenced_stored_bytes,
    ];
    all.iter().flat_map(|count| count.to_le_bytes()).collect()
}

pub(super) fn decode_counts(bytes: &[u8]) -> Result<IndexCounts, EngineError> {
    let bytes: &[u8; 48] = bytes.try_into().map_err(|_| damaged("the counts"))?;
    Ok(IndexCounts {
        chunks: u64_at(bytes, 0),
        nodes: u64_at(bytes, 8),
        raw_bytes: u64_at(bytes, 16),
        stored_bytes: u64_at(bytes, 24),
        unreferenced: u64_at(bytes, 32),
        unreferenced_stored_bytes: u64_at(bytes, 40),
    })
}

pub(super) fn decode_u64(bytes: &[u8]) -> Result<u64, EngineError> {
    Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| damaged("a number"))?))
}

pub(super) fn damaged(what: &str) -> EngineError {
    EngineError::Index(format!("{what} is malformed; delete the index directory to have it rebuilt"))
}

/// Rows are derived data, but from a disk all the same: no bytes may panic, and what decodes is what was encoded.
pub(in crate::engine) fn fuzz(bytes: &[u8]) {
    if let Ok(entry) = decode_entry(bytes) {
        assert_eq!(encode_entry(&entry), bytes);
    }
    if let Ok((since, id)) = decode_zero_key(bytes) {
        assert_eq!(zero_key(since, &id), bytes);
    }
    if let Ok((records, size)) = decode_usage(bytes) {
        assert_eq!(encode_usage(records, size), bytes);
    }
    if let Ok(counts) = decode_counts(bytes) {
        assert_eq!(encode_counts(&counts), bytes);
    }
    if let Ok(cursor) = decode_cursor(bytes) {
        assert_eq!(encode_cursor(&cursor), bytes);
    }
    let _ = decode_owed_id(bytes);
    let _ = (decode_id(bytes), decode_u64(bytes));
}

const fn kind_byte(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Chunk => 0,
        RecordKind::Node => 1,
    }
}

fn kind_of(byte: u8) -> Result<RecordKind, EngineError> {
    match byte {
        0 => Ok(RecordKind::Chunk),
        1 => Ok(RecordKind::Node),
        _ => Err(damaged("an entry's kind")),
    }
}

/// Callers pass offsets inside arrays of known size.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{
        Cursor, decode_counts, decode_cursor, decode_entry, decode_owed_id, decode_usage, decode_zero_key,
        encode_counts, encode_cursor, encode_entry, encode_usage, owed_key, zero_key,
    };
    use crate::engine::index::{IndexCounts, IndexEntry};
    use crate::engine::pack::{Location, RecordKind};
    use crate::storage::PackId;
    use crate::types::{ChunkId, CommitSeq};

    /// Byte for byte as `docs/format.md` has it: a change here needs another format number, or an index would be
    /// misread instead of rebuilt.
    #[test]
    fn i3_rows_are_written_as_documented() {
        let id = ChunkId::new(std::array::from_fn(|n| n as u8));
        let hex_id = hex::encode(id.as_bytes());
        let pack = PackId::new(0x0123_4567_89AB_CDEF);
        let location = Location { pack, offset: 32, stored_len: 8, raw_len: 9 };
        let entry =
            IndexEntry { kind: RecordKind::Node, location, references: 2, zero_since: CommitSeq::new(5) };
        let written = encode_entry(&entry);
        let golden = "01efcdab89674523012000000008000000090000000200000000000000\
            0500000000000000";
        assert_eq!(hex::encode(written), golden);
        assert_eq!(decode_entry(&written).unwrap(), entry);
        let zero = zero_key(CommitSeq::new(5), &id);
        assert_eq!(hex::encode(zero), format!("0000000000000005{hex_id}"));
        assert_eq!(decode_zero_key(&zero).unwrap(), (CommitSeq::new(5), id));
        let cursor = Cursor { manifest: 1, entry: 2 };
        assert_eq!(hex::encode(encode_cursor(&cursor)), "01000000000000000200000000000000");
        assert_eq!(decode_cursor(&encode_cursor(&cursor)).unwrap(), cursor);
        assert_eq!(hex::encode(owed_key(true, &id)), format!("01{hex_id}"));
        assert_eq!(decode_owed_id(&owed_key(false, &id)).unwrap(), id);
        assert_eq!(hex::encode(encode_usage(1, 2)), "01000000000000000200000000000000");
        assert_eq!(decode_usage(&encode_usage(1, 2)).unwrap(), (1, 2));
        let counts = IndexCounts {
            chunks: 1,
            nodes: 2,
            raw_bytes: 3,
            stored_bytes: 4,
            unreferenced: 5,
            unreferenced_stored_bytes: 6,
        };
        let numbers: Vec<u8> = (1..=6u64).flat_map(u64::to_le_bytes).collect();
        assert_eq!(encode_counts(&counts), numbers);
        assert_eq!(decode_counts(&numbers).unwrap(), counts);
    }
}
