//! A store small enough to stop it anywhere: packs in memory that can lose power, a real index, metadata in memory.

use super::testing_mortal::Mortal;
use super::{Collector, CursorBound, GcReport, GcSettings};
use crate::engine::check::Checker;
use crate::engine::codec::decode_record;
use crate::engine::index::{ChunkIndex, Hold, IndexSettings};
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{Codec, Location, NewRecord, PackSet, PackSettings, RecordKind};
use crate::engine::{EngineError, PlainStore};
use crate::meta::testing::{create_bucket, object};
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, DeleteCondition, MemoryStore, MetaStore, NewBody, NewObject,
    NewPart, NewUpload, ObjectVersion, Outcome, StoredBody, VersionKind, VersionTarget, WriteCondition,
};
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{Random, RealFileSystem, SeededRandom, SystemClock};
use crate::types::{
    Attributes, BucketId, ChunkId, ETag, Entry, EntryKind, Manifest, Node, ObjectKey, ObjectLock, PartNumber,
    TagSet, UploadId,
};
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The content of chunk `seed`: noise of 4 to 6 KiB.
pub(crate) fn content(seed: u64) -> Bytes {
    chunk(seed).payload
}

pub(super) fn body(seeds: &[u64]) -> Vec<u8> {
    seeds.iter().flat_map(|seed| content(*seed)).collect()
}

pub(crate) fn chunk(seed: u64) -> NewRecord {
    // Thousands of stores are made of the same few chunks.
    static MADE: Mutex<BTreeMap<u64, NewRecord>> = Mutex::new(BTreeMap::new());
    let make = || {
        let mut bytes = vec![0; 4096 + usize::try_from(seed * 977 % 2048).unwrap()];
        SeededRandom::new(seed).fill(&mut bytes);
        let (payload, kind, codec) = (Bytes::from(bytes), RecordKind::Chunk, Codec::Raw);
        let id = ChunkId::new(Sha256::digest(&payload).into());
        let raw_len = u32::try_from(payload.len()).unwrap();
        NewRecord { id, kind, codec, raw_len, payload }
    };
    MADE.lock().entry(seed).or_insert_with(make).clone()
}

/// A write under way.
#[derive(Debug)]
pub(crate) struct Put {
    hold: Hold,
    entries: Vec<Entry>,
    seeds: Vec<u64>,
}

impl Put {
    pub(crate) const fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Takes a chunk as stored, as a writer does with what it has appended itself.
    pub(crate) fn push(&mut self, seed: u64) {
        let NewRecord { id, raw_len, .. } = chunk(seed);
        self.entries.push(Entry { kind: EntryKind::Chunk, id, len: u64::from(raw_len) });
        self.seeds.push(seed);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A read under way.
#[derive(Debug)]
pub(crate) struct Read {
    _hold: Hold,
    root: Arc<Manifest>,
    expected: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Arc<Mortal>,
    /// What `store` writes to, unless it is a disk.
    pub(crate) memory: Arc<TestPacks>,
    pub(crate) packs: PackSet,
    pub(crate) index: ChunkIndex,
    pub(crate) meta: Arc<MemoryStore>,
    pub(crate) bucket: BucketId,
    pub(crate) collector: Collector,
    pub(crate) settings: GcSettings,
    pub(crate) plain: PlainStore,
    /// What clients were told is there.
    pub(crate) acknowledged: BTreeMap<String, Vec<u64>>,
    dir: TempDir,
    restarts: u64,
}

/// A directory in memory where there is room for it: nothing here depends on a device, and a store is synced
/// hundreds of times.
pub(crate) fn scratch() -> TempDir {
    const IN_MEMORY: &str = "/dev/shm";
    let has_room = rustix::fs::statvfs(IN_MEMORY).is_ok_and(|fs| fs.f_bavail * fs.f_frsize > 4 << 30);
    let made = if has_room { tempfile::tempdir_in(IN_MEMORY) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(false, GcSettings::default()).await
    }

    /// With packs on a real disk.
    pub(crate) async fn on_disk() -> Self {
        Self::with(true, GcSettings::default()).await
    }

    pub(crate) async fn with(on_disk: bool, settings: GcSettings) -> Self {
        let meta = Arc::new(MemoryStore::new(Arc::new(SystemClock), Arc::new(SeededRandom::new(7))));
        let bucket = create_bucket(meta.as_ref()).await;
        let dir = if on_disk { TempDir::new().unwrap() } else { scratch() };
        let memory = Arc::new(TestPacks::default());
        let disk = || DiskPackStore::open(Arc::new(RealFileSystem), dir.path().join("packs")).unwrap();
        let store: Arc<dyn PackStore> = if on_disk { Arc::new(disk()) } else { memory.clone() };
        Self::open(store, memory, meta, bucket, settings, dir, 0)
    }

    fn open(
        inner: Arc<dyn PackStore>,
        memory: Arc<TestPacks>,
        meta: Arc<MemoryStore>,
        bucket: BucketId,
        settings: GcSettings,
        dir: TempDir,
        restarts: u64,
    ) -> Self {
        let store = Arc::new(Mortal::new(inner));
        let random = Arc::new(SeededRandom::new(restarts));
        let pack_settings = PackSettings { target_bytes: 1 << 20 };
        let (packs, _) = PackSet::open(store.clone(), Arc::new(SystemClock), random, &pack_settings).unwrap();
        let path = dir.path().join("index");
        let index = ChunkIndex::open(&path, packs.clone(), &IndexSettings::default()).unwrap();
        let fs = Arc::new(RealFileSystem);
        let plain = PlainStore::open(fs, &dir.path().join("plain")).unwrap();
        let files = super::PlainFiles { store: plain.clone(), inspect: meta.clone() };
        let collector =
            Collector::new(packs.clone(), index.clone(), meta.clone(), Some(files), settings.clone());
        collector.spare(Arc::new(CursorBound {
            meta: meta.clone(),
            log: meta.clone(),
            consumer: Consumer::Backup,
            clock: Arc::new(SystemClock),
            longest: Duration::from_secs(3600),
        }));
        let (acknowledged, plain) = (BTreeMap::new(), plain);
        Self {
            store,
            memory,
            packs,
            index,
            meta,
            bucket,
            collector,
            settings,
            plain,
            acknowledged,
            dir,
            restarts,
        }
    }

    /// From now on another bound counts.
    pub(crate) fn collector_sparing(&mut self, bound: CursorBound) {
        let files = super::PlainFiles { store: self.plain.clone(), inspect: self.meta.clone() };
        let (packs, index, meta) = (self.packs.clone(), self.index.clone(), self.meta.clone());
        self.collector = Collector::new(packs, index, meta, Some(files), self.settings.clone());
        self.collector.spare(Arc::new(bound));
    }

    /// What a killed process, or a power cut, leaves behind, opened again. Requests under way are gone.
    pub(crate) async fn restart(self, power_cut: bool) -> Self {
        let Self {
            memory, packs, index, meta, bucket, collector, settings, acknowledged, dir, restarts, ..
        } = self;
        drop((packs, index, collector));
        let memory = Arc::new(if power_cut { memory.after_power_cut() } else { memory.after_kill() });
        let mut world = Self::open(memory.clone(), memory, meta, bucket, settings, dir, restarts + 1);
        world.acknowledged = acknowledged;
        world.follow().await;
        world
    }

    /// Applies the log to its end.
    pub(crate) async fn follow(&self) {
        loop {
            let records = self.meta.changes_after(self.index.applied(), 100).await.unwrap();
            if records.is_empty() {
                return;
            }
            self.index.apply(&records).unwrap();
        }
    }

    async fn follow_for_ever(&self) {
        loop {
            self.meta.wait_after(self.index.applied()).await;
            self.follow().await;
        }
    }

    /// Does something while the log is applied beside it.
    pub(crate) async fn while_following<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            () = self.follow_for_ever() => unreachable!("following never ends"),
        }
    }

    pub(crate) async fn gc(&self) -> Result<GcReport, EngineError> {
        let stop = CancellationToken::new();
        self.while_following(self.collector.run(&stop, None)).await
    }

    pub(crate) fn begin_put(&self) -> Put {
        Put { hold: self.index.hold(), entries: Vec::new(), seeds: Vec::new() }
    }

    pub(crate) fn write(&self, put: &mut Put, seeds: &[u64]) -> Result<(), EngineError> {
        for seed in seeds {
            self.store_record(put, chunk(*seed))?;
            put.push(*seed);
        }
        Ok(())
    }

    /// Puts everything written so far under a node.
    pub(crate) fn wrap(&self, put: &mut Put) -> Result<(), EngineError> {
        let node = Node::new(std::mem::take(&mut put.entries)).unwrap();
        let payload = Bytes::from(node.encode());
        let (id, raw_len) = (Node::id_of(&payload), u32::try_from(payload.len()).unwrap());
        let record = NewRecord { id, kind: RecordKind::Node, codec: Codec::Raw, raw_len, payload };
        self.store_record(put, record)?;
        put.entries.push(Entry { kind: EntryKind::Node, id, len: node.size() });
        Ok(())
    }

    fn store_record(&self, put: &Put, record: NewRecord) -> Result<(), EngineError> {
        let (id, kind) = (record.id, record.kind);
        if self.index.hit(&put.hold, &[id])?[0].is_none() {
            let location = self.packs.append(&[record])?[0];
            self.index.insert(&put.hold, &[(id, kind, location)])?;
        }
        Ok(())
    }

    /// Appends what is not there, and does not tell the index.
    pub(crate) fn append(
        &self,
        put: &mut Put,
        seeds: &[u64],
    ) -> Result<Vec<(ChunkId, RecordKind, Location)>, EngineError> {
        let mut appended = Vec::new();
        for seed in seeds {
            let record = chunk(*seed);
            let (id, kind) = (record.id, record.kind);
            if self.index.hit(&put.hold, &[id])?[0].is_none() {
                appended.push((id, kind, self.packs.append(&[record])?[0]));
            }
            put.push(*seed);
        }
        Ok(appended)
    }

    /// Appends chunks that are there once more. Nothing names the copies before [`Self::move_to_copies`].
    pub(crate) fn store_again(
        &self,
        put: &mut Put,
        seeds: &[u64],
    ) -> Result<Vec<(ChunkId, Location, Location)>, EngineError> {
        let mut moves = Vec::new();
        for seed in seeds {
            let record = chunk(*seed);
            let id = record.id;
            match self.index.hit(&put.hold, &[id])?[0] {
                Some(from) => moves.push((id, from, self.packs.append(&[record])?[0])),
                None => self.store_record(put, record)?,
            }
            put.push(*seed);
        }
        Ok(moves)
    }

    /// As the way in does: durable first.
    pub(crate) fn move_to_copies(
        &self,
        put: &Put,
        moves: &[(ChunkId, Location, Location)],
    ) -> Result<(), EngineError> {
        self.packs.sync()?;
        self.index.replace(&put.hold, moves)
    }

    fn manifest(put: &Put) -> Manifest {
        Manifest::new(put.entries.clone()).unwrap()
    }

    /// As the metadata store does: the barrier first.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        if self.packs.sync().is_err() {
            return Err(CommitError::InvalidState("the barrier failed"));
        }
        self.meta.commit(commit).await
    }

    pub(crate) async fn finish_put(&mut self, put: Put, key: &str) -> Result<(), CommitError> {
        let body = NewBody::Manifest(Self::manifest(&put));
        self.put_body(key, body, &put.seeds).await
    }

    pub(crate) async fn put_body(
        &mut self,
        key: &str,
        body: NewBody,
        seeds: &[u64],
    ) -> Result<(), CommitError> {
        let object = new_object(body, seeds);
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.commit(Commit::PutVersion { bucket, key: named(key), object, condition }).await?;
        self.acknowledged.insert(key.to_owned(), seeds.to_vec());
        Ok(())
    }

    pub(crate) async fn put(&mut self, key: &str, seeds: &[u64]) {
        let mut put = self.begin_put();
        self.write(&mut put, seeds).unwrap();
        if seeds.len() > 4 {
            self.wrap(&mut put).unwrap();
        }
        self.finish_put(put, key).await.unwrap();
    }

    pub(crate) async fn upload(&self, id: UploadId, parts: &[&[u64]]) {
        let upload = NewUpload {
            id,
            attributes: Attributes::default(),
            checksum: None,
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let (bucket, key) = (self.bucket, named("upload"));
        self.commit(Commit::CreateUpload { bucket, key, upload }).await.unwrap();
        for (number, seeds) in (1..).zip(parts) {
            let mut put = self.begin_put();
            self.write(&mut put, seeds).unwrap();
            let body = NewBody::Manifest(Self::manifest(&put));
            let size = body_size(seeds);
            let part = NewPart { body, size, etag: ETag::of_body([0; 16]), checksum: None };
            let number = PartNumber::parse(number).unwrap();
            self.commit(Commit::PutPart { upload: id, number, part }).await.unwrap();
        }
    }

    pub(crate) async fn complete(
        &mut self,
        upload: UploadId,
        parts: Vec<(PartNumber, crate::types::CommitSeq)>,
        root: Manifest,
        seeds: &[u64],
    ) -> Result<(), CommitError> {
        let object = new_object(NewBody::Manifest(root), seeds);
        let condition = WriteCondition::None;
        self.commit(Commit::CompleteUpload { upload, parts, object, condition }).await?;
        self.acknowledged.insert("upload".to_owned(), seeds.to_vec());
        Ok(())
    }

    pub(crate) async fn delete(&mut self, key: &str) {
        self.delete_if(key, DeleteCondition::default()).await.unwrap();
        self.acknowledged.remove(key);
    }

    pub(crate) async fn delete_if(
        &self,
        key: &str,
        condition: DeleteCondition,
    ) -> Result<Outcome, CommitError> {
        let (bucket, key, target) = (self.bucket, named(key), VersionTarget::Current);
        self.commit(Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }).await
    }

    pub(crate) async fn row(&self, key: &str) -> Option<ObjectVersion> {
        self.meta.version(self.bucket, &named(key), None).await.unwrap()
    }

    /// The hold is taken before the row is read.
    pub(crate) async fn begin_read(&self, key: &str) -> Option<Read> {
        let hold = self.index.hold();
        let VersionKind::Object(object) = self.row(key).await?.kind else { return None };
        let StoredBody::Chunked { root, .. } = object.body else { return None };
        Some(Read { _hold: hold, root, expected: body(&self.acknowledged[key]) })
    }

    /// The whole body, looking again where a pack went away.
    pub(crate) fn finish_read(&self, read: &Read) {
        let mut bytes = Vec::new();
        self.resolve(read.root.entries(), &mut bytes);
        assert!(bytes == read.expected, "a body is not what was put");
    }

    fn resolve(&self, entries: &[Entry], bytes: &mut Vec<u8>) {
        for entry in entries {
            let mut place = self.index.get(&[entry.id]).unwrap()[0];
            let record = loop {
                let at = place.unwrap_or_else(|| panic!("{:?} is not in the index", entry.id));
                match self.packs.read(&[(entry.id, at)]).remove(0) {
                    Ok(record) => break record,
                    Err(error) => {
                        let again = self.index.get(&[entry.id]).unwrap()[0];
                        assert_ne!(again, place, "{error}");
                        place = again;
                    }
                }
            };
            let raw = decode_record(&record).unwrap();
            match entry.kind {
                EntryKind::Node => self.resolve(Node::decode(&raw).unwrap().entries(), bytes),
                EntryKind::Chunk => bytes.extend_from_slice(&raw),
            }
        }
    }

    pub(crate) fn plain_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("plain")
    }

    pub(crate) fn checker(&self) -> Checker {
        Checker::new(self.packs.clone(), self.index.clone(), self.meta.clone())
    }

    /// I1: everything acknowledged is there; I3: the references are those of a recount; nothing is damaged.
    pub(crate) async fn verify(&self, context: &str) {
        self.follow().await;
        for (key, seeds) in &self.acknowledged {
            if let Some(bytes) = self.read_plain(key).await {
                assert!(bytes == body(seeds), "{key}: {context}");
                continue;
            }
            let read = self.begin_read(key).await;
            self.finish_read(&read.unwrap_or_else(|| panic!("{key} is gone: {context}")));
        }
        let report = self.checker().check(true, &CancellationToken::new(), None).await.unwrap();
        assert!(report.is_clean(), "{context}: {report}");
    }

    /// Collects until nothing is left to collect, and checks that nothing is.
    pub(crate) async fn collect_all(&self, context: &str) {
        self.packs.seal().unwrap();
        for _ in 0..2 {
            self.gc().await.unwrap();
        }
        assert_eq!(self.index.counts().unwrap().unreferenced, 0, "unused chunks stay: {context}");
        self.no_file_of_nobody(context).await;
        for (pack, sizes) in super::plan::sealed_sizes(&self.packs, &self.index).unwrap() {
            assert!(
                sizes.live > 0 && sizes.garbage() < 16 << 10,
                "{pack} keeps garbage, {sizes:?}: {context}"
            );
        }
    }
}

pub(crate) fn named(key: &str) -> ObjectKey {
    ObjectKey::parse(key).unwrap()
}

pub(crate) fn body_size(seeds: &[u64]) -> u64 {
    body(seeds).len() as u64
}

pub(super) fn new_object(body: NewBody, seeds: &[u64]) -> NewObject {
    object(body, body_size(seeds))
}
