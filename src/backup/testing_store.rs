//! Whole stores in directories, for tests of shipping and restoring.

use super::{
    Asked, BackupError, Candidate, Catalogue, LazyRestore, LeaseTimes, Plan, Repository, RestoreProgress,
    Session, ShipProgress, ShipSettings, ShippedTo, Shipper, Source, Target, World, restore_bytes,
    restore_rows,
};
use crate::engine::gc::{Collector, CursorBound, GcSettings, PlainFiles};
use crate::engine::index::{ChunkIndex, IndexSettings, Progress};
use crate::engine::pack::{Location, PackSet, PackSettings, RECORD_HEADER_BYTES};
use crate::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineError, EngineParts, EngineSettings,
    Follower, PlainStore, StagedBody,
};
use crate::meta::testing::object;
use crate::meta::{
    Commit, Consumer, ListEntry, ListQuery, MetaStore, NewObject, OpenMode, SqliteSettings, SqliteStore,
    StoredBody, VersionKind, VersionTarget, WriteCondition,
};
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{
    Clock, FileSystem, ManualClock, OsRandom, Random, RealFileSystem, SeededRandom, SystemSteady,
};
use crate::types::{BucketId, ETag, ObjectKey, ResolvedRange, UnixMillis};
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a store holds: bodies by key.
pub(crate) type Bodies = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct TestStore {
    pub(crate) engine: Engine,
    plain: Engine,
    pub(crate) meta: Arc<SqliteStore>,
    pub(crate) collector: Collector,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) bucket: BucketId,
    dir: std::path::PathBuf,
}

fn settings(plain_bodies: bool) -> Arc<EngineSettings> {
    Arc::new(EngineSettings {
        chunk_min_bytes: 1 << 10,
        chunk_average_bytes: 2 << 10,
        chunk_max_bytes: 4 << 10,
        hash_threads: 1,
        plain_bodies,
        ..EngineSettings::default()
    })
}

fn real() -> Arc<dyn FileSystem> {
    Arc::new(RealFileSystem)
}

impl TestStore {
    /// Opens what is in a directory, or makes a store there.
    pub(crate) async fn open(dir: &Path) -> Self {
        let files = Arc::new(DiskPackStore::open(real(), dir.join("packs")).unwrap());
        Self::open_over(dir, files, real(), None).await.unwrap()
    }

    /// As [`Self::open`], with other packs and another file system for plain bodies: those of a store that is being restored.
    pub(crate) async fn open_over(
        dir: &Path,
        files: Arc<dyn PackStore>,
        plain: Arc<dyn FileSystem>,
        restoring: Option<&LazyRestore>,
    ) -> Result<Self, BackupError> {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
        std::fs::create_dir_all(dir.join("meta")).unwrap();
        std::fs::create_dir_all(dir.join("tmp")).unwrap();
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let small = PackSettings { target_bytes: 1 << 20 };
        let packs = PackSet::open(files, clock.clone(), Arc::clone(&random), &small)?.0;
        let path = dir.join("meta").join("sediment.db");
        let mode = if path.exists() { OpenMode::Existing } else { OpenMode::Create };
        let barrier = Arc::new(packs.clone());
        let sqlite = SqliteSettings::default();
        let meta = Arc::new(
            SqliteStore::open(&path, mode, barrier, clock.clone(), Arc::clone(&random), &sqlite).unwrap(),
        );
        let index = ChunkIndex::open(&dir.join("index"), packs.clone(), &IndexSettings::default()).unwrap();
        let settings_of = settings(false);
        let parts = EngineParts {
            packs: packs.clone(),
            index: index.clone(),
            cache: ChunkCache::new(&CacheSettings::default(), Arc::new(SystemSteady)).unwrap(),
            meta: meta.clone(),
            log: meta.clone(),
            fs: real(),
            plain: PlainStore::open(plain, &dir.join("plain"))?,
            clock: clock.clone(),
            random,
            memory: EngineParts::memory_budget(&settings_of),
            settings: settings_of,
        };
        let plain = EngineParts { settings: settings(true), ..parts.clone() };
        let files = PlainFiles { store: parts.plain.clone(), inspect: meta.clone() };
        let gc =
            GcSettings { rewrite_below_live_ratio: 0.9, rate_bytes_per_second: 0, ..GcSettings::default() };
        let collector = Collector::new(packs.clone(), index.clone(), meta.clone(), Some(files), gc);
        collector.spare(Arc::new(CursorBound {
            meta: meta.clone(),
            log: meta.clone(),
            consumer: Consumer::Backup,
            clock: clock.clone(),
            longest: Duration::from_secs(3600),
        }));
        let bucket = bucket(&meta).await;
        let (engine, plain) = (Engine::new(parts).unwrap(), Engine::new(plain).unwrap());
        let store = Self { engine, plain, meta, collector, clock, bucket, dir: dir.to_owned() };
        if let Some(restoring) = restoring {
            store.collector.after(restoring.end());
            restoring.before_counting(&packs, &index).await?;
        }
        store.follow().await;
        if let Some(restoring) = restoring {
            restoring.before_serving(&packs, &index).await?;
        }
        Ok(store)
    }

    pub(crate) async fn follow(&self) {
        self.follower().catch_up(Progress(&|_, _| ())).await.unwrap();
    }

    fn follower(&self) -> Follower {
        let parts = self.engine.parts();
        Follower::new(Arc::clone(&parts.log), Arc::clone(&parts.meta), parts.index.clone())
    }

    /// A second later.
    pub(crate) async fn put(&self, key: &str, bytes: &[u8], is_plain: bool) {
        self.tick();
        let staged = self.staged(bytes, is_plain).await;
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        let etag = ETag::of_body(Md5::digest(bytes).into());
        let object = NewObject { etag, ..object(staged.body, staged.size) };
        let key = ObjectKey::parse(key).unwrap();
        self.meta.commit(Commit::PutVersion { bucket, key, object, condition }).await.unwrap();
        drop(staged.hold);
    }

    pub(crate) async fn staged(&self, bytes: &[u8], is_plain: bool) -> StagedBody {
        let engine = if is_plain { &self.plain } else { &self.engine };
        let mut writer = engine.writer(BodySpec::default()).await.unwrap();
        for piece in bytes.chunks(20_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.tick();
        let condition = WriteCondition::None.into();
        let (bucket, key, target) = (self.bucket, ObjectKey::parse(key).unwrap(), VersionTarget::Current);
        let delete = Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false };
        self.meta.commit(delete).await.unwrap();
    }

    fn tick(&self) {
        self.pass(1000);
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.clock.set(UnixMillis::new(self.clock.now().get() + millis));
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Everything that can be read.
    pub(crate) async fn bodies(&self) -> Bodies {
        let page = self.meta.list_objects(self.bucket, ListQuery { limit: 10_000, ..ListQuery::default() });
        let mut bodies = Bodies::new();
        for found in page.await.unwrap().entries {
            let ListEntry::Object(found) = found else { continue };
            let key = found.key.clone();
            let row = self.meta.version(self.bucket, &key, None).await.unwrap().unwrap();
            let VersionKind::Object(object) = row.kind else { continue };
            bodies.insert(key.to_text().to_string(), self.read(&object.body, object.size).await);
        }
        bodies
    }

    async fn read(&self, body: &StoredBody, size: u64) -> Vec<u8> {
        self.try_read(body, size).await.unwrap()
    }

    pub(crate) async fn try_read(&self, body: &StoredBody, size: u64) -> Result<Vec<u8>, EngineError> {
        let hold = self.engine.hold();
        let whole = ResolvedRange { start: 0, end: size };
        let mut stream = self.engine.read(hold, body, size, whole).await?;
        let mut bytes = Vec::new();
        while let Some(frame) = stream.next().await {
            bytes.extend_from_slice(&frame?);
        }
        Ok(bytes)
    }

    /// `None`: there is none of that name.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, EngineError> {
        let key = ObjectKey::parse(key).unwrap();
        let row = self.meta.version(self.bucket, &key, None).await.unwrap();
        match row.map(|row| row.kind) {
            Some(VersionKind::Object(object)) => self.try_read(&object.body, object.size).await.map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) async fn collect(&self) {
        let stop = CancellationToken::new();
        let following = tokio::spawn(self.follower().run(stop.clone()));
        self.collector.run(&CancellationToken::new(), None).await.unwrap();
        stop.cancel();
        following.await.unwrap().unwrap();
    }

    /// Turns a bit of a record's payload, on the disk.
    pub(crate) fn harm(&self, at: &Location) {
        let path = self.dir.join("packs").join(format!("{}.pack", at.pack));
        flip(&path, at.offset as usize + RECORD_HEADER_BYTES);
    }

    /// Where a body that is stored whole is.
    pub(crate) async fn plain_file(&self, key: &str) -> std::path::PathBuf {
        let key = ObjectKey::parse(key).unwrap();
        let row = self.meta.version(self.bucket, &key, None).await.unwrap().unwrap();
        let VersionKind::Object(object) = row.kind else { panic!("{key:?} has no body") };
        let StoredBody::Plain(id) = object.body else { panic!("{key:?} is not stored whole") };
        let id = id.to_string();
        self.dir.join("plain").join(&id[..2]).join(&id)
    }

    /// Turns a bit of a body stored whole.
    pub(crate) fn harm_plain(&self) {
        let id = self.engine.parts().plain.list().unwrap()[0].to_string();
        flip(&self.dir.join("plain").join(&id[..2]).join(&id), 1000);
    }

    pub(crate) fn source(&self) -> Source {
        let parts = self.engine.parts();
        Source {
            log: self.meta.clone(),
            meta: self.meta.clone(),
            image: self.meta.clone(),
            inspect: self.meta.clone(),
            packs: parts.packs.clone(),
            plain: parts.plain.clone(),
            fs: real(),
            clock: self.clock.clone(),
            scratch: self.dir.join("tmp"),
            state: self.dir.join("backup.json"),
        }
    }

    /// Small extents, so that there are many.
    pub(crate) async fn shipper(&self, repository: &Arc<Repository>) -> Result<Shipper, BackupError> {
        let settings = ShipSettings {
            extent_bytes: 200_000,
            note_bytes: 300_000,
            log_records: 40,
            ..ShipSettings::default()
        };
        let session = session(repository, self.clock.clone()).await?;
        let (progress, stop) =
            (Arc::new(parking_lot::Mutex::new(ShipProgress::default())), CancellationToken::new());
        Shipper::begin(session, self.source(), settings, Arc::new(OsRandom), progress, stop).await
    }
}

fn flip(path: &Path, at: usize) {
    let file = RealFileSystem.open(path).unwrap();
    let byte = file.read_at(at as u64, 1).unwrap()[0];
    file.write_all_at(&[byte ^ 4], at as u64).unwrap();
}

async fn bucket(meta: &SqliteStore) -> BucketId {
    let name = crate::types::BucketName::parse("bucket").unwrap();
    if let Some(bucket) = meta.bucket(&name).await.unwrap() {
        return bucket.id;
    }
    crate::meta::testing::create_bucket(meta).await
}

/// The one before has given the lease back, or is gone.
async fn session(repository: &Arc<Repository>, clock: Arc<ManualClock>) -> Result<Arc<Session>, BackupError> {
    let world = World { clock, steady: Arc::new(SystemSteady), random: Arc::new(OsRandom) };
    let times = LeaseTimes { ttl: Duration::ZERO, ..LeaseTimes::default() };
    let mut candidate = Candidate::new(Arc::clone(repository), world, times, "test".into());
    for _ in 0..3 {
        if let Asked::Open(session) = Session::ask(repository, &mut candidate).await? {
            return Ok(session);
        }
    }
    panic!("somebody has the lease");
}

/// Restores into a directory, as a new process would, and opens it.
pub(crate) async fn restore(
    repository: &Arc<Repository>,
    target: Target,
    dir: &Path,
) -> Result<(TestStore, Plan), BackupError> {
    let plan = restore_the_rows(repository, target, dir).await?;
    let (progress, stop) =
        (Arc::new(parking_lot::Mutex::new(RestoreProgress::default())), CancellationToken::new());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
    let files: Arc<dyn PackStore> = Arc::new(DiskPackStore::open(real(), dir.join("packs")).unwrap());
    let plain = PlainStore::open(real(), &dir.join("plain")).unwrap();
    restore_bytes(repository, &plan, &files, &plain, 2, &progress, &stop).await?;
    let random = Arc::new(SeededRandom::new(2));
    let packs = PackSet::open(files, clock, random, &PackSettings::default()).unwrap().0;
    for pack in packs.ids() {
        packs.revive(pack).unwrap();
    }
    drop(packs);
    Ok((TestStore::open(dir).await, plan))
}

/// Restores the metadata alone, as the command does.
pub(crate) async fn restore_the_rows(
    repository: &Arc<Repository>,
    target: Target,
    dir: &Path,
) -> Result<Plan, BackupError> {
    let mut catalogue = Catalogue::load_for(repository, target).await?;
    let mut plan = Plan::make(repository, &catalogue, target).await?;
    std::fs::create_dir_all(dir.join("meta")).unwrap();
    let (progress, stop) =
        (Arc::new(parking_lot::Mutex::new(RestoreProgress::default())), CancellationToken::new());
    let path = dir.join("meta").join("sediment.db");
    let open = || {
        let path = path.clone();
        async move || {
            let random = Arc::new(SeededRandom::new(1));
            let (barrier, mode) = (Arc::new(crate::sys::NoBarrier), OpenMode::Existing);
            let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
            let settings = SqliteSettings::default();
            Ok(Arc::new(SqliteStore::open(&path, mode, barrier, clock, random, &settings)?))
        }
    };
    while let Err(met) = restore_rows(repository, &plan, &real(), &path, open(), &progress, &stop).await {
        plan = Plan::remake(repository, &mut catalogue, target, met).await?;
    }
    let state = ShippedTo { repository: repository.description().id, epoch: plan.epoch };
    state.save(&RealFileSystem, &dir.join("backup.json"))?;
    Ok(plan)
}
