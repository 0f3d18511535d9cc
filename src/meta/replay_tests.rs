//! Random commands on one store, their log replayed on others: every table, row and record is the same.
//!
//! `SEDIMENT_REPLAY_CASES` (default 16) asks for more of them.

use super::conformance::Subject;
use super::testing::{create_bucket, dump, object};
use super::tests::{Step, memory, open, sqlite, step, take, view, written_by};
use super::{
    Change, ChangeLog, Commit, CommitError, LogRecord, MetaStore, NewBody, NewObject, NewPart, NewUpload,
    Outcome, SqliteStore, Totals, VersionTarget, WriteCondition, decode_record, encode_record,
};
use crate::sys::{ManualClock, RecordedClock};
use crate::types::{
    Attributes, ChunkId, CommitSeq, Entry, EntryKind, Manifest, ObjectKey, ObjectLock, PartNumber, TagSet,
    UnixMillis, UploadId,
};
use proptest::prelude::*;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn is_trimming(step: &Step) -> bool {
    matches!(step, Step::Commit(Commit::TrimLog { .. }))
}

/// A store on disk that can be stopped and started.
struct Replica {
    path: PathBuf,
    subject: Option<Subject>,
}

impl Replica {
    fn new(path: PathBuf) -> Self {
        let subject = Some(sqlite(&path));
        Self { path, subject }
    }

    fn subject(&self) -> &Subject {
        self.subject.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.subject = None;
        self.subject = Some(sqlite(&self.path));
    }
}

async fn replay(to: &Subject, record: &LogRecord) -> CommitSeq {
    match to.meta.commit(Commit::Replay(Box::new(record.clone()))).await {
        Ok(Outcome::Replayed { through }) => through,
        other => panic!("{record:?} was not replayed: {other:?}"),
    }
}

/// Takes steps on one store; after each, the others get its records: two on disk, one of which is stopped after
/// every record and goes on from where it then stands, and one in memory.
async fn follow(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let source_path = dir.path().join("source.db");
    let (source, model) = (sqlite(&source_path), memory());
    let (whole, mut stopped) =
        (Replica::new(dir.path().join("whole.db")), Replica::new(dir.path().join("stopped.db")));
    let (mut written, mut log, mut trimmed) = (Vec::new(), Vec::new(), false);
    for (n, step) in steps.iter().enumerate() {
        let seen = source.log.last_seq().await.unwrap();
        let outcome = take(&source, step, &written).await;
        written.extend(written_by(&outcome));
        trimmed |= is_trimming(step);
        let records = source.log.changes_after(seen, 99).await.unwrap();
        for record in &records {
            replay(&model, record).await;
            replay(whole.subject(), record).await;
            if record.seq > stopped.subject().log.last_seq().await.unwrap() {
                replay(stopped.subject(), record).await;
                stopped.reopen();
            }
        }
        if !records.is_empty() {
            let expected = dump(&source_path, trimmed);
            for copy in [&whole, &stopped] {
                assert_eq!(dump(&copy.path, trimmed), expected, "{:?} after step {n}: {step:?}", copy.path);
            }
        }
        log.extend(records);
    }
    let keys: Vec<_> =
        ["a", "a/", "a/b", "a\0", "b", "ä"].map(|key| ObjectKey::opaque(key.as_bytes().to_vec())).into();
    // Of a view, the third and fourth row are cursors, which no log tells.
    let shown = |view: Vec<String>| [&view[..2], &view[4..]].concat();
    let expected = shown(view(whole.subject(), &keys, &written).await);
    assert_eq!(shown(view(&model, &keys, &written).await), expected);
    for subject in [whole.subject(), stopped.subject(), &model] {
        assert_eq!(subject.log.changes_after(CommitSeq::ZERO, 9_999).await.unwrap(), log);
        assert_eq!(subject.log.totals().await.unwrap(), source.log.totals().await.unwrap());
    }
}

fn cases() -> u32 {
    std::env::var("SEDIMENT_REPLAY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn i1_a_replayed_log_makes_the_same_store(steps in proptest::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follow(&steps));
    }
}

fn mark(seq: u64, at: i64) -> Commit {
    let (seq, at) = (CommitSeq::new(seq), UnixMillis::new(at));
    let change = Change::Mark;
    Commit::Replay(Box::new(LogRecord { seq, at, change, added: Vec::new(), dropped: Vec::new() }))
}

fn reached(store: &SqliteStore) -> i64 {
    store.reached().map_or(0, UnixMillis::get)
}

/// A lock of the store that was lost must not end because a record of it, or the clock here, is ahead.
#[tokio::test(flavor = "multi_thread")]
async fn i6_replaying_moves_the_clock_of_locks_neither_back_nor_past_a_record_or_what_it_shows() {
    let dir = tempfile::tempdir().unwrap();
    let (wall, locks) = (Arc::new(ManualClock::default()), Arc::new(ManualClock::default()));
    let store = open(&dir.path().join("sediment.db"), wall.clone());
    store.set_lock_clock(Arc::clone(&locks) as Arc<dyn RecordedClock>);
    wall.set(UnixMillis::new(1 << 40));
    locks.set(UnixMillis::new(5_000));
    for (seq, at, shown) in [(1, 1_000, 1_000), (2, 4_000, 4_000), (3, 1 << 50, 5_000)] {
        store.commit(mark(seq, at)).await.unwrap();
        assert_eq!(reached(&store), shown, "record {seq}");
    }
    locks.set(UnixMillis::new(10));
    store.commit(mark(4, 1 << 50)).await.unwrap();
    assert_eq!(reached(&store), 5_000, "never back");
}

/// A batch in which one record is wrong: those before it count, those behind it do not.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_record_that_is_refused_leaves_nothing_though_others_share_its_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let source = memory();
    let bucket = create_bucket(source.meta.as_ref()).await;
    let key = ObjectKey::opaque(b"k".to_vec());
    for n in 0..4_u8 {
        let object = object(NewBody::Inline(vec![n].into()), 1);
        let condition = WriteCondition::None;
        source.meta.commit(Commit::PutVersion { bucket, key: key.clone(), object, condition }).await.unwrap();
    }
    let log = source.log.changes_after(CommitSeq::ZERO, 99).await.unwrap();
    let store = Arc::new(open(&dir.path().join("sediment.db"), Arc::default()));
    let mut wrong = log.clone();
    if let Change::VersionPut { replaced, .. } = &mut wrong[3].change {
        *replaced = None;
    }
    let replays = wrong.iter().map(|record| store.commit(Commit::Replay(Box::new(record.clone()))));
    let outcomes = futures::future::join_all(replays).await;
    assert!(outcomes[..3].iter().all(Result::is_ok));
    assert!(outcomes[3..].iter().all(|outcome| matches!(outcome, Err(CommitError::NotReplayed { .. }))));
    assert_eq!(store.changes_after(CommitSeq::ZERO, 9).await.unwrap(), log[..3]);
    let Totals { versions, logical_bytes, .. } = store.totals().await.unwrap();
    assert_eq!((versions, logical_bytes), (1, 1));
    for record in &log[3..] {
        store.commit(Commit::Replay(Box::new(record.clone()))).await.unwrap();
    }
    assert_eq!(store.changes_after(CommitSeq::ZERO, 9).await.unwrap(), log);
}

fn chunked(seed: u8) -> NewBody {
    let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([seed; 32]), len: 9 };
    NewBody::Manifest(Manifest::new(vec![entry]).unwrap())
}

/// A row that the disk changed: its object is deleted, an upload with such a part ends, and life goes on.
async fn lives_with_damaged_manifests(path: &Path) -> Vec<LogRecord> {
    let condition = WriteCondition::None;
    let bucket = create_bucket(&open(path, Arc::default())).await;
    let key = |name: &str| ObjectKey::opaque(name.as_bytes().to_vec());
    let put = |name: &str, seed: u8| {
        let object = object(chunked(seed), 9);
        Commit::PutVersion { bucket, key: key(name), object, condition }
    };
    let upload = UploadId::new([1; 16]);
    {
        let store = open(path, Arc::default());
        store.commit(put("damaged", 1)).await.unwrap();
        let new = NewUpload {
            id: upload,
            attributes: Attributes::default(),
            checksum: None,
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        store.commit(Commit::CreateUpload { bucket, key: key("parts"), upload: new }).await.unwrap();
        for seed in [2, 3] {
            let NewObject { body, size, etag, .. } = object(chunked(seed), 9);
            let part = NewPart { body, size, etag, checksum: None };
            let number = PartNumber::parse(seed.into()).unwrap();
            store.commit(Commit::PutPart { upload, number, part }).await.unwrap();
        }
    }
    let harm = "UPDATE manifests SET root = x'0102' WHERE n IN (1, 3)";
    assert_eq!(Connection::open(path).unwrap().execute(harm, []).unwrap(), 2);
    let store = open(path, Arc::default());
    let (target, etag) = (VersionTarget::Current, condition);
    let delete = Commit::DeleteVersion {
        bucket,
        key: key("damaged"),
        target,
        condition: etag.into(),
        bypass_governance: false,
    };
    store.commit(delete).await.unwrap();
    store.commit(Commit::AbortUpload { upload, rules_as_of: None }).await.unwrap();
    store.commit(put("damaged", 1)).await.unwrap();
    store.commit(put("behind", 4)).await.unwrap();
    store.changes_after(CommitSeq::ZERO, 99).await.unwrap()
}

/// Else a backup could not be restored past the deletion of a damaged object.
#[tokio::test(flavor = "multi_thread")]
async fn i1_what_a_store_did_with_damaged_manifests_can_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let log = lives_with_damaged_manifests(&dir.path().join("source.db")).await;
    let dropped: Vec<_> = log.iter().flat_map(|record| &record.dropped).collect();
    let unknown: Vec<_> = dropped.iter().map(|row| row.is_unknown()).collect();
    assert_eq!(unknown, [true, false, true], "{dropped:?}");
    let copy = sqlite(&dir.path().join("copy.db"));
    for subject in [&copy, &memory()] {
        for record in &log {
            // As it comes out of a backup.
            let bytes = encode_record(record).unwrap();
            let decoded = decode_record(record.seq, record.at, &bytes).unwrap();
            assert_eq!(decoded, *record);
            replay(subject, &decoded).await;
        }
        let found = subject.log.changes_after(CommitSeq::ZERO, 99).await.unwrap();
        assert_eq!(found.len(), log.len());
        let dropped: Vec<_> = found.iter().flat_map(|record| &record.dropped).collect();
        assert!(dropped.iter().all(|row| !row.is_unknown()), "this store can read them: {dropped:?}");
        let totals = subject.log.totals().await.unwrap();
        assert_eq!((totals.manifests, totals.versions, totals.parts), (2, 2, 0));
    }
}
