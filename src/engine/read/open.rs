//! The reader over the engine's own parts.

use super::hot::hot;
use super::{BodyReader, Locate};
use crate::engine::pack::Location;
use crate::engine::{BodyStream, ChunkIndex, EngineError, EngineParts, ReadHold};
use crate::meta::StoredBody;
use crate::types::{ChunkId, ResolvedRange};
use std::any::Any;
use std::sync::Arc;

impl Locate for ChunkIndex {
    fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        self.get(ids)
    }

    fn hold(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(Self::hold(self))
    }

    fn condemn(&self, id: &ChunkId, damaged: Location) {
        if let Err(error) = Self::condemn(self, id, damaged) {
            tracing::error!(%id, %error, "a damaged chunk could not be condemned");
        }
    }
}

/// As [`BodyReader::open_held`].
///
/// # Errors
/// As there.
pub(crate) async fn open(
    parts: &EngineParts,
    hold: ReadHold,
    body: &StoredBody,
    size: u64,
    range: ResolvedRange,
) -> Result<BodyStream, EngineError> {
    if let Some(stream) = hot(&parts.cache, body, size, range) {
        return Ok(stream);
    }
    let index = Arc::new(parts.index.clone());
    let reader = BodyReader::new(
        parts.packs.clone(),
        index,
        parts.cache.clone(),
        parts.plain.clone(),
        parts.memory.reads.clone(),
    );
    reader.open_held(hold, body, size, range).await
}
