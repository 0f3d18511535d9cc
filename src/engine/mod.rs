//! The body path: streams to deduplicated chunks in packs, and back.

mod blocking;
mod body_store;
mod budget;
mod buffers;
mod cache;
pub mod check;
mod chunk_store;
pub mod codec;
#[expect(clippy::module_inception, reason = "the engine itself, among its parts")]
mod engine;
mod error;
mod follow;
pub mod gc;
mod hybrid;
pub mod index;
mod ingest;
mod join;
mod key_value;
pub mod pack;
mod parts;
mod plain;
pub mod read;
mod rechunk;
#[cfg(test)]
mod recovery_tests;
mod settings;
#[cfg(test)]
mod small_store;
mod store_file;
#[cfg(test)]
mod world;

/// Decoders that nobody else needs from outside, for `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    pub fn hot_list(bytes: &[u8]) {
        super::cache::fuzz_hot_list(bytes);
    }

    pub fn index_rows(bytes: &[u8]) {
        super::index::fuzz(bytes);
    }

    pub fn plain_trailer(bytes: &[u8]) {
        super::plain::fuzz(bytes);
    }
}

pub use body_store::{BodySpec, BodyStore, BodyStream, BodyWriter, Digests, ReadHold, StagedBody};
pub use cache::{CacheError, CacheSettings, ChunkCache, RedisUrl, Wanted, read_hot_list};
pub use chunk_store::{BodyPiece, ChunkStore, Outline, SharedHold};
pub use engine::Engine;
pub use error::EngineError;
pub use follow::Follower;
pub use hybrid::{BackupSchedule, HybridStorageSystem, StorageConfig};
pub use index::{ChunkIndex, IndexSettings, Progress};
pub use ingest::{Catalog, CatalogSession, IngestStages, Moved};
pub use key_value::MAX_VALUE_BYTES;
pub use parts::{EngineParts, MemoryBudget};
pub use plain::{PassingBlocks, PlainReader, PlainStore, PlainWriter, RawPlainWriter};
pub use rechunk::{MayWork, RechunkReport, Rechunker};
pub use settings::EngineSettings;
