//! Storage layers: byte keys to bounded values, and the packs' files.
//!
//! Rules of the room: a trait's contract stands on the trait, and one public suite checks it against every
//! implementation and decorator ([`conformance`], [`pack_conformance`]).

pub mod conformance;
mod error;
mod ext;
mod faulty;
mod file;
mod layer;
mod memory;
mod metered;
mod mirrored;
pub mod pack_conformance;
mod pack_disk;
mod pack_memory;
mod pack_store;

/// Decoders that nobody else needs from outside, for `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::file::fuzzing::{file_name, file_record};

    pub fn pack_name(name: &str) {
        super::pack_disk::fuzz(name);
    }
}

pub use error::StorageError;
pub use ext::StorageLayerExt;
pub use faulty::Faulty;
pub use file::{FileMetadata, FileStorage};
pub use layer::StorageLayer;
pub use memory::MemoryStorage;
pub use metered::Metered;
pub use mirrored::Mirrored;
pub use pack_disk::DiskPackStore;
pub use pack_memory::MemoryPackStore;
pub use pack_store::{PackFile, PackId, PackStore};
