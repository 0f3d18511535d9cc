//! Byte keys to bounded values over metadata and bodies: the library's way to a deduplicating store.
//!
//! Rules: a value is a body like any other, in the reserved bucket 0 that no S3 client can name; a put returns once
//! its commit is durable, and runs to its end even when the caller goes away.

use super::{BodySpec, BodyStore, EngineError, ReadHold};
use crate::meta::{
    Commit, CommitError, DeleteCondition, ListEntry, ListFrom, ListQuery, MetaError, MetaStore, NewObject,
    ObjectData, VersionKind, VersionTarget, WriteCondition,
};
use crate::storage::{StorageError, StorageLayer};
use crate::types::{Attributes, BucketId, ETag, ObjectKey, ObjectLock, ResolvedRange, TagSet};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The largest value, in bytes: values pass through memory whole.
pub const MAX_VALUE_BYTES: usize = 64 << 20;
/// Keys of a scan that are listed at once.
const PAGE_KEYS: usize = 256;
/// A value is handed on in pieces of so many bytes.
const PIECE_BYTES: usize = 256 << 10;
/// A value that is replaced while it is read is read again, so many times.
const READ_ATTEMPTS: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct KeyValue {
    meta: Arc<dyn MetaStore>,
    bodies: Arc<dyn BodyStore>,
}

impl KeyValue {
    pub(super) fn new(meta: Arc<dyn MetaStore>, bodies: Arc<dyn BodyStore>) -> Self {
        Self { meta, bodies }
    }

    async fn object(&self, key: &ObjectKey) -> Result<Option<ObjectData>, EngineError> {
        let version = self.meta.version(BucketId::KEY_VALUE, key, None).await?;
        Ok(version.and_then(|version| match version.kind {
            VersionKind::Object(object) => Some(object),
            VersionKind::DeleteMarker => None,
        }))
    }

    async fn read(&self, hold: ReadHold, object: &ObjectData) -> Result<Bytes, EngineError> {
        let size = usize::try_from(object.size).map_err(|_| EngineError::Range)?;
        let range = ResolvedRange { start: 0, end: object.size };
        let mut frames = self.bodies.read(hold, &object.body, object.size, range).await?;
        let Some(first) = frames.next().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() == size {
            return Ok(first);
        }
        let mut value = BytesMut::with_capacity(size.min(MAX_VALUE_BYTES));
        value.extend_from_slice(&first);
        while let Some(frame) = frames.next().await {
            value.extend_from_slice(&frame?);
        }
        Ok(value.freeze())
    }

    async fn value(&self, key: &ObjectKey) -> Result<Option<Bytes>, EngineError> {
        let mut attempts = 1;
        loop {
            // Before the row is read: what it names is then there until the value is.
            let hold = self.bodies.hold();
            let Some(object) = self.object(key).await? else { return Ok(None) };
            match self.read(hold, &object).await {
                // Lost, or a plain body replaced since its row was read.
                Err(error) if error.is_missing() && attempts < READ_ATTEMPTS => attempts += 1,
                read => return read.map(Some),
            }
        }
    }

    async fn page(
        &self,
        prefix: &[u8],
        from: ListFrom,
    ) -> Result<(Vec<ObjectKey>, Option<ListFrom>), MetaError> {
        let query = ListQuery { prefix: prefix.to_vec(), delimiter: None, from, limit: PAGE_KEYS };
        let page = self.meta.list_objects(BucketId::KEY_VALUE, query).await?;
        let key = |entry| match entry {
            ListEntry::Object(object) => Some(object.key),
            ListEntry::CommonPrefix(_) => None,
        };
        Ok((page.entries.into_iter().filter_map(key).collect(), page.next))
    }
}

/// Where a scan is.
struct Scan {
    prefix: Vec<u8>,
    keys: VecDeque<ObjectKey>,
    next: Option<ListFrom>,
}

#[async_trait]
impl StorageLayer for KeyValue {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.value(&ObjectKey::opaque(Bytes::copy_from_slice(key))).await?)
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        if value.len() > MAX_VALUE_BYTES {
            let why = format!("a value may have {MAX_VALUE_BYTES} bytes, this one has {}", value.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        let size = value.len() as u64;
        let mut writer = self.bodies.writer(BodySpec { size: Some(size), checksums: Vec::new() }).await?;
        for piece in value.chunks(PIECE_BYTES) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        let staged = writer.finish().await?;
        let object = NewObject {
            body: staged.body,
            size,
            etag: ETag::of_body(staged.digests.md5),
            checksum: None,
            attributes: Attributes::default(),
            parts: Vec::new(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let commit = Commit::PutVersion {
            bucket: BucketId::KEY_VALUE,
            key: ObjectKey::opaque(Bytes::copy_from_slice(key)),
            object,
            condition: WriteCondition::None,
        };
        let (meta, hold) = (Arc::clone(&self.meta), staged.hold);
        // The commit may still happen when the caller is gone: its chunks are held until it is known (I3).
        let committed = tokio::spawn(async move {
            let outcome = meta.commit(commit).await;
            drop(hold);
            outcome
        });
        committed.await.map_err(|error| StorageError::Database(error.to_string()))??;
        Ok(())
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        let commit = Commit::DeleteVersion {
            bucket: BucketId::KEY_VALUE,
            key: ObjectKey::opaque(Bytes::copy_from_slice(key)),
            target: VersionTarget::Current,
            condition: DeleteCondition::default(),
            bypass_governance: false,
        };
        self.meta.commit(commit).await?;
        Ok(())
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        let start = Scan { prefix: prefix.to_vec(), keys: VecDeque::new(), next: Some(ListFrom::Start) };
        let step = async move |mut scan: Scan| -> Result<_, StorageError> {
            loop {
                while let Some(key) = scan.keys.pop_front() {
                    // Deleted since it was listed: then it is left out.
                    if let Some(value) = self.value(&key).await? {
                        return Ok(Some(((Bytes::copy_from_slice(key.as_bytes()), value), scan)));
                    }
                }
                let Some(from) = scan.next.take() else { return Ok(None) };
                let (keys, next) = self.page(&scan.prefix, from).await.map_err(EngineError::from)?;
                (scan.keys, scan.next) = (keys.into(), next);
            }
        };
        futures::stream::try_unfold(start, step).into_stream().boxed()
    }
}

impl From<EngineError> for StorageError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Io(error) => Self::Io(error),
            EngineError::Index(_) | EngineError::Manifest(_) => Self::Deduplication(error.to_string()),
            EngineError::Meta(_) => Self::Database(error.to_string()),
            EngineError::Full => io::Error::new(io::ErrorKind::StorageFull, error).into(),
            EngineError::Busy(_) => io::Error::new(io::ErrorKind::ResourceBusy, error).into(),
            EngineError::Corrupt { .. } | EngineError::CorruptPlain { .. } => {
                io::Error::new(io::ErrorKind::InvalidData, error).into()
            }
            other => io::Error::other(other).into(),
        }
    }
}

impl From<CommitError> for StorageError {
    fn from(error: CommitError) -> Self {
        Self::Database(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyValue, MAX_VALUE_BYTES};
    use crate::engine::ingest::testing::TestStore;
    use crate::engine::{
        BodySpec, BodyStore, BodyStream, BodyWriter, EngineError, EngineSettings, ReadHold, StagedBody,
    };
    use crate::meta::{MemoryStore, StoredBody};
    use crate::storage::{StorageError, StorageLayer, conformance};
    use crate::sys::{ManualClock, SeededRandom};
    use crate::types::ResolvedRange;
    use futures::FutureExt;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    fn layer() -> (KeyValue, Arc<TestStore>) {
        let settings = EngineSettings { hash_threads: 2, ..EngineSettings::default() };
        let store = Arc::new(TestStore::new(settings));
        let meta = MemoryStore::new(Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        (KeyValue::new(Arc::new(meta), Arc::clone(&store) as _), store)
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::run(&layer().0).await;
        conformance::cancellation(&layer().0).await;
        conformance::longest_values(&layer().0, MAX_VALUE_BYTES).await;
    }

    /// Loses a value in the moment when a reader takes its hold.
    #[derive(Debug)]
    struct Losing {
        store: Arc<TestStore>,
        meta: Arc<MemoryStore>,
    }

    #[async_trait::async_trait]
    impl BodyStore for Losing {
        async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
            self.store.writer(spec).await
        }

        fn hold(&self) -> ReadHold {
            let layer = KeyValue::new(Arc::clone(&self.meta) as _, Arc::clone(&self.store) as _);
            layer.delete(b"key").now_or_never().unwrap().unwrap();
            self.store.hold()
        }

        async fn read(
            &self,
            _hold: ReadHold,
            _body: &StoredBody,
            _size: u64,
            _range: ResolvedRange,
        ) -> Result<BodyStream, EngineError> {
            panic!("a body was read whose row had been read before the hold was taken");
        }

        async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
            self.store.join(bodies).await
        }
    }

    #[tokio::test]
    async fn i3_a_reader_holds_the_chunks_before_it_reads_the_row() {
        let (_, store) = layer();
        let meta = MemoryStore::new(Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let meta = Arc::new(meta);
        let layer = KeyValue::new(Arc::clone(&meta) as _, Arc::new(Losing { store, meta }));
        layer.put(b"key", &[7; 100_000]).await.unwrap();
        assert_eq!(layer.get(b"key").await.unwrap(), None);
    }

    #[tokio::test]
    async fn values_are_bounded_and_deduplicated() {
        let (layer, store) = layer();
        let value: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        layer.put(b"one", &value).await.unwrap();
        let before = store.pack_bytes();
        layer.put(b"two", &value).await.unwrap();
        assert_eq!(store.pack_bytes(), before);
        assert_eq!(layer.get(b"two").await.unwrap().unwrap(), value);
        let refused = layer.put(b"three", &vec![0; MAX_VALUE_BYTES + 1]).await;
        assert!(matches!(refused, Err(StorageError::Io(_))));
        assert_eq!(layer.get(b"three").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_failed_index_costs_only_deduplication() {
        let (layer, store) = layer();
        store.catalog.fails.store(true, Ordering::SeqCst);
        layer.put(b"key", &[7; 100_000]).await.unwrap();
        assert_eq!(layer.get(b"key").await.unwrap().unwrap(), [7; 100_000][..]);
        assert_eq!(store.plain.list().unwrap().len(), 1);
    }
}
