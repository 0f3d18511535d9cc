//! An open store: all parts of the engine over one simulated disk, as `app::store` puts them together.

use super::body::{Body, bytes_of};
use super::ledger::{History, Ledger};
use super::trail;
use crate::engine::check::Checker;
use crate::engine::gc::{Collector, GcReport, GcSettings, PlainFiles};
use crate::engine::pack::{PackSet, PackSettings};
use crate::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, ChunkIndex, Engine, EngineError, EngineParts,
    EngineSettings, Follower, PlainStore, Progress, ReadHold, StagedBody,
};
use crate::meta::{
    ChangeLog, Commit, CommitError, MetaStore, NewBody, NewObject, NewPart, NewUpload, Outcome, StoredBody,
    VersionKind, VersionTarget, WriteCondition,
};
use crate::storage::DiskPackStore;
use crate::sys::{ManualClock, SeededRandom, SimulatedFileSystem};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, CommitSeq, ETag, ObjectKey, ObjectLock, PartNumber,
    ResolvedRange, TagSet, UnixMillis, UploadId,
};
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Far more than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Store {
    pub(super) engine: Engine,
    /// The same with deduplication off.
    plain: Engine,
    collector: Collector,
    pub(super) ledger: Arc<Ledger>,
    bucket: BucketId,
}

/// How a life departs from the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flaws {
    /// Packs are not synced before a commit.
    pub(super) no_barrier: bool,
    /// The disk says that it synced, and did not.
    pub(super) lying_disk: bool,
}

fn engine_settings(plain_bodies: bool) -> EngineSettings {
    EngineSettings {
        chunk_min_bytes: 64,
        chunk_average_bytes: 256,
        chunk_max_bytes: 1024,
        inline_max_bytes: 64,
        hash_threads: 1,
        plain_bodies,
        ..EngineSettings::default()
    }
}

impl Store {
    pub(super) async fn open(
        fs: &SimulatedFileSystem,
        history: History,
        index: &Path,
        flaws: Flaws,
    ) -> Result<Self, EngineError> {
        let calls = fs.calls();
        let shared = Arc::new(fs.clone());
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000 + calls as i64)));
        let random = Arc::new(SeededRandom::new(calls as u64));
        let files = Arc::new(DiskPackStore::open(shared.clone(), "packs")?);
        let pack_settings = PackSettings { target_bytes: 48 << 10 };
        let (packs, _) = PackSet::open(files, clock.clone(), random.clone(), &pack_settings)?;
        let barrier = (!flaws.no_barrier).then(|| packs.clone());
        let ledger = Arc::new(Ledger::open(fs, barrier, history).await?);
        let index = ChunkIndex::open(index, packs.clone(), &trail::settings())?;
        let plain = PlainStore::open(shared.clone(), Path::new("plain"))?;
        let settings = engine_settings(false);
        let cache = CacheSettings { memory_bytes: 0, ..CacheSettings::default() };
        let parts = EngineParts {
            packs: packs.clone(),
            index: index.clone(),
            cache: ChunkCache::new(&cache, clock.clone()).unwrap(),
            meta: ledger.clone(),
            log: ledger.model.clone(),
            fs: shared,
            plain: plain.clone(),
            clock,
            random,
            memory: EngineParts::memory_budget(&settings),
            settings: Arc::new(settings),
        };
        let files = PlainFiles { store: plain, inspect: ledger.model.clone() };
        let gc =
            GcSettings { rewrite_below_live_ratio: 0.15, rate_bytes_per_second: 0, ..GcSettings::default() };
        let collector = Collector::new(packs, index, ledger.clone(), Some(files), gc);
        let whole = EngineParts { settings: Arc::new(engine_settings(true)), ..parts.clone() };
        let (engine, plain) = (Engine::new(parts)?, Engine::new(whole)?);
        let mut store = Self { engine, plain, collector, ledger, bucket: BucketId::KEY_VALUE };
        store.follower().catch_up(Progress::SILENT).await?;
        store.bucket = store.open_bucket().await.map_err(engine_error)?;
        Ok(store)
    }

    async fn open_bucket(&self) -> Result<BucketId, CommitError> {
        let name = BucketName::parse("bucket").unwrap();
        if let Some(bucket) = self.ledger.bucket(&name).await? {
            return Ok(bucket.id);
        }
        let settings = BucketSettings::default();
        match self.ledger.commit(Commit::CreateBucket { name, owner: None, lock: false, settings }).await? {
            Outcome::Bucket(bucket) => Ok(bucket.id),
            _ => panic!("no bucket"),
        }
    }

    fn follower(&self) -> Follower {
        let parts = self.engine.parts();
        Follower::new(parts.log.clone(), parts.meta.clone(), parts.index.clone())
    }

    /// Nothing is written any more until it is opened again.
    pub(super) fn is_poisoned(&self) -> bool {
        self.ledger.is_poisoned() || self.engine.parts().packs.check().is_err()
    }

    pub(super) fn index(&self) -> &ChunkIndex {
        &self.engine.parts().index
    }

    pub(super) async fn stage(&self, body: Body, is_plain: bool) -> Result<StagedBody, EngineError> {
        let engine = if is_plain { &self.plain } else { &self.engine };
        let mut writer = engine.writer(BodySpec::default()).await?;
        for piece in body.bytes().chunks(5000) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        writer.finish().await
    }

    pub(super) async fn put_version(&self, key: u8, body: NewBody, size: u64) -> Result<(), CommitError> {
        let (bucket, condition, object) = (self.bucket, WriteCondition::None, new_object(body, size));
        self.ledger.commit(Commit::PutVersion { bucket, key: named(key), object, condition }).await?;
        Ok(())
    }

    pub(super) async fn put(&self, key: u8, body: Body) -> Result<(), EngineError> {
        let StagedBody { body, size, hold, .. } = self.stage(body, false).await?;
        let put = self.put_version(key, body, size).await;
        drop(hold);
        put.map_err(engine_error)
    }

    pub(super) async fn delete(&self, key: u8) -> Result<(), CommitError> {
        let delete = Commit::DeleteVersion {
            bucket: self.bucket,
            key: named(key),
            target: VersionTarget::Current,
            condition: WriteCondition::None.into(),
            bypass_governance: false,
        };
        self.ledger.commit(delete).await.map(drop)
    }

    pub(super) async fn begin_upload(&self, key: u8, id: UploadId) -> Result<(), CommitError> {
        let upload = NewUpload {
            id,
            attributes: Attributes::default(),
            checksum: None,
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let create = Commit::CreateUpload { bucket: self.bucket, key: named(key), upload };
        self.ledger.commit(create).await.map(drop)
    }

    pub(super) async fn put_part(
        &self,
        upload: UploadId,
        number: u8,
        body: NewBody,
        size: u64,
    ) -> Result<(), CommitError> {
        let part = NewPart { etag: etag_of(&body), body, size, checksum: None };
        let number = PartNumber::parse(number.into()).unwrap();
        self.ledger.commit(Commit::PutPart { upload, number, part }).await.map(drop)
    }

    /// The body of all parts, not committed.
    pub(super) async fn join(
        &self,
        upload: UploadId,
    ) -> Result<(Vec<(PartNumber, CommitSeq)>, StagedBody), EngineError> {
        let rows = self.ledger.parts(upload, None, 10).await?;
        let parts = rows.iter().map(|part| (part.number, part.seq)).collect();
        let bodies = rows.into_iter().map(|part| (part.body, part.size)).collect();
        Ok((parts, self.engine.join(bodies).await?))
    }

    pub(super) async fn complete(
        &self,
        upload: UploadId,
        parts: Vec<(PartNumber, CommitSeq)>,
        body: NewBody,
        size: u64,
    ) -> Result<(), CommitError> {
        let (object, condition) = (new_object(body, size), WriteCondition::None);
        self.ledger.commit(Commit::CompleteUpload { upload, parts, object, condition }).await.map(drop)
    }

    pub(super) async fn abort(&self, upload: UploadId) -> Result<(), CommitError> {
        self.ledger.commit(Commit::AbortUpload { upload, rules_as_of: None }).await.map(drop)
    }

    /// The body of a key, and what keeps it readable.
    pub(super) async fn row(&self, key: u8) -> Option<(ReadHold, StoredBody, u64)> {
        let hold = self.engine.hold();
        let row = self.ledger.version(self.bucket, &named(key), None).await.unwrap();
        match row?.kind {
            VersionKind::Object(object) => Some((hold, object.body, object.size)),
            VersionKind::DeleteMarker => None,
        }
    }

    pub(super) async fn read(
        &self,
        hold: ReadHold,
        body: &StoredBody,
        size: u64,
    ) -> Result<Vec<u8>, EngineError> {
        let whole = ResolvedRange { start: 0, end: size };
        let mut stream = self.engine.read(hold, body, size, whole).await?;
        let mut bytes = Vec::new();
        while let Some(frame) = stream.next().await {
            bytes.extend_from_slice(&frame?);
        }
        Ok(bytes)
    }

    pub(super) async fn follow(&self) -> Result<(), EngineError> {
        let parts = self.engine.parts();
        loop {
            let records = parts.log.changes_after(parts.index.applied(), 100).await?;
            if records.is_empty() {
                return Ok(());
            }
            parts.index.apply(&records)?;
        }
    }

    async fn follow_for_ever(&self) -> EngineError {
        loop {
            self.ledger.model.wait_after(self.index().applied()).await;
            if let Err(error) = self.follow().await {
                return error;
            }
        }
    }

    pub(super) async fn collect(&self) -> Result<GcReport, EngineError> {
        let stop = CancellationToken::new();
        let mut run = std::pin::pin!(self.collector.run(&stop, None));
        tokio::select! {
            report = &mut run => report,
            error = self.follow_for_ever() => {
                stop.cancel();
                let _ = run.await;
                Err(error)
            }
        }
    }

    /// Everything that is stored whole, as the server does by itself.
    pub(super) async fn rechunk(&self) -> Result<(), EngineError> {
        let mut rechunker = self.engine.rechunker(self.ledger.model.clone(), Box::new(|_| true));
        let report = rechunker.pass(&CancellationToken::new()).await?;
        let is_sound = report.damaged == 0 && report.changed == 0;
        if is_sound { Ok(()) } else { Err(EngineError::Index(format!("{report:?}"))) }
    }

    /// The follower's own: the index is made durable, and the log trimmed behind it.
    pub(super) async fn checkpoint(&self) -> Result<(), EngineError> {
        self.ledger.commit(Commit::Mark).await.map_err(engine_error)?;
        let stop = CancellationToken::new();
        let last = self.ledger.model.last_seq().await?;
        let stopping = async {
            self.index().wait_applied(last).await;
            stop.cancel();
        };
        let run = self.follower().run(stop.clone());
        let both = futures::future::join(run, stopping);
        tokio::time::timeout(PATIENCE, both).await.map_err(std::io::Error::other)?.0
    }

    /// `Err` with all that is wrong.
    pub(super) async fn check(&self) -> Result<(), String> {
        let parts = self.engine.parts();
        self.follow().await.map_err(|error| format!("the log cannot be followed: {error}"))?;
        let checker = Checker::new(parts.packs.clone(), parts.index.clone(), parts.log.clone())
            .with_rows(self.ledger.model.clone());
        match checker.check(true, &CancellationToken::new(), None).await {
            Ok(report) if report.is_clean() => Ok(()),
            Ok(report) => Err(format!("the check found:\n{report}")),
            Err(error) => Err(format!("the check failed: {error}")),
        }
    }

    /// Deletes and aborts everything, and collects until nothing is there.
    pub(super) async fn clear(&self, keys: &[u8], uploads: &[UploadId]) -> Result<(), String> {
        let told = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        for key in keys {
            self.delete(*key).await.map_err(|error| told("a delete", &error))?;
        }
        for upload in uploads {
            self.abort(*upload).await.map_err(|error| told("an abort", &error))?;
        }
        let parts = self.engine.parts();
        parts.packs.seal().map_err(|error| told("sealing", &error))?;
        for _ in 0..2 {
            self.collect().await.map_err(|error| told("a collection", &error))?;
        }
        let (counts, packs) = (parts.index.counts().unwrap(), parts.packs.packs().unwrap());
        let plain = parts.plain.list().unwrap();
        if counts != crate::engine::index::IndexCounts::default() || !packs.is_empty() || !plain.is_empty() {
            return Err(format!("garbage stays: {counts:?}, packs {packs:?}, plain {plain:?}"));
        }
        Ok(())
    }

    pub(super) async fn close(&self) -> Result<(), EngineError> {
        self.engine.parts().packs.seal()?;
        self.index().checkpoint().map(drop)
    }
}

pub(super) fn engine_error(error: CommitError) -> EngineError {
    match error {
        CommitError::Store(error) => EngineError::Meta(error),
        other => EngineError::Index(format!("a commit was refused: {other}")),
    }
}

pub(super) fn named(key: u8) -> ObjectKey {
    ObjectKey::parse(&format!("key-{key}")).unwrap()
}

fn new_object(body: NewBody, size: u64) -> NewObject {
    NewObject {
        etag: etag_of(&body),
        body,
        size,
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    }
}

/// Made up, unless the body stands in its row.
fn etag_of(body: &NewBody) -> ETag {
    match body {
        NewBody::Inline(bytes) => ETag::of_body(Md5::digest(bytes).into()),
        // Says nothing of the bytes.
        _ => ETag::of_parts([0; 16], 1),
    }
}

pub(super) fn shared(body: StoredBody) -> NewBody {
    match body {
        StoredBody::Chunked { id, .. } => NewBody::SharedManifest(id),
        StoredBody::Plain(id) => NewBody::SharedPlain(id),
        StoredBody::Inline(bytes) => NewBody::Inline(bytes),
    }
}

/// Whether the bytes are those of the value.
pub(super) fn is_value(bytes: &[u8], value: &[Body]) -> bool {
    bytes_of(value) == bytes
}
