//! Whether metadata slopes: what a PUT, a GET, a HEAD's row and a page of a LIST cost with ten thousand to ten million small
//! objects (100 bytes, inline) in one bucket.
//!
//! `cargo bench --bench objects [-- OBJECTS]`, a million unless told; ten million need 5 GB of disk below `target/tmp`. What is
//! there is copied from one object, in order of key, by SQL; what is measured are new objects at random places. Processor
//! time, because it hardly depends on what else the machine does; the row cache is off, so every GET asks SQLite.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_debug_implementations)]

use sediment::meta::{
    ChangeLog, Commit, Consumer, ListFrom, ListQuery, MetaStore, NewBody, NewObject, OpenMode,
    SqliteSettings, SqliteStore, WriteCondition,
};
use sediment::sys::{NoBarrier, OsRandom, SystemClock};
use sediment::types::{Attributes, BucketId, ETag, Namespace, ObjectKey, ObjectLock, TagSet, row_key};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BUCKET: BucketId = BucketId::KEY_VALUE;
const POWERS: [u64; 7] = [10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000];
/// As many clients wait for their commits.
const CLIENTS: u64 = 64;
/// Of each kind, after as many that warm up.
const SAMPLE: u64 = 10_000;
const PAGES: u64 = 200;

fn open(path: &Path) -> Arc<SqliteStore> {
    let settings = SqliteSettings {
        row_cache_bytes: 0,
        queue_commands: 4_096,
        batch_commands: 4_096,
        ..SqliteSettings::default()
    };
    let (barrier, clock, random) = (Arc::new(NoBarrier), Arc::new(SystemClock), Arc::new(OsRandom));
    Arc::new(SqliteStore::open(path, OpenMode::Create, barrier, clock, random, &settings).unwrap())
}

/// Each number once, in an order that has nothing to do with that of the keys.
fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn key(n: u64) -> ObjectKey {
    let at = spread(n);
    ObjectKey::opaque(format!("backup/{:03x}/{at:016x}/data.bin", at >> 52).into_bytes())
}

/// Makes these from the one that is there, and has the state agree.
fn copy(path: &Path, numbers: Range<u64>) {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable_by_key(|n| spread(*n));
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -131072").unwrap();
    let mut seq: i64 = db.query_row("SELECT last_seq FROM state", [], |row| row.get(0)).unwrap();
    let template: Vec<u8> = db.query_row("SELECT min(row) FROM versions", [], |row| row.get(0)).unwrap();
    let count = numbers.len();
    for some in numbers.chunks(100_000) {
        db.execute_batch("BEGIN").unwrap();
        let mut add = db
            .prepare_cached(
                "INSERT INTO versions (row, seq, salt, suspended, modified, kind, size, etag, checksum, attributes,
                    parts, manifest, body, listed, upload, tags, lock)
                 SELECT ?1, ?2, salt, suspended, modified, kind, size, etag, checksum, attributes, parts, manifest, body,
                    listed, upload, tags, lock FROM versions WHERE row = ?3",
            )
            .unwrap();
        for n in some {
            seq += 1;
            let row = row_key(Namespace::Versions, BUCKET, key(*n).as_bytes(), !seq.cast_unsigned());
            assert_eq!(add.execute(rusqlite::params![row, seq, template]).unwrap(), 1);
        }
        drop(add);
        db.execute_batch("COMMIT").unwrap();
    }
    db.execute(
        "UPDATE state SET last_seq = ?1, versions = versions + ?2",
        rusqlite::params![seq, count as i64],
    )
    .unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn put(key: ObjectKey) -> Commit {
    let object = NewObject {
        body: NewBody::Inline(vec![7; 100].into()),
        size: 100,
        etag: ETag::of_body([7; 16]),
        checksum: None,
        attributes: Attributes {
            content_type: Some("application/octet-stream".into()),
            ..Attributes::default()
        },
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    Commit::PutVersion { bucket: BUCKET, key, object, condition: WriteCondition::None }
}

/// Processor time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

async fn puts(store: &Arc<SqliteStore>, numbers: Range<u64>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (store, next, end) = (store.clone(), next.clone(), numbers.end);
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= end {
                        return;
                    }
                    store.commit(put(key(n))).await.unwrap();
                    if n % 10_000 == 9_999 {
                        trim(&store).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// As the follower of the log does it at each checkpoint.
async fn trim(store: &SqliteStore) {
    let through = store.last_seq().await.unwrap();
    store.commit(Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through }).await.unwrap();
    store.commit(Commit::TrimLog { through }).await.unwrap();
}

async fn gets(store: &SqliteStore, objects: u64, count: u64) {
    for n in 0..count {
        store.version(BUCKET, &key(spread(n) % objects), None).await.unwrap().unwrap();
    }
}

async fn pages(store: &SqliteStore, objects: u64, count: u64) {
    for n in 0..count {
        let from = ListFrom::AfterKey(key(spread(n) % objects).as_bytes().to_vec());
        let query = ListQuery { prefix: Vec::new(), delimiter: None, from, limit: 1_000 };
        store.list_objects(BUCKET, query).await.unwrap();
    }
}

fn micros(since: Duration, count: u64) -> f64 {
    (cpu() - since).as_secs_f64() * 1e6 / count as f64
}

async fn measure(path: &Path, objects: u64, filled: u64) {
    let store = open(path);
    let sample = SAMPLE.min(objects / 4);
    puts(&store, filled..objects - sample).await;
    let (began, busy) = (Instant::now(), cpu());
    puts(&store, objects - sample..objects).await;
    let (put, wall) = (micros(busy, sample), began.elapsed().as_secs_f64() * 1e6 / sample as f64);
    gets(&store, objects, sample).await;
    let busy = cpu();
    gets(&store, objects, sample).await;
    let get = micros(busy, sample);
    pages(&store, objects, PAGES / 10).await;
    let busy = cpu();
    pages(&store, objects, PAGES).await;
    let list = micros(busy, PAGES);
    let bytes = std::fs::metadata(path).unwrap().len() / objects;
    println!("{objects:>10} {put:>9.1} {wall:>9.1} {get:>9.1} {list:>9.0} {bytes:>8}");
}

#[tokio::main]
async fn main() {
    let objects = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("sediment.db");
    puts(&open(&path), 0..1).await;
    println!("   objects    PUT µs  PUT wall    GET µs   LIST µs B/object");
    let mut filled = 1;
    for power in POWERS.into_iter().filter(|power| *power <= objects) {
        let copied = power - 2 * SAMPLE.min(power / 4);
        copy(&path, filled..copied);
        measure(&path, power, copied).await;
        filled = power;
    }
}
