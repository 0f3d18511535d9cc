//! Convenience over [`StorageLayer`], for every implementation at once.

use super::{StorageError, StorageLayer};
use bytes::Bytes;
use futures::stream::TryStreamExt;
use std::future::Future;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What can be said in terms of the four verbs.
///
/// ```
/// use sediment::storage::{MemoryStorage, StorageLayer, StorageLayerExt};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), sediment::storage::StorageError> {
/// let storage = MemoryStorage::new();
/// storage.put(b"a/1", b"one").await?;
/// storage.put(b"a/2", b"two").await?;
/// assert_eq!(storage.get_vec(b"a/1").await?, Some(b"one".to_vec()));
/// assert_eq!(storage.scan_vec(b"a/").await?.len(), 2);
/// assert_eq!(storage.delete_prefix(b"a/").await?, 2);
/// assert!(!storage.contains(b"a/1").await?);
/// # Ok(())
/// # }
/// ```
pub trait StorageLayerExt: StorageLayer {
    /// The value as a vector of its own.
    fn get_vec(&self, key: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, StorageError>> + Send {
        async move { Ok(self.get(key).await?.map(Vec::from)) }
    }

    /// Whether the key has a value. Reads it.
    fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool, StorageError>> + Send {
        async move { Ok(self.get(key).await?.is_some()) }
    }

    /// A whole scan in memory: for prefixes that are known to hold little.
    fn scan_vec(&self, prefix: &[u8]) -> impl Future<Output = Result<Entries, StorageError>> + Send {
        self.scan(prefix).map_ok(|(key, value)| (key.into(), value.into())).try_collect()
    }

    /// The keys below a prefix, in order.
    fn keys(&self, prefix: &[u8]) -> impl Future<Output = Result<Vec<Bytes>, StorageError>> + Send {
        self.scan(prefix).map_ok(|(key, _)| key).try_collect()
    }

    /// Deletes every key below a prefix and says how many there were. Not atomic: after an error some are left.
    fn delete_prefix(&self, prefix: &[u8]) -> impl Future<Output = Result<u64, StorageError>> + Send {
        self.scan(prefix).try_fold(0, async |deleted, (key, _)| {
            self.delete(&key).await?;
            Ok(deleted + 1)
        })
    }
}

impl<L: StorageLayer + ?Sized> StorageLayerExt for L {}
