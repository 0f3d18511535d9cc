//! Bodies on their way in: one pass in bounded memory, from bytes to records in packs.
//!
//! Rules: no work on the async threads but gathering bytes (and hashing what is small enough to be inline); at
//! most two blocks of a body are in memory, the one being gathered and the one being worked on, under a budget that
//! all bodies share; where many do, each has one short block; a client that sends nothing, or little, takes little memory and keeps
//! nothing from collection; one index call and one append for a whole block; where a body is cut
//! depends on its bytes alone, never on how they arrived. A body that is dropped leaves only garbage.

mod catalog;
mod chunker;
mod digester;
mod fan;
mod lanes;
mod md5;
mod pool;
mod rewrite;
mod sink;
mod stages;
mod tree;
mod workers;
mod writer;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub use catalog::{Catalog, CatalogSession, Moved};
pub(super) use sink::ChunkSink;
pub use stages::IngestStages;
pub(super) use stages::Stages;
pub(super) use workers::Workers;
pub(super) use writer::{Fallback, Writer};

use self::chunker::Chunker;
use self::lanes::{Block, Lanes};
use self::stages::Stage;
use super::budget::{LargeMemory, Memory, Share, UploadBudget};
use super::pack::PackSet;
use super::{BodySpec, EngineError, EngineSettings, PlainStore};
use crate::sys::Random;
use std::sync::Arc;

/// So much of a body is gathered before its share of the memory is taken, in bytes.
const FIRST_BYTES: usize = 8 << 10;
/// What is gathered before it is worked on, in bytes, if there is memory for that.
const BLOCK_BYTES: usize = 1 << 20;
/// So many long blocks are a turn, once others want the memory.
const TURN_BLOCKS: u32 = 16;
/// What is gathered at least: a short block is what is carried over from the one before, less than a chunk, and this.
const LEAST_BYTES: usize = 16 << 10;
/// The open nodes of a manifest.
const NODES_BYTES: usize = 16 << 10;
/// A last block up to so many bytes is one job: another thread costs more than it takes off. In bytes.
const ONE_JOB_BYTES: usize = 128 << 10;

/// What the way in is made of.
#[derive(Debug)]
pub(super) struct IngestParts {
    pub(super) packs: PackSet,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) plain: PlainStore,
    pub(super) random: Arc<dyn Random>,
    pub(super) settings: Arc<EngineSettings>,
    pub(super) memory: UploadBudget,
}

/// The way in, shared by all bodies.
#[derive(Debug)]
pub(super) struct Ingest {
    pub(super) parts: IngestParts,
    pub(super) workers: Workers,
    pub(super) stages: Stages,
    chunker: Chunker,
    lanes: Lanes,
}

/// A body's share of the memory and its protection from collection. Kept by everything that works for the body,
/// so that neither is given back while a job still runs.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) session: Arc<dyn CatalogSession>,
    pub(super) memory: Arc<Memory>,
    /// What long blocks take, for those who work on one.
    pub(super) _large: Option<Arc<LargeMemory>>,
}

impl Ingest {
    /// # Errors
    /// When the settings are out of bounds or the threads cannot be started.
    pub(super) fn new(parts: IngestParts) -> Result<Self, EngineError> {
        parts.settings.validate()?;
        let workers = Workers::new(parts.settings.hash_threads)?;
        let (stages, chunker, lanes) = (Stages::default(), Chunker::new(&parts.settings)?, Lanes::default());
        Ok(Self { parts, workers, stages, chunker, lanes })
    }

    /// Begins a body.
    ///
    /// # Errors
    /// `Busy` when the memory for its first bytes did not come free in time.
    pub(super) async fn writer(
        self: &Arc<Self>,
        spec: BodySpec,
        fallback: Fallback,
    ) -> Result<Writer, EngineError> {
        let memory = self.parts.memory.take(Share::First, self.first_bytes(spec.size)).await?;
        Ok(Writer::new(Arc::clone(self), spec, Arc::new(memory), fallback))
    }

    /// Waits its turn for memory, and begins a view of the index.
    pub(super) async fn lease(&self, share: Share, bytes: u64) -> Result<Lease, EngineError> {
        let memory = Arc::new(self.parts.memory.take(share, bytes).await?);
        Ok(self.lease_with(memory))
    }

    /// Has a block hashed beside those of other bodies, and after what can be done for them meanwhile.
    fn hash(self: &Arc<Self>, block: Block) {
        if self.lanes.add(block) {
            let ingest = Arc::clone(self);
            self.workers.spawn_late(move || ingest.stages.time(Stage::Digest, || ingest.lanes.lead()));
        }
    }

    fn lease_with(&self, memory: Arc<Memory>) -> Lease {
        Lease { session: Arc::from(self.parts.catalog.session()), memory, _large: None }
    }

    /// What a body takes before its first byte: all, if it is announced to be no longer than that.
    fn first_bytes(&self, size: Option<u64>) -> u64 {
        match size {
            Some(size) if size <= self.parts.settings.inline_max_bytes => size + (2 << 10),
            Some(size) if size > FIRST_BYTES as u64 => FIRST_BYTES as u64,
            size => small_bytes(size.unwrap_or(FIRST_BYTES as u64)),
        }
    }

    /// What a body takes once its first bytes have come.
    fn share_of(&self, size: Option<u64>) -> (Share, u64) {
        match size {
            // In short blocks, as those with a seat, or in one that is no longer: so it needs no more than they do.
            Some(size) if size <= BLOCK_BYTES as u64 => {
                (Share::Small, small_bytes(size).min(self.seat_bytes()))
            }
            _ => (Share::Seat, self.seat_bytes()),
        }
    }

    /// The room of a short block: any chunk's bytes, and some.
    fn short_bytes(&self) -> usize {
        self.parts.settings.chunk_max_bytes as usize + LEAST_BYTES
    }

    /// What a body needs to go on.
    pub(super) fn seat_bytes(&self) -> u64 {
        (self.short_bytes() + NODES_BYTES) as u64
    }

    /// What a body takes for long blocks: one that is gathered, one that is worked on, each with what is carried over, and the
    /// records of that. A single block is all that a body of known length may need.
    fn large_bytes(&self, size: Option<u64>) -> u64 {
        match size.filter(|size| *size <= BLOCK_BYTES as u64) {
            Some(size) => 2 * size,
            None => 2 * u64::from(self.parts.settings.chunk_max_bytes) + 3 * BLOCK_BYTES as u64,
        }
    }
}

/// The bytes, their records, and the write that appends them.
const fn small_bytes(size: u64) -> u64 {
    3 * size + (8 << 10)
}
