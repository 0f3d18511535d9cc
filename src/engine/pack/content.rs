//! The proof that a record holds what its id says.

use super::types::{Codec, MAX_PAYLOAD_BYTES, RecordKind};
use crate::types::{ChunkId, Node};
use sha2::{Digest, Sha256};

/// Whether a payload decodes to bytes whose hash is `id`.
pub(super) fn proves(id: ChunkId, kind: RecordKind, codec: Codec, raw_len: u32, payload: &[u8]) -> bool {
    if raw_len > MAX_PAYLOAD_BYTES {
        return false;
    }
    let raw_len = raw_len as usize;
    match codec {
        Codec::Raw => payload.len() == raw_len && hash(kind, payload) == id,
        Codec::Zstd => zstd::bulk::decompress(payload, raw_len)
            .is_ok_and(|raw| raw.len() == raw_len && hash(kind, &raw) == id),
    }
}

fn hash(kind: RecordKind, raw: &[u8]) -> ChunkId {
    match kind {
        RecordKind::Chunk => ChunkId::new(Sha256::digest(raw).into()),
        RecordKind::Node => Node::id_of(raw),
    }
}
