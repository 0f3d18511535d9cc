//! A store over a simulated disk, with all parts of the engine, for tests.

use super::check::Checker;
use super::gc::{Collector, GcSettings, PlainFiles};
use super::index::{ChunkIndex, IndexSettings};
use super::pack::{PackSet, PackSettings};
use super::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineError, EngineParts, EngineSettings,
    Follower, MayWork, PlainStore, RechunkReport, Rechunker, StagedBody,
};
use crate::meta::testing::{create_bucket, object};
use crate::meta::{
    ChangeLog, Commit, MemoryStore, MetaStore, NewObject, ObjectVersion, StoredBody, VersionKind,
    VersionTarget, WriteCondition,
};
use crate::storage::DiskPackStore;
use crate::sys::{DeviceFaults, ManualClock, Random, SeededRandom, SimulatedFileSystem, WatchedFileSystem};
use crate::types::{BucketId, ETag, ObjectKey, ResolvedRange};
use bytes::Bytes;
use futures::StreamExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(super) const SIZE: usize = 300_000;

pub(super) struct Store {
    pub(super) fs: SimulatedFileSystem,
    pub(super) engine: Engine,
    /// The same with deduplication off.
    pub(super) whole: Engine,
    pub(super) faults: DeviceFaults,
    pub(super) collector: Collector,
    pub(super) meta: Arc<MemoryStore>,
    pub(super) bucket: BucketId,
    pub(super) may_work: Arc<AtomicBool>,
    _dir: TempDir,
}

pub(super) fn noise(seed: u64) -> Bytes {
    let mut bytes = vec![0; SIZE];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

pub(super) fn named(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

impl Store {
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fs = SimulatedFileSystem::new(1);
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(5)));
        let faults = DeviceFaults::default();
        let watched = Arc::new(WatchedFileSystem::new(Arc::new(fs.clone()), faults.clone()));
        let files = Arc::new(DiskPackStore::open(watched.clone(), "packs").unwrap());
        let packs = PackSet::open(files, clock.clone(), random.clone(), &PackSettings::default()).unwrap().0;
        let meta = Arc::new(MemoryStore::new(clock.clone(), random.clone()));
        let bucket = create_bucket(meta.as_ref()).await;
        let index = ChunkIndex::open(dir.path(), packs.clone(), &IndexSettings::default()).unwrap();
        let plain = PlainStore::open(watched.clone(), Path::new("plain")).unwrap();
        let settings = EngineSettings { hash_threads: 1, ..EngineSettings::default() };
        let parts = EngineParts {
            packs: packs.clone(),
            index: index.clone(),
            cache: ChunkCache::new(&CacheSettings::default(), clock.clone()).unwrap(),
            meta: meta.clone(),
            log: meta.clone(),
            fs: watched,
            plain: plain.clone(),
            clock,
            random,
            memory: EngineParts::memory_budget(&settings),
            settings: Arc::new(settings.clone()),
        };
        let files = PlainFiles { store: plain, inspect: meta.clone() };
        let gc = GcSettings::default();
        let collector = Collector::new(packs, index, meta.clone(), Some(files), gc);
        let whole = EngineSettings { plain_bodies: true, ..settings };
        let whole = Engine::new(EngineParts { settings: Arc::new(whole), ..parts.clone() }).unwrap();
        let engine = Engine::new(parts).unwrap();
        let may_work = Arc::new(AtomicBool::new(true));
        Self { fs, engine, whole, faults, collector, meta, bucket, may_work, _dir: dir }
    }

    pub(super) fn rechunker(&self) -> Rechunker {
        let may_work = Arc::clone(&self.may_work);
        let may_work: MayWork = Box::new(move |_| may_work.load(Ordering::SeqCst));
        self.engine.rechunker(self.meta.clone(), may_work)
    }

    pub(super) async fn pass(&self) -> RechunkReport {
        self.rechunker().pass(&CancellationToken::new()).await.unwrap()
    }

    pub(super) async fn put(&self, engine: &Engine, key: &str, bytes: &Bytes) {
        let mut writer = engine.writer(BodySpec::default()).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        let StagedBody { body, size, digests, hold } = writer.finish().await.unwrap();
        let object = NewObject { etag: ETag::of_body(digests.md5), ..object(body, size) };
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.meta.commit(Commit::PutVersion { bucket, key: named(key), object, condition }).await.unwrap();
        drop(hold);
    }

    pub(super) async fn row(&self, key: &str) -> Option<ObjectVersion> {
        self.meta.version(self.bucket, &named(key), None).await.unwrap()
    }

    pub(super) async fn body(&self, key: &str) -> StoredBody {
        match self.row(key).await.unwrap().kind {
            VersionKind::Object(object) => object.body,
            VersionKind::DeleteMarker => panic!("{key} is deleted"),
        }
    }

    pub(super) async fn read(&self, body: &StoredBody) -> Vec<u8> {
        self.try_read(body).await.unwrap()
    }

    pub(super) async fn try_read(&self, body: &StoredBody) -> Result<Vec<u8>, EngineError> {
        let range = ResolvedRange { start: 0, end: SIZE as u64 };
        let mut stream = self.engine.read(self.engine.hold(), body, SIZE as u64, range).await?;
        let mut bytes = Vec::new();
        while let Some(frame) = stream.next().await {
            bytes.extend_from_slice(&frame?);
        }
        Ok(bytes)
    }

    pub(super) async fn delete(&self, key: &str) {
        let (bucket, key, target) = (self.bucket, named(key), VersionTarget::Current);
        let condition = WriteCondition::None.into();
        let delete = Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false };
        self.meta.commit(delete).await.unwrap();
    }

    pub(super) async fn collect(&self) {
        let stop = CancellationToken::new();
        let parts = self.engine.parts();
        let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
        let following = tokio::spawn(follower.run(stop.clone()));
        for _ in 0..2 {
            self.collector.run(&CancellationToken::new(), None).await.unwrap();
        }
        parts.index.wait_applied(self.meta.last_seq().await.unwrap()).await;
        stop.cancel();
        following.await.unwrap().unwrap();
    }

    pub(super) async fn check(&self) {
        let parts = self.engine.parts();
        let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone());
        let report = checker.check(true, &CancellationToken::new(), None).await.unwrap();
        assert!(report.is_clean(), "{report}");
    }
}
