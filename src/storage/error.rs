//! The library's error.

/// Why a storage layer could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("IO error: {0}")]
    Io(#[from] std::io::Error),

    #[error("Database error: {0}")]
    Database(String),

    #[error("Cache error: {0}")]
    Cache(String),

    #[error("Deduplication error: {0}")]
    Deduplication(String),
}
