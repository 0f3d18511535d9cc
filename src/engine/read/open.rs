//! The reader over the engine's own parts.

use super::{BodyReader, Locate, ReadBudget};
use crate::engine::pack::Location;
use crate::engine::{BodyStream, ChunkIndex, EngineError, EngineParts};
use crate::meta::StoredBody;
use crate::types::{ChunkId, ResolvedRange};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

impl Locate for ChunkIndex {
    fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        self.get(ids)
    }

    fn hold(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(Self::hold(self))
    }
}

/// As [`BodyReader::open`].
///
/// # Errors
/// As there.
pub(crate) async fn open(
    parts: &EngineParts,
    body: &StoredBody,
    size: u64,
    range: ResolvedRange,
) -> Result<BodyStream, EngineError> {
    let budget = ReadBudget {
        memory: Arc::clone(&parts.memory),
        total_kib: u32::try_from(parts.settings.memory_bytes >> 10).unwrap_or(u32::MAX),
        wait: Duration::from_millis(parts.settings.memory_wait_milliseconds),
    };
    let index = Arc::new(parts.index.clone());
    let reader =
        BodyReader::new(parts.packs.clone(), index, parts.cache.clone(), parts.plain.clone(), budget);
    reader.open(body, size, range).await
}
