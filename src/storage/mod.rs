//! Storage layers: byte keys to bounded values, and the packs' files.

mod error;
mod layer;
pub mod pack_conformance;
mod pack_disk;
mod pack_memory;
mod pack_store;

pub use error::StorageError;
pub use layer::StorageLayer;
pub use pack_disk::DiskPackStore;
pub use pack_memory::MemoryPackStore;
pub use pack_store::{PackFile, PackId, PackStore};
