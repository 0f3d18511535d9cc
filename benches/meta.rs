//! What metadata costs: reads by each way there is, and commits alone and in company.
//!
//! `cargo bench --bench meta [-- ROWS]`. Compare ratios within one run, not numbers between machines. The numbers
//! of `docs/decisions/001-rusqlite-on-threads.md` are from here.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_debug_implementations)]

use sediment::meta::{
    Commit, MetaStore, NewBody, NewObject, OpenMode, SqliteSettings, SqliteStore, WriteCondition,
};
use sediment::sys::{NoBarrier, OsRandom, SystemClock};
use sediment::types::{
    Attributes, BucketId, ChunkId, ETag, Entry, EntryKind, Manifest, Namespace, ObjectKey, ObjectLock,
    TagSet, object_prefix, object_prefix_end,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BUCKET: BucketId = BucketId::KEY_VALUE;

fn open(path: &Path, row_cache_bytes: u64) -> Arc<SqliteStore> {
    let settings = SqliteSettings { row_cache_bytes, ..SqliteSettings::default() };
    let (barrier, clock, random) = (Arc::new(NoBarrier), Arc::new(SystemClock), Arc::new(OsRandom));
    Arc::new(SqliteStore::open(path, OpenMode::Create, barrier, clock, random, &settings).unwrap())
}

/// Spread over the key space, as clients' keys are.
fn key(n: u64) -> ObjectKey {
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ObjectKey::opaque(format!("backup/{:02x}/{spread:016x}/data.bin", spread >> 56).into_bytes())
}

/// An object of twenty chunks, all its own.
fn put(n: u64) -> Commit {
    let chunk = |i: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(n * 20 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        Entry { kind: EntryKind::Chunk, id: ChunkId::new(id), len: 16_384 }
    };
    let root = Manifest::new((0..20).map(chunk).collect()).unwrap();
    let attributes =
        Attributes { content_type: Some("application/octet-stream".into()), ..Attributes::default() };
    let (size, etag) = (root.size(), ETag::of_body([n as u8; 16]));
    let body = NewBody::Manifest(root);
    let object = NewObject {
        body,
        size,
        etag,
        checksum: None,
        attributes,
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    Commit::PutVersion { bucket: BUCKET, key: key(n), object, condition: WriteCondition::None }
}

/// Processor time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

async fn commits(store: &Arc<SqliteStore>, first: u64, count: u64, writers: u64) {
    let (began, cpu_began) = (Instant::now(), cpu());
    let next = Arc::new(AtomicU64::new(first));
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= first + count {
                        return;
                    }
                    store.commit(put(n)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (wall, cpu) = (began.elapsed(), cpu() - cpu_began);
    println!(
        "commit, {writers:>2} writers        {:>9.0} /s   {:>6.1} µs each, {:>5.1} µs of CPU",
        count as f64 / wall.as_secs_f64(),
        wall.as_secs_f64() * 1e6 / count as f64,
        cpu.as_secs_f64() * 1e6 / count as f64
    );
}

fn report(what: &str, began: Instant, count: u64) {
    println!("{what:<26}{:>9.2} µs each", began.elapsed().as_secs_f64() * 1e6 / count as f64);
}

fn plain_handle(path: &Path, rows: u64, reads: u64) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("PRAGMA cache_size = -32768").unwrap();
    let mut statement = db
        .prepare(
            "SELECT v.seq, v.salt, v.modified, v.kind, v.size, v.etag, v.attributes, m.id, m.root
             FROM versions v LEFT JOIN manifests m ON m.n = v.manifest
             WHERE v.row >= ?1 AND v.row < ?2 ORDER BY v.row LIMIT 1",
        )
        .unwrap();
    let mut bytes = 0;
    for warm in [true, false] {
        let began = Instant::now();
        for n in 0..reads {
            let key = key(n.wrapping_mul(7_919) % rows);
            let start = object_prefix(Namespace::Versions, BUCKET, key.as_bytes());
            let end = object_prefix_end(Namespace::Versions, BUCKET, key.as_bytes());
            bytes += statement.query_row([start, end], |row| row.get::<_, Vec<u8>>(8)).unwrap().len();
        }
        if !warm {
            report("read, plain handle", began, reads);
        }
    }
    assert!(bytes > 0);
}

async fn store_reads(what: &str, store: &Arc<SqliteStore>, keys: u64, reads: u64, readers: u64) {
    for warm in [true, false] {
        let began = Instant::now();
        let tasks: Vec<_> = (0..readers)
            .map(|reader| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..reads / readers {
                        let key = key((n + reader * 31).wrapping_mul(7_919) % keys);
                        store.version(BUCKET, &key, None).await.unwrap().unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        if !warm {
            report(what, began, reads);
        }
    }
}

#[tokio::main]
async fn main() {
    let rows = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("sediment.db");
    let store = open(&path, 0);
    println!("{rows} rows, objects of 20 chunks");
    commits(&store, 0, rows, 64).await;
    commits(&store, rows, 2_000, 1).await;
    commits(&store, rows + 2_000, 20_000, 64).await;
    let reads = 50_000;
    plain_handle(&path, rows, reads);
    store_reads("read, thread, 1 reader", &store, rows, reads, 1).await;
    store_reads("read, threads, 64 readers", &store, rows, reads, 64).await;
    drop(store);
    let store = open(&path, 64 << 20);
    store_reads("read, row cache", &store, 1_000, reads, 1).await;
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!("{} bytes on disk a row", bytes / (rows + 22_000));
}
