//! What keeps lifecycle from deleting by what is no longer so.

use super::marks::{locked_bucket, until};
use super::{Subject, delete, expects, inline, key};
use crate::meta::{
    Above, Commit, CommitError, DeleteCondition, NewUpload, Outcome, ScanPosition, VersionTarget,
    WriteCondition,
};
use crate::types::{
    Attributes, BucketId, BucketSetting, CommitSeq, LifecycleRules, LockMode, ObjectLock, Tag, TagSet,
    UploadId, VersionId, Versioning,
};

fn tags(value: &str) -> TagSet {
    TagSet::of_object(vec![Tag { key: "k".into(), value: value.into() }]).unwrap()
}

fn set_tags(bucket: BucketId, id: VersionId, tags: TagSet) -> Commit {
    Commit::SetTags { bucket, key: key("k"), target: VersionTarget::Version(id), tags }
}

fn remove(bucket: BucketId, id: VersionId, condition: DeleteCondition) -> Commit {
    let (key, target) = (key("k"), VersionTarget::Version(id));
    Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }
}

fn rules(bucket: BucketId, is_some: bool) -> Commit {
    let rules = is_some.then(LifecycleRules::default);
    Commit::SetBucket { bucket, setting: BucketSetting::Lifecycle(rules) }
}

/// Tags are compared as they are at the commit.
pub(super) async fn tags_at_the_commit(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (below, _) = subject.put(bucket, "k", inline("below")).await;
    let (top, _) = subject.put(bucket, "k", inline("top")).await;
    let with = |tags: &TagSet| DeleteCondition { tags: Some(tags.clone()), ..DeleteCondition::default() };
    for id in [below, top] {
        expects!(subject.refuse(remove(bucket, id, with(&tags("a")))).await, CommitError::ConditionFailed);
        subject.commit(set_tags(bucket, id, tags("a"))).await;
        subject.commit(set_tags(bucket, id, tags("b"))).await;
        for other in [tags("a"), TagSet::default()] {
            expects!(subject.refuse(remove(bucket, id, with(&other))).await, CommitError::ConditionFailed);
        }
    }
    // The current one too, when a marker is to hide it.
    let hide = |tags: &TagSet| match delete(bucket, "k", VersionTarget::Current) {
        Commit::DeleteVersion { bucket, key, target, bypass_governance, .. } => {
            Commit::DeleteVersion { bucket, key, target, condition: with(tags), bypass_governance }
        }
        other => other,
    };
    expects!(subject.refuse(hide(&tags("a"))).await, CommitError::ConditionFailed);
    subject.commit(hide(&tags("b"))).await;
    subject.commit(remove(bucket, below, with(&tags("b")))).await;
    expects!(subject.refuse(remove(bucket, below, with(&tags("b")))).await, CommitError::NoSuchKey);
}

/// A version that is noncurrent again, but since another moment, is not the one that was looked at.
pub(super) async fn what_stands_above(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let under = |above| DeleteCondition { above: Above::Version(above), ..DeleteCondition::default() };
    let (oldest, first) = subject.put(bucket, "k", inline("1")).await;
    let (middle, second) = subject.put(bucket, "k", inline("2")).await;
    let (newest, third) = subject.put(bucket, "k", inline("3")).await;
    subject.put(bucket, "k2", inline("another key")).await;
    for (id, above) in [(newest, third), (newest, third.next()), (middle, second), (oldest, third)] {
        expects!(subject.refuse(remove(bucket, id, under(above))).await, CommitError::ConditionFailed);
    }
    subject.commit(remove(bucket, newest, DeleteCondition::default())).await;
    let (_, again) = subject.put(bucket, "k", inline("4")).await;
    expects!(subject.refuse(remove(bucket, middle, under(third))).await, CommitError::ConditionFailed);
    subject.commit(remove(bucket, middle, under(again))).await;
    expects!(subject.refuse(remove(bucket, oldest, under(second))).await, CommitError::ConditionFailed);
    expects!(subject.refuse(remove(bucket, oldest, under(first))).await, CommitError::ConditionFailed);
    subject.commit(remove(bucket, oldest, under(again))).await;
}

/// A version that was covered meanwhile is not current any more, be it a lone delete marker or an object.
pub(super) async fn nothing_above(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let on_top = || DeleteCondition { above: Above::Nothing, ..DeleteCondition::default() };
    expects!(subject.refuse(remove(bucket, VersionId::Null, on_top())).await, CommitError::NoSuchKey);
    subject.put(bucket, "k2", inline("another key")).await;
    for versioning in [Versioning::Enabled, Versioning::Suspended] {
        subject.versioning(bucket, versioning).await;
        let marked = subject.commit(delete(bucket, "k", VersionTarget::Current)).await;
        let Outcome::Deleted { id: Some(marker), delete_marker: true } = marked else {
            panic!("a delete marker, not {marked:?}")
        };
        subject.versioning(bucket, Versioning::Enabled).await;
        let (object, _) = subject.put(bucket, "k", inline("on top")).await;
        expects!(subject.refuse(remove(bucket, marker, on_top())).await, CommitError::ConditionFailed);
        subject.commit(remove(bucket, object, on_top())).await;
        let done = subject.commit(remove(bucket, marker, on_top())).await;
        assert_eq!(done, Outcome::Deleted { id: Some(marker), delete_marker: true });
    }
}

/// From the answer to a change of the rules on, nothing is deleted by the old ones.
pub(super) async fn rules_that_changed(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let other = subject.bucket("other").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (id, _) = subject.put(bucket, "k", inline("1")).await;
    let upload = UploadId::new([1; 16]);
    let (attributes, tags) = (Attributes::default(), TagSet::default());
    let new = NewUpload { id: upload, attributes, checksum: None, tags, lock: ObjectLock::default() };
    subject.commit(Commit::CreateUpload { bucket, key: key("k"), upload: new }).await;
    let by = |as_of: CommitSeq| {
        let rules_as_of = Some(as_of);
        let condition = DeleteCondition { rules_as_of, ..DeleteCondition::default() };
        (remove(bucket, id, condition), Commit::AbortUpload { upload, rules_as_of })
    };
    for is_some in [true, false] {
        let (before, aborted) = by(subject.log.last_seq().await.unwrap());
        subject.commit(rules(bucket, is_some)).await;
        expects!(subject.refuse(before).await, CommitError::RulesChanged);
        expects!(subject.refuse(aborted).await, CommitError::RulesChanged);
    }
    let (remove, abort) = by(subject.log.last_seq().await.unwrap());
    // None of this is a change of that bucket's rules.
    subject.commit(rules(other, true)).await;
    subject.commit(Commit::SetBucket { bucket, setting: BucketSetting::Tags(None) }).await;
    expects!(subject.refuse(rules(BucketId::new(99), true)).await, CommitError::NoSuchBucket);
    subject.commit(abort).await;
    subject.commit(remove).await;
    // Whatever has become of the version.
    let (gone, _) = by(CommitSeq::new(1));
    expects!(subject.refuse(gone).await, CommitError::RulesChanged);
}

/// What stops a deletion stops a transition.
pub(super) async fn conditions_of_transitions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (id, seq) = subject.put(bucket, "k", inline("below")).await;
    let (_, above) = subject.put(bucket, "k", inline("top")).await;
    subject.commit(set_tags(bucket, id, tags("a"))).await;
    let transition = |condition| Commit::Transition {
        bucket,
        key: key("k"),
        id,
        storage_class: "GLACIER".to_owned(),
        condition,
    };
    let all = DeleteCondition {
        seq: Some(seq),
        tags: Some(tags("a")),
        above: Above::Version(above),
        rules_as_of: Some(subject.log.last_seq().await.unwrap()),
        ..DeleteCondition::default()
    };
    for wrong in [
        DeleteCondition { seq: Some(above), ..all.clone() },
        DeleteCondition { tags: Some(TagSet::default()), ..all.clone() },
        DeleteCondition { above: Above::Version(seq), ..all.clone() },
    ] {
        expects!(subject.refuse(transition(wrong)).await, CommitError::ConditionFailed);
    }
    subject.commit(rules(bucket, true)).await;
    expects!(subject.refuse(transition(all.clone())).await, CommitError::RulesChanged);
    let rules_as_of = Some(subject.log.last_seq().await.unwrap());
    assert_eq!(
        subject.commit(transition(DeleteCondition { rules_as_of, ..all.clone() })).await,
        Outcome::Changed { id }
    );
    subject.commit(remove(bucket, id, DeleteCondition::default())).await;
    expects!(subject.refuse(transition(all.clone())).await, CommitError::RulesChanged);
    let gone = transition(DeleteCondition { rules_as_of, ..all });
    expects!(subject.refuse(gone).await, CommitError::NoSuchKey);
}

/// What keeps the newest of a key counts them as they are at the commit.
pub(super) async fn versions_above(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (oldest, _) = subject.put(bucket, "k", inline("oldest")).await;
    subject.put(bucket, "k", inline("middle")).await;
    let (newest, _) = subject.put(bucket, "k", inline("newest")).await;
    subject.put(bucket, "k-", inline("another key")).await;
    let above = |newer| remove(bucket, oldest, DeleteCondition { newer, ..DeleteCondition::default() });
    expects!(subject.refuse(above(Some(3))).await, CommitError::ConditionFailed);
    subject.commit(remove(bucket, newest, DeleteCondition::default())).await;
    expects!(subject.refuse(above(Some(2))).await, CommitError::ConditionFailed);
    let done = subject.commit(above(Some(1))).await;
    assert_eq!(done, Outcome::Deleted { id: Some(oldest), delete_marker: false });
}

/// The worker steps over keys by their names alone, and sees what a lock keeps.
pub(super) async fn names_and_locks(subject: &Subject) {
    let bucket = locked_bucket(subject).await;
    let behind = async |position: ScanPosition| {
        let key = subject.lifecycle.key_behind(bucket, &position).await.unwrap();
        key.map(|key| key.to_text().into_owned())
    };
    let versions = |key: &str| ScanPosition::Versions(key.into());
    let uploads = |key: &str| ScanPosition::Uploads(key.into());
    assert_eq!(behind(versions("")).await, None);
    let lock = ObjectLock { retention: until(LockMode::Compliance, 9_000), legal_hold: Some(true) };
    let object = crate::meta::NewObject { lock, ..super::object(inline("one")) };
    let condition = WriteCondition::None;
    subject.commit(Commit::PutVersion { bucket, key: key("b"), object, condition }).await;
    subject.put(bucket, "b", inline("two")).await;
    subject.put(bucket, "a", inline("a")).await;
    let (attributes, tags) = (Attributes::default(), TagSet::default());
    let id = UploadId::new([1; 16]);
    let upload = NewUpload { id, attributes, checksum: None, tags, lock: ObjectLock::default() };
    subject.commit(Commit::CreateUpload { bucket, key: key("c"), upload }).await;
    assert_eq!(behind(versions("")).await.as_deref(), Some("a"));
    assert_eq!(behind(versions("a")).await.as_deref(), Some("b"));
    assert_eq!(behind(versions("b")).await, None, "uploads stand elsewhere");
    assert_eq!(behind(uploads("a")).await.as_deref(), Some("c"));
    assert_eq!(behind(uploads("c")).await, None);
    let history = subject.lifecycle.history(bucket, &key("b"), None, 9).await.unwrap();
    let locks: Vec<_> = history.iter().map(|entry| entry.object.as_ref().unwrap().lock).collect();
    assert_eq!(locks, [ObjectLock::default(), lock]);
}
