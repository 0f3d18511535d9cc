//! How fast a long chunked body comes out, from packs and from the chunk cache. Run: `cargo bench --bench read`.
//! The packs' pages are in the operating system's cache, so the numbers are those of the path, not of a disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use futures::StreamExt;
use sediment::engine::codec::encode;
use sediment::engine::pack::{Location, NewRecord, PackSet, PackSettings, RecordKind};
use sediment::engine::read::{BodyReader, Locate, ReadBudget};
use sediment::engine::{CacheSettings, ChunkCache, EngineError, PlainStore};
use sediment::meta::StoredBody;
use sediment::storage::DiskPackStore;
use sediment::sys::{OsRandom, Random, RealFileSystem, SeededRandom, SystemClock, SystemSteady};
use sediment::types::{
    ChunkId, Entry, EntryKind, MAX_NODE_ENTRIES, Manifest, ManifestId, Node, ResolvedRange,
};
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

const BODY_BYTES: u64 = 256 << 20;
/// Longer ranges are not admitted to the cache.
const SHORT_BYTES: u64 = 256 << 10;
const MEMORY_BYTES: u64 = 64 << 20;
const RUNS: u32 = 3;

#[derive(Debug, Default)]
struct Places(RwLock<HashMap<ChunkId, Location>>);

impl Locate for Places {
    fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        let places = self.0.read().unwrap();
        Ok(ids.iter().map(|id| places.get(id).copied()).collect())
    }

    fn hold(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(())
    }

    fn condemn(&self, _: &ChunkId, _: Location) {}
}

fn append(packs: &PackSet, places: &Places, kind: RecordKind, id: ChunkId, raw: &Bytes) {
    let (codec, payload) = encode(raw, 1);
    let record = NewRecord { id, kind, codec, raw_len: u32::try_from(raw.len()).unwrap(), payload };
    let location = packs.append(&[record]).unwrap()[0];
    places.0.write().unwrap().insert(id, location);
}

/// Chunks of 4 to 28 KiB: noise, or text that compresses to a third or so.
fn body(packs: &PackSet, places: &Places, is_text: bool) -> StoredBody {
    let random = SeededRandom::new(7);
    let mut entries = Vec::new();
    let mut left = BODY_BYTES;
    while left > 0 {
        let len = (4096 + random.u64() % 24_576).min(left);
        let mut raw = vec![0; usize::try_from(len).unwrap()];
        random.fill(&mut raw);
        if is_text {
            raw.iter_mut()
                .for_each(|byte| *byte = b"etaoin  shrdlu\n."[usize::from(*byte & *byte >> 4 & 15)]);
        }
        let raw = Bytes::from(raw);
        let id = ChunkId::new(Sha256::digest(&raw).into());
        append(packs, places, RecordKind::Chunk, id, &raw);
        entries.push(Entry { kind: EntryKind::Chunk, id, len });
        left -= len;
    }
    let node = |entries: &[Entry]| {
        let node = Node::new(entries.to_vec()).unwrap();
        let raw = Bytes::from(node.encode());
        let id = Node::id_of(&raw);
        append(packs, places, RecordKind::Node, id, &raw);
        Entry { kind: EntryKind::Node, id, len: node.size() }
    };
    let root = Manifest::new(entries.chunks(MAX_NODE_ENTRIES).map(node).collect()).unwrap();
    StoredBody::Chunked { id: ManifestId::new([0; 32]), root: Arc::new(root) }
}

fn reader(dir: &Path, packs: &PackSet, places: &Arc<Places>, cache_bytes: u64) -> BodyReader {
    let settings = CacheSettings { memory_bytes: cache_bytes, ..CacheSettings::default() };
    let cache = ChunkCache::new(&settings, Arc::new(SystemSteady)).unwrap();
    let plain = PlainStore::open(Arc::new(RealFileSystem), &dir.join("plain")).unwrap();
    let budget = ReadBudget::new(MEMORY_BYTES, 64 << 10, Duration::from_secs(10));
    BodyReader::new(packs.clone(), Arc::clone(places) as _, cache, plain, budget)
}

async fn read(reader: &BodyReader, body: &StoredBody, step: u64) {
    let mut total = 0;
    for start in (0..BODY_BYTES).step_by(usize::try_from(step).unwrap()) {
        let range = ResolvedRange { start, end: (start + step).min(BODY_BYTES) };
        let mut stream = reader.open(body, BODY_BYTES, range).await.unwrap();
        while let Some(frame) = stream.next().await {
            total += frame.unwrap().len() as u64;
        }
    }
    assert_eq!(total, BODY_BYTES);
}

async fn measure(name: &str, reader: &BodyReader, body: &StoredBody, step: u64) {
    read(reader, body, step).await;
    let began = Instant::now();
    for _ in 0..RUNS {
        read(reader, body, step).await;
    }
    let seconds = began.elapsed().as_secs_f64() / f64::from(RUNS);
    println!("{name:<40} {:>8.0} MB/s", BODY_BYTES as f64 / 1e6 / seconds);
}

async fn first_byte(name: &str, reader: &BodyReader, body: &StoredBody) {
    const READS: u64 = 2000;
    let began = Instant::now();
    for n in 0..READS {
        let start = n * 7_919_317 % (BODY_BYTES - 4096);
        let range = ResolvedRange { start, end: start + 4096 };
        let mut stream = reader.open(body, BODY_BYTES, range).await.unwrap();
        while let Some(frame) = stream.next().await {
            frame.unwrap();
        }
    }
    println!("{name:<40} {:>8.0} µs", began.elapsed().as_secs_f64() * 1e6 / READS as f64);
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for is_text in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = DiskPackStore::open(Arc::new(RealFileSystem), dir.path().join("packs")).unwrap();
            let settings = PackSettings::default();
            let clock = Arc::new(SystemClock);
            let (packs, _) = PackSet::open(Arc::new(store), clock, Arc::new(OsRandom), &settings).unwrap();
            let places = Arc::new(Places::default());
            let body = body(&packs, &places, is_text);
            let kind = if is_text { "text" } else { "noise" };
            let uncached = reader(dir.path(), &packs, &places, 0);
            let cached = reader(dir.path(), &packs, &places, 1 << 30);
            measure(&format!("{kind}, whole, from packs"), &uncached, &body, BODY_BYTES).await;
            measure(&format!("{kind}, 256 KiB ranges, from packs"), &uncached, &body, SHORT_BYTES).await;
            measure(&format!("{kind}, 256 KiB ranges, from the cache"), &cached, &body, SHORT_BYTES).await;
            measure(&format!("{kind}, whole, from the cache"), &cached, &body, BODY_BYTES).await;
            first_byte(&format!("{kind}, 4 KiB at random, from packs"), &uncached, &body).await;
            first_byte(&format!("{kind}, 4 KiB at random, from the cache"), &cached, &body).await;
        }
    });
}
