//! What every path through the engine shares.

use super::budget::UploadBudget;
use super::pack::PackSet;
use super::read::ReadBudget;
use super::{ChunkCache, ChunkIndex, EngineSettings, PlainStore};
use crate::meta::{ChangeLog, MetaStore};
use crate::sys::{Clock, FileSystem, Random};
use std::sync::Arc;
use std::time::Duration;

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
    /// See [`MemoryBudget::new`].
    pub memory: MemoryBudget,
}

/// The memory for bodies: one half for those on their way in, the other for those on their way out, so that
/// neither waits for the other.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    pub uploads: UploadBudget,
    pub reads: ReadBudget,
}

impl MemoryBudget {
    /// The budget that all bodies share.
    #[must_use]
    pub fn new(settings: &EngineSettings) -> Self {
        let half = settings.memory_bytes / 2;
        let wait = Duration::from_millis(settings.memory_wait_milliseconds);
        Self {
            uploads: UploadBudget::new(half, wait),
            reads: ReadBudget::new(half, u64::from(settings.chunk_max_bytes), wait),
        }
    }

    /// How many wait for some of it now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.uploads.waiting() + self.reads.waiting()
    }

    /// What is in use now, in bytes: by bodies on their way in, and by those on their way out.
    #[must_use]
    pub fn used_bytes(&self) -> (u64, u64) {
        (self.uploads.used_bytes(), self.reads.used_bytes())
    }
}

impl EngineParts {
    /// As [`MemoryBudget::new`].
    #[must_use]
    pub fn memory_budget(settings: &EngineSettings) -> MemoryBudget {
        MemoryBudget::new(settings)
    }
}
