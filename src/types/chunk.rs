//! Chunk ids.

use super::ParseError;
use super::id::parse_hex;
use serde::{Deserialize, Serialize};

/// The SHA-256 of a chunk's raw bytes: its name, its deduplication key and its proof.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(#[serde(with = "serde_bytes")] [u8; 32]);

impl ChunkId {
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// # Errors
    /// When the text is not 64 digits of hex.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse_hex("chunk id", text).map(Self)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for ChunkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkId({})", hex::encode(&self.0[..8]))
    }
}
