//! The change log: gap-free positions, stamps, manifests that come and go, cursors and trimming.

use super::{Subject, at, chunked, expects, inline, manifest, put};
use crate::meta::commit::TRIM_RECORDS;
use crate::meta::{
    Change, Commit, CommitError, Consumer, LogRecord, ManifestRow, MetaError, NewBody, Outcome,
    VersionTarget, WriteCondition,
};
use crate::types::{CommitSeq, ManifestId, PlainId};

async fn records(subject: &Subject) -> Vec<LogRecord> {
    subject.log.changes_after(CommitSeq::ZERO, 1_000).await.unwrap()
}

async fn last(subject: &Subject) -> LogRecord {
    records(subject).await.pop().unwrap()
}

fn ids(rows: &[ManifestRow]) -> Vec<ManifestId> {
    rows.iter().map(|row| row.id).collect()
}

pub(super) async fn positions_and_stamps(subject: &Subject) {
    assert_eq!(subject.log.last_seq().await.unwrap(), CommitSeq::ZERO);
    assert_eq!(records(subject).await, []);
    subject.clock.set(at(500));
    let bucket = subject.bucket("bucket").await;
    subject.clock.set(at(100));
    subject.put(bucket, "k", inline("x")).await;
    subject.refuse(put(bucket, "k", inline("y"), WriteCondition::IfAbsent)).await;
    subject.clock.set(at(700));
    assert_eq!(subject.commit(Commit::Mark).await, Outcome::Marked { seq: CommitSeq::new(3) });
    let all = records(subject).await;
    assert_eq!(all.iter().map(|r| r.seq.get()).collect::<Vec<_>>(), [1, 2, 3], "without a gap");
    assert_eq!(all.iter().map(|r| r.at).collect::<Vec<_>>(), [at(500), at(500), at(700)]);
    expects!(&all[0].change, Change::BucketCreated(created) if created.id == bucket);
    expects!(&all[1].change, Change::VersionPut { version, replaced: None, .. } if version.object.is_some());
    assert_eq!(all[2].change, Change::Mark);
    let modified = subject.current(bucket, "k").await.unwrap().modified;
    assert_eq!(modified, at(500), "a version carries its record's stamp");
    assert_eq!(subject.log.last_seq().await.unwrap(), CommitSeq::new(3));
    let some = subject.log.changes_after(CommitSeq::new(1), 1).await.unwrap();
    assert_eq!(some, all[1..2]);
    assert_eq!(subject.log.changes_after(CommitSeq::new(3), 9).await.unwrap(), []);
}

pub(super) async fn manifests_added_and_dropped(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let (a, b) = (manifest(1, 10), manifest(2, 20));
    subject.put(bucket, "one", chunked(1, 10)).await;
    assert_eq!(last(subject).await.added, [ManifestRow { id: a.id(), root: a.clone() }]);
    subject.put(bucket, "two", chunked(1, 10)).await;
    assert_eq!(last(subject).await.added, [], "it has its row already");
    subject.put(bucket, "two", chunked(1, 10)).await;
    let record = last(subject).await;
    assert_eq!((record.added, record.dropped), (vec![], vec![]), "taken again before it is let go");
    subject.put(bucket, "one", chunked(2, 20)).await;
    let record = last(subject).await;
    assert_eq!((ids(&record.added), ids(&record.dropped)), (vec![b.id()], vec![]));
    subject.put(bucket, "two", chunked(2, 20)).await;
    let record = last(subject).await;
    assert_eq!(record.added, []);
    assert_eq!(record.dropped, [ManifestRow { id: a.id(), root: a }], "its last use is gone");
    assert_eq!(ids(&subject.log.manifests(None, 9).await.unwrap()), [b.id()]);
    subject.delete(bucket, "one", VersionTarget::Current).await;
    assert_eq!(last(subject).await.dropped, []);
    subject.delete(bucket, "two", VersionTarget::Current).await;
    assert_eq!(ids(&last(subject).await.dropped), [b.id()]);
}

pub(super) async fn shared_bodies(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let (a, plain) = (manifest(1, 10).id(), PlainId::new([4; 16]));
    for body in [NewBody::SharedManifest(a), NewBody::SharedPlain(plain)] {
        let copy = put(bucket, "copy", body, WriteCondition::None);
        expects!(subject.refuse(copy).await, CommitError::BodyGone);
    }
    subject.put(bucket, "source", chunked(1, 10)).await;
    subject.put(bucket, "copy", NewBody::SharedManifest(a)).await;
    subject.delete(bucket, "source", VersionTarget::Current).await;
    assert_eq!(last(subject).await.dropped, [], "the copy still uses it");
    subject.put(bucket, "copy", NewBody::SharedManifest(a)).await;
    assert_eq!(last(subject).await.dropped, [], "a copy onto itself keeps it");
    subject.delete(bucket, "copy", VersionTarget::Current).await;
    assert_eq!(ids(&last(subject).await.dropped), [a]);

    subject.put(bucket, "plain", NewBody::Plain(plain)).await;
    subject.put(bucket, "copy", NewBody::SharedPlain(plain)).await;
    subject.delete(bucket, "plain", VersionTarget::Current).await;
    assert_eq!(subject.inspect.plain_bodies(None, 9).await.unwrap(), [plain]);
    subject.delete(bucket, "copy", VersionTarget::Current).await;
    assert_eq!(subject.inspect.plain_bodies(None, 9).await.unwrap(), []);
}

pub(super) async fn trimming(subject: &Subject) {
    for _ in 0..5 {
        subject.commit(Commit::Mark).await;
    }
    let seq = CommitSeq::new;
    let trim = |through| subject.commit(Commit::TrimLog { through: seq(through) });
    let advance = |through| Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through: seq(through) };
    trim(5).await;
    assert_eq!(records(subject).await.len(), 5, "no consumer has seen them");
    expects!(subject.refuse(advance(6)).await, CommitError::InvalidState(_));
    subject.commit(advance(3)).await;
    subject.commit(advance(2)).await;
    assert_eq!(subject.log.cursor(Consumer::ChunkIndex).await.unwrap(), seq(3), "it never goes back");
    trim(2).await;
    trim(5).await;
    let left = subject.log.changes_after(seq(3), 9).await.unwrap();
    assert_eq!(left.iter().map(|record| record.seq.get()).collect::<Vec<_>>(), [4, 5]);
    expects!(subject.log.changes_after(seq(2), 9).await, Err(MetaError::Trimmed(at)) if at == seq(2));
    subject.commit(advance(5)).await;
    trim(9).await;
    expects!(subject.log.changes_after(seq(4), 9).await, Err(MetaError::Trimmed(_)));
    assert_eq!(subject.log.changes_after(seq(5), 9).await.unwrap(), []);
    assert_eq!(subject.log.last_seq().await.unwrap(), seq(5));
    assert_eq!(subject.commit(Commit::Mark).await, Outcome::Marked { seq: seq(6) }, "numbers go on");
}

pub(super) async fn trimming_in_steps(subject: &Subject) {
    let last = TRIM_RECORDS + 2;
    for _ in 0..last {
        subject.commit(Commit::Mark).await;
    }
    let (seq, through) = (CommitSeq::new, CommitSeq::new(last));
    subject.commit(Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through }).await;
    let trim = || subject.commit(Commit::TrimLog { through });
    assert_eq!(trim().await, Outcome::Trimmed { records: TRIM_RECORDS });
    expects!(subject.log.changes_after(seq(TRIM_RECORDS - 1), 9).await, Err(MetaError::Trimmed(_)));
    assert_eq!(subject.log.changes_after(seq(TRIM_RECORDS), 9).await.unwrap().len(), 2, "the oldest went");
    assert_eq!(trim().await, Outcome::Trimmed { records: 2 });
    assert_eq!(trim().await, Outcome::Trimmed { records: 0 });
}

/// A consumer holds the log back from when it first spoke until it is forgotten.
pub(super) async fn consumers(subject: &Subject) {
    for _ in 0..5 {
        subject.commit(Commit::Mark).await;
    }
    let seq = CommitSeq::new;
    let advance =
        |consumer, through| subject.commit(Commit::AdvanceCursor { consumer, through: seq(through) });
    let known = |consumer| subject.log.known_cursor(consumer);
    let trim = || subject.commit(Commit::TrimLog { through: seq(5) });
    advance(Consumer::ChunkIndex, 5).await;
    for consumer in [Consumer::Backup, Consumer::Replication, Consumer::Lifecycle] {
        assert_eq!(known(consumer).await.unwrap(), None);
        if consumer == Consumer::Lifecycle {
            advance(consumer, 0).await;
            assert_eq!(known(consumer).await.unwrap(), Some(seq(0)), "it has seen nothing, and said so");
            assert_eq!(trim().await, Outcome::Trimmed { records: 0 }, "{consumer:?} holds it");
        } else {
            advance(consumer, 5).await;
        }
        subject.commit(Commit::ForgetConsumer { consumer, at: None }).await;
        assert_eq!(known(consumer).await.unwrap(), None);
        assert_eq!(subject.log.cursor(consumer).await.unwrap(), seq(0));
    }
    let follow = || subject.commit(Commit::Follow { consumer: Consumer::Backup });
    assert_eq!(follow().await, Outcome::Follows { from: seq(5) });
    subject.commit(Commit::Mark).await;
    assert_eq!(follow().await, Outcome::Follows { from: seq(5) }, "where it was");
    advance(Consumer::ChunkIndex, 6).await;
    let trim = || subject.commit(Commit::TrimLog { through: seq(6) });
    assert_eq!(trim().await, Outcome::Trimmed { records: 5 });
    let forget = |at| Commit::ForgetConsumer { consumer: Consumer::Backup, at: Some(seq(at)) };
    advance(Consumer::Backup, 6).await;
    expects!(subject.refuse(forget(5)).await, CommitError::ConditionFailed);
    assert_eq!(known(Consumer::Backup).await.unwrap(), Some(seq(6)), "it has moved on");
    subject.commit(forget(6)).await;
    assert_eq!(known(Consumer::Backup).await.unwrap(), None);
    expects!(subject.refuse(forget(6)).await, CommitError::ConditionFailed);
    assert_eq!(trim().await, Outcome::Trimmed { records: 1 });
    let index = Commit::ForgetConsumer { consumer: Consumer::ChunkIndex, at: None };
    expects!(subject.refuse(index).await, CommitError::InvalidState(_));
}

/// One that copies, and was given up, lacks something: it must not go on as if it had it.
pub(super) async fn consumers_given_up(subject: &Subject) {
    let advance = |consumer, through| Commit::AdvanceCursor { consumer, through: CommitSeq::new(through) };
    for _ in 0..4 {
        subject.commit(Commit::Mark).await;
    }
    for consumer in [Consumer::Backup, Consumer::Replication] {
        expects!(subject.refuse(advance(consumer, 3)).await, CommitError::InvalidState(_));
        subject.commit(advance(consumer, 4)).await;
        subject.commit(advance(consumer, 2)).await;
        subject.commit(Commit::ForgetConsumer { consumer, at: None }).await;
        for late in [0, 2, 3] {
            expects!(subject.refuse(advance(consumer, late)).await, CommitError::InvalidState(_));
        }
        assert_eq!(subject.log.known_cursor(consumer).await.unwrap(), None);
        let from = CommitSeq::new(4);
        assert_eq!(subject.commit(Commit::Follow { consumer }).await, Outcome::Follows { from }, "anew");
        assert_eq!(subject.log.known_cursor(consumer).await.unwrap(), Some(from));
        expects!(subject.refuse(advance(consumer, 5)).await, CommitError::InvalidState(_));
    }
}

pub(super) async fn waiting(subject: &Subject) {
    subject.commit(Commit::Mark).await;
    subject.log.wait_after(CommitSeq::ZERO).await;
    let log = subject.log.clone();
    let waiter = tokio::spawn(async move {
        log.wait_after(CommitSeq::new(1)).await;
        log.last_seq().await.unwrap()
    });
    tokio::task::yield_now().await;
    subject.commit(Commit::Mark).await;
    assert!(waiter.await.unwrap() >= CommitSeq::new(1));
}
