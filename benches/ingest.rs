//! How fast bodies go in, and what each stage costs. Run: `cargo bench --bench ingest`.
//! Machines differ and are shared: so every rate also stands as a ratio to MD5 alone, measured in the same run, and
//! every cost in seconds of one core per GB, which others who use the machine change less than they change a rate.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use md5::{Digest, Md5};
use sediment::engine::codec::encode;
use sediment::engine::index::{ChunkIndex, IndexSettings};
use sediment::engine::pack::{Codec, NewRecord, PackSet, PackSettings, RecordKind};
use sediment::engine::{
    BodySpec, BodyStore, CacheSettings, ChunkCache, Engine, EngineParts, EngineSettings, IngestStages,
    PlainStore,
};
use sediment::meta::{ChangeLog, MemoryStore, MetaStore};
use sediment::storage::DiskPackStore;
use sediment::sys::{
    Clock, FileSystem, OsRandom, Random, RealFileSystem, SeededRandom, SystemClock, SystemSteady,
};
use sediment::types::{ChecksumAlgorithm, ChunkId};
use std::hint::black_box;
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
    let cache = ChunkCache::new(&CacheSettings::default(), Arc::new(SystemSteady)).unwrap();
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

/// Seconds that the process has used the processor.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second, on every Linux.
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// What each stage took, in seconds of a thread per GB. Waiting for a lock, for the disk and for a core included.
fn costs(before: &IngestStages, after: &IngestStages, gb: f64) -> String {
    let cost = |name: &str, of: fn(&IngestStages) -> Duration| {
        format!("{name} {:.2}", (of(after) - of(before)).as_secs_f64() / gb)
    };
    [
        cost("digest", |s| s.digest),
        cost("cut", |s| s.cut),
        cost("hash", |s| s.hash),
        cost("index", |s| s.index),
        cost("compress", |s| s.compress),
        cost("append", |s| s.append),
    ]
    .join(", ")
}

async fn measure(name: &str, engine: &Engine, bodies: &[Bytes], md5: f64) {
    let (before, used) = (engine.ingest_stages(), cpu());
    let began = Instant::now();
    futures::future::join_all(bodies.iter().map(|body| put(engine, body))).await;
    let elapsed = began.elapsed();
    let after = engine.ingest_stages();
    let bytes = bodies.iter().map(Bytes::len).sum::<usize>() as f64;
    let rate = bytes / elapsed.as_secs_f64();
    println!(
        "{name:<28} {:>6.0} MB/s  {:>5.2} of MD5  {:>5.2} core-s/GB  stored {:>3.0} %   s/GB: {}",
        rate / 1e6,
        rate / md5,
        (cpu() - used) / (bytes / 1e9),
        100.0 * (after.stored_bytes - before.stored_bytes) as f64 / bytes,
        costs(&before, &after, bytes / 1e9)
    );
}

/// The best of some runs, in GB/s.
fn best(name: &str, bytes: usize, mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let began = Instant::now();
        run();
        bytes as f64 / began.elapsed().as_secs_f64()
    };
    let best = (0..5).map(once).fold(0.0, f64::max);
    println!("{name:<40} {:>6.2} GB/s  {:>5.2} core-s/GB", best / 1e9, 1e9 / best);
    best
}

/// The stages alone, on one thread.
fn stages(random: &Bytes, words: &Bytes) -> f64 {
    let piece = random.slice(..32 << 20);
    let md5 = best("MD5, md-5", piece.len(), || {
        black_box(Md5::digest(&piece));
    });
    best("MD5, one stream", piece.len(), || {
        black_box(md5_many::md5(&piece));
    });
    let engine = md5_many::Md5Many::new();
    let lanes = engine.lanes();
    let bodies: Vec<_> = piece.chunks_exact(piece.len() / 16).take(lanes).collect();
    best(&format!("MD5, {lanes} streams in lanes"), bodies.len() * bodies[0].len(), || {
        let mut states = vec![md5_many::Md5State::new(); lanes];
        engine.update_many(&mut states, &bodies);
        black_box(&states);
    });
    best("SHA-256 of 16 KiB", piece.len(), || {
        for chunk in piece.chunks(16 << 10) {
            black_box(sha2::Sha256::digest(chunk));
        }
    });
    best("CRC64-NVME", piece.len(), || {
        black_box(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &piece));
    });
    for (name, bytes) in [("noise", random), ("text", words)] {
        best(&format!("codec, {name} in 16 KiB"), piece.len(), || {
            for at in (0..piece.len()).step_by(16 << 10) {
                black_box(encode(&bytes.slice(at..at + (16 << 10)), 1));
            }
        });
    }
    append(&piece);
    md5
}

/// Batches of 1 MiB, never synced.
fn append(bytes: &Bytes) {
    let dir = tempfile::tempdir().unwrap();
    let files = DiskPackStore::open(Arc::new(RealFileSystem), dir.path()).unwrap();
    let settings = PackSettings { target_bytes: 1 << 30 };
    let (packs, _) =
        PackSet::open(Arc::new(files), Arc::new(SystemClock), Arc::new(OsRandom), &settings).unwrap();
    let record = |at: usize| {
        let (payload, id) = (bytes.slice(at..at + (16 << 10)), ChunkId::new([at as u8; 32]));
        NewRecord { id, kind: RecordKind::Chunk, codec: Codec::Raw, raw_len: 16 << 10, payload }
    };
    let records: Vec<_> = (0..bytes.len()).step_by(16 << 10).map(record).collect();
    best("pack append, 64 records of 16 KiB", bytes.len(), || {
        records.chunks(64).for_each(|batch| drop(packs.append(batch).unwrap()));
    });
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (random, words) = (noise(BODY_BYTES, 1), text(BODY_BYTES, 2));
    let md5 = stages(&random, &words);
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
        let (began, used) = (Instant::now(), cpu());
        for n in 0..SMALL_BODIES {
            let body = Bytes::from([&n.to_le_bytes()[..], &small[..16 << 10]].concat());
            let spec = BodySpec { size: Some(body.len() as u64), checksums: Vec::new() };
            let mut writer = engine.writer(spec).await.unwrap();
            writer.write(body).await.unwrap();
            drop(writer.finish().await.unwrap());
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / SMALL_BODIES as f64;
        let busy = (cpu() - used) * 1e6 / SMALL_BODIES as f64;
        println!("{:<28} {each:>6.0} µs each, {busy:.0} µs of a core", "16 KiB, one after the other");
    });
}
