//! Replaying one store's log on another: the same rows, or nothing.

use super::uploads::{number, part, start};
use super::{Subject, at, chunked, delete, expects, inline, key, manifest, object, put};
use crate::meta::{
    Change, Commit, CommitError, ListQuery, LogRecord, ManifestRow, NewBody, NewObject, NewUpload, Outcome,
    VersionTarget, WriteCondition,
};
use crate::types::{
    AccountId, Attributes, BucketId, BucketName, BucketSetting, BucketSettings, CommitSeq, DefaultRetention,
    LifecycleRules, LockMode, LockSettings, Manifest, ObjectLock, PlainId, Retention, RetentionPeriod, Tag,
    TagSet, UploadId, VersionId, Versioning,
};

async fn log_of(subject: &Subject) -> Vec<LogRecord> {
    subject.log.changes_after(CommitSeq::ZERO, 10_000).await.unwrap()
}

fn replay(record: &LogRecord) -> Commit {
    Commit::Replay(Box::new(record.clone()))
}

async fn replay_all(from: &Subject, to: &Subject) {
    for record in log_of(from).await {
        let through = to.log.last_seq().await.unwrap().max(record.seq);
        expects!(to.commit(replay(&record)).await, Outcome::Replayed { through: now } if now >= through);
    }
}

/// What both show, but for what no log tells.
async fn assert_equal(one: &Subject, other: &Subject) {
    assert_eq!(log_of(one).await, log_of(other).await);
    assert_eq!(one.log.totals().await.unwrap(), other.log.totals().await.unwrap());
    assert_eq!(one.log.manifests(None, 999).await.unwrap(), other.log.manifests(None, 999).await.unwrap());
    let plains = one.inspect.plain_bodies(None, 99).await.unwrap();
    assert_eq!(plains, other.inspect.plain_bodies(None, 99).await.unwrap());
    let buckets = one.meta.buckets(None, 99).await.unwrap();
    assert_eq!(buckets, other.meta.buckets(None, 99).await.unwrap());
    let ids = buckets.iter().map(|bucket| bucket.id).chain([BucketId::KEY_VALUE]);
    for bucket in ids {
        let query = ListQuery { limit: 999, ..ListQuery::default() };
        let shown = |subject: &Subject| {
            let (meta, query) = (subject.meta.clone(), query.clone());
            async move {
                let objects = meta.list_objects(bucket, query.clone()).await.unwrap();
                let versions = meta.list_versions(bucket, query.clone()).await.unwrap();
                let uploads = meta.list_uploads(bucket, query).await.unwrap();
                format!("{objects:?} {versions:?} {uploads:?}")
            }
        };
        assert_eq!(shown(one).await, shown(other).await);
    }
}

async fn refused(to: &Subject, record: &LogRecord, seq: u64) -> String {
    match to.refuse(replay(record)).await {
        CommitError::NotReplayed { seq: at, why } if at == CommitSeq::new(seq) => why,
        other => panic!("{record:?} was not to be replayed at {seq}: {other:?}"),
    }
}

fn tags() -> TagSet {
    TagSet::of_object(vec![Tag { key: "k".into(), value: "v".into() }]).unwrap()
}

async fn locked_bucket(subject: &Subject, name: &str) -> BucketId {
    let (name, owner) = (BucketName::parse(name).unwrap(), AccountId::parse("someone").ok());
    let settings = BucketSettings { tags: Some(tags()), ..BucketSettings::default() };
    match subject.commit(Commit::CreateBucket { name, owner, lock: true, settings }).await {
        Outcome::Bucket(bucket) => bucket.id,
        other => panic!("a bucket was created, not {other:?}"),
    }
}

/// One of each, on keys that have versions of every kind.
pub(super) async fn every_change(from: &Subject, to: &Subject) {
    from.clock.set(at(1_000));
    let plain = from.bucket("plain").await;
    let (file, shared) = (PlainId::new([4; 16]), manifest(1, 10).id());
    for (name, body) in [
        ("inline", inline("small")),
        ("chunked", chunked(1, 10)),
        ("shared", NewBody::SharedManifest(shared)),
        ("whole", NewBody::Plain(file)),
        ("whole/again", NewBody::SharedPlain(file)),
        ("chunked", chunked(2, 20)),
    ] {
        from.put(plain, name, body).await;
    }
    from.delete(plain, "whole", VersionTarget::Current).await;
    let whole = from.inspect.plain_versions(None, 1).await.unwrap().remove(0);
    from.commit(Commit::ReplacePlain { place: whole.place, plain: file, body: chunked(6, 10) }).await;
    from.put(plain, "whole/again", NewBody::Plain(file)).await;
    from.put(BucketId::KEY_VALUE, "value", inline("of a library")).await;
    for versioning in [Versioning::Enabled, Versioning::Suspended] {
        from.clock.advance_millis(1_000);
        from.versioning(plain, versioning).await;
        let (id, _) = from.put(plain, "chunked", chunked(3, 30)).await;
        from.delete(plain, "chunked", VersionTarget::Current).await;
        from.put(plain, "chunked", chunked(4, 40)).await;
        from.delete(plain, "chunked", VersionTarget::Version(id)).await;
    }
    let locked = locked_bucket(from, "locked").await;
    let (mode, period) = (LockMode::Governance, RetentionPeriod::Days(1));
    let lock = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
    from.commit(Commit::LockBucket { bucket: locked, lock }).await;
    let (id, _) = from.put(locked, "kept", inline("by default")).await;
    let (bucket, target) = (locked, VersionTarget::Version(id));
    from.commit(Commit::SetTags { bucket, key: key("kept"), target, tags: tags() }).await;
    from.commit(Commit::SetLegalHold { bucket, key: key("kept"), target, legal_hold: true }).await;
    let retention = Some(Retention { mode, until: at(100_000_000_000) });
    let longer =
        Commit::SetRetention { bucket, key: key("kept"), target, retention, bypass_governance: false };
    from.commit(longer).await;
    let condition = WriteCondition::None.into();
    let storage_class = "GLACIER".to_owned();
    from.commit(Commit::Transition { bucket, key: key("kept"), id, storage_class, condition }).await;
    for setting in [BucketSetting::Lifecycle(Some(LifecycleRules::default())), BucketSetting::Tags(None)] {
        from.commit(Commit::SetBucket { bucket, setting }).await;
    }
    from.bucket("short-lived").await;
    let gone = from.meta.bucket(&BucketName::parse("short-lived").unwrap()).await.unwrap().unwrap();
    from.commit(Commit::DeleteBucket { bucket: gone.id }).await;
    let upload = start(from, plain, "open", 9).await;
    from.commit(Commit::PutPart { upload, number: number(1), part: part(chunked(7, 70)) }).await;
    from.commit(Commit::PutPart { upload, number: number(1), part: part(chunked(8, 80)) }).await;
    from.commit(Commit::Mark).await;
    to.clock.set(at(5));
    replay_all(from, to).await;
    assert_equal(from, to).await;
    let next = to.bucket("the-next").await;
    assert_eq!(next, from.bucket("the-next").await, "numbers go on from there");
}

/// What an upload's end released belongs to its record, whether it comes or not.
pub(super) async fn ends_of_uploads(from: &Subject, to: &Subject) {
    let bucket = from.bucket("bucket").await;
    for (id, name) in [(1, "completed"), (2, "aborted")] {
        let upload = start(from, bucket, name, id).await;
        let mut parts = Vec::new();
        for n in 1..=200_i64 {
            let body = chunked(id, u64::from(id) * 1_000 + n.unsigned_abs());
            let put = Commit::PutPart { upload, number: number(n), part: part(body) };
            let Outcome::Part { seq, .. } = from.commit(put).await else { panic!("a part") };
            parts.push((number(n), seq));
        }
        let (object, condition) = (object(chunked(9, 90)), WriteCondition::None);
        from.commit(match id {
            1 => Commit::CompleteUpload { upload, parts, object, condition },
            _ => Commit::AbortUpload { upload, rules_as_of: None },
        })
        .await;
    }
    let log = log_of(from).await;
    assert_eq!(log.iter().filter(|record| record.change == Change::Released).count(), 4);
    for record in &log {
        let last = to.log.last_seq().await.unwrap();
        if record.change != Change::Released {
            to.commit(replay(record)).await;
            continue;
        }
        assert!(record.seq <= last, "it is there already");
        let mut other = record.clone();
        other.dropped.pop();
        refused(to, &other, record.seq.get()).await;
        assert_eq!(to.commit(replay(record)).await, Outcome::Replayed { through: last });
    }
    assert_equal(from, to).await;
    let stray = LogRecord { seq: log[log.len() - 1].seq.next(), ..log[log.len() - 1].clone() };
    refused(to, &stray, stray.seq.get()).await;
}

/// Conditions, locks that ran then, retentions that are over by now.
pub(super) async fn what_happened_is_not_asked_again(from: &Subject, to: &Subject) {
    from.clock.set(at(1_000));
    let bucket = locked_bucket(from, "locked").await;
    let retention = Some(Retention { mode: LockMode::Compliance, until: at(2_000) });
    let lock = ObjectLock { retention, legal_hold: None };
    let put = |name: &str| {
        let object = NewObject { lock, ..object(inline("x")) };
        Commit::PutVersion { bucket, key: key(name), object, condition: WriteCondition::IfAbsent }
    };
    let Outcome::Written { id, .. } = from.commit(put("k")).await else { panic!("a version") };
    let (attributes, upload) = (Attributes::default(), UploadId::new([1; 16]));
    let new = NewUpload { id: upload, attributes, checksum: None, tags: TagSet::default(), lock };
    from.commit(Commit::CreateUpload { bucket, key: key("u"), upload: new }).await;
    let again = Commit::SetRetention {
        bucket,
        key: key("k"),
        target: VersionTarget::Version(id),
        retention: Some(Retention { mode: LockMode::Compliance, until: at(3_000) }),
        bypass_governance: false,
    };
    from.commit(again).await;
    from.clock.set(at(4_000));
    from.delete(bucket, "k", VersionTarget::Version(id)).await;
    // By this clock nothing has ended yet; by that of the next one everything has.
    to.clock.set(at(900));
    let log = log_of(from).await;
    to.commit(replay(&log[0])).await;
    to.clock.set(at(9_000_000));
    replay_rest(&log[1..], to).await;
    assert_equal(from, to).await;
}

async fn replay_rest(log: &[LogRecord], to: &Subject) {
    for record in log {
        to.commit(replay(record)).await;
    }
}

pub(super) async fn records_out_of_place(from: &Subject, to: &Subject) {
    from.clock.set(at(500));
    for _ in 0..3 {
        from.clock.advance_millis(100);
        from.commit(Commit::Mark).await;
    }
    let log = log_of(from).await;
    assert!(refused(to, &log[1], 2).await.contains("the next one is 1"));
    to.commit(replay(&log[0])).await;
    refused(to, &log[0], 1).await;
    refused(to, &log[2], 3).await;
    refused(to, &LogRecord { at: at(599), ..log[1].clone() }, 2).await;
    refused(to, &LogRecord { change: Change::Released, ..log[1].clone() }, 2).await;
    replay_rest(&log[1..], to).await;
    assert_eq!(log_of(to).await, log, "with the stamps of the other");
}

/// Whatever of a record is not what happens here, all of it is refused.
pub(super) async fn records_that_are_not_true(from: &Subject, to: &Subject) {
    let bucket = from.bucket("bucket").await;
    from.versioning(bucket, Versioning::Enabled).await;
    from.put(bucket, "k", chunked(1, 10)).await;
    from.commit(put(bucket, "k", chunked(2, 20), WriteCondition::None)).await;
    from.commit(delete(bucket, "k", VersionTarget::Current)).await;
    let log = log_of(from).await;
    replay_rest(&log[..3], to).await;
    let record = &log[3];
    let (own, other) = (row(&manifest(2, 20)), row(&manifest(3, 30)));
    let mixed = ManifestRow { id: own.id, root: other.root.clone() };
    let lies = [
        LogRecord { added: Vec::new(), ..record.clone() },
        LogRecord { added: vec![other.clone()], ..record.clone() },
        LogRecord { added: vec![own, other.clone()], ..record.clone() },
        LogRecord { added: vec![mixed], ..record.clone() },
        LogRecord { dropped: vec![other], ..record.clone() },
        lie(record, |_, id, _| *id = VersionId::Null),
        lie(record, |_, id, _| *id = VersionId::Id { seq: CommitSeq::new(3), salt: 1 }),
        lie(record, |_, _, replaced| *replaced = Some(VersionId::Null)),
        lie(record, |bucket, _, _| *bucket = BucketId::new(9)),
        LogRecord { change: Change::BucketDeleted { bucket }, ..record.clone() },
        LogRecord { change: Change::UploadAborted { upload: UploadId::new([9; 16]) }, ..record.clone() },
        LogRecord {
            change: Change::VersionDeleted { bucket, key: key("other"), id: VersionId::Null },
            added: Vec::new(),
            ..record.clone()
        },
    ];
    for lie in &lies {
        refused(to, lie, 4).await;
    }
    replay_rest(&log[3..], to).await;
    assert_equal(from, to).await;
}

fn row(root: &Manifest) -> ManifestRow {
    ManifestRow { id: root.id(), root: root.clone() }
}

/// The record of a put, with one thing changed.
fn lie(
    record: &LogRecord,
    change: impl FnOnce(&mut BucketId, &mut VersionId, &mut Option<VersionId>),
) -> LogRecord {
    let mut lie = record.clone();
    match &mut lie.change {
        Change::VersionPut { bucket, version, replaced, .. } => change(bucket, &mut version.id, replaced),
        other => panic!("no put: {other:?}"),
    }
    lie
}
