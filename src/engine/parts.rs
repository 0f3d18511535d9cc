//! What every path through the engine shares.

use super::pack::PackSet;
use super::{ChunkCache, ChunkIndex, EngineSettings, PlainStore};
use crate::meta::{ChangeLog, MetaStore};
use crate::sys::{Clock, FileSystem, Random};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The concrete parts that an [`super::Engine`] is made of. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct EngineParts {
    pub packs: PackSet,
    pub index: ChunkIndex,
    pub cache: ChunkCache,
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn ChangeLog>,
    pub fs: Arc<dyn FileSystem>,
    pub plain: PlainStore,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub settings: Arc<EngineSettings>,
    /// One permit for each KiB of `settings.memory_bytes`: see [`EngineParts::memory_budget`].
    pub memory: Arc<Semaphore>,
}

impl EngineParts {
    /// The budget that all bodies on their way in or out share.
    #[must_use]
    pub fn memory_budget(settings: &EngineSettings) -> Arc<Semaphore> {
        let permits = u32::try_from(settings.memory_bytes >> 10).unwrap_or(u32::MAX);
        Arc::new(Semaphore::new(permits as usize))
    }
}
