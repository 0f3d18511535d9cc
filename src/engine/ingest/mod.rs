//! Bodies on their way in: one pass in bounded memory, from bytes to records in packs.
//!
//! Rules: no work on the async threads but gathering bytes (and hashing what is small enough to be inline); at
//! most two blocks of a body are in memory, the one being gathered and the one being worked on, under a budget that
//! all bodies share and wait for in turn; one index call and one append for a whole block; where a body is cut
//! depends on its bytes alone, never on how they arrived. A body that is dropped leaves only garbage.

mod catalog;
mod chunker;
mod digester;
mod sink;
mod stages;
mod tree;
mod workers;
mod writer;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, CatalogSession};
pub(super) use sink::ChunkSink;
pub use stages::IngestStages;
pub(super) use stages::Stages;
pub(super) use workers::Workers;
pub(super) use writer::{Fallback, Writer};

use super::pack::PackSet;
use super::{BodySpec, EngineError, EngineSettings, PlainStore};
use crate::sys::{Queued, Random};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is gathered before it is worked on, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// A long body's blocks, their compressed records and the write that appends them, and the manifest's open nodes.
const LONG_BODY_BYTES: usize = 4 * BLOCK_BYTES + (512 << 10);

/// What the way in is made of.
#[derive(Debug)]
pub(super) struct IngestParts {
    pub(super) packs: PackSet,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) plain: PlainStore,
    pub(super) random: Arc<dyn Random>,
    pub(super) settings: Arc<EngineSettings>,
    /// One permit for each KiB.
    pub(super) memory: Arc<Semaphore>,
}

/// The way in, shared by all bodies.
#[derive(Debug)]
pub(super) struct Ingest {
    pub(super) parts: IngestParts,
    pub(super) workers: Workers,
    pub(super) stages: Stages,
}

/// A body's share of the memory and its protection from collection. Kept by everything that works for the body,
/// so that neither is given back while a job still runs.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) session: Arc<dyn CatalogSession>,
    _memory: Arc<OwnedSemaphorePermit>,
}

impl Ingest {
    /// # Errors
    /// When the settings are out of bounds or the threads cannot be started.
    pub(super) fn new(parts: IngestParts) -> Result<Self, EngineError> {
        parts.settings.validate()?;
        let workers = Workers::new(parts.settings.hash_threads)?;
        Ok(Self { parts, workers, stages: Stages::default() })
    }

    /// Begins a body.
    ///
    /// # Errors
    /// `Busy` when its share of the memory did not come free in time.
    pub(super) async fn writer(
        self: &Arc<Self>,
        spec: BodySpec,
        fallback: Fallback,
    ) -> Result<Writer, EngineError> {
        let lease = self.lease(self.memory_for(spec.size)).await?;
        Ok(Writer::new(Arc::clone(self), spec, lease, fallback))
    }

    /// Waits its turn for memory.
    pub(super) async fn lease(&self, bytes: usize) -> Result<Lease, EngineError> {
        let settings = &self.parts.settings;
        let most = settings.memory_bytes >> 10;
        let permits = u32::try_from((bytes.div_ceil(1 << 10) as u64).min(most)).unwrap_or(u32::MAX);
        let turn = Arc::clone(&self.parts.memory).acquire_many_owned(permits);
        let wait = Duration::from_millis(settings.memory_wait_milliseconds);
        let queued = Queued::in_queue("memory");
        let waited = tokio::time::timeout(wait, turn).await;
        drop(queued);
        let memory = match waited {
            Ok(Ok(memory)) => Arc::new(memory),
            Ok(Err(_)) => return Err(EngineError::Busy("the store is stopping")),
            Err(_) => {
                metrics::counter!("sediment_ingest_refused_total").increment(1);
                return Err(EngineError::Busy("the memory for bodies is used up"));
            }
        };
        Ok(Lease { session: Arc::from(self.parts.catalog.session()), _memory: memory })
    }

    /// The most memory that a body of the size takes.
    fn memory_for(&self, size: Option<u64>) -> usize {
        match size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= BLOCK_BYTES) {
            Some(size) if size as u64 <= self.parts.settings.inline_max_bytes => size + (2 << 10),
            // The bytes, their records, and the write that appends them.
            Some(size) => 3 * size + (8 << 10),
            None => 2 * self.parts.settings.chunk_max_bytes as usize + LONG_BODY_BYTES,
        }
    }
}
