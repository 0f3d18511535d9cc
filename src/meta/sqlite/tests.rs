//! Group commit, poisoning, reopening, and files that are refused.

use super::cache::RowCache;
use super::writer::{Command, Writer};
use super::{OpenMode, SqliteSettings, SqliteStore, open, sql, state};
use crate::meta::{
    ChangeLog, Commit, CommitError, MetaError, MetaStore, NewBody, NewObject, Outcome, StoredBody,
    VersionKind, WriteCondition,
};
use crate::sys::{Barrier, ManualClock, NoBarrier, SeededRandom};
use crate::types::{
    Attributes, BucketId, BucketName, ChunkId, CommitSeq, ETag, Entry, EntryKind, Manifest, ObjectKey,
    UnixMillis,
};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
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
    let object = NewObject { body, size: 3, etag, checksum: None, attributes, parts: Vec::new() };
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

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_dir, path) = database();
    drop(create(&path));
    let db = open::open(&path, OpenMode::Existing, &settings()).unwrap();
    db.execute_batch("PRAGMA max_page_count = 60").unwrap();
    let state = state::load(&db).unwrap();
    let mut writer = Writer {
        db,
        barrier: Arc::new(NoBarrier),
        clock: Arc::new(ManualClock::default()),
        random: Arc::new(SeededRandom::new(7)),
        cache: Arc::new(RowCache::new(0)),
        state,
        published: tokio::sync::watch::channel(state).0,
        batch_commands: 1,
        poisoned: Arc::default(),
    };
    let write = |writer: &mut Writer, n| {
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        let body = NewBody::Inline(vec![7; 4_000].into());
        writer.serve(vec![Command::new(put(key(n), body, WriteCondition::None), answer)]);
        answered.try_recv().unwrap()
    };
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
    store.commit(Commit::CreateBucket { name: name.clone() }).await.unwrap();
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
        let again = Commit::CreateBucket { name: name.clone() };
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
    assert_eq!(hashes, ["0596dbfd80f71de15056554c9025e9b3f2a954cb61b237c03b1bbd70eac36515"]);
    let (_dir, path) = database();
    drop(create(&path));
    let header = std::fs::read(&path).unwrap();
    assert_eq!(header[16..18], 8192u16.to_be_bytes(), "pages");
    assert_eq!(header[60..64], 1u32.to_be_bytes(), "user_version");
    assert_eq!(&header[68..72], b"Sdmt", "application_id");
}

#[test]
fn every_statement_prepares() {
    let (_dir, path) = database();
    drop(create(&path));
    let db = open::open(&path, OpenMode::Existing, &settings()).unwrap();
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
    let db = open::open(&path, OpenMode::Existing, &settings()).unwrap();
    for (name, sql) in sql::ALL.iter().filter(|(name, _)| !matches!(*name, "STATE" | "SET_STATE")) {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = plan.parameter_count();
        let nulls = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, parameters));
        let steps = plan.query_map(nulls, |row| row.get::<_, String>(3)).unwrap();
        for step in steps {
            let step = step.unwrap();
            let bad = step.starts_with("SCAN") || step.contains("TEMP B-TREE");
            assert!(!bad || step.contains("CONSTANT"), "{name}: {step}");
        }
    }
}
