//! The lifecycle worker's agenda, and what it reads of a key.

use super::{Subject, at, expects, inline, key};
use crate::meta::{
    AgendaChange, Commit, CommitError, Consumer, DueKey, Outcome, ScanPosition, VersionTarget,
};
use crate::types::{BucketId, BucketSetting, CommitSeq, LifecycleRules, Tag, TagSet, VersionId, Versioning};

const BUCKET: BucketId = BucketId::new(7);

fn touch(name: &str, millis: i64, touched: u64) -> AgendaChange {
    AgendaChange::Touch { bucket: BUCKET, key: key(name), at: at(millis), touched: CommitSeq::new(touched) }
}

fn settle(name: &str, touched: u64, next: Option<i64>) -> AgendaChange {
    let (touched, next) = (CommitSeq::new(touched), next.map(at));
    AgendaChange::Settle { bucket: BUCKET, key: key(name), touched, next }
}

async fn due(subject: &Subject, now: i64) -> Vec<(String, i64)> {
    let keys = subject.lifecycle.due_keys(at(now), 10).await.unwrap();
    keys.iter().map(|due: &DueKey| (due.key.to_text().into_owned(), due.at.get())).collect()
}

pub(super) async fn keys(subject: &Subject) {
    let before = subject.log.last_seq().await.unwrap();
    subject.commit(Commit::Agenda(vec![touch("a", 30, 1), touch("b", 10, 2), touch("c", 20, 3)])).await;
    assert_eq!(subject.log.last_seq().await.unwrap(), before, "the agenda is not logged");
    assert_eq!(due(subject, 9).await, []);
    assert_eq!(due(subject, 20).await, [("b".to_owned(), 10), ("c".to_owned(), 20)]);
    assert_eq!(subject.lifecycle.next_due().await.unwrap(), Some(at(10)));
    subject.commit(Commit::Agenda(vec![touch("a", 5, 4), touch("b", 99, 5)])).await;
    assert_eq!(
        due(subject, 10).await,
        [("a".to_owned(), 5), ("b".to_owned(), 10)],
        "the earlier moment counts"
    );
    // `b` was touched since it was read: what was decided on then does not count.
    subject
        .commit(Commit::Agenda(vec![settle("a", 4, Some(50)), settle("b", 2, None), settle("c", 3, None)]))
        .await;
    assert_eq!(due(subject, 99).await, [("b".to_owned(), 10), ("a".to_owned(), 50)]);
    subject.commit(Commit::Agenda(vec![settle("b", 5, None)])).await;
    assert_eq!(subject.lifecycle.next_due().await.unwrap(), Some(at(50)));

    let scan = |position| AgendaChange::Scan { bucket: BUCKET, position };
    for position in [ScanPosition::Versions(Vec::new()), ScanPosition::Uploads(b"k".to_vec())] {
        subject.commit(Commit::Agenda(vec![scan(Some(position.clone()))])).await;
        assert_eq!(subject.lifecycle.scans().await.unwrap(), [(BUCKET, position)]);
    }
    subject.commit(Commit::Agenda(vec![scan(None)])).await;
    assert_eq!(subject.lifecycle.scans().await.unwrap(), []);
}

pub(super) async fn history(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.bucket("without-rules").await;
    let rules = Some(LifecycleRules::default());
    subject.commit(Commit::SetBucket { bucket, setting: BucketSetting::Lifecycle(rules) }).await;
    let ruled = subject.lifecycle.buckets_with_rules().await.unwrap();
    assert_eq!(ruled.iter().map(|bucket| bucket.id).collect::<Vec<_>>(), [bucket]);

    subject.put(bucket, "k", inline("null")).await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (id, second) = subject.put(bucket, "k", inline("two")).await;
    let tags = TagSet::of_object(vec![Tag { key: "k".into(), value: "v".into() }]).unwrap();
    let target = VersionTarget::Version(id);
    subject.commit(Commit::SetTags { bucket, key: key("k"), target, tags: tags.clone() }).await;
    subject.delete(bucket, "k", VersionTarget::Current).await;
    subject.put(bucket, "k2", inline("another")).await;
    let all = subject.lifecycle.history(bucket, &key("k"), None, 10).await.unwrap();
    assert_eq!(all.len(), 3);
    assert!(all[0].object.is_none());
    let object = all[1].object.clone().unwrap();
    assert_eq!((all[1].id, all[1].seq, object.size, object.tags), (id, second, 3, tags));
    assert_eq!(all[2].id, VersionId::Null);
    let older = subject.lifecycle.history(bucket, &key("k"), Some(second), 10).await.unwrap();
    assert_eq!(older, all[2..]);
    assert_eq!(subject.lifecycle.history(bucket, &key("k"), None, 1).await.unwrap(), all[..1]);
}

/// A consumer holds the log back from when it first said how far it is.
pub(super) async fn trimming(subject: &Subject) {
    for _ in 0..4 {
        expects!(subject.commit(Commit::Mark).await, Outcome::Marked { .. });
    }
    let advance = |consumer, through| Commit::AdvanceCursor { consumer, through: CommitSeq::new(through) };
    subject.commit(advance(Consumer::ChunkIndex, 4)).await;
    let trim = |through| Commit::TrimLog { through: CommitSeq::new(through) };
    subject.commit(trim(1)).await;
    assert!(subject.log.changes_after(CommitSeq::ZERO, 9).await.is_err(), "nobody else follows yet");
    subject.commit(advance(Consumer::Lifecycle, 2)).await;
    subject.commit(trim(4)).await;
    assert_eq!(subject.log.changes_after(CommitSeq::new(2), 9).await.unwrap().len(), 2);
    expects!(subject.refuse(advance(Consumer::Lifecycle, 9)).await, CommitError::InvalidState(_));
}
