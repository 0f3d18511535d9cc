//! How fast bodies go in, and where the time goes. Run: `cargo bench --bench ingest`.
//! Machines differ and are shared: so every rate also stands as a ratio to MD5 alone, measured in the same run. MD5
//! is what one stream cannot be faster than.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use md5::{Digest, Md5};
use sediment::engine::index::{ChunkIndex, IndexSettings};
use sediment::engine::pack::{PackSet, PackSettings};
use sediment::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineParts, EngineSettings, IngestStages,
    PlainStore,
};
use sediment::meta::{ChangeLog, MemoryStore, MetaStore};
use sediment::storage::DiskPackStore;
use sediment::sys::{Clock, FileSystem, OsRandom, Random, RealFileSystem, SeededRandom, SystemClock};
use sediment::types::ChecksumAlgorithm;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 256 << 20;
const FRAME_BYTES: usize = 64 << 10;
const STREAMS: usize = 4;
const SMALL_BODIES: usize = 2000;

fn engine(dir: &Path) -> Engine {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let files = DiskPackStore::open(Arc::clone(&fs), dir.join("packs")).unwrap();
    let (packs, _) =
        PackSet::open(Arc::new(files), Arc::clone(&clock), Arc::clone(&random), &PackSettings::default())
            .unwrap();
    let index = ChunkIndex::open(&dir.join("index"), packs.clone(), &IndexSettings::default()).unwrap();
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&random)));
    let (meta, log): (Arc<dyn MetaStore>, Arc<dyn ChangeLog>) = (Arc::clone(&store) as _, store);
    let settings = Arc::new(EngineSettings::default());
    let cache = ChunkCache::new(&CacheSettings::default(), Arc::clone(&clock)).unwrap();
    let plain = PlainStore::open(Arc::clone(&fs), &dir.join("plain")).unwrap();
    let memory = EngineParts::memory_budget(&settings);
    Engine::new(EngineParts { packs, index, cache, meta, log, fs, plain, clock, random, settings, memory })
        .unwrap()
}

fn noise(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

/// Compresses to a third or so.
fn text(len: usize, seed: u64) -> Bytes {
    let mut bytes = noise(len, seed).to_vec();
    bytes.iter_mut().for_each(|byte| *byte = b"etaoin  shrdlu\n."[usize::from(*byte & *byte >> 4 & 15)]);
    bytes.into()
}

async fn put(engine: &Engine, body: &Bytes) {
    let spec = BodySpec { size: Some(body.len() as u64), checksums: vec![ChecksumAlgorithm::Crc64Nvme] };
    let mut writer = engine.writer(spec).await.unwrap();
    let mut left = body.clone();
    while !left.is_empty() {
        writer.write(left.split_to(left.len().min(FRAME_BYTES))).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.size, body.len() as u64);
    // What a commit's barrier does.
    let packs = engine.parts().packs.clone();
    tokio::task::spawn_blocking(move || packs.sync()).await.unwrap().unwrap();
}

fn shares(before: &IngestStages, after: &IngestStages, elapsed: Duration) -> String {
    let share = |name: &str, of: fn(&IngestStages) -> Duration| {
        let busy = of(after) - of(before);
        format!("{name} {:.0} %", 100.0 * busy.as_secs_f64() / elapsed.as_secs_f64())
    };
    [
        share("digest", |s| s.digest),
        share("cut", |s| s.cut),
        share("hash", |s| s.hash),
        share("index", |s| s.index),
        share("compress", |s| s.compress),
        share("append", |s| s.append),
    ]
    .join(", ")
}

async fn measure(name: &str, engine: &Engine, bodies: &[Bytes], md5: f64) {
    let before = engine.ingest_stages();
    let began = Instant::now();
    futures::future::join_all(bodies.iter().map(|body| put(engine, body))).await;
    let elapsed = began.elapsed();
    let after = engine.ingest_stages();
    let bytes = bodies.iter().map(Bytes::len).sum::<usize>() as f64;
    let rate = bytes / elapsed.as_secs_f64();
    println!(
        "{name:<28} {:>6.0} MB/s  {:>5.2} of MD5  stored {:>3.0} %   of the time: {}",
        rate / 1e6,
        rate / md5,
        100.0 * (after.stored_bytes - before.stored_bytes) as f64 / bytes,
        shares(&before, &after, elapsed)
    );
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (random, words) = (noise(BODY_BYTES, 1), text(BODY_BYTES, 2));
    let began = Instant::now();
    std::hint::black_box(Md5::digest(&random));
    let md5 = BODY_BYTES as f64 / began.elapsed().as_secs_f64();
    println!("{:<28} {:>6.0} MB/s", "MD5 alone, one thread", md5 / 1e6);
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        put(&engine, &noise(32 << 20, 9)).await;
        measure("random, one stream", &engine, std::slice::from_ref(&random), md5).await;
        measure("random again, one stream", &engine, std::slice::from_ref(&random), md5).await;
        measure("text, one stream", &engine, std::slice::from_ref(&words), md5).await;
        let several: Vec<_> = (0..STREAMS as u64).map(|n| noise(BODY_BYTES / STREAMS, 10 + n)).collect();
        measure("random, four streams", &engine, &several, md5).await;
        let several: Vec<_> = (0..STREAMS as u64).map(|n| text(BODY_BYTES / STREAMS, 20 + n)).collect();
        measure("text, four streams", &engine, &several, md5).await;

        let small = noise(64 << 10, 30);
        let began = Instant::now();
        for n in 0..SMALL_BODIES {
            let body = Bytes::from([&n.to_le_bytes()[..], &small[..16 << 10]].concat());
            let spec = BodySpec { size: Some(body.len() as u64), checksums: Vec::new() };
            let mut writer = engine.writer(spec).await.unwrap();
            writer.write(body).await.unwrap();
            drop(writer.finish().await.unwrap());
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / SMALL_BODIES as f64;
        println!("{:<28} {each:>6.0} µs each", "16 KiB, one after the other");
    });
}
