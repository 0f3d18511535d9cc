//! Version ids.

use super::id::parse_hex;
use super::{CommitSeq, ParseError};
use serde::{Deserialize, Serialize};

/// Names one version of one key. `Null` is the version of a bucket without versioning, or written while it is
/// suspended. An id begins with the commit that made it, so that a look-up by id is a look-up by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VersionId {
    Null,
    Id { seq: CommitSeq, salt: u64 },
}

impl VersionId {
    /// # Errors
    /// When the text is neither `null` nor 32 digits of hex.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let bytes = parse_hex::<16>("version id", text)?;
        let (seq, salt) = bytes.split_at(8);
        let number = |b: &[u8]| b.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        Ok(Self::Id { seq: CommitSeq::new(number(seq)), salt: number(salt) })
    }
}

impl std::fmt::Display for VersionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id { seq, salt } => write!(f, "{:016x}{salt:016x}", seq.get()),
        }
    }
}
