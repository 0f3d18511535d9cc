//! Chunks by their ids, for stores that share what they have (`docs/delta.md`).

use super::{EngineError, Wanted};
use crate::meta::StoredBody;
use crate::types::{ChunkId, MAX_DELTA_RECORD_BYTES, ResolvedRange};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

// A delta may name every chunk that a pack can hold.
const _: () = assert!(MAX_DELTA_RECORD_BYTES == super::pack::MAX_PAYLOAD_BYTES);

/// A [`super::ReadHold`] that several readers of one body keep.
pub type SharedHold = Arc<dyn Any + Send + Sync>;

/// The chunks of a range of a body, in order. The first error ends the stream.
pub type Outline = BoxStream<'static, Result<BodyPiece, EngineError>>;

/// A chunk of a body, and what of it lies in the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPiece {
    pub id: ChunkId,
    /// The whole chunk's length.
    pub bytes: u32,
    pub within: Range<usize>,
}

impl BodyPiece {
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.within.len() == self.bytes as usize
    }
}

/// What a store has, by the hashes of its pieces.
#[async_trait]
pub trait ChunkStore: Send + Sync + std::fmt::Debug {
    /// Whether each is there, in the order asked for: now, since nothing keeps it. One look-up for all.
    async fn which(&self, ids: Vec<ChunkId>) -> Result<Vec<bool>, EngineError>;

    /// Whole chunks, verified, in the order asked for. Their memory is counted until they have been read; so ask for
    /// few at a time.
    ///
    /// # Errors
    /// `Missing` and `Corrupt` for one that cannot be had, `Busy` when memory is used up.
    async fn load(&self, wanted: Vec<Wanted>) -> Result<Vec<Bytes>, EngineError>;

    /// What a range is made of; `None` for a body that is not in chunks. The hold is as in [`super::BodyStore::read`],
    /// and is kept until the stream is dropped.
    fn outline(&self, hold: SharedHold, body: &StoredBody, range: ResolvedRange) -> Option<Outline>;
}
