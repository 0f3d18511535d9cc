//! The engine: all parts as one [`BodyStore`].

use super::index::Hold;
use super::ingest::{Catalog, CatalogSession, Fallback, Ingest, IngestParts, IngestStages, Moved};
use super::pack::{Location, RecordKind};
use super::{
    BodySpec, BodyStore, BodyStream, BodyWriter, ChunkIndex, ChunkStore, EngineError, EngineParts, MayWork,
    Outline, ReadHold, Rechunker, SharedHold, StagedBody, Wanted, join, read,
};
use crate::meta::{Inspect, StoredBody};
use crate::types::{ChunkId, ResolvedRange};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// Bodies in, deduplicated; bodies out, verified. Cheap to clone; all clones are one engine.
#[derive(Debug, Clone)]
pub struct Engine {
    parts: EngineParts,
    ingest: Arc<Ingest>,
}

impl Engine {
    /// Starts the engine's threads.
    ///
    /// # Errors
    /// `Incompatible` when the settings are out of bounds, `Io` when the threads cannot be started.
    pub fn new(parts: EngineParts) -> Result<Self, EngineError> {
        let ingest = Ingest::new(IngestParts {
            packs: parts.packs.clone(),
            catalog: Arc::new(parts.index.clone()),
            plain: parts.plain.clone(),
            random: Arc::clone(&parts.random),
            settings: Arc::clone(&parts.settings),
            memory: parts.memory.uploads.clone(),
        })?;
        Ok(Self { parts, ingest: Arc::new(ingest) })
    }

    /// What the engine is made of.
    #[must_use]
    pub const fn parts(&self) -> &EngineParts {
        &self.parts
    }

    /// What deduplicates bodies that were stored whole.
    #[must_use]
    pub fn rechunker(&self, inspect: Arc<dyn Inspect>, may_work: MayWork) -> Rechunker {
        Rechunker::new(Arc::clone(&self.ingest), Arc::clone(&self.parts.meta), inspect, may_work)
    }

    /// Where the time of bodies on their way in went so far.
    #[must_use]
    pub fn ingest_stages(&self) -> IngestStages {
        self.ingest.stages.snapshot()
    }
}

#[async_trait]
impl BodyStore for Engine {
    async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
        Ok(Box::new(self.ingest.writer(spec, Fallback::Plain).await?))
    }

    fn hold(&self) -> ReadHold {
        Box::new(self.parts.index.hold())
    }

    async fn read(
        &self,
        hold: ReadHold,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        read::open(&self.parts, hold, body, size, range).await
    }

    async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
        join::join(&self.ingest, bodies).await
    }

    fn chunk_store(&self) -> Option<Arc<dyn ChunkStore>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl ChunkStore for Engine {
    async fn which(&self, ids: Vec<ChunkId>) -> Result<Vec<bool>, EngineError> {
        read::which(&self.parts, ids).await
    }

    async fn load(&self, wanted: Vec<Wanted>) -> Result<Vec<Bytes>, EngineError> {
        read::load(&self.parts, wanted).await
    }

    fn outline(&self, hold: SharedHold, body: &StoredBody, range: ResolvedRange) -> Option<Outline> {
        read::outline(&self.parts, hold, body, range)
    }
}

/// A body's view of the index.
#[derive(Debug)]
struct IndexSession {
    index: ChunkIndex,
    hold: Hold,
}

/// Whatever keeps the index from answering, bodies can do without it; only for want of room they cannot.
fn of_index(error: EngineError) -> EngineError {
    match error {
        EngineError::Full | EngineError::Index(_) => error,
        other => EngineError::Index(other.to_string()),
    }
}

impl Catalog for ChunkIndex {
    fn session(&self) -> Box<dyn CatalogSession> {
        Box::new(IndexSession { index: self.clone(), hold: self.hold() })
    }
}

impl CatalogSession for IndexSession {
    fn hit(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        self.index.hit(&self.hold, ids).map_err(of_index)
    }

    fn insert(&self, records: &[(ChunkId, RecordKind, Location)]) -> Result<(), EngineError> {
        self.index.insert(&self.hold, records).map_err(of_index)
    }

    fn moved(&self, moves: &[Moved]) -> Result<(), EngineError> {
        let moves: Vec<_> = moves.iter().map(|moved| (moved.id, moved.from, moved.to)).collect();
        self.index.replace(&self.hold, &moves)
    }
}
