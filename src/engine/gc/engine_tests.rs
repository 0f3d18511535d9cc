//! The collector against the real engine, metadata on disk, with real threads, as in a server.

use super::{Collector, GcSettings, PlainFiles};
use crate::engine::check::Checker;
use crate::engine::index::{ChunkIndex, IndexSettings};
use crate::engine::pack::{PackSet, PackSettings};
use crate::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineError, EngineParts, EngineSettings,
    Follower, PlainStore, StagedBody,
};
use crate::meta::testing::{create_bucket, object};
use crate::meta::{
    ChangeLog, Commit, MetaStore, NewBody, NewPart, NewUpload, OpenMode, SqliteSettings, SqliteStore,
    StoredBody, VersionKind, VersionTarget, WriteCondition,
};
use crate::storage::DiskPackStore;
use crate::sys::{Random, RealFileSystem, SeededRandom, SystemClock, SystemSteady};
use crate::types::{
    Attributes, BucketId, ETag, ObjectKey, ObjectLock, PartNumber, ResolvedRange, TagSet, UploadId,
};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const TASKS: u64 = 4;
const STEPS: u64 = 150;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) engine: Engine,
    /// The same store with deduplication off.
    plain: Engine,
    pub(super) collector: Collector,
    pub(super) meta: Arc<SqliteStore>,
    pub(super) bucket: BucketId,
}

pub(super) fn block(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 12 << 10];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

fn parts(dir: &Path, meta: &Arc<SqliteStore>, packs: PackSet) -> EngineParts {
    let index = ChunkIndex::open(&dir.join("index"), packs.clone(), &IndexSettings::default()).unwrap();
    let settings = EngineSettings {
        chunk_min_bytes: 1 << 10,
        chunk_average_bytes: 2 << 10,
        chunk_max_bytes: 4 << 10,
        hash_threads: 2,
        ..EngineSettings::default()
    };
    EngineParts {
        packs,
        index,
        cache: ChunkCache::new(&CacheSettings::default(), Arc::new(SystemSteady)).unwrap(),
        meta: meta.clone(),
        log: meta.clone(),
        fs: Arc::new(RealFileSystem),
        plain: PlainStore::open(Arc::new(RealFileSystem), &dir.join("plain")).unwrap(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(11)),
        memory: EngineParts::memory_budget(&settings),
        settings: Arc::new(settings),
    }
}

pub(super) fn open_packs(dir: &Path) -> PackSet {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(5)));
    let files = Arc::new(DiskPackStore::open(Arc::new(RealFileSystem), dir.join("packs")).unwrap());
    PackSet::open(files, clock, random, &PackSettings { target_bytes: 1 << 20 }).unwrap().0
}

/// In the directory `meta`, which is there.
pub(super) fn open_meta(dir: &Path, packs: &PackSet) -> Arc<SqliteStore> {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(5)));
    let (path, settings) = (dir.join("meta").join("sediment.db"), SqliteSettings::default());
    let barrier = Arc::new(packs.clone());
    Arc::new(SqliteStore::open(&path, OpenMode::Create, barrier, clock, random, &settings).unwrap())
}

impl Store {
    pub(super) async fn open(dir: &Path) -> Self {
        Self::rewriting_below(dir, 0.8).await
    }

    pub(super) async fn rewriting_below(dir: &Path, rewrite_below_live_ratio: f64) -> Self {
        let packs = open_packs(dir);
        std::fs::create_dir(dir.join("meta")).unwrap();
        let meta = open_meta(dir, &packs);
        let bucket = create_bucket(meta.as_ref()).await;
        Self::of(dir, packs, meta, bucket, rewrite_below_live_ratio)
    }

    pub(super) fn of(
        dir: &Path,
        packs: PackSet,
        meta: Arc<SqliteStore>,
        bucket: BucketId,
        rewrite_below_live_ratio: f64,
    ) -> Self {
        let parts = parts(dir, &meta, packs);
        let settings = EngineSettings { plain_bodies: true, ..(*parts.settings).clone() };
        let plain = EngineParts { settings: Arc::new(settings), ..parts.clone() };
        let files = PlainFiles { store: parts.plain.clone(), inspect: meta.clone() };
        let settings =
            GcSettings { rewrite_below_live_ratio, rate_bytes_per_second: 0, ..GcSettings::default() };
        let (packs, index) = (parts.packs.clone(), parts.index.clone());
        let collector = Collector::new(packs, index, meta.clone(), Some(files), settings);
        let (engine, plain) = (Engine::new(parts).unwrap(), Engine::new(plain).unwrap());
        Self { engine, plain, collector, meta, bucket }
    }

    async fn stage(&self, bytes: &[u8], is_plain: bool) -> StagedBody {
        self.try_stage(bytes, is_plain).await.unwrap()
    }

    pub(super) async fn try_stage(&self, bytes: &[u8], is_plain: bool) -> Result<StagedBody, EngineError> {
        let engine = if is_plain { &self.plain } else { &self.engine };
        let mut writer = engine.writer(BodySpec::default()).await?;
        for piece in bytes.chunks(20_000) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        writer.finish().await
    }

    async fn put_version(&self, key: &str, body: NewBody, size: u64) {
        let object = object(body, size);
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.meta.commit(Commit::PutVersion { bucket, key: named(key), object, condition }).await.unwrap();
    }

    pub(super) async fn put(&self, key: &str, bytes: &[u8], is_plain: bool) {
        let StagedBody { body, size, hold, .. } = self.stage(bytes, is_plain).await;
        self.put_version(key, body, size).await;
        drop(hold);
    }

    async fn body(&self, key: &ObjectKey) -> (StoredBody, u64) {
        let row = self.meta.version(self.bucket, key, None).await.unwrap();
        match row.unwrap_or_else(|| panic!("{} is gone", key.to_text())).kind {
            VersionKind::Object(object) => (object.body, object.size),
            VersionKind::DeleteMarker => panic!("{} is deleted", key.to_text()),
        }
    }

    pub(super) async fn check(&self, key: &str, expected: &[u8]) {
        assert!(self.read(&named(key)).await == expected, "{key} is not what was put");
    }

    pub(super) async fn read(&self, key: &ObjectKey) -> Vec<u8> {
        let hold = self.engine.hold();
        let (body, size) = self.body(key).await;
        let whole = ResolvedRange { start: 0, end: size };
        let mut stream = self.engine.read(hold, &body, size, whole).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(frame) = stream.next().await {
            let frame = frame.unwrap_or_else(|error| panic!("{}: {error}", key.to_text()));
            bytes.extend_from_slice(&frame);
        }
        assert_eq!(bytes.len() as u64, size, "{}", key.to_text());
        bytes
    }

    pub(super) async fn delete(&self, key: &str) {
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        let (key, target) = (named(key), VersionTarget::Current);
        self.meta
            .commit(Commit::DeleteVersion {
                bucket,
                key,
                target,
                condition: condition.into(),
                bypass_governance: false,
            })
            .await
            .unwrap();
    }

    async fn part(&self, upload: UploadId, number: u16, body: NewBody, size: u64) {
        let part = NewPart { body, size, etag: ETag::of_body([0; 16]), checksum: None };
        let number = PartNumber::parse(number.into()).unwrap();
        self.meta.commit(Commit::PutPart { upload, number, part }).await.unwrap();
    }

    /// A part copied from a version, and one written; completed or given up.
    async fn upload(&self, key: &str, source: &str, bytes: &[u8], id: UploadId, completes: bool) {
        let (StoredBody::Chunked { id: manifest, .. }, size) = self.body(&named(source)).await else {
            return;
        };
        let upload = NewUpload {
            id,
            attributes: Attributes::default(),
            checksum: None,
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.meta.commit(Commit::CreateUpload { bucket, key: named(key), upload }).await.unwrap();
        self.part(id, 1, NewBody::SharedManifest(manifest), size).await;
        let StagedBody { body, size, hold, .. } = self.stage(bytes, false).await;
        self.part(id, 2, body, size).await;
        drop(hold);
        if !completes {
            self.meta.commit(Commit::AbortUpload { upload: id, rules_as_of: None }).await.unwrap();
            return;
        }
        let rows = self.meta.parts(id, None, 10).await.unwrap();
        let parts = rows.iter().map(|part| (part.number, part.seq)).collect();
        let bodies = rows.into_iter().map(|part| (part.body, part.size)).collect();
        let StagedBody { body, size, hold, .. } = self.engine.join(bodies).await.unwrap();
        let object = object(body, size);
        self.meta.commit(Commit::CompleteUpload { upload: id, parts, object, condition }).await.unwrap();
        drop(hold);
    }
}

pub(super) fn named(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

/// One client: its keys are its own, its bytes are everybody's.
pub(super) async fn client(store: Arc<Store>, task: u64) -> BTreeMap<String, Vec<u8>> {
    let random = SeededRandom::new(1000 + task);
    let below = |limit: u64| random.u64() % limit;
    let mut known = BTreeMap::<String, Vec<u8>>::new();
    for step in 0..STEPS {
        let key = format!("{task}/{}", below(6));
        let bytes = (0..=below(4)).flat_map(|_| block(below(8))).collect::<Vec<_>>();
        let source = known.keys().nth(below(6) as usize).cloned();
        match (below(10), source) {
            (0..=3, _) | (_, None) => {
                store.put(&key, &bytes, below(4) == 0).await;
                known.insert(key, bytes);
            }
            (4..=5, Some(source)) => store.check(&source, &known[&source]).await,
            (6, Some(source)) => {
                let (body, size) = store.body(&named(&source)).await;
                let shared = match body {
                    StoredBody::Chunked { id, .. } => NewBody::SharedManifest(id),
                    StoredBody::Plain(id) => NewBody::SharedPlain(id),
                    StoredBody::Inline(bytes) => NewBody::Inline(bytes),
                };
                store.put_version(&key, shared, size).await;
                known.insert(key, known[&source].clone());
            }
            (7, Some(source)) => {
                if matches!(store.body(&named(&source)).await, (StoredBody::Chunked { .. }, _)) {
                    let mut id = [0; 16];
                    id[0] = u8::try_from(task).unwrap();
                    id[1] = u8::try_from(step).unwrap();
                    let completes = below(3) > 0;
                    store.upload(&key, &source, &bytes, UploadId::new(id), completes).await;
                    if completes {
                        let whole = [&known[&source][..], &bytes].concat();
                        known.insert(key, whole);
                    }
                }
            }
            (_, Some(source)) => {
                store.delete(&source).await;
                known.remove(&source);
            }
        }
    }
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i3_clients_and_a_collector_at_once_lose_nothing_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).await);
    let parts = store.engine.parts().clone();
    let (stop, stop_following) = (CancellationToken::new(), CancellationToken::new());
    let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
    let following = tokio::spawn(follower.run(stop_following.clone()));
    let clients: Vec<_> = (0..TASKS).map(|task| tokio::spawn(client(Arc::clone(&store), task))).collect();
    let collecting = tokio::spawn({
        let (store, stop) = (Arc::clone(&store), stop.clone());
        async move {
            let (mut collected, mut moved) = (0, 0);
            while !stop.is_cancelled() {
                store.engine.parts().packs.seal().unwrap();
                let report = store.collector.run(&stop, None).await.unwrap();
                (collected, moved) = (collected + report.collected, moved + report.moved_records);
            }
            (collected, moved)
        }
    });
    let mut known = BTreeMap::new();
    for client in clients {
        known.extend(client.await.unwrap());
    }
    stop.cancel();
    let (collected, moved) = collecting.await.unwrap();
    assert!(collected > 0 && moved > 0, "collected {collected}, moved {moved}: it met nobody");
    for (key, bytes) in &known {
        store.check(key, bytes).await;
    }
    parts.index.wait_applied(store.meta.last_seq().await.unwrap()).await;
    let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone());
    let report = checker.check(true, &CancellationToken::new(), None).await.unwrap();
    assert!(report.is_clean(), "{report}");
    for key in known.keys() {
        store.delete(key).await;
    }
    parts.packs.seal().unwrap();
    for _ in 0..2 {
        store.collector.run(&CancellationToken::new(), None).await.unwrap();
    }
    assert_eq!(parts.index.counts().unwrap(), crate::engine::index::IndexCounts::default());
    assert_eq!((parts.packs.ids(), parts.plain.list().unwrap()), (vec![], vec![]));
    stop_following.cancel();
    following.await.unwrap().unwrap();
}

/// A part stored whole is read to be joined, and its row may be gone by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_part_that_is_replaced_can_be_read_by_who_completes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).await;
    let parts = store.engine.parts().clone();
    let stop = CancellationToken::new();
    let follower = Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone());
    let following = tokio::spawn(follower.run(stop.clone()));
    let (id, bucket, key) = (UploadId::new([9; 16]), store.bucket, named("upload"));
    let (tags, lock) = (TagSet::default(), ObjectLock::default());
    let upload = NewUpload { id, attributes: Attributes::default(), checksum: None, tags, lock };
    store.meta.commit(Commit::CreateUpload { bucket, key, upload }).await.unwrap();
    let put_part = async |seed| {
        let StagedBody { body, size, hold, .. } = store.stage(&block(seed), true).await;
        store.part(id, 1, body, size).await;
        drop(hold);
    };
    put_part(1).await;
    for holds in [true, false] {
        let reading = holds.then(|| store.engine.hold());
        let rows = store.meta.parts(id, None, 1).await.unwrap();
        put_part(2).await;
        for _ in 0..2 {
            store.collector.run(&stop, None).await.unwrap();
        }
        let bodies = rows.into_iter().map(|part| (part.body, part.size)).collect();
        let joined = store.engine.join(bodies).await;
        assert_eq!(joined.is_ok(), holds, "{joined:?}");
        drop(reading);
    }
    stop.cancel();
    following.await.unwrap().unwrap();
}
