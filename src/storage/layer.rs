//! The trait that all layers share.

use super::StorageError;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::sync::Arc;

/// Byte keys to bounded values; four verbs for ever. Keys are any bytes of any length, the empty key and keys
/// that begin other keys included.
#[async_trait]
pub trait StorageLayer: Send + Sync {
    /// The value last put, `None` when there is none. Never other bytes: corruption is an error (I4).
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Returns only when the value is durable and visible to every later `get` and `scan` (I1). After an error
    /// the key holds either its old value or the new one, whole (I2).
    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError>;

    /// Deleting what is not there succeeds. Durable when it returns.
    async fn delete(&self, key: &[u8]) -> Result<(), StorageError>;

    /// Every key that begins with `prefix`, in byte order, with its value. Keys written or deleted while the
    /// stream runs may or may not appear; all others appear exactly once.
    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>>;
}

#[async_trait]
impl<L: StorageLayer + ?Sized> StorageLayer for Arc<L> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        (**self).get(key).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        (**self).put(key, value).await
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        (**self).delete(key).await
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        (**self).scan(prefix)
    }
}
