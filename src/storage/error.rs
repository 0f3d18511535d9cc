//! The library's error.

/// Why a storage layer could not do what was asked.
///
/// ```
/// use sediment::StorageError;
///
/// fn told(error: StorageError) -> String {
///     match &error {
///         StorageError::Io(_) => "storage: serve from cache, alert operators",
///         StorageError::Database(_) => "database: try again later",
///         StorageError::Cache(_) => "cache: fall back to storage",
///         StorageError::Deduplication(_) => "deduplication: store without it",
///     }
///     .to_owned() + "; " + &error.to_string()
/// }
///
/// let io: StorageError = std::io::Error::other("the disk is gone").into();
/// assert!(told(io).ends_with("IO error: the disk is gone"));
/// assert!(told(StorageError::Database("locked".into())).ends_with("Database error: locked"));
/// assert!(told(StorageError::Cache("no answer".into())).ends_with("Cache error: no answer"));
/// assert!(told(StorageError::Deduplication("no index".into())).ends_with("Deduplication error: no index"));
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
