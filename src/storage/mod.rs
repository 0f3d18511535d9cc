//! Storage layers: byte keys to bounded values, and the packs' files.

mod error;
mod layer;
mod pack_store;

pub use error::StorageError;
pub use layer::StorageLayer;
pub use pack_store::{PackFile, PackId, PackStore};
