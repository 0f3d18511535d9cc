//! Why a body could not be stored or read.

use crate::meta::MetaError;
use crate::types::{ChunkId, PlainId};

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("pack I/O: {0}")]
    Io(#[from] std::io::Error),
    #[error("the chunk index: {0}")]
    Index(String),
    /// Bytes did not match their hash or check sum; they were not served (I4).
    #[error("chunk {id} is corrupt: {why}")]
    Corrupt { id: ChunkId, why: &'static str },
    #[error("chunk {0} is missing")]
    Missing(ChunkId),
    /// As `Corrupt`, for a body stored whole.
    #[error("body {id} is corrupt: {why}")]
    CorruptPlain { id: PlainId, why: &'static str },
    #[error("body {0} is missing")]
    MissingPlain(PlainId),
    #[error("manifest: {0}")]
    Manifest(#[from] crate::types::ManifestError),
    #[error("the range is outside the body")]
    Range,
    #[error("the body is {actual} bytes, {expected} were announced")]
    Size { expected: u64, actual: u64 },
    /// Memory or descriptors are used up by other requests; try again.
    #[error("too busy: {0}")]
    Busy(&'static str),
    #[error("no space is left on the device")]
    Full,
    #[error(
        "the store stopped accepting writes after a failed sync; restart it once the disk is healthy: {0}"
    )]
    Poisoned(String),
    /// Written by a newer version, or not of this store: left untouched.
    #[error("{0}")]
    Incompatible(String),
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl EngineError {
    /// The bytes are not there: removed since the metadata was read, or lost.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::MissingPlain(_))
    }

    /// No file could be opened: nothing was read or written, and it may be otherwise in a moment.
    pub(super) fn lacks_descriptors(&self) -> bool {
        matches!(self, Self::Io(error) if crate::sys::lacks_descriptors(error))
    }
}
