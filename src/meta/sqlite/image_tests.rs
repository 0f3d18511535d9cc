//! Copies of a database that is written to.

use super::{OpenMode, SqliteSettings, SqliteStore};
use crate::meta::testing::object;
use crate::meta::{ChangeLog, Commit, Consumer, LogRecord, MetaError, MetaStore, NewBody, WriteCondition};
use crate::sys::{ManualClock, NoBarrier, SeededRandom};
use crate::types::{BucketId, CommitSeq, ObjectKey};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

fn open(path: &Path, mode: OpenMode) -> SqliteStore {
    let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(7)));
    SqliteStore::open(path, mode, Arc::new(NoBarrier), clock, random, &SqliteSettings::default()).unwrap()
}

/// Puts on top of the key, or of one of a few others.
fn put(n: u64) -> Commit {
    let key = ObjectKey::opaque(format!("key-{}", n % 200).into_bytes());
    let object = object(NewBody::Inline(vec![n as u8; 4_000].into()), 4_000);
    Commit::PutVersion { bucket: BucketId::KEY_VALUE, key, object, condition: WriteCondition::None }
}

async fn log_behind(store: &SqliteStore, seq: CommitSeq) -> Vec<LogRecord> {
    let mut log = store.changes_after(seq, 1).await.unwrap();
    while let Some(last) = log.last() {
        let more = store.changes_after(last.seq, 9_999).await.unwrap();
        if more.is_empty() {
            break;
        }
        log.extend(more);
    }
    log
}

/// The copy and the log behind it are the store: nothing is missing between them, nothing is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_a_copy_made_under_writes_is_one_moment_from_which_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, image) = (dir.path().join("sediment.db"), dir.path().join("image.db"));
    let store = Arc::new(open(&path, OpenMode::Create));
    for n in 0..1_500 {
        store.commit(put(n)).await.unwrap();
    }
    let is_copied = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, is_copied) = (Arc::clone(&store), Arc::clone(&is_copied));
        async move {
            let mut n = 0;
            while !is_copied.load(Ordering::Acquire) || n < 50 {
                store.commit(put(n * 7)).await.unwrap();
                n += 1;
            }
        }
    });
    let (copied, target) = (Arc::clone(&store), image.clone());
    let (seq, seen) = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        let seq = copied.copy_to(&target, &mut |done, all| seen.push((done, all)), &CancellationToken::new());
        (seq.unwrap().unwrap(), seen)
    })
    .await
    .unwrap();
    is_copied.store(true, Ordering::Release);
    writing.await.unwrap();
    store.commit(put(3)).await.unwrap();
    assert!(seen.len() > 1 && seen.iter().all(|(_, all)| *all == seen[0].1), "one moment: {seen:?}");
    assert_eq!(seen.last().map(|(done, all)| done == all), Some(true));
    let beside: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!beside.iter().any(|path| path.to_string_lossy().contains("image.db-")), "one file: {beside:?}");

    assert_eq!(std::fs::read(&image).unwrap()[18..20], [1, 1], "and it says so");
    let copy = open(&image, OpenMode::Existing);
    assert_eq!(copy.last_seq().await.unwrap(), seq);
    let rest = log_behind(&store, seq).await;
    assert!(!rest.is_empty(), "it was written to meanwhile");
    for record in rest {
        copy.commit(Commit::Replay(Box::new(record))).await.unwrap();
    }
    assert_eq!(copy.totals().await.unwrap(), store.totals().await.unwrap());
    let log = log_behind(&store, CommitSeq::ZERO).await;
    assert_eq!(log_behind(&copy, CommitSeq::ZERO).await, log);
}

#[test]
fn a_copy_that_is_stopped_leaves_nothing_and_one_that_is_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (path, image) = (dir.path().join("sediment.db"), dir.path().join("image.db"));
    let store = open(&path, OpenMode::Create);
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(store.copy_to(&image, &mut |_, _| {}, &stop).unwrap(), None);
    assert!(!image.exists());
    std::fs::write(&image, "somebody's").unwrap();
    store.copy_to(&image, &mut |_, _| {}, &CancellationToken::new()).unwrap_err();
    assert_eq!(std::fs::read(&image).unwrap(), b"somebody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_copy_waits_for_nobody_who_copied_the_store_that_it_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let (path, image) = (dir.path().join("sediment.db"), dir.path().join("image.db"));
    let store = Arc::new(open(&path, OpenMode::Create));
    store.commit(put(1)).await.unwrap();
    let through = store.last_seq().await.unwrap();
    for consumer in Consumer::ALL {
        store.commit(Commit::AdvanceCursor { consumer, through }).await.unwrap();
    }
    let (copied, target) = (Arc::clone(&store), image.clone());
    let copy = move || copied.copy_to(&target, &mut |_, _| {}, &CancellationToken::new());
    assert_eq!(tokio::task::spawn_blocking(copy).await.unwrap().unwrap(), Some(through));
    let copy = open(&image, OpenMode::Existing);
    for consumer in Consumer::ALL {
        let is_copier = matches!(consumer, Consumer::Backup | Consumer::Replication);
        let expected = (!is_copier).then_some(through);
        assert_eq!(copy.known_cursor(consumer).await.unwrap(), expected, "{consumer:?}");
        assert_eq!(store.known_cursor(consumer).await.unwrap(), Some(through), "{consumer:?}");
    }
}

/// Else nobody could open a store from a backup but the one that was lost.
#[test]
fn a_copy_belongs_to_no_store_and_a_database_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, image) = (dir.path().join("sediment.db"), dir.path().join("image.db"));
    let owned = |path: &Path, id: &str| {
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(7)));
        let settings = SqliteSettings::default();
        SqliteStore::open_of(
            path,
            (OpenMode::Create, Some(id)),
            Arc::new(NoBarrier),
            clock,
            random,
            &settings,
        )
    };
    drop(open(&path, OpenMode::Create));
    let store = owned(&path, "one").unwrap();
    store.copy_to(&image, &mut |_, _| {}, &CancellationToken::new()).unwrap();
    drop(store);
    let refused = owned(&path, "other").unwrap_err();
    assert!(matches!(&refused, MetaError::Incompatible(why) if why.contains("store one")), "{refused}");
    drop(owned(&path, "one").unwrap());
    drop(owned(&image, "other").unwrap());
    owned(&image, "one").unwrap_err();
}
