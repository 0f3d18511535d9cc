//! What S3 means, on the model of the metadata and bodies in memory.

mod accounts;
mod attributes;
mod checksums;
mod conditions;
mod copy;
mod cors;
mod delete;
mod lifecycle;
mod lifecycle_damage;
mod lifecycle_locks;
mod lifecycle_races;
mod linearizable;
mod listing;
mod lock;
mod model;
mod multipart;
mod paging;
mod put;
mod tags;

use super::checksums::digest_of;
use super::{
    Caller, CopyRequest, CopySource, DeleteOutcome, DeleteRequest, ExpectedChecksum, GetOutcome, GetRequest,
    InputStream, MetadataDirective, ObjectService, PutOutcome, PutRequest, ReadConditions, ServiceError,
    ServiceSettings, WriteConditions,
};
use crate::engine::{
    BodySpec, BodyStore, BodyStream, BodyWriter, Digests, EngineError, ReadHold, StagedBody,
};
use crate::meta::{MemoryStore, NewBody, StoredBody};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{
    Attributes, BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, ObjectLock, Principal,
    ResolvedRange, TagSet, VersionId, Versioning,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use md5::{Digest as _, Md5};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The smallest part but the last.
const PART: usize = 5;
/// The largest body of one put or copy.
const LARGEST: u64 = 1_000;

/// Bodies in their rows. Counts reads, and holds.
#[derive(Debug, Default)]
struct Bodies {
    reads: AtomicUsize,
    held: Arc<()>,
}

struct Writer {
    bytes: Vec<u8>,
    checksums: Vec<ChecksumAlgorithm>,
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn full(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
    Checksum::full(algorithm, &digest_of(algorithm, bytes)).unwrap()
}

fn inline(body: &StoredBody) -> &Bytes {
    match body {
        StoredBody::Inline(bytes) => bytes,
        other => panic!("an inline body, not {other:?}"),
    }
}

#[async_trait]
impl BodyStore for Bodies {
    async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
        Ok(Box::new(Writer { bytes: Vec::new(), checksums: spec.checksums }))
    }

    fn hold(&self) -> ReadHold {
        Box::new(Arc::clone(&self.held))
    }

    async fn read(
        &self,
        _hold: ReadHold,
        body: &StoredBody,
        _size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = inline(body).slice(range.start as usize..range.end as usize);
        Ok(futures::stream::iter([Ok(bytes)]).boxed())
    }

    async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
        assert!(Arc::strong_count(&self.held) > 1, "a part may be collected before it is joined");
        let bytes: Vec<u8> = bodies.iter().flat_map(|(body, _)| inline(body)).copied().collect();
        let size = bytes.len() as u64;
        let body = NewBody::Inline(bytes.into());
        Ok(StagedBody { body, size, digests: Digests::default(), hold: Box::new(()) })
    }
}

#[async_trait]
impl BodyWriter for Writer {
    async fn admit(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StagedBody, EngineError> {
        let checksums = self.checksums.iter().map(|algorithm| full(*algorithm, &self.bytes)).collect();
        let digests = Digests { md5: md5(&self.bytes), checksums };
        let size = self.bytes.len() as u64;
        Ok(StagedBody { body: NewBody::Inline(self.bytes.into()), size, digests, hold: Box::new(()) })
    }
}

/// A service with one bucket.
struct World {
    service: ObjectService,
    meta: Arc<MemoryStore>,
    bodies: Arc<Bodies>,
    clock: Arc<ManualClock>,
    caller: Caller,
    bucket: BucketName,
}

impl World {
    async fn new() -> Self {
        Self::in_region("us-east-1").await
    }

    async fn in_region(region: &str) -> Self {
        let clock = Arc::new(ManualClock::default());
        let random = Arc::new(SeededRandom::new(7));
        let meta = Arc::new(MemoryStore::new(clock.clone(), random.clone()));
        let bodies = Arc::new(Bodies::default());
        let settings = ServiceSettings {
            region: region.into(),
            minimum_part_bytes: PART as u64,
            maximum_put_bytes: LARGEST,
            ..ServiceSettings::default()
        };
        let service = ObjectService::new(meta.clone(), bodies.clone(), random, clock.clone(), settings);
        let caller = Caller::new(Principal::Root { access_key: "root".into() });
        let bucket = BucketName::parse("bucket").unwrap();
        service.create_bucket(&caller, &bucket, None, false).await.unwrap();
        Self { service, meta, bodies, clock, caller, bucket }
    }

    async fn versioning(&self, versioning: Versioning) {
        self.service.set_versioning(&self.caller, &self.bucket, versioning).await.unwrap();
    }

    async fn try_put(
        &self,
        name: &str,
        text: &str,
        conditions: WriteConditions,
    ) -> Result<PutOutcome, ServiceError> {
        let request = PutRequest { conditions, ..put_request(text) };
        self.service.put(&self.caller, &self.bucket, &key(name), request).await
    }

    async fn put(&self, name: &str, text: &str) -> PutOutcome {
        self.try_put(name, text, WriteConditions::default()).await.unwrap()
    }

    async fn get(&self, name: &str, version: Option<VersionId>) -> Result<GetOutcome, ServiceError> {
        let request = GetRequest { version, ..GetRequest::default() };
        self.service.get(&self.caller, &self.bucket, &key(name), &request).await
    }

    async fn text(&self, name: &str) -> String {
        let body = self.get(name, None).await.unwrap().body;
        let frames: Vec<Bytes> = body.try_collect().await.unwrap();
        String::from_utf8(frames.concat()).unwrap()
    }

    async fn try_delete(&self, name: &str, request: DeleteRequest) -> Result<DeleteOutcome, ServiceError> {
        self.service.delete(&self.caller, &self.bucket, &key(name), &request).await
    }

    async fn delete(&self, name: &str, version: Option<VersionId>) -> DeleteOutcome {
        self.try_delete(name, DeleteRequest { version, ..DeleteRequest::default() }).await.unwrap()
    }

    /// A copy inside the bucket, of what the source is now.
    fn copy_request(&self, source: &str) -> CopyRequest {
        let source = CopySource { bucket: self.bucket.clone(), key: key(source), version: None };
        CopyRequest {
            source,
            directive: MetadataDirective::Copy,
            attributes: Attributes::default(),
            tags: None,
            checksum: None,
            lock: ObjectLock::default(),
            source_conditions: ReadConditions::default(),
            conditions: WriteConditions::default(),
        }
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

fn stream(text: &str) -> InputStream {
    futures::stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed()
}

fn put_request(text: &str) -> PutRequest {
    PutRequest {
        attributes: Attributes::default(),
        lock: ObjectLock::default(),
        body: stream(text),
        size: Some(text.len() as u64),
        content_md5: None,
        content_sha256: None,
        checksum: ExpectedChecksum::None,
        conditions: WriteConditions::default(),
        tags: TagSet::default(),
    }
}

fn etag(text: &str) -> ETag {
    ETag::of_body(md5(text.as_bytes()))
}

/// Asserts that an expression matches a pattern, and says what it was instead.
macro_rules! expects {
    ($value:expr, $pattern:pat $(if $guard:expr)?) => {
        match $value {
            $pattern $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}
use expects;
