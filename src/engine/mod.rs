//! The body path: streams to deduplicated chunks in packs, and back.

mod body_store;
mod cache;
pub mod codec;
mod error;
mod follow;
pub mod index;
mod ingest;
mod join;
mod key_value;
pub mod pack;
mod plain;
pub mod read;
mod settings;

pub use body_store::{BodySpec, BodyStore, BodyStream, BodyWriter, Digests, StagedBody};
pub use cache::{Admission, CacheError, CacheSettings, ChunkCache, RedisUrl, read_hot_list};
pub use error::EngineError;
pub use follow::Follower;
pub use ingest::{Catalog, CatalogSession, IngestStages};
pub use plain::{PlainReader, PlainStore, PlainWriter};
pub use settings::EngineSettings;
