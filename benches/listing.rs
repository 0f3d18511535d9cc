//! What listings cost in buckets of ten thousand and of five million keys: the shape is the same, only the depth grows,
//! so each answer has as many rows in both, and the times should be alike.
//!
//! `cargo bench --bench listing [-- KEYS…]`; five million keys need 2 GB of disk below `target/tmp` and some minutes.
//! *Cold* is a store just opened, its file dropped from the page cache before every page; *warm* is the same question
//! at other places, after a pass over them. The numbers of `docs/decisions/007-listings-cost-what-they-return.md` are from
//! here. Compare ratios within one run, not numbers between machines.
//!
//! `cargo bench --bench listing -- --into DIR KEYS` fills the bucket `bucket` of a store that was served before and is not
//! now, and measures nothing: `benches/gateway.py BINARY listings --data DIR --keys KEYS` asks a server of it over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_debug_implementations)]

use sediment::meta::{
    ChangeLog, Commit, Consumer, DeleteCondition, ListFrom, ListQuery, MetaStore, NewBody, NewObject,
    OpenMode, Outcome, SqliteSettings, SqliteStore, VersionTarget, WriteCondition,
};
use sediment::sys::{NoBarrier, OsRandom, SystemClock};
use sediment::types::{
    Attributes, BucketId, BucketName, BucketSettings, ETag, ObjectKey, ObjectLock, TagSet, Versioning,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Folders at the root, each with directories of so many keys.
const FOLDERS: u64 = 100;
const IN_DIRECTORY: u64 = 100;
const WRITERS: u64 = 2_048;
const WARM: usize = 2_000;
const COLD: usize = 100;
/// Versions of one key, and keys under delete markers, of the bucket that hides rows.
const HIDDEN: u64 = 100_000;

fn open(path: &Path) -> Arc<SqliteStore> {
    let settings =
        SqliteSettings { queue_commands: 4_096, batch_commands: 4_096, ..SqliteSettings::default() };
    let (barrier, clock, random) = (Arc::new(NoBarrier), Arc::new(SystemClock), Arc::new(OsRandom));
    Arc::new(SqliteStore::open(path, OpenMode::Create, barrier, clock, random, &settings).unwrap())
}

fn folder(n: u64) -> String {
    format!("folder-{:02}/", n % FOLDERS)
}

fn directory(n: u64, keys: u64) -> String {
    let directories = keys / FOLDERS / IN_DIRECTORY;
    format!("{}{:06}/", folder(n), n / FOLDERS % directories)
}

/// In the order of the keys, so that seeding appends.
fn key(n: u64, keys: u64) -> ObjectKey {
    let (directories, at) = (keys / FOLDERS / IN_DIRECTORY, n % IN_DIRECTORY);
    let (folder, directory) = (n / IN_DIRECTORY / directories, n / IN_DIRECTORY % directories);
    opaque(format!("folder-{folder:02}/{directory:06}/object-{at:04}.dat"))
}

fn opaque(name: String) -> ObjectKey {
    ObjectKey::opaque(name.into_bytes())
}

fn put(bucket: BucketId, key: ObjectKey) -> Commit {
    let object = NewObject {
        body: NewBody::Inline(vec![7; 64].into()),
        size: 64,
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
    Commit::PutVersion { bucket, key, object, condition: WriteCondition::None }
}

fn delete(bucket: BucketId, key: ObjectKey) -> Commit {
    let (target, condition) = (VersionTarget::Current, DeleteCondition::default());
    Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }
}

async fn bucket(store: &SqliteStore, name: &str, versioning: Option<Versioning>) -> BucketId {
    let name = BucketName::parse(name).unwrap();
    let Outcome::Bucket(bucket) = store
        .commit(Commit::CreateBucket { name, owner: None, lock: false, settings: BucketSettings::default() })
        .await
        .unwrap()
    else {
        panic!("a bucket")
    };
    if let Some(versioning) = versioning {
        store.commit(Commit::SetVersioning { bucket: bucket.id, versioning }).await.unwrap();
    }
    bucket.id
}

async fn write(store: &Arc<SqliteStore>, count: u64, commit: impl Fn(u64) -> Commit + Send + Sync + 'static) {
    let (next, commit) = (Arc::new(AtomicU64::new(0)), Arc::new(commit));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, next, commit) = (store.clone(), next.clone(), commit.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    store.commit(commit(n)).await.unwrap();
                    // The log is not what is measured; without this it would be half of the file.
                    if n % 200_000 == 199_999 {
                        trim(&store).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    trim(store).await;
}

async fn trim(store: &SqliteStore) {
    let through = store.last_seq().await.unwrap();
    store.commit(Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through }).await.unwrap();
    store.commit(Commit::TrimLog { through }).await.unwrap();
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Objects,
    Versions,
}

/// Entries of the page.
async fn page(store: &SqliteStore, bucket: BucketId, kind: Kind, query: ListQuery) -> usize {
    match kind {
        Kind::Objects => store.list_objects(bucket, query).await.unwrap().entries.len(),
        Kind::Versions => store.list_versions(bucket, query).await.unwrap().entries.len(),
    }
}

fn query(prefix: &str, delimiter: bool, from: ListFrom) -> ListQuery {
    let delimiter = delimiter.then(|| b"/".to_vec());
    ListQuery { prefix: prefix.as_bytes().to_vec(), delimiter, from, limit: 1_000 }
}

/// A question that is another one for each number.
type Ask = Box<dyn Fn(u64) -> ListQuery>;

fn questions(keys: u64) -> Vec<(&'static str, Kind, Ask)> {
    let behind = move |n: u64| ListFrom::AfterKey(key(n % keys, keys).as_bytes().to_vec());
    vec![
        ("root, delimiter", Kind::Objects, Box::new(|_| query("", true, ListFrom::Start))),
        ("deep prefix", Kind::Objects, Box::new(move |n| query(&directory(n, keys), true, ListFrom::Start))),
        ("1,000 keys from the middle", Kind::Objects, Box::new(move |n| query("", false, behind(n)))),
        ("versions, root, delimiter", Kind::Versions, Box::new(|_| query("", true, ListFrom::Start))),
        (
            "versions, deep prefix",
            Kind::Versions,
            Box::new(move |n| query(&directory(n, keys), true, ListFrom::Start)),
        ),
        ("1,000 versions from the middle", Kind::Versions, Box::new(move |n| query("", false, behind(n)))),
    ]
}

/// The same places in every run.
fn spread(n: usize) -> u64 {
    (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}

/// Into the file, from the log, of which the page cache would know more.
fn checkpoint(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn drop_from_page_cache(path: &Path) {
    let file = std::fs::File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn report(what: &str, entries: usize, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!("  {what:<42}{entries:>6} entries   p50 {:>8.3} ms   p99 {:>8.3} ms", at(0.5), at(0.99));
}

async fn measure(path: &Path, id: BucketId, questions: &[(&str, Kind, Ask)]) {
    let store = open(path);
    for (what, kind, ask) in questions {
        let (mut times, mut entries) = (Vec::new(), 0);
        for n in 0..2 * WARM {
            let (ask, began) = (ask(spread(n % WARM)), Instant::now());
            entries = page(&store, id, *kind, ask).await;
            if n >= WARM {
                times.push(began.elapsed());
            }
        }
        report(&format!("{what}, warm"), entries, times);
    }
    drop(store);
    for (what, kind, ask) in questions {
        let (mut times, mut entries) = (Vec::new(), 0);
        for n in 0..COLD {
            let store = open(path);
            drop_from_page_cache(path);
            let (ask, began) = (ask(spread(n)), Instant::now());
            entries = page(&store, id, *kind, ask).await;
            times.push(began.elapsed());
        }
        report(&format!("{what}, cold"), entries, times);
    }
}

async fn seed(path: &Path, keys: u64) -> BucketId {
    let store = open(path);
    let id = bucket(&store, "bucket", None).await;
    let began = Instant::now();
    write(&store, keys, move |n| put(id, key(n, keys))).await;
    let took = began.elapsed().as_secs_f64();
    drop(store);
    checkpoint(path);
    let bytes = std::fs::metadata(path).unwrap().len();
    println!("{keys} keys, seeded in {took:.0} s, {} bytes each on disk", bytes / keys);
    id
}

async fn bucket_of(dir: &Path, keys: u64) {
    let path = dir.join(format!("{keys}.db"));
    let id = seed(&path, keys).await;
    measure(&path, id, &questions(keys)).await;
    std::fs::remove_file(&path).unwrap();
}

/// What listings have to step over: versions behind a current one, and keys below delete markers.
async fn hidden_rows(dir: &Path) {
    let path = dir.join("hidden.db");
    let store = open(&path);
    let id = bucket(&store, "hidden", Some(Versioning::Enabled)).await;
    write(&store, 100, move |n| put(id, opaque(format!("a/{n:03}")))).await;
    write(&store, HIDDEN, move |_| put(id, opaque("b/one".into()))).await;
    write(&store, HIDDEN, move |n| put(id, opaque(format!("c/{n:06}")))).await;
    write(&store, HIDDEN, move |n| delete(id, opaque(format!("c/{n:06}")))).await;
    write(&store, 100, move |n| put(id, opaque(format!("d/{n:03}")))).await;
    drop(store);
    checkpoint(&path);
    println!("{HIDDEN} versions of one key, and as many keys under delete markers, among 201 current ones");
    let questions: Vec<(&str, Kind, Ask)> = vec![
        ("root, delimiter", Kind::Objects, Box::new(|_| query("", true, ListFrom::Start))),
        ("all current keys", Kind::Objects, Box::new(|_| query("", false, ListFrom::Start))),
        ("versions, root, delimiter", Kind::Versions, Box::new(|_| query("", true, ListFrom::Start))),
        (
            "versions behind the key",
            Kind::Versions,
            Box::new(|_| query("", true, ListFrom::AfterKey(b"b/one".to_vec()))),
        ),
    ];
    measure(&path, id, &questions).await;
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--into") {
        let database = Path::new(&args[at + 1]).join("meta").join("sediment.db");
        assert!(database.exists(), "{} is of no store", database.display());
        seed(&database, asked[0]).await;
        return;
    }
    let asked = if asked.is_empty() { vec![10_000, 5_000_000] } else { asked };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    hidden_rows(dir.path()).await;
    for keys in asked {
        bucket_of(dir.path(), keys).await;
    }
}
