//! The library's error.

/// Why a storage layer could not do what was asked.
///
/// ```
/// use sediment::storage::StorageError;
///
/// let error: StorageError = std::io::Error::other("the disk is gone").into();
/// assert!(matches!(error, StorageError::Io(_)));
/// assert_eq!(error.to_string(), "IO error: the disk is gone");
/// assert_eq!(StorageError::Cache("no answer".into()).to_string(), "Cache error: no answer");
/// ```
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
