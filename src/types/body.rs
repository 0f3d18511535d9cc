//! Where a version's bytes are.

use super::{Checksum, ManifestId, PartNumber};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A body stored whole in `plain/`: 16 random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlainId(#[serde(with = "serde_bytes")] [u8; 16]);

impl PlainId {
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Display for PlainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A stored body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Small enough to live in the metadata row.
    Inline(#[serde(with = "bytes_as_blob")] Bytes),
    /// Deduplicated chunks, in the manifest's order.
    Chunked(ManifestId),
    /// A file of its own: the fallback when deduplication is off or fails.
    Plain(PlainId),
}

/// One part of a completed multipart object, kept for `partNumber` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartLayout {
    pub number: PartNumber,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
}

mod bytes_as_blob {
    use bytes::Bytes;

    pub(super) fn serialize<S: serde::Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        use serde::Deserialize as _;
        serde_bytes::ByteBuf::deserialize(d).map(|b| Bytes::from(b.into_vec()))
    }
}
