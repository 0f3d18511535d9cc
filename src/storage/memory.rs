//! Values in memory: for tests and for what may be forgotten.

use super::{StorageError, StorageLayer};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;

const BATCH_ENTRIES: usize = 256;

/// An ordered map. Durable for as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    values: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl MemoryStorage {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn batch(&self, from: Bound<&Bytes>, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let values = self.values.read();
        let behind = values.range::<Bytes, _>((from, Bound::Unbounded));
        let matching = behind.take_while(|(key, _)| key.starts_with(prefix)).take(BATCH_ENTRIES);
        matching.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[async_trait]
impl StorageLayer for MemoryStorage {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.values.read().get(key).cloned())
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.values.write().insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.values.write().remove(key);
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        let prefix = Bytes::copy_from_slice(prefix);
        let start = Some(Bound::Included(prefix.clone()));
        let step = move |from: Option<Bound<Bytes>>| {
            let batch = from.map(|from| self.batch(from.as_ref(), &prefix)).unwrap_or_default();
            let next = batch.last().map(|(last, _)| Bound::Excluded(last.clone()));
            std::future::ready(Ok::<_, StorageError>((!batch.is_empty()).then_some((batch, next))))
        };
        futures::stream::try_unfold(start, step)
            .map_ok(|batch| futures::stream::iter(batch.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStorage;
    use crate::storage::conformance;

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::run(&MemoryStorage::new()).await;
        conformance::cancellation(&MemoryStorage::new()).await;
    }
}
