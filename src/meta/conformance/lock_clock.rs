//! Locks beside a clock of their own: what may be asked for, and from when a default runs.

use super::marks::{data, locked_bucket, until};
use super::uploads::{number, part};
use super::{Subject, at, delete, expects, inline, key, object};
use crate::meta::{Commit, CommitError, NewUpload, Outcome, VersionTarget, WriteCondition};
use crate::sys::ManualClock;
use crate::types::{
    Attributes, BucketId, DefaultRetention, LockMode, LockSettings, ObjectLock, RetentionPeriod, TagSet,
    UploadId,
};

fn lock(until_millis: i64) -> ObjectLock {
    ObjectLock { retention: until(LockMode::Compliance, until_millis), legal_hold: None }
}

fn write(bucket: BucketId, lock: ObjectLock) -> Commit {
    let object = crate::meta::NewObject { lock, ..object(inline("one")) };
    Commit::PutVersion { bucket, key: key("k"), object, condition: WriteCondition::None }
}

fn upload(bucket: BucketId, lock: ObjectLock) -> Commit {
    let (id, tags) = (UploadId::new([1; 16]), TagSet::default());
    let upload = NewUpload { id, attributes: Attributes::default(), checksum: None, tags, lock };
    Commit::CreateUpload { bucket, key: key("k"), upload }
}

/// Nobody is told that something is locked when it is not.
pub(super) async fn what_protects_nothing(subject: &Subject, locks: &ManualClock) {
    let bucket = locked_bucket(subject).await;
    subject.clock.set(at(1_000));
    locks.set(at(5_000));
    subject.put(bucket, "k", inline("free")).await;
    let retain = |millis| {
        let (key, target) = (key("k"), VersionTarget::Current);
        let retention = until(LockMode::Compliance, millis);
        Commit::SetRetention { bucket, key, target, retention, bypass_governance: true }
    };
    for over in [2_000, 5_000] {
        expects!(subject.refuse(write(bucket, lock(over))).await, CommitError::RetentionOver(_));
        expects!(subject.refuse(upload(bucket, lock(over))).await, CommitError::RetentionOver(_));
        expects!(subject.refuse(retain(over)).await, CommitError::RetentionOver(_));
    }
    let unlocked = subject.bucket("unlocked").await;
    expects!(subject.refuse(write(unlocked, lock(5_000))).await, CommitError::NoObjectLock);
    let Outcome::Written { id, .. } = subject.commit(write(bucket, lock(5_001))).await else {
        panic!("a version")
    };
    expects!(subject.refuse(delete(bucket, "k", VersionTarget::Version(id))).await, CommitError::Locked);
    subject.commit(retain(6_000)).await;
    // It was in the future when it was asked for.
    subject.commit(upload(bucket, lock(7_000))).await;
    let (id, first) = (UploadId::new([1; 16]), number(1));
    let made = subject.commit(Commit::PutPart { upload: id, number: first, part: part(inline("p")) }).await;
    let Outcome::Part { seq, .. } = made else { panic!("a part") };
    locks.set(at(8_000));
    let whole = crate::meta::NewObject { lock: lock(7_000), ..object(inline("p")) };
    let (parts, condition) = (vec![(first, seq)], WriteCondition::None);
    subject.commit(Commit::CompleteUpload { upload: id, parts, object: whole, condition }).await;
    assert_eq!(data(subject, bucket).await.lock, lock(7_000));
}

/// One commit under a wrong wall clock does not lengthen every lock after it.
pub(super) async fn a_default_begins_now(subject: &Subject, locks: &ManualClock) {
    const DAY: i64 = 86_400_000;
    let bucket = locked_bucket(subject).await;
    let (mode, period) = (LockMode::Compliance, RetentionPeriod::Days(1));
    let settings = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
    subject.commit(Commit::LockBucket { bucket, lock: settings }).await;
    let begins = async |wall: i64, guarded: i64| {
        subject.clock.set(at(wall));
        locks.set(at(guarded));
        subject.put(bucket, "k", inline("one")).await;
        data(subject, bucket).await.lock.retention.unwrap().until.get() - DAY
    };
    assert_eq!(begins(1_000, 1_000).await, 1_000);
    assert_eq!(begins(900_000_000_000, 1_500).await, 900_000_000_000, "by either clock a day");
    assert_eq!(begins(2_000, 2_000).await, 2_000, "the wall clock was set right");
    assert_eq!(begins(0, 3_000).await, 3_000);
    assert_eq!(begins(0, 0).await, 3_000, "the clock of locks has got so far");
}
