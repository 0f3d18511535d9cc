//! What goes into packs and what comes out.

use crate::storage::PackId;
use crate::types::ChunkId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The largest stored payload of one record.
pub const MAX_PAYLOAD_BYTES: u32 = 16 << 20;
/// The largest [`PackSettings::target_bytes`]: with it every offset fits in 32 bits.
pub const MAX_TARGET_BYTES: u64 = 1 << 30;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Location {
    pub pack: PackId,
    /// Of the record's header.
    pub offset: u32,
    /// Of the payload, as stored.
    pub stored_len: u32,
    /// Of the content, once decompressed.
    pub raw_len: u32,
}

impl Location {
    /// The bytes that the record takes in its pack, header included.
    #[must_use]
    pub const fn record_len(&self) -> u64 {
        super::format::RECORD_HEADER_BYTES as u64 + self.stored_len as u64
    }

    /// The offset behind the record.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset as u64 + self.record_len()
    }

    /// The record's bytes in its pack.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.offset as u64..self.end()
    }
}

/// What a record's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A piece of a body; its id is the SHA-256 of its raw bytes.
    Chunk,
    /// A manifest's node; its id is `Node::id_of` its raw bytes.
    Node,
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Raw,
    /// One zstd frame.
    Zstd,
}

/// A record to append.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub id: ChunkId,
    pub kind: RecordKind,
    pub codec: Codec,
    pub raw_len: u32,
    pub payload: Bytes,
}

/// A record read back: header, id and CRC32C are verified; the hash of its content is not.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: ChunkId,
    pub kind: RecordKind,
    pub codec: Codec,
    pub raw_len: u32,
    pub payload: Bytes,
}

/// A record found by a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannedRecord {
    pub id: ChunkId,
    pub kind: RecordKind,
    pub codec: Codec,
    pub location: Location,
    /// Tombstoned: its bytes may be punched at any time.
    pub dead: bool,
}

/// What a scan of one pack met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanReport {
    pub records: u64,
    pub dead: u64,
    /// Ranges without a valid record: corrupt, never completely written, or punched.
    pub gaps: Vec<Range<u64>>,
}

/// A pack as the engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackInfo {
    pub id: PackId,
    pub len: u64,
    /// Bytes occupied on the device; less than `len` after punching.
    pub allocated: u64,
    /// Nothing is appended to it any more, and its footer is durable.
    pub sealed: bool,
}

/// What opening the packs found and did. Nothing but zeros and empty lists after a clean stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    pub packs: u64,
    /// Packs without a valid footer: scanned and sealed now.
    pub recovered: Vec<RecoveredPack>,
    /// Packs without one valid record, from a crash between creation and the first write.
    pub removed: Vec<PackId>,
    /// Packs that the device cannot read everywhere. What of them could be read is served; they are left as they
    /// are.
    pub unreadable: Vec<PackId>,
}

/// One pack that was scanned at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredPack {
    pub id: PackId,
    pub records: u64,
    /// Cut off behind the last valid record.
    pub truncated_bytes: u64,
    /// Ranges that hold no valid record although valid ones stand behind. They are kept as they are.
    pub gaps: Vec<Range<u64>>,
}

/// Settings of the packs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackSettings {
    /// The size at which a pack is sealed and another begun, in bytes; 1 MiB to 1 GiB.
    pub target_bytes: u64,
}

impl Default for PackSettings {
    fn default() -> Self {
        Self { target_bytes: 64 << 20 }
    }
}
