//! What the way in needs of the chunk index.

use crate::engine::EngineError;
use crate::engine::pack::{Location, RecordKind};
use crate::types::ChunkId;

/// Knows which chunks and nodes are there.
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// Begins a body.
    fn session(&self) -> Box<dyn CatalogSession>;
}

/// One body's view: what it looked up, found or added is not collected before the session is dropped.
/// All calls block.
pub trait CatalogSession: Send + Sync + std::fmt::Debug {
    /// Where the records are, in the order asked for; `None` for what has to be appended.
    ///
    /// # Errors
    /// `Index` when that cannot be told.
    fn hit(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError>;

    /// Adds records that were just appended. For one that somebody else added meanwhile, the first stays.
    ///
    /// # Errors
    /// `Index` when they cannot be added; then they are garbage.
    fn insert(&self, records: &[(ChunkId, RecordKind, Location)]) -> Result<(), EngineError>;

    /// Chunks that were there and were stored again. The new records must be durable. Who is found elsewhere by now
    /// stays there.
    ///
    /// # Errors
    /// As [`Self::insert`].
    fn moved(&self, moves: &[Moved]) -> Result<(), EngineError>;
}

/// A chunk with two records of the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub id: ChunkId,
    /// Where it was found.
    pub from: Location,
    /// Where it was appended.
    pub to: Location,
}
