//! Two layers as one while values move from the old to the new: reads both, writes the new.

use super::{StorageError, StorageLayer};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, Peekable, StreamExt};
use std::pin::Pin;

/// The new layer's value wins. While this is in use the old layer may be copied from; only this may delete
/// from it.
#[derive(Debug)]
pub struct Mirrored<New, Old> {
    new: New,
    old: Old,
}

impl<New: StorageLayer, Old: StorageLayer> Mirrored<New, Old> {
    #[must_use]
    pub const fn new(new: New, old: Old) -> Self {
        Self { new, old }
    }
}

type Entry = Result<(Bytes, Bytes), StorageError>;

#[async_trait]
impl<New: StorageLayer, Old: StorageLayer> StorageLayer for Mirrored<New, Old> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.new.get(key).await? {
            Some(value) => Ok(Some(value)),
            None => self.old.get(key).await,
        }
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.new.put(key, value).await
    }

    /// The old layer first: were it last, a crash in between would bring an older value back.
    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.old.delete(key).await?;
        self.new.delete(key).await
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Entry> {
        let streams = (self.new.scan(prefix).peekable(), self.old.scan(prefix).peekable());
        futures::stream::unfold(streams, |(mut new, mut old)| async {
            let entry = next_of(Pin::new(&mut new), Pin::new(&mut old)).await?;
            Some((entry, (new, old)))
        })
        .boxed()
    }
}

/// The lesser of the two next entries; of two with the same key the new one, and the old one is skipped.
async fn next_of(
    mut new: Pin<&mut Peekable<BoxStream<'_, Entry>>>,
    mut old: Pin<&mut Peekable<BoxStream<'_, Entry>>>,
) -> Option<Entry> {
    let order = match (new.as_mut().peek().await, old.as_mut().peek().await) {
        (_, None) | (Some(Err(_)), _) => return new.next().await,
        (None, _) | (_, Some(Err(_))) => return old.next().await,
        (Some(Ok((in_new, _))), Some(Ok((in_old, _)))) => in_new.cmp(in_old),
    };
    if order.is_eq() {
        old.next().await;
    }
    if order.is_gt() { old.next().await } else { new.next().await }
}

#[cfg(test)]
mod tests {
    use super::Mirrored;
    use crate::storage::{Faulty, MemoryStorage, StorageLayer, StorageLayerExt, conformance};

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::run(&Mirrored::new(MemoryStorage::new(), MemoryStorage::new())).await;
    }

    async fn mirrored() -> Mirrored<MemoryStorage, MemoryStorage> {
        let layers = Mirrored::new(MemoryStorage::new(), MemoryStorage::new());
        for key in [b"a", b"b", b"d"] {
            layers.old.put(key, b"old").await.unwrap();
        }
        for key in [b"b", b"c"] {
            layers.put(key, b"new").await.unwrap();
        }
        layers
    }

    #[tokio::test]
    async fn reads_both_and_writes_the_new() {
        let layers = mirrored().await;
        let all = layers.scan_vec(b"").await.unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
        let all: Vec<_> = all.iter().map(|(key, value)| (text(key), text(value))).collect();
        let expected = [("a", "old"), ("b", "new"), ("c", "new"), ("d", "old")];
        assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(layers.get_vec(b"a").await.unwrap(), Some(b"old".to_vec()));
        assert_eq!(layers.get_vec(b"b").await.unwrap(), Some(b"new".to_vec()));
        assert_eq!(layers.old.get_vec(b"b").await.unwrap(), Some(b"old".to_vec()), "never written");
    }

    #[tokio::test]
    async fn i2_a_failed_delete_never_brings_an_older_value_back() {
        for call in 1..=2 {
            let layers = Mirrored::new(Faulty::new(MemoryStorage::new()), Faulty::new(MemoryStorage::new()));
            layers.old.put(b"key", b"old").await.unwrap();
            layers.put(b"key", b"new").await.unwrap();
            if call == 1 {
                layers.old.fail_call(1);
            } else {
                layers.new.fail_call(1);
            }
            assert!(layers.delete(b"key").await.is_err());
            assert_eq!(layers.get_vec(b"key").await.unwrap(), Some(b"new".to_vec()));
            layers.delete(b"key").await.unwrap();
            assert_eq!(layers.get(b"key").await.unwrap(), None);
        }
    }
}
