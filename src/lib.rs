//! Sediment stores every byte once: an S3-compatible gateway over content-defined, deduplicated chunks.
//!
//! As a library it is a store of byte keys and values. The simplest one keeps them in files:
//!
//! ```
//! use sediment::{FileStorage, StorageLayer};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), sediment::StorageError> {
//! # let dir = tempfile::tempdir()?;
//! # std::env::set_current_dir(&dir)?;
//! // MVP: Simple file storage
//! let storage = FileStorage::new("./data").await?;
//! storage.put(b"key", b"value").await?;
//! let value = storage.get(b"key").await?;
//! # assert_eq!(value.as_deref(), Some(&b"value"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! [`HybridStorageSystem`] is the whole store: deduplicated, compressed, cached.

pub mod admin;
pub mod app;
pub mod backup;
pub mod bench;
pub mod config;
pub mod engine;
pub mod http;
pub mod meta;
pub mod remote;
pub mod replicate;
pub mod s3;
pub mod service;
pub mod storage;
pub mod sys;
pub mod types;

pub use engine::{BackupSchedule, HybridStorageSystem, StorageConfig};
pub use storage::{FileStorage, StorageError, StorageLayer, StorageLayerExt};
