//! A store on the way in, for tests: packs and a catalogue in memory that can fail.

use super::{Catalog, CatalogSession, Fallback, Ingest, IngestParts, Moved};
use crate::engine::budget::UploadBudget;
use crate::engine::codec::{decode_node, decode_record};
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{Location, PackSet, PackSettings, RecordKind};
use crate::engine::{
    BodySpec, BodyStore, BodyStream, BodyWriter, EngineError, EngineSettings, PlainStore, ReadHold,
    StagedBody,
};
use crate::meta::{NewBody, StoredBody};
use crate::sys::{ManualClock, Random, RealFileSystem, SeededRandom};
use crate::types::{ChunkId, Entry, EntryKind, ResolvedRange, UnixMillis};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A map of what was inserted.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestCatalog {
    pub(crate) entries: Arc<Mutex<HashMap<ChunkId, (RecordKind, Location)>>>,
    pub(crate) fails: Arc<AtomicBool>,
    pub(crate) hits: Arc<AtomicUsize>,
    pub(crate) sessions: Arc<()>,
    pub(crate) moved: Arc<Mutex<Vec<Moved>>>,
    pub(crate) refuses_moves: Arc<Mutex<bool>>,
}

#[derive(Debug)]
struct TestSession(TestCatalog, #[expect(dead_code, reason = "counted")] Arc<()>);

impl Catalog for TestCatalog {
    fn session(&self) -> Box<dyn CatalogSession> {
        Box::new(TestSession(self.clone(), Arc::clone(&self.sessions)))
    }
}

impl TestCatalog {
    fn check(&self) -> Result<(), EngineError> {
        if self.fails.load(Ordering::SeqCst) { Err(EngineError::Index("injected".into())) } else { Ok(()) }
    }

    pub(crate) fn get(&self, id: ChunkId) -> Option<(RecordKind, Location)> {
        self.entries.lock().get(&id).copied()
    }
}

impl CatalogSession for TestSession {
    fn hit(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        self.0.check()?;
        self.0.hits.fetch_add(1, Ordering::SeqCst);
        Ok(ids.iter().map(|id| self.0.get(*id).map(|(_, location)| location)).collect())
    }

    fn insert(&self, records: &[(ChunkId, RecordKind, Location)]) -> Result<(), EngineError> {
        self.0.check()?;
        let mut entries = self.0.entries.lock();
        for (id, kind, location) in records {
            entries.entry(*id).or_insert((*kind, *location));
        }
        Ok(())
    }

    fn moved(&self, moves: &[Moved]) -> Result<(), EngineError> {
        self.0.check()?;
        if *self.0.refuses_moves.lock() {
            return Err(EngineError::Index("injected".into()));
        }
        self.0.moved.lock().extend_from_slice(moves);
        let mut entries = self.0.entries.lock();
        for Moved { id, from, to } in moves {
            let entry = entries.get_mut(id).filter(|(_, at)| at == from);
            entry.into_iter().for_each(|(_, at)| *at = *to);
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct TestStore {
    pub(crate) files: Arc<TestPacks>,
    pub(crate) packs: PackSet,
    pub(crate) catalog: TestCatalog,
    pub(crate) plain: PlainStore,
    pub(crate) memory: UploadBudget,
    pub(crate) ingest: Arc<Ingest>,
    _dir: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new(settings: EngineSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(TestPacks::default());
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(7));
        let (packs, _) =
            PackSet::open(Arc::clone(&files) as _, clock, Arc::clone(&random), &PackSettings::default())
                .unwrap();
        let catalog = TestCatalog::default();
        let plain = PlainStore::open(Arc::new(RealFileSystem), dir.path()).unwrap();
        let memory = UploadBudget::new(
            settings.memory_bytes,
            Duration::from_millis(settings.memory_wait_milliseconds),
        );
        let parts = IngestParts {
            packs: packs.clone(),
            catalog: Arc::new(catalog.clone()),
            plain: plain.clone(),
            random,
            settings: Arc::new(settings),
            memory: memory.clone(),
        };
        let ingest = Arc::new(Ingest::new(parts).unwrap());
        Self { files, packs, catalog, plain, memory, ingest, _dir: dir }
    }

    pub(crate) async fn put_spec(
        &self,
        body: &Bytes,
        writes: &[usize],
        spec: BodySpec,
    ) -> Result<StagedBody, EngineError> {
        let mut writer = self.ingest.writer(spec, Fallback::Plain).await?;
        let mut left = body.clone();
        for len in writes.iter().cycle() {
            if left.is_empty() {
                break;
            }
            writer.write(left.split_to((*len).min(left.len()))).await?;
        }
        Box::new(writer).finish().await
    }

    pub(crate) async fn put(&self, body: &Bytes) -> StagedBody {
        self.put_spec(body, &[65_536], BodySpec::default()).await.unwrap()
    }

    /// Reads a body back through the catalogue and the packs, verifying every hash.
    pub(crate) fn get(&self, body: &NewBody) -> Vec<u8> {
        match body {
            NewBody::Inline(bytes) => bytes.to_vec(),
            NewBody::Manifest(root) => {
                let mut bytes = Vec::new();
                self.below(root.entries(), &mut bytes);
                assert_eq!(bytes.len() as u64, root.size());
                bytes
            }
            NewBody::Plain(id) => {
                let reader = self.plain.reader(*id).unwrap();
                reader.read_at(0..reader.size()).unwrap().to_vec()
            }
            NewBody::SharedManifest(_) | NewBody::SharedPlain(_) => panic!("a new body shares nothing"),
        }
    }

    fn below(&self, entries: &[Entry], bytes: &mut Vec<u8>) {
        for entry in entries {
            let (kind, location) = self.catalog.get(entry.id).expect("every entry is catalogued");
            let record = self.packs.read(&[(entry.id, location)]).remove(0).unwrap();
            match entry.kind {
                EntryKind::Chunk => {
                    assert_eq!(kind, RecordKind::Chunk);
                    let raw = decode_record(&record).unwrap();
                    assert_eq!(ChunkId::new(Sha256::digest(&raw).into()), entry.id);
                    assert_eq!(raw.len() as u64, entry.len);
                    bytes.extend_from_slice(&raw);
                }
                EntryKind::Node => {
                    let node = decode_node(&record).unwrap();
                    assert_eq!(node.size(), entry.len);
                    self.below(node.entries(), bytes);
                }
            }
        }
    }

    /// Records in the catalogue.
    pub(crate) fn count(&self, kind: RecordKind) -> usize {
        self.catalog.entries.lock().values().filter(|(k, _)| *k == kind).count()
    }

    /// Bytes in packs.
    pub(crate) fn pack_bytes(&self) -> u64 {
        self.packs.packs().unwrap().iter().map(|pack| pack.len).sum()
    }
}

pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

/// A staged body as the metadata would give it back.
pub(crate) fn stored(staged: &StagedBody) -> (StoredBody, u64) {
    let body = match &staged.body {
        NewBody::Inline(bytes) => StoredBody::Inline(bytes.clone()),
        NewBody::Manifest(root) => StoredBody::Chunked { id: root.id(), root: Arc::new(root.clone()) },
        NewBody::Plain(id) => StoredBody::Plain(*id),
        NewBody::SharedManifest(_) | NewBody::SharedPlain(_) => panic!("a new body shares nothing"),
    };
    (body, staged.size)
}

#[async_trait::async_trait]
impl BodyStore for TestStore {
    async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
        Ok(Box::new(self.ingest.writer(spec, Fallback::Plain).await?))
    }

    fn hold(&self) -> ReadHold {
        Box::new(())
    }

    async fn read(
        &self,
        _hold: ReadHold,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        let bytes = Bytes::from(self.get(&match body {
            StoredBody::Inline(bytes) => NewBody::Inline(bytes.clone()),
            StoredBody::Chunked { root, .. } => NewBody::Manifest((**root).clone()),
            StoredBody::Plain(id) => NewBody::Plain(*id),
        }));
        assert_eq!(bytes.len() as u64, size);
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        Ok(futures::stream::iter([Ok(bytes)]).boxed())
    }

    async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
        crate::engine::join::join(&self.ingest, bodies).await
    }
}
