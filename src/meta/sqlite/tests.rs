//! Group commit, poisoning, reopening, and files that are refused.

use super::cache::RowCache;
use super::checkpoint::Checkpoints;
use super::scan::Snapshot;
use super::syncs::Syncs;
use super::writer::{Command, Writer};
use super::{OpenMode, SqliteSettings, SqliteStore, checkpoint, open, sql, state};
use crate::meta::listing::{self, Positions, Source, Visit};
use crate::meta::rules::RulesSet;
use crate::meta::times::LockClock;
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, DeleteCondition, ListEntry, ListFrom, ListQuery, MetaError,
    MetaStore, NewBody, NewObject, NewUpload, Outcome, StoredBody, VersionKind, VersionTarget,
    WriteCondition,
};
use crate::sys::{Barrier, ManualClock, NoBarrier, SeededRandom};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, ChunkId, CommitSeq, ETag, Entry, EntryKind, Manifest,
    Namespace, ObjectKey, ObjectLock, TagSet, UnixMillis, UploadId, Versioning, row_key,
};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ffi};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A barrier that counts, and that a test can hold closed or break.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: bool,
    broken: bool,
    /// There is no descriptor to sync with.
    unopened: bool,
    syncs: u32,
}

impl Gate {
    fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Returns once the writer stands before the closed gate.
    fn until_waiting(&self) {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| !state.waiting);
    }
}

impl Barrier for Gate {
    fn sync(&self) -> std::io::Result<()> {
        let mut state = self.state.lock();
        state.waiting = true;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |state| state.closed);
        state.waiting = false;
        state.syncs += 1;
        if state.unopened {
            return Err(std::io::ErrorKind::ResourceBusy.into());
        }
        if state.broken { Err(std::io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

fn settings() -> SqliteSettings {
    SqliteSettings { reader_threads: 2, ..SqliteSettings::default() }
}

fn try_open(path: &Path, mode: OpenMode, barrier: Arc<dyn Barrier>) -> Result<SqliteStore, MetaError> {
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
    SqliteStore::open(path, mode, barrier, clock, Arc::new(SeededRandom::new(7)), &settings())
}

fn create(path: &Path) -> Arc<SqliteStore> {
    Arc::new(try_open(path, OpenMode::Create, Arc::new(NoBarrier)).unwrap())
}

fn database() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sediment.db");
    (dir, path)
}

fn key(n: usize) -> ObjectKey {
    ObjectKey::opaque(format!("key-{n}").into_bytes())
}

fn put(key: ObjectKey, body: NewBody, condition: WriteCondition) -> Commit {
    let (etag, attributes) = (ETag::of_body([1; 16]), Attributes::default());
    let object = NewObject {
        body,
        size: 3,
        etag,
        checksum: None,
        attributes,
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    Commit::PutVersion { bucket: BucketId::KEY_VALUE, key, object, condition }
}

fn inline() -> NewBody {
    NewBody::Inline("abc".into())
}

fn packed(seed: u8) -> NewBody {
    let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([seed; 32]), len: 3 };
    NewBody::Manifest(Manifest::new(vec![entry]).unwrap())
}

type Pending = tokio::task::JoinHandle<Result<Outcome, CommitError>>;

fn spawn(store: &Arc<SqliteStore>, commit: Commit) -> Pending {
    let store = store.clone();
    tokio::spawn(async move { store.commit(commit).await })
}

/// Puts one command before a closed gate, and `commits` into the queue behind it.
async fn queue_behind(
    gate: &Gate,
    store: &Arc<SqliteStore>,
    commits: Vec<Commit>,
) -> (Pending, Vec<Pending>) {
    gate.set(|state| state.closed = true);
    let first = spawn(store, put(key(1_000), packed(200), WriteCondition::None));
    tokio::task::block_in_place(|| gate.until_waiting());
    let expected = commits.len();
    let pending = commits.into_iter().map(|commit| spawn(store, commit)).collect();
    while store.queued() < expected {
        tokio::task::yield_now().await;
    }
    (first, pending)
}

fn gated() -> (tempfile::TempDir, PathBuf, Arc<Gate>, Arc<SqliteStore>) {
    let (dir, path) = database();
    let gate = Arc::new(Gate::default());
    let store = Arc::new(try_open(&path, OpenMode::Create, gate.clone()).unwrap());
    (dir, path, gate, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_queue_up_share_one_sync_and_one_transaction() {
    let (_dir, path, gate, store) = gated();
    let commits = (0..50).map(|n| put(key(n), packed(n as u8), WriteCondition::None)).collect();
    let (first, pending) = queue_behind(&gate, &store, commits).await;
    gate.set(|state| state.closed = false);
    first.await.unwrap().unwrap();
    let wal = || std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
    for write in pending {
        write.await.unwrap().unwrap();
    }
    assert_eq!(gate.state.lock().syncs, 2, "one for the first write, one for the other fifty");
    let shared = wal();
    for n in 100..150 {
        store.commit(put(key(n), packed(n as u8), WriteCondition::None)).await.unwrap();
    }
    let alone = wal() - shared;
    assert!(shared * 3 < alone, "fifty in one transaction log {shared} bytes, one by one {alone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_command_is_rolled_back_alone() {
    let (_dir, _path, gate, store) = gated();
    let absent = WriteCondition::IfAbsent;
    let commits =
        vec![put(key(1), inline(), absent), put(key(1), packed(9), absent), put(key(2), inline(), absent)];
    let (_, pending) = queue_behind(&gate, &store, commits).await;
    gate.set(|state| state.closed = false);
    let mut outcomes = Vec::new();
    for write in pending {
        outcomes.push(write.await.unwrap());
    }
    let refused = outcomes.iter().filter(|o| matches!(o, Err(CommitError::ConditionFailed))).count();
    assert_eq!(refused, 1, "{outcomes:?}");
    assert!(store.version(BucketId::KEY_VALUE, &key(1), None).await.unwrap().is_some());
    assert!(store.version(BucketId::KEY_VALUE, &key(2), None).await.unwrap().is_some());
    assert_eq!(store.last_seq().await.unwrap(), CommitSeq::new(3), "no number was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_without_packed_bodies_wait_for_no_pack() {
    let (_dir, _path, gate, store) = gated();
    store.commit(put(key(1), inline(), WriteCondition::None)).await.unwrap();
    store.commit(Commit::Mark).await.unwrap();
    assert_eq!(gate.state.lock().syncs, 0);
    store.commit(put(key(2), packed(1), WriteCondition::None)).await.unwrap();
    assert_eq!(gate.state.lock().syncs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_a_failed_sync_acknowledges_nothing_and_poisons_the_store() {
    let (_dir, path, gate, store) = gated();
    store.commit(put(key(0), inline(), WriteCondition::None)).await.unwrap();
    let commits = (1..10).map(|n| put(key(n), inline(), WriteCondition::None)).collect();
    let (first, pending) = queue_behind(&gate, &store, commits).await;
    gate.set(|state| (state.closed, state.broken) = (false, true));
    for write in std::iter::once(first).chain(pending) {
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(error, CommitError::Store(MetaError::Poisoned(_))), "{error}");
    }
    gate.set(|state| state.broken = false);
    let error = store.commit(Commit::Mark).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(MetaError::Poisoned(_))), "poisoned for ever");
    assert!(store.version(BucketId::KEY_VALUE, &key(0), None).await.unwrap().is_some(), "reads go on");
    drop(store);
    let store = try_open(&path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap();
    assert_eq!(store.last_seq().await.unwrap(), CommitSeq::new(1));
    store.commit(Commit::Mark).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_i5_database_failure_queues_writes_for_a_while_and_serves_what_is_cached() {
    let (_dir, path) = database();
    let gate = Arc::new(Gate::default());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
    let settings = SqliteSettings { write_wait_milliseconds: 200, queue_commands: 4, ..settings() };
    let random = Arc::new(SeededRandom::new(7));
    let store = SqliteStore::open(&path, OpenMode::Create, gate.clone(), clock, random, &settings);
    let store = Arc::new(store.unwrap());
    store.commit(put(key(0), inline(), WriteCondition::None)).await.unwrap();
    let cached = key(0);
    let there = || store.version(BucketId::KEY_VALUE, &cached, None);
    assert!(there().await.unwrap().is_some());
    // The disk of the writer hangs: one write has begun, four are queued, more find no place.
    let commits = (1..5).map(|n| put(key(n), inline(), WriteCondition::None)).collect();
    let (begun, mut waiting) = queue_behind(&gate, &store, commits).await;
    waiting.extend((5..9).map(|n| spawn(&store, put(key(n), inline(), WriteCondition::None))));
    for write in waiting {
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(error, CommitError::Store(MetaError::Unavailable(_))), "{error}");
    }
    assert!(there().await.unwrap().is_some(), "reads go on");
    assert!(!begun.is_finished(), "of what has begun nobody knows yet");
    gate.set(|state| state.closed = false);
    begun.await.unwrap().unwrap();
    store.commit(Commit::Mark).await.unwrap();
    assert_eq!(store.last_seq().await.unwrap(), CommitSeq::new(3), "what was refused was taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i5_a_barrier_that_was_not_tried_refuses_and_poisons_nothing() {
    let (_dir, _path, gate, store) = gated();
    gate.set(|state| state.unopened = true);
    let error = store.commit(put(key(0), packed(1), WriteCondition::None)).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(MetaError::Unavailable(_))), "{error}");
    gate.set(|state| state.unopened = false);
    store.commit(put(key(0), packed(1), WriteCondition::None)).await.unwrap();
    assert_eq!(store.last_seq().await.unwrap(), CommitSeq::new(1));
}

/// What is nothing to sync takes no time, whatever the disk is.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_sync_takes_is_learnt_where_there_is_something_to_sync() {
    let (_dir, _path, _gate, store) = gated();
    store.commit(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }).await.unwrap();
    store.commit(Commit::TrimLog { through: CommitSeq::ZERO }).await.unwrap();
    assert_eq!(store.sync_pace().quick(), None);
    store.commit(put(key(0), inline(), WriteCondition::None)).await.unwrap();
    assert!(store.sync_pace().quick().is_some());
}

/// The writer itself, without its thread.
fn writer(path: &Path, log_bytes: u64) -> Writer {
    let db = open::open(path, OpenMode::Existing, UnixMillis::new(1), &settings()).unwrap();
    let state = state::load(&db).unwrap();
    Writer {
        db,
        syncs: Syncs::new(Arc::new(NoBarrier)).unwrap(),
        clock: Arc::new(ManualClock::default()),
        lock_clock: LockClock::default(),
        random: Arc::new(SeededRandom::new(7)),
        cache: Arc::new(RowCache::new(0)),
        state,
        rules: RulesSet::default(),
        published: tokio::sync::watch::channel(state).0,
        checkpoints: Checkpoints::new(path, log_bytes, || Ok(())).unwrap(),
        batch_commands: 1,
        poisoned: Arc::default(),
        ran_out: Arc::default(),
        pace: Arc::default(),
    }
}

fn write(writer: &mut Writer, n: usize) -> Result<Outcome, CommitError> {
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let body = NewBody::Inline(vec![7; 4_000].into());
    writer.serve(vec![Command::new(put(key(n), body, WriteCondition::None), answer)]);
    answered.try_recv().unwrap()
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, open::LOG_BYTES);
    writer.db.execute_batch("PRAGMA max_page_count = 60").unwrap();
    let full = (0..100).map(|n| write(&mut writer, n)).position(|outcome| match outcome {
        Ok(_) => false,
        Err(CommitError::Store(MetaError::Io(error))) => error.kind() == std::io::ErrorKind::StorageFull,
        Err(other) => panic!("{other}"),
    });
    let full = full.unwrap();
    assert!(full > 0, "the first writes fit");
    assert_eq!(writer.state.last_seq, CommitSeq::new(full as u64), "the one that did not fit left nothing");
    writer.db.execute_batch("PRAGMA max_page_count = 6000").unwrap();
    let again = write(&mut writer, full).unwrap();
    assert!(matches!(again, Outcome::Written { seq, .. } if seq == CommitSeq::new(full as u64 + 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_noticed() {
    let (_dir, path) = database();
    let (one, two) = (create(&path), create(&path));
    one.commit(Commit::Mark).await.unwrap();
    let error = two.commit(Commit::Mark).await.unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    let error = two.commit(put(key(1), inline(), WriteCondition::None)).await.unwrap_err();
    assert!(matches!(error, CommitError::Store(MetaError::Poisoned(_))), "{error}");
    one.commit(Commit::Mark).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_acknowledged_writes_are_there_after_reopening() {
    let (dir, path) = database();
    let store = create(&path);
    let name = BucketName::parse("bucket").unwrap();
    store
        .commit(Commit::CreateBucket {
            name: name.clone(),
            owner: None,
            lock: false,
            settings: BucketSettings::default(),
        })
        .await
        .unwrap();
    for n in 0..100 {
        let body = if n % 2 == 0 { inline() } else { packed(n as u8) };
        store.commit(put(key(n), body, WriteCondition::None)).await.unwrap();
    }
    let before = (store.totals().await.unwrap(), store.changes_after(CommitSeq::ZERO, 999).await.unwrap());
    // What a crash leaves: the files as they are while the store is open.
    let crashed = dir.path().join("crashed.db");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(open::beside(&path, "-wal"), open::beside(&crashed, "-wal")).unwrap();
    drop(store);
    for path in [path, crashed] {
        let store = try_open(&path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap();
        let after = (store.totals().await.unwrap(), store.changes_after(CommitSeq::ZERO, 999).await.unwrap());
        assert_eq!(after, before);
        for n in 0..100 {
            let version = store.version(BucketId::KEY_VALUE, &key(n), None).await.unwrap().unwrap();
            let VersionKind::Object(data) = version.kind else { panic!("an object") };
            assert_eq!(matches!(data.body, StoredBody::Inline(_)), n % 2 == 0);
        }
        let again = Commit::CreateBucket {
            name: name.clone(),
            owner: None,
            lock: false,
            settings: BucketSettings::default(),
        };
        assert!(matches!(store.commit(again).await, Err(CommitError::BucketExists)));
        let next = store.commit(Commit::Mark).await.unwrap();
        assert_eq!(next, Outcome::Marked { seq: CommitSeq::new(102) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_future_does_not_take_the_write_back() {
    let (_dir, _path, gate, store) = gated();
    let (first, pending) =
        queue_behind(&gate, &store, vec![put(key(1), inline(), WriteCondition::None)]).await;
    pending.into_iter().for_each(|write| write.abort());
    gate.set(|state| state.closed = false);
    first.await.unwrap().unwrap();
    store.wait_after(CommitSeq::new(1)).await;
    assert!(store.version(BucketId::KEY_VALUE, &key(1), None).await.unwrap().is_some());
}

/// The files of a directory with their bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|e| !e.to_string_lossy().ends_with("-shm")))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .filter(|(path, bytes)| !(bytes.is_empty() && path.to_string_lossy().ends_with("-wal")))
        .collect();
    files.sort();
    files
}

#[test]
fn foreign_files_are_refused_and_stay_as_they_are() {
    let (dir, path) = database();
    let refuse = |what: &str| {
        let before = contents(dir.path());
        for mode in [OpenMode::Create, OpenMode::Existing] {
            let error = try_open(&path, mode, Arc::new(NoBarrier)).unwrap_err();
            assert!(matches!(error, MetaError::Incompatible(_)), "{what}: {error}");
        }
        assert_eq!(contents(dir.path()), before, "{what}");
    };
    for garbage in [&b""[..], b"notes", &[0; 4096], b"SQLite format 3\0 and then noise"] {
        std::fs::write(&path, garbage).unwrap();
        refuse("garbage");
    }
    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); PRAGMA application_id = 5").unwrap();
    drop(other);
    refuse("another program's database");
}

#[test]
fn a_newer_schema_is_refused_and_stays_as_it_is() {
    let (dir, path) = database();
    drop(create(&path));
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version = 99; CREATE TABLE future (x)").unwrap();
    let before = contents(dir.path());
    assert!(before.iter().any(|(path, _)| path.to_string_lossy().ends_with("-wal")), "its log is open");
    let error = try_open(&path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap_err();
    assert!(matches!(&error, MetaError::Incompatible(why) if why.contains("newer version")), "{error}");
    assert_eq!(contents(dir.path()), before);
    drop(newer);
    let before = contents(dir.path());
    try_open(&path, OpenMode::Create, Arc::new(NoBarrier)).unwrap_err();
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_lost_database_is_not_silently_replaced() {
    let (_dir, path) = database();
    let error = try_open(&path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap_err();
    assert!(matches!(error, MetaError::Incompatible(_)), "{error}");
    assert!(!path.exists());
    let wal = open::beside(&path, "-wal");
    std::fs::write(&wal, b"the log of a database that is gone").unwrap();
    let error = try_open(&path, OpenMode::Create, Arc::new(NoBarrier)).unwrap_err();
    assert!(matches!(error, MetaError::Incompatible(_)), "{error}");
    assert!(!path.exists() && wal.exists());
}

#[test]
fn an_interrupted_creation_is_begun_anew() {
    let (_dir, path) = database();
    std::fs::write(open::beside(&path, ".new"), b"half a database").unwrap();
    std::fs::write(open::beside(&path, ".new-journal"), b"half a journal").unwrap();
    drop(create(&path));
    drop(try_open(&path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap());
    assert!(!open::beside(&path, ".new").exists());
}

#[test]
fn an_old_sqlite_is_refused() {
    assert!(matches!(open::check_version(3_051_002), Err(MetaError::Incompatible(_))));
    open::check_version(rusqlite::version_number()).unwrap();
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let none = SqliteSettings { reader_threads: 0, ..SqliteSettings::default() };
    assert!(none.validate().unwrap_err().contains("reader_threads"));
    SqliteSettings::default().validate().unwrap();
}

/// A step that databases have taken is never edited: another one is added behind it, and its hash here.
#[test]
fn i1_migrations_stay_what_they_were() {
    use sha2::{Digest as _, Sha256};
    let hashes = sql::MIGRATIONS.map(|step| hex::encode(Sha256::digest(step)));
    let expected = [
        "0596dbfd80f71de15056554c9025e9b3f2a954cb61b237c03b1bbd70eac36515",
        "cf6279634aa230f9185c01e234423e0fca36df05f28981096cabdc010fbd4d27",
        "38618cb6791bb9bc1813dff991ed3b3ef022eea7b4e4ccf65d31370537d3f75a",
        "51e490457d020157a20f45dfe2f0df380f7f76a202c5f2499531fb1ef3374113",
        "36deda46c3e2028ef8229352fa2312cb3ddf48cde021a89a476f9449d974392f",
        "a677373059444ee539723321ccba4a89f14f50ca8f3640c3dbc2cfb0f6d3a53e",
        "f1c657e891c2dd72a7b2d9148bc8d6e1e4298f7639eebb260edddd66dff0b84d",
        "72a94d506198572b7b9fa6222ef664662d750a5d3a58bd21d198ca32679e10bf",
        "8a870cd49d88d376f7f936667fe1b3ef8a1874980fd8cab14c4f97e27b26330b",
    ];
    assert_eq!(hashes, expected);
    let (_dir, path) = database();
    drop(create(&path));
    let header = std::fs::read(&path).unwrap();
    assert_eq!(header[16..18], 8192u16.to_be_bytes(), "pages");
    assert_eq!(header[60..64], 9u32.to_be_bytes(), "user_version");
    assert_eq!(&header[68..72], b"Sdmt", "application_id");
}

#[test]
fn every_statement_prepares() {
    let (_dir, path) = database();
    drop(create(&path));
    let db = open::open(&path, OpenMode::Existing, UnixMillis::new(1), &settings()).unwrap();
    for (name, sql) in sql::ALL {
        db.prepare(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let durable: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(durable, 2, "FULL: a commit waits for the disk");
}

/// No question of the request path may read a table from end to end.
#[test]
fn no_statement_scans_a_table() {
    let (_dir, path) = database();
    drop(create(&path));
    let db = open::open(&path, OpenMode::Existing, UnixMillis::new(1), &settings()).unwrap();
    for (name, sql) in sql::ALL.iter().filter(|(name, _)| !matches!(*name, "STATE" | "SET_STATE")) {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = plan.parameter_count();
        let nulls = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, parameters));
        let steps = plan.query_map(nulls, |row| row.get::<_, String>(3)).unwrap();
        for step in steps {
            let step = step.unwrap();
            let is_covered = *name != "FIRST_OBJECT" || step.contains("COVERING INDEX current_objects");
            assert!(is_covered, "{name}: {step}");
            let bad = step.starts_with("SCAN") || step.contains("TEMP B-TREE");
            assert!(!bad || step.contains("CONSTANT"), "{name}: {step}");
        }
    }
}

#[test]
fn i5_commits_go_on_while_the_log_is_copied_and_it_begins_anew_after_that() {
    const LOG_BYTES: u64 = 1 << 20;
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, LOG_BYTES);
    let (let_it, held) = std::sync::mpsc::channel();
    writer.checkpoints = checkpoint::testing::held(&path, LOG_BYTES, held);
    let log = || std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
    let mut n = 0;
    while log() < 2 * LOG_BYTES {
        write(&mut writer, n).unwrap();
        n += 1;
    }
    let grown = log();
    for _ in 0..100 {
        let_it.send(()).unwrap();
    }
    for more in n..n + 400 {
        write(&mut writer, more).unwrap();
    }
    assert!(log() < grown + 2 * LOG_BYTES, "{} bytes, {grown} of which before anything was copied", log());
    drop(writer);
    let db = Connection::open(&path).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM versions", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, n as i64 + 400);
}

/// The writer when its first copy has just ended in this error.
fn failing(path: &Path, code: i32) -> Writer {
    let mut writer = writer(path, open::LOG_BYTES);
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    writer.checkpoints = checkpoint::testing::answered(path, open::LOG_BYTES, Err(error));
    writer
}

/// The next one may succeed, and the log would be begun anew over what the device has lost.
#[test]
fn i1_a_failed_sync_of_the_database_while_its_log_is_copied_poisons_the_store() {
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        let (_dir, path) = database();
        drop(create(&path));
        let mut failing = failing(&path, code);
        write(&mut failing, 0).unwrap();
        let error = write(&mut failing, 1).unwrap_err();
        assert!(matches!(error, CommitError::Store(MetaError::Poisoned(_))), "{error}");
        drop(failing);
        let log = std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
        assert!(log > 0, "closing keeps the log");
        assert_eq!(writer(&path, open::LOG_BYTES).state.last_seq, CommitSeq::new(1));
    }
}

#[test]
fn i5_a_log_that_finds_no_room_in_the_database_is_copied_later() {
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = failing(&path, ffi::SQLITE_FULL);
    for n in 0..3 {
        write(&mut writer, n).unwrap();
    }
    assert!(writer.poisoned.get().is_none());
}

/// Or the writer's own sync would wait for all that was copied.
#[test]
fn i5_what_is_copied_is_synced_before_the_writer_copies_the_rest() {
    let (_dir, path) = database();
    drop(create(&path));
    let mut first = writer(&path, open::LOG_BYTES);
    for n in 0..50 {
        write(&mut first, n).unwrap();
    }
    let (going_on, syncs) = (std::cell::RefCell::new(first), std::cell::Cell::new(0));
    let sync = || -> std::io::Result<()> {
        syncs.set(syncs.get() + 1);
        if syncs.get() == 1 {
            for n in 50..100 {
                write(&mut going_on.borrow_mut(), n).unwrap();
            }
        }
        Ok(())
    };
    assert!(checkpoint::testing::copied(&path, &sync).unwrap());
    assert_eq!(syncs.get(), 2, "after each copy, and what came meanwhile was too much");
    let broken = || -> std::io::Result<()> { Err(std::io::Error::other("the disk is gone")) };
    let error = checkpoint::testing::copied(&path, &broken).unwrap_err();
    assert_eq!(error.sqlite_error().unwrap().extended_code, ffi::SQLITE_IOERR_FSYNC);
}

#[test]
fn i5_the_log_is_cut_when_its_copier_has_died() {
    const LOG_BYTES: u64 = 1 << 20;
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, LOG_BYTES);
    writer.checkpoints = checkpoint::testing::dead(&path, LOG_BYTES);
    for n in 0..400 {
        write(&mut writer, n).unwrap();
        let log = std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
        assert!(log < 4 * LOG_BYTES, "{log} bytes after {n} writes");
    }
}

/// While all of the database is read at one moment no cut succeeds, and each attempt would keep writes waiting.
#[test]
fn i5_the_log_is_cut_only_after_a_copy_of_the_database() {
    const LOG_BYTES: u64 = 1 << 20;
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, LOG_BYTES);
    writer.checkpoints = checkpoint::testing::dead(&path, LOG_BYTES);
    let log = || std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
    let images = writer.checkpoints.images();
    let image = images.begin();
    let mut n = 0;
    while log() < 6 * LOG_BYTES {
        assert!(n < 2_000, "the log was cut at {} bytes", log());
        write(&mut writer, n).unwrap();
        n += 1;
    }
    drop(image);
    while log() >= LOG_BYTES {
        assert!(n < 4_000, "the log stays at {} bytes", log());
        write(&mut writer, n).unwrap();
        n += 1;
    }
}

/// A log is never begun anew here: there is no moment without a reader.
#[test]
fn i5_the_log_stays_small_under_readers_that_never_pause() {
    const LOG_BYTES: u64 = 1 << 20;
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, LOG_BYTES);
    let readers = [(); 2].map(|()| open::open_reader(&path, 1 << 20).unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let log = || std::fs::metadata(open::beside(&path, "-wal")).unwrap().len();
    let mut largest = 0;
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut before: Option<rusqlite::Transaction<'_>> = None;
            for db in readers.iter().cycle() {
                let next = db.unchecked_transaction().unwrap();
                next.query_row("SELECT last_seq FROM state", [], |_| Ok(())).unwrap();
                // Only now does the other one end.
                drop(before.replace(next));
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        for n in 0..500 {
            write(&mut writer, n).unwrap();
            largest = largest.max(log());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(largest < 4 * LOG_BYTES, "the log grew to {largest} bytes");
}

fn new_upload(id: UploadId) -> NewUpload {
    let (tags, lock) = (TagSet::default(), ObjectLock::default());
    NewUpload { id, attributes: Attributes::default(), checksum: None, tags, lock }
}

/// Counts the rows that a listing is shown.
struct Counting<'c>(Snapshot<'c>, std::cell::Cell<usize>);

impl<'c, E> Source<E> for Counting<'c>
where
    Snapshot<'c>: Source<E>,
{
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let first = Source::<E>::first(&self.0, from, end)?;
        self.1.set(self.1.get() + usize::from(first.is_some()));
        Ok(first)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, E>) -> Result<(), MetaError> {
        self.0.scan(from, end, &mut |seen| {
            self.1.set(self.1.get() + 1);
            visit(seen)
        })
    }
}

impl Positions for Counting<'_> {
    fn null_version(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.0.null_version(bucket, key)
    }

    fn upload(&self, id: UploadId) -> Result<Option<Vec<u8>>, MetaError> {
        self.0.upload(id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_listing_costs_what_it_returns_not_what_is_deleted() {
    let (_dir, path) = database();
    let store = create(&path);
    let name = BucketName::parse("bucket").unwrap();
    let Outcome::Bucket(bucket) = store
        .commit(Commit::CreateBucket { name, owner: None, lock: false, settings: BucketSettings::default() })
        .await
        .unwrap()
    else {
        return;
    };
    let bucket = bucket.id;
    store.commit(Commit::SetVersioning { bucket, versioning: Versioning::Enabled }).await.unwrap();
    let mut pending = Vec::new();
    for n in 0..1_000 {
        let Commit::PutVersion { object, condition, .. } = put(key(n), inline(), WriteCondition::None) else {
            return;
        };
        for _ in 0..2 {
            let object = object.clone();
            pending.push(spawn(&store, Commit::PutVersion { bucket, key: key(n), object, condition }));
        }
    }
    for n in (0..1_000).filter(|n| n % 250 != 0) {
        let target = VersionTarget::Current;
        let commit = Commit::DeleteVersion {
            bucket,
            key: key(n),
            target,
            condition: DeleteCondition::default(),
            bypass_governance: false,
        };
        pending.push(spawn(&store, commit));
    }
    for write in pending {
        write.await.unwrap().unwrap();
    }
    // A delete may have overtaken its put.
    for n in (0..1_000).filter(|n| n % 250 != 0) {
        let target = VersionTarget::Current;
        let commit = Commit::DeleteVersion {
            bucket,
            key: key(n),
            target,
            condition: DeleteCondition::default(),
            bypass_governance: false,
        };
        store.commit(commit).await.unwrap();
    }
    let db = open::open_reader(&path, 1 << 20).unwrap();
    let rows = Counting(Snapshot(&db), std::cell::Cell::new(0));
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    let page = listing::list_objects(&rows, bucket, &query).unwrap();
    assert_eq!((page.entries.len(), page.next), (4, None));
    assert_eq!(rows.1.get(), 4, "rows looked at");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_listing_costs_what_it_returns_not_what_stands_below_a_prefix_or_a_version() {
    let (_dir, path) = database();
    let store = create(&path);
    let name = BucketName::parse("bucket").unwrap();
    let settings = BucketSettings::default();
    let create = Commit::CreateBucket { name, owner: None, lock: false, settings };
    let Outcome::Bucket(bucket) = store.commit(create).await.unwrap() else { return };
    let bucket = bucket.id;
    store.commit(Commit::SetVersioning { bucket, versioning: Versioning::Enabled }).await.unwrap();
    let named = |name: String| ObjectKey::opaque(name.into_bytes());
    let mut pending = Vec::new();
    for n in 0..500_u16 {
        for key in [format!("a/{n}"), "b".to_owned(), format!("c/{n}")] {
            let Commit::PutVersion { key, object, condition, .. } =
                put(named(key), inline(), WriteCondition::None)
            else {
                return;
            };
            pending.push(spawn(&store, Commit::PutVersion { bucket, key, object, condition }));
        }
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let upload = new_upload(UploadId::new(id));
        pending.push(spawn(&store, Commit::CreateUpload { bucket, key: named(format!("u/{n}")), upload }));
    }
    for write in pending {
        write.await.unwrap().unwrap();
    }
    let db = open::open_reader(&path, 1 << 20).unwrap();
    let rows = Counting(Snapshot(&db), std::cell::Cell::new(0));
    let query = |from| ListQuery { delimiter: Some(b"/".to_vec()), from, limit: 3, ..ListQuery::default() };
    let objects = listing::list_objects(&rows, bucket, &query(ListFrom::Start)).unwrap();
    assert_eq!((objects.entries.len(), rows.1.take()), (3, 4), "a/, b and c/; b is looked for first");
    let versions = listing::list_versions(&rows, bucket, &query(ListFrom::Start)).unwrap();
    assert_eq!((versions.entries.len(), rows.1.take()), (3, 6), "and a row more, and the key's newest");
    let behind = query(ListFrom::AfterKey(b"b".to_vec()));
    let versions = listing::list_versions(&rows, bucket, &behind).unwrap();
    assert_eq!((versions.entries.len(), rows.1.take()), (1, 1), "no version of the key is passed");
    let uploads = listing::list_uploads(&rows, bucket, &query(ListFrom::Start)).unwrap();
    assert_eq!((uploads.entries.len(), rows.1.take()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_an_answer_of_the_log_is_bounded_in_bytes() {
    let (_dir, path) = database();
    let store = create(&path);
    for n in 0..40 {
        let body = NewBody::Inline(vec![7; 1 << 20].into());
        store.commit(put(key(n), body, WriteCondition::None)).await.unwrap();
    }
    let (mut seq, mut sizes) = (CommitSeq::ZERO, Vec::new());
    while seq < CommitSeq::new(40) {
        let records = store.changes_after(seq, 512).await.unwrap();
        seq = records.last().unwrap().seq;
        sizes.push(records.len());
    }
    assert_eq!(sizes, [7, 7, 7, 7, 7, 5]);
}

/// A database as schema version 1 left it.
fn version_1(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    let id = open::APPLICATION_ID;
    db.execute_batch(&format!(
        "PRAGMA page_size = 8192; PRAGMA application_id = {id}; PRAGMA journal_mode = WAL; {} \
         PRAGMA user_version = 1; UPDATE state SET last_seq = 400, last_bucket = 1; \
         INSERT INTO buckets VALUES (1, 'bucket', 0, 1);",
        sql::MIGRATIONS[0]
    ))
    .unwrap();
    // For each key an old version and a newer one, which is a delete marker for every fourth.
    for n in 0..200_u64 {
        for (seq, kind) in [(n + 1, 1), (n + 201, i64::from(n % 4 != 0))] {
            let row = row_key(Namespace::Versions, BucketId::new(1), key(n as usize).as_bytes(), !seq);
            let etag = [1u8; 16];
            db.execute(
                "INSERT INTO versions VALUES (?1, ?2, 7, NULL, 0, ?3, ?2, ?4, NULL, NULL, NULL, NULL, x'61')",
                rusqlite::params![row, seq as i64, kind, etag],
            )
            .unwrap();
        }
    }
    db
}

/// The keys listed, with their sizes: those of their newest versions.
async fn listed(path: &Path) -> Vec<(ObjectKey, u64)> {
    let store = try_open(path, OpenMode::Existing, Arc::new(NoBarrier)).unwrap();
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    let page = store.list_objects(BucketId::new(1), query).await.unwrap();
    let object = |entry| match entry {
        ListEntry::Object(object) => (object.key, object.size),
        ListEntry::CommonPrefix(_) => panic!("no delimiter was given"),
    };
    page.entries.into_iter().map(object).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_migration_keeps_everything_and_may_be_cut_off() {
    let (dir, path) = database();
    let db = version_1(&path);
    // Cut off just before its COMMIT, with pages of it in the log already.
    db.execute_batch(&format!("PRAGMA cache_size = 1; BEGIN IMMEDIATE; {}", sql::MIGRATIONS[1])).unwrap();
    let crashed = dir.path().join("crashed.db");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(open::beside(&path, "-wal"), open::beside(&crashed, "-wal")).unwrap();
    drop(db);
    let mut expected: Vec<_> = (0..200).filter(|n| n % 4 != 0).map(|n| (key(n), n as u64 + 201)).collect();
    expected.sort();
    for path in [path, crashed] {
        assert_eq!(listed(&path).await, expected, "after the migration");
        assert_eq!(listed(&path).await, expected, "and opened once more");
        let db = Connection::open(&path).unwrap();
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        let rows: i64 = db.query_row("SELECT count(*) FROM versions", [], |row| row.get(0)).unwrap();
        assert_eq!((version, rows), (sql::MIGRATIONS.len() as i64, 400));
    }
}

/// Copies the log into the database, whole.
fn checkpoint(path: &Path) {
    let db = Connection::open(path).unwrap();
    let busy = || db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    while busy() != 0 {}
}

#[tokio::test]
async fn i4_a_byte_changed_on_disk_is_not_read_as_a_body() {
    let (_dir, path) = database();
    let small = b"a small body that stands in its row".as_slice();
    {
        let store = create(&path);
        store.commit(put(key(1), NewBody::Inline(small.into()), WriteCondition::None)).await.unwrap();
        store.commit(put(key(2), packed(7), WriteCondition::None)).await.unwrap();
    }
    checkpoint(&path);
    let NewBody::Manifest(root) = packed(7) else { unreachable!() };
    let chunk = *root.entries()[0].id.as_bytes();
    for (key, stored) in [(key(1), small), (key(2), &chunk)] {
        let intact = std::fs::read(&path).unwrap();
        let mut bytes = intact.clone();
        let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(stored)).collect();
        assert!(!places.is_empty());
        places.into_iter().for_each(|at| bytes[at + 3] ^= 1);
        std::fs::write(&path, bytes).unwrap();
        {
            let store = create(&path);
            let read = store.version(BucketId::KEY_VALUE, &key, None).await;
            assert!(matches!(read, Err(MetaError::Corrupt(_))), "{read:?}");
        }
        checkpoint(&path);
        std::fs::write(&path, intact).unwrap();
        assert!(create(&path).version(BucketId::KEY_VALUE, &key, None).await.unwrap().is_some());
        checkpoint(&path);
    }
}

#[test]
fn no_statement_is_prepared_anew_for_another_limit() {
    let (_dir, path) = database();
    drop(create(&path));
    let db = open::open_reader(&path, 1 << 20).unwrap();
    let mut statement = db.prepare(sql::CHANGES).unwrap();
    for limit in [1, 2, 512] {
        assert!(statement.query([0, limit]).unwrap().next().unwrap().is_none());
    }
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
}

/// What the writer answers to a batch.
fn serve(writer: &mut Writer, commits: Vec<Commit>) -> Vec<Result<Outcome, CommitError>> {
    let (commands, answers): (Vec<_>, Vec<_>) = commits
        .into_iter()
        .map(|commit| {
            let (answer, answered) = tokio::sync::oneshot::channel();
            (Command::new(commit, answer), answered)
        })
        .unzip();
    writer.serve(commands);
    answers.into_iter().map(|mut answered| answered.try_recv().unwrap()).collect()
}

#[test]
fn i2_a_command_that_fails_half_way_leaves_nothing_and_the_others_go_on() {
    let (_dir, path) = database();
    drop(create(&path));
    let mut writer = writer(&path, open::LOG_BYTES);
    let puts = |keys: std::ops::Range<usize>| {
        keys.map(|n| put(key(n), packed(n as u8), WriteCondition::None)).collect::<Vec<_>>()
    };
    assert!(serve(&mut writer, puts(0..3)).iter().all(Result::is_ok));
    let before = writer.state;
    // A damaged row: a put over the second key takes its new body before it cannot let go of the old one.
    writer.db.execute("DELETE FROM manifests WHERE n = 2", []).unwrap();
    let mut batch = puts(10..12);
    batch.insert(1, put(key(1), packed(20), WriteCondition::None));
    batch.push(put(key(10), inline(), WriteCondition::IfAbsent));
    let answers = serve(&mut writer, batch);
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(CommitError::Store(MetaError::Corrupt(_)))), "{answers:?}");
    assert!(matches!(answers[3], Err(CommitError::ConditionFailed)), "{answers:?}");
    assert_eq!(writer.state.last_seq.get(), before.last_seq.get() + 2, "no number was lost");
    assert_eq!(writer.state.totals.manifests, before.totals.manifests + 2);
    assert_eq!(state::load(&writer.db).unwrap(), writer.state);
    let held = |seed: u8| {
        let NewBody::Manifest(root) = packed(seed) else { panic!("a manifest") };
        writer.db.query_row("SELECT count(*) FROM manifests WHERE id = ?1", [root.id().as_bytes()], |row| {
            row.get::<_, i64>(0)
        })
    };
    assert_eq!((held(10).unwrap(), held(20).unwrap(), held(11).unwrap()), (1, 0, 1));
}

#[tokio::test]
async fn i1_the_same_body_again_heals_its_damaged_manifest() {
    let (_dir, path) = database();
    {
        let store = create(&path);
        store.commit(put(key(1), packed(7), WriteCondition::None)).await.unwrap();
    }
    Connection::open(&path).unwrap().execute("UPDATE manifests SET root = x'00'", []).unwrap();
    let store = create(&path);
    let read = store.version(BucketId::KEY_VALUE, &key(1), None).await;
    assert!(matches!(read, Err(MetaError::Corrupt(_))), "{read:?}");
    store.commit(put(key(2), packed(7), WriteCondition::None)).await.unwrap();
    for n in [2, 1] {
        assert!(store.version(BucketId::KEY_VALUE, &key(n), None).await.unwrap().is_some(), "{n}");
    }
}
