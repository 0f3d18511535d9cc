//! Tags, locks, and what buckets are set to.

use super::{Subject, at, delete, expects, inline, key, object};
use crate::meta::{
    Above, Change, Commit, CommitError, DeleteCondition, ObjectData, Outcome, VersionKind, VersionTarget,
    WriteCondition,
};
use crate::sys::ManualClock;
use crate::types::{
    AccountId, BucketId, BucketName, BucketSetting, BucketSettings, DefaultRetention, ETag, LockMode,
    LockSettings, ObjectLock, Retention, RetentionPeriod, Tag, TagSet, VersionId, Versioning,
};

fn tags(value: &str) -> TagSet {
    TagSet::of_object(vec![Tag { key: "k".into(), value: value.into() }]).unwrap()
}

pub(super) fn until(mode: LockMode, millis: i64) -> Option<Retention> {
    Some(Retention { mode, until: at(millis) })
}

pub(super) async fn data(subject: &Subject, bucket: BucketId) -> ObjectData {
    match subject.current(bucket, "k").await.unwrap().kind {
        VersionKind::Object(data) => data,
        VersionKind::DeleteMarker => panic!("an object, not a delete marker"),
    }
}

pub(super) async fn locked_bucket(subject: &Subject) -> BucketId {
    let name = BucketName::parse("locked").unwrap();
    let owner = Some(AccountId::parse("someone").unwrap());
    let settings = BucketSettings { tags: Some(tags("made")), ..BucketSettings::default() };
    let made = subject.commit(Commit::CreateBucket { name, owner, lock: true, settings }).await;
    let Outcome::Bucket(bucket) = made else { panic!("a bucket") };
    bucket.id
}

pub(super) async fn buckets(subject: &Subject) {
    let bucket = locked_bucket(subject).await;
    let name = BucketName::parse("locked").unwrap();
    let row = || async { subject.meta.bucket(&name).await.unwrap().unwrap() };
    let made = row().await;
    assert_eq!(made.owner.as_ref().map(AccountId::as_str), Some("someone"));
    assert_eq!((made.versioning, made.lock), (Versioning::Enabled, Some(LockSettings::default())));
    assert_eq!(made.settings.tags, Some(tags("made")));
    let records = subject.log.changes_after(at_last(subject, 1).await, 1).await.unwrap();
    assert_eq!(records[0].change, Change::BucketCreated(made), "the log has all that a bucket is made with");
    let suspend = Commit::SetVersioning { bucket, versioning: Versioning::Suspended };
    expects!(subject.refuse(suspend).await, CommitError::InvalidState(_));

    let setting = BucketSetting::Tags(Some(tags("v")));
    subject.commit(Commit::SetBucket { bucket, setting: setting.clone() }).await;
    assert_eq!(row().await.settings.tags, Some(tags("v")));
    let records = subject.log.changes_after(at_last(subject, 1).await, 1).await.unwrap();
    assert_eq!(records[0].change, Change::BucketSet { bucket, setting });
    subject.commit(Commit::SetBucket { bucket, setting: BucketSetting::Tags(None) }).await;
    assert_eq!(row().await.settings.tags, None);

    let plain = subject.bucket("plain").await;
    let lock = LockSettings::default();
    expects!(subject.refuse(Commit::LockBucket { bucket: plain, lock }).await, CommitError::InvalidState(_));
    subject.versioning(plain, Versioning::Enabled).await;
    subject.commit(Commit::LockBucket { bucket: plain, lock }).await;
    let missing = BucketId::new(99);
    expects!(subject.refuse(Commit::LockBucket { bucket: missing, lock }).await, CommitError::NoSuchBucket);
}

async fn at_last(subject: &Subject, before: u64) -> crate::types::CommitSeq {
    crate::types::CommitSeq::new(subject.log.last_seq().await.unwrap().get() - before)
}

pub(super) async fn tagging(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let set = |target, tags| Commit::SetTags { bucket, key: key("k"), target, tags };
    let current = VersionTarget::Current;
    expects!(subject.refuse(set(current, tags("1"))).await, CommitError::NoSuchKey);
    subject.versioning(bucket, Versioning::Enabled).await;
    let mut first = object(inline("one"));
    first.tags = tags("0");
    let write = Commit::PutVersion { bucket, key: key("k"), object: first, condition: WriteCondition::None };
    let Outcome::Written { id, .. } = subject.commit(write).await else { panic!("a version") };
    assert_eq!(data(subject, bucket).await.tags, tags("0"));
    subject.put(bucket, "k", inline("two")).await;
    assert!(data(subject, bucket).await.tags.is_empty());
    assert_eq!(subject.commit(set(VersionTarget::Version(id), tags("1"))).await, Outcome::Changed { id });
    subject.commit(set(current, tags("2"))).await;
    assert_eq!(data(subject, bucket).await.tags, tags("2"));
    let old = subject.meta.version(bucket, &key("k"), Some(id)).await.unwrap().unwrap();
    expects!(old.kind, VersionKind::Object(old) if old.tags == tags("1"));
    subject.commit(set(current, TagSet::default())).await;
    assert!(data(subject, bucket).await.tags.is_empty());
    let (marker, _) = subject.delete(bucket, "k", current).await;
    expects!(subject.refuse(set(current, tags("3"))).await, CommitError::IsDeleteMarker);
    let target = VersionTarget::Version(marker.unwrap());
    expects!(subject.refuse(set(target, tags("3"))).await, CommitError::IsDeleteMarker);
}

/// A storage class is changed of the very version that was looked at, and nothing else of it.
pub(super) async fn transitions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let transition = |id, seq, class: &str| Commit::Transition {
        bucket,
        key: key("k"),
        id,
        storage_class: class.to_owned(),
        condition: DeleteCondition { seq: Some(seq), ..DeleteCondition::default() },
    };
    let none = subject.refuse(transition(VersionId::Null, at_last(subject, 0).await, "GLACIER")).await;
    expects!(none, CommitError::NoSuchKey);
    let (id, seq) = subject.put(bucket, "k", inline("one")).await;
    let before = subject.current(bucket, "k").await.unwrap();
    assert_eq!(subject.commit(transition(id, seq, "STANDARD_IA")).await, Outcome::Changed { id });
    let after = subject.current(bucket, "k").await.unwrap();
    let mut moved = data(subject, bucket).await;
    assert_eq!(moved.attributes.storage_class.as_deref(), Some("STANDARD_IA"));
    moved.attributes.storage_class = None;
    assert_eq!(after.modified, before.modified);
    expects!(before.kind, VersionKind::Object(kept) if kept == moved);
    let records = subject.log.changes_after(at_last(subject, 1).await, 1).await.unwrap();
    let storage_class = "STANDARD_IA".to_owned();
    assert_eq!(records[0].change, Change::VersionTransitioned { bucket, key: key("k"), id, storage_class });
    // The null version is another one by now.
    let (_, newer) = subject.put(bucket, "k", inline("two")).await;
    expects!(subject.refuse(transition(id, seq, "GLACIER")).await, CommitError::ConditionFailed);
    assert_eq!(data(subject, bucket).await.attributes.storage_class, None);
    // Under a newer version, too, and in the history that rules go by.
    subject.versioning(bucket, Versioning::Enabled).await;
    let (marker, _) = subject.delete(bucket, "k", VersionTarget::Current).await;
    subject.commit(transition(id, newer, "GLACIER")).await;
    let history = subject.lifecycle.history(bucket, &key("k"), None, 10).await.unwrap();
    assert_eq!(history[1].object.as_ref().unwrap().storage_class.as_deref(), Some("GLACIER"));
    let (marker, seq) = (marker.unwrap(), history[0].seq);
    expects!(subject.refuse(transition(marker, seq, "GLACIER")).await, CommitError::IsDeleteMarker);
}

/// I6: what a lock keeps, no command takes away.
pub(super) async fn locks(subject: &Subject) {
    let bucket = locked_bucket(subject).await;
    subject.clock.set(at(1_000));
    let (id, _) = subject.put(bucket, "k", inline("one")).await;
    let target = VersionTarget::Version(id);
    let retain = |retention, bypass_governance| {
        let (key, target) = (key("k"), VersionTarget::Current);
        Commit::SetRetention { bucket, key, target, retention, bypass_governance }
    };
    let remove = |bypass_governance| {
        let condition = DeleteCondition::default();
        Commit::DeleteVersion { bucket, key: key("k"), target, condition, bypass_governance }
    };
    subject.commit(retain(until(LockMode::Governance, 2_000), false)).await;
    assert_eq!(data(subject, bucket).await.lock.retention, until(LockMode::Governance, 2_000));
    expects!(subject.refuse(remove(false)).await, CommitError::Locked);
    expects!(subject.refuse(retain(None, false)).await, CommitError::Locked);
    expects!(subject.refuse(retain(until(LockMode::Compliance, 2_000), false)).await, CommitError::Locked);
    subject.commit(retain(until(LockMode::Compliance, 2_000), true)).await;
    expects!(subject.refuse(remove(true)).await, CommitError::Locked);
    expects!(subject.refuse(retain(None, true)).await, CommitError::Locked);
    subject.delete(bucket, "k", VersionTarget::Current).await;
    expects!(subject.refuse(Commit::DeleteBucket { bucket }).await, CommitError::BucketNotEmpty);
    expects!(subject.refuse(retain(None, true)).await, CommitError::IsDeleteMarker);
    // A clock set back does not end a retention, nor does it start one anew.
    subject.clock.set(at(0));
    expects!(subject.refuse(remove(true)).await, CommitError::Locked);
    subject.clock.set(at(2_000));
    let hold = |legal_hold| Commit::SetLegalHold { bucket, key: key("k"), target, legal_hold };
    subject.commit(hold(true)).await;
    expects!(subject.refuse(remove(true)).await, CommitError::Locked);
    subject.commit(hold(false)).await;
    assert_eq!(subject.commit(remove(false)).await, Outcome::Deleted { id: Some(id), delete_marker: false });
    let unlocked = subject.bucket("unlocked").await;
    subject.put(unlocked, "k", inline("free")).await;
    let (key, target, legal_hold) = (key("k"), VersionTarget::Current, true);
    let hold = Commit::SetLegalHold { bucket: unlocked, key, target, legal_hold };
    expects!(subject.refuse(hold).await, CommitError::NoObjectLock);
}

pub(super) async fn default_retention(subject: &Subject) {
    let bucket = locked_bucket(subject).await;
    subject.clock.set(at(5));
    let (mode, period) = (LockMode::Compliance, RetentionPeriod::Days(1));
    let lock = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
    subject.commit(Commit::LockBucket { bucket, lock }).await;
    subject.put(bucket, "k", inline("one")).await;
    assert_eq!(data(subject, bucket).await.lock.retention, until(mode, 86_400_005));
    let mut asks = object(inline("two"));
    asks.lock = ObjectLock { retention: until(LockMode::Governance, 7), legal_hold: Some(true) };
    let wanted = asks.lock;
    let write = |bucket, object| {
        let condition = WriteCondition::None;
        Commit::PutVersion { bucket, key: key("k"), object, condition }
    };
    subject.commit(write(bucket, asks.clone())).await;
    assert_eq!(data(subject, bucket).await.lock, wanted);
    let unlocked = subject.bucket("unlocked").await;
    expects!(subject.refuse(write(unlocked, asks)).await, CommitError::NoObjectLock);
}

/// Locks go by a clock of their own: a wall clock that jumps moves stamps, not locks.
pub(super) async fn lock_clock(subject: &Subject, locks: &ManualClock) {
    let bucket = locked_bucket(subject).await;
    let (mode, period) = (LockMode::Compliance, RetentionPeriod::Days(1));
    let lock = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
    subject.commit(Commit::LockBucket { bucket, lock }).await;
    locks.set(at(1_000));
    subject.clock.set(at(1_000));
    let (id, _) = subject.put(bucket, "k", inline("one")).await;
    let remove = || delete(bucket, "k", VersionTarget::Version(id));
    let retain = |retention| {
        let (key, target) = (key("k"), VersionTarget::Version(id));
        Commit::SetRetention { bucket, key, target, retention, bypass_governance: true }
    };
    subject.clock.set(at(900_000_000_000));
    expects!(subject.refuse(remove()).await, CommitError::Locked);
    expects!(subject.refuse(retain(None)).await, CommitError::Locked);
    // A new lock runs its whole period, whichever clock is ahead.
    let (later, _) = subject.put(bucket, "k", inline("two")).await;
    assert_eq!(data(subject, bucket).await.lock.retention, until(mode, 900_086_400_000));
    locks.set(at(86_401_000));
    subject.commit(remove()).await;
    // What locks have gone through they do not go back behind.
    locks.set(at(0));
    let remove = || delete(bucket, "k", VersionTarget::Version(later));
    expects!(subject.refuse(remove()).await, CommitError::Locked);
    locks.set(at(900_086_400_000));
    subject.put(bucket, "another", inline("three")).await;
    locks.set(at(0));
    subject.commit(remove()).await;
}

/// A delete may require what its version is.
pub(super) async fn delete_conditions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.clock.set(at(1_500));
    let conditional = |condition: DeleteCondition| match delete(bucket, "k", VersionTarget::Current) {
        Commit::DeleteVersion { bucket, key, target, bypass_governance, .. } => {
            Commit::DeleteVersion { bucket, key, target, condition, bypass_governance }
        }
        other => other,
    };
    let size = DeleteCondition { size: Some(3), ..DeleteCondition::default() };
    expects!(subject.refuse(conditional(size.clone())).await, CommitError::NoSuchKey);
    let (_, seq) = subject.put(bucket, "k", inline("1__")).await;
    let wrong = [
        DeleteCondition { size: Some(4), ..size.clone() },
        DeleteCondition { modified: Some(at(2_000)), ..size.clone() },
        DeleteCondition { seq: Some(seq.next()), ..size.clone() },
        DeleteCondition { above: Above::Version(seq), ..size.clone() },
        DeleteCondition { newer: Some(1), ..size.clone() },
        DeleteCondition { tags: Some(tags("v")), ..size.clone() },
        DeleteCondition { etag: WriteCondition::IfMatch(ETag::of_body([9; 16])), ..size.clone() },
    ];
    for condition in wrong {
        expects!(subject.refuse(conditional(condition)).await, CommitError::ConditionFailed);
    }
    let etag = WriteCondition::IfMatch(ETag::of_body([b'1'; 16]));
    let all = DeleteCondition {
        etag,
        size: Some(3),
        modified: Some(at(1_000)),
        seq: Some(seq),
        tags: Some(TagSet::default()),
        above: Above::Nothing,
        newer: Some(0),
        rules_as_of: Some(seq),
    };
    let done = subject.commit(conditional(all.clone())).await;
    assert_eq!(done, Outcome::Deleted { id: Some(VersionId::Null), delete_marker: false });
    subject.commit(Commit::SetVersioning { bucket, versioning: Versioning::Enabled }).await;
    subject.commit(conditional(DeleteCondition::default())).await;
    let markers = DeleteCondition { size: None, modified: Some(at(1_000)), ..all };
    expects!(subject.refuse(conditional(markers.clone())).await, CommitError::NoSuchKey);
    let tags = DeleteCondition { tags: Some(TagSet::default()), ..DeleteCondition::default() };
    for asked in [
        DeleteCondition { size: Some(0), ..size },
        DeleteCondition { etag: WriteCondition::None, ..markers },
        tags,
    ] {
        expects!(subject.refuse(conditional(asked)).await, CommitError::ConditionFailed);
    }
}
