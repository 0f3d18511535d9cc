//! How fast a file's tenth generation comes out beside its first, and what that costs. Run:
//! `cargo bench --bench generations`. Each generation is the one before with one percent overwritten, at random places; between
//! two generations something else is stored. Reads from the device go around the pages that the system keeps.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures::StreamExt;
use sediment::engine::gc::{Collector, GcSettings};
use sediment::engine::index::{ChunkIndex, IndexSettings};
use sediment::engine::pack::{PackSet, PackSettings};
use sediment::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineParts, EngineSettings, Follower, PlainStore,
};
use sediment::meta::{
    ChangeLog, Commit, MemoryStore, MetaStore, NewObject, Outcome, StoredBody, VersionKind, WriteCondition,
};
use sediment::storage::{DiskPackStore, PackFile, PackId, PackStore};
use sediment::sys::{
    Clock, FileSystem, OsRandom, Random, RealFileSystem, SeededRandom, SystemClock, SystemSteady,
};
use sediment::types::{
    Attributes, BucketId, BucketName, BucketSettings, ETag, ObjectKey, ObjectLock, ResolvedRange, TagSet,
};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const BODY_BYTES: usize = 64 << 20;
const OTHER_BYTES: usize = 16 << 20;
const FRAME_BYTES: usize = 64 << 10;
const EDIT_BYTES: usize = 16 << 10;
const GENERATIONS: usize = 10;
const READS: usize = 15;

/// Packs on disk whose reads are counted.
#[derive(Debug)]
struct Counted {
    inner: DiskPackStore,
    reads: AtomicU64,
}

impl PackStore for Counted {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        self.inner.list()
    }
    fn create(&self, id: PackId) -> io::Result<()> {
        self.inner.create(id)
    }
    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(id, offset, bytes)
    }
    fn write_vectored_at(&self, id: PackId, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.inner.write_vectored_at(id, offset, slices)
    }
    fn sync(&self, id: PackId) -> io::Result<()> {
        self.inner.sync(id)
    }
    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_at(id, offset, len)
    }
    fn read_exact_at(&self, id: PackId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.read_exact_at(id, offset, buffer)
    }
    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.inner.truncate(id, len)
    }
    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.punch(id, offset, len)
    }
    fn reload(&self, id: PackId) -> io::Result<()> {
        self.inner.reload(id)
    }
    fn remove(&self, id: PackId) -> io::Result<()> {
        self.inner.remove(id)
    }
}

struct World {
    dir: tempfile::TempDir,
    files: Arc<Counted>,
    engine: Engine,
    collector: Collector,
    bucket: BucketId,
}

impl World {
    async fn new(settings: EngineSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        let inner = DiskPackStore::open(Arc::clone(&fs), dir.path().join("packs")).unwrap();
        let files = Arc::new(Counted { inner, reads: AtomicU64::new(0) });
        let store: Arc<dyn PackStore> = Arc::clone(&files) as _;
        let (packs, _) =
            PackSet::open(store, Arc::clone(&clock), Arc::clone(&random), &PackSettings::default()).unwrap();
        let path = dir.path().join("index");
        let index = ChunkIndex::open(&path, packs.clone(), &IndexSettings::default()).unwrap();
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&random)));
        let (meta, log): (Arc<dyn MetaStore>, Arc<dyn ChangeLog>) = (Arc::clone(&store) as _, store);
        let settings = Arc::new(settings);
        let cache = ChunkCache::new(&CacheSettings::default(), Arc::new(SystemSteady)).unwrap();
        let plain = PlainStore::open(Arc::clone(&fs), &dir.path().join("plain")).unwrap();
        let memory = EngineParts::memory_budget(&settings);
        let name = BucketName::parse("bucket").unwrap();
        let create =
            Commit::CreateBucket { name, owner: None, lock: false, settings: BucketSettings::default() };
        let Outcome::Bucket(bucket) = meta.commit(create).await.unwrap() else { panic!("no bucket") };
        let collector =
            Collector::new(packs.clone(), index.clone(), Arc::clone(&meta), None, GcSettings::default());
        let parts =
            EngineParts { packs, index, cache, meta, log, fs, plain, clock, random, settings, memory };
        let engine = Engine::new(parts).unwrap();
        Self { dir, files, engine, collector, bucket: bucket.id }
    }

    async fn put(&self, key: &str, body: &[u8]) {
        let spec = BodySpec { size: Some(body.len() as u64), checksums: Vec::new() };
        let mut writer = self.engine.writer(spec).await.unwrap();
        for frame in body.chunks(FRAME_BYTES) {
            writer.write(Bytes::copy_from_slice(frame)).await.unwrap();
        }
        let staged = writer.finish().await.unwrap();
        let packs = self.engine.parts().packs.clone();
        tokio::task::spawn_blocking(move || packs.sync()).await.unwrap().unwrap();
        let object = NewObject {
            size: staged.size,
            body: staged.body.clone(),
            etag: ETag::of_body(staged.digests.md5),
            checksum: None,
            attributes: Attributes::default(),
            parts: Vec::new(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let (bucket, key) = (self.bucket, ObjectKey::parse(key).unwrap());
        let put = Commit::PutVersion { bucket, key, object, condition: WriteCondition::None };
        self.engine.parts().meta.commit(put).await.unwrap();
        drop(staged);
        self.follow().await;
    }

    async fn follow(&self) {
        let EngineParts { log, meta, index, .. } = self.engine.parts();
        let follower = Follower::new(Arc::clone(log), Arc::clone(meta), index.clone());
        follower.catch_up(sediment::engine::Progress::SILENT).await.unwrap();
    }

    async fn read(&self, key: &str) {
        let hold = self.engine.hold();
        let key = ObjectKey::parse(key).unwrap();
        let row = self.engine.parts().meta.version(self.bucket, &key, None).await.unwrap().unwrap();
        let VersionKind::Object(object) = row.kind else { panic!("no object") };
        let StoredBody::Chunked { .. } = &object.body else { panic!("not chunked") };
        let range = ResolvedRange { start: 0, end: object.size };
        let mut stream = self.engine.read(hold, &object.body, object.size, range).await.unwrap();
        let mut total = 0;
        while let Some(frame) = stream.next().await {
            total += frame.unwrap().len() as u64;
        }
        assert_eq!(total, object.size);
    }

    /// Packs are not in memory any more.
    fn forget_pages(&self) {
        for entry in std::fs::read_dir(self.dir.path().join("packs")).unwrap() {
            let Ok(file) = std::fs::File::open(entry.unwrap().path()) else { continue };
            file.sync_all().unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }

    /// Seconds, seconds of the processor, and reads of packs.
    async fn measure(&self, key: &str, is_cold: bool) -> (f64, f64, f64) {
        if is_cold {
            self.forget_pages();
        }
        let (began, used, reads) = (Instant::now(), cpu(), self.files.reads.load(Ordering::Relaxed));
        self.read(key).await;
        let reads = self.files.reads.load(Ordering::Relaxed) - reads;
        (began.elapsed().as_secs_f64(), cpu() - used, reads as f64)
    }

    fn allocated(&self) -> u64 {
        self.engine.parts().packs.packs().unwrap().iter().map(|pack| pack.allocated).sum()
    }

    async fn collect(&self) {
        self.engine.parts().packs.seal().unwrap();
        let stop = CancellationToken::new();
        let following = async {
            loop {
                self.follow().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            collected = self.collector.run(&stop, None) => drop(collected.unwrap()),
            () = following => {}
        }
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// Seconds that the process has used the processor.
fn cpu() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn read_all(world: &World, context: &str) {
    for is_cold in [false, true] {
        let mut taken: [Vec<_>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..READS {
            for (taken, key) in taken.iter_mut().zip(["1".to_owned(), GENERATIONS.to_string()]) {
                taken.push(world.measure(&key, is_cold).await);
            }
        }
        let of =
            |n: usize, figure: fn(&(f64, f64, f64)) -> f64| median(taken[n].iter().map(figure).collect());
        let gb = BODY_BYTES as f64 / 1e9;
        for n in [0, 1] {
            let name = if n == 0 { 1 } else { GENERATIONS };
            println!(
                "  {context}, {}, generation {name:>2}: {:>6.0} MB/s, {:.2} core-s/GB, {:>5.1} reads/MiB; rate {:.2}, cpu {:.2} of the first",
                if is_cold { "device" } else { "memory" },
                gb * 1e3 / of(n, |t| t.0),
                of(n, |t| t.1) / gb,
                of(n, |t| t.2) / (BODY_BYTES >> 20) as f64,
                of(0, |t| t.0) / of(n, |t| t.0),
                of(0, |t| t.1) / of(n, |t| t.1),
            );
        }
    }
}

async fn live(name: &str, settings: EngineSettings, edits: usize) {
    let world = World::new(settings).await;
    let random = SeededRandom::new(2);
    let mut body = noise(BODY_BYTES, 1);
    let (mut stored, mut rewritten) = (0, 0);
    println!("{name}, {edits} edits of {} KiB in each of {GENERATIONS} generations", EDIT_BYTES >> 10);
    for generation in 1..=GENERATIONS {
        if generation > 1 {
            for _ in 0..edits {
                let at = usize::try_from(random.u64()).unwrap() % (BODY_BYTES - EDIT_BYTES);
                body[at..at + EDIT_BYTES].copy_from_slice(&noise(EDIT_BYTES, random.u64()));
            }
        }
        world.put(&format!("other {generation}"), &noise(OTHER_BYTES, 1000 + generation as u64)).await;
        let before = world.engine.ingest_stages();
        let used = cpu();
        world.put(&generation.to_string(), &body).await;
        let after = world.engine.ingest_stages();
        if generation > 1 {
            stored += after.stored_bytes - before.stored_bytes;
            rewritten += after.rewritten_bytes - before.rewritten_bytes;
        }
        if generation == GENERATIONS {
            println!(
                "  the last put: {:.2} core-s/GB; all after the first stored {:.1} % of a body, {:.1} % of it again",
                (cpu() - used) / (BODY_BYTES as f64 / 1e9),
                100.0 * stored as f64 / BODY_BYTES as f64,
                100.0 * rewritten as f64 / BODY_BYTES as f64
            );
        }
    }
    let before = world.allocated();
    read_all(&world, "as written").await;
    world.collect().await;
    println!(
        "  packs: {:.1} MiB as written, {:.1} MiB when collected",
        before as f64 / 1048576.0,
        world.allocated() as f64 / 1048576.0
    );
    read_all(&world, "collected").await;
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let edits = BODY_BYTES / 100 / EDIT_BYTES;
    runtime.block_on(async {
        for edits in [edits, 5 * edits] {
            for (name, rewrite_percent) in [("without rewriting", 0), ("with", 5)] {
                live(name, EngineSettings { rewrite_percent, ..EngineSettings::default() }, edits).await;
            }
        }
    });
}
