//! Versions: what a put and a delete do in each versioning state, conditions, and what comes back.

use super::{Subject, at, chunked, delete, expects, inline, key, manifest, object, put};
use crate::meta::{
    Commit, CommitError, NewBody, ObjectData, Outcome, StoredBody, VersionKind, VersionTarget, WriteCondition,
};
use crate::types::{
    BucketId, Checksum, ChecksumAlgorithm, ETag, PartLayout, PartNumber, PlainId, VersionId, Versioning,
};
use std::sync::Arc;

fn data(kind: VersionKind) -> ObjectData {
    match kind {
        VersionKind::Object(data) => data,
        VersionKind::DeleteMarker => panic!("an object, not a delete marker"),
    }
}

fn text(body: &StoredBody) -> &[u8] {
    match body {
        StoredBody::Inline(bytes) => bytes,
        other => panic!("an inline body, not {other:?}"),
    }
}

pub(super) async fn unversioned(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    assert_eq!(subject.current(bucket, "k").await, None);
    let (first, _) = subject.put(bucket, "k", inline("one")).await;
    let (second, seq) = subject.put(bucket, "k", inline("two")).await;
    assert_eq!((first, second), (VersionId::Null, VersionId::Null));
    let version = subject.current(bucket, "k").await.unwrap();
    assert_eq!((version.id, version.seq, version.is_latest), (VersionId::Null, seq, true));
    assert_eq!(text(&data(version.kind).body), b"two", "the second replaced the first");
    assert_eq!(subject.log.totals().await.unwrap().versions, 1);
    assert_eq!(subject.current(bucket, "k\0").await, None, "keys are compared whole");
    assert_eq!(subject.current(bucket, "").await, None);

    let deleted = subject.delete(bucket, "k", VersionTarget::Current).await;
    assert_eq!(deleted, (Some(VersionId::Null), false));
    assert_eq!(subject.current(bucket, "k").await, None);
    let before = subject.log.last_seq().await.unwrap();
    assert_eq!(subject.delete(bucket, "k", VersionTarget::Current).await, (None, false));
    assert_eq!(subject.log.last_seq().await.unwrap(), before, "nothing to delete, nothing in the log");
}

pub(super) async fn enabled(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (first, first_seq) = subject.put(bucket, "k", inline("one")).await;
    let (second, _) = subject.put(bucket, "k", inline("two")).await;
    assert_ne!(first, second);
    expects!(first, VersionId::Id { seq, .. } if seq == first_seq);
    let read = |id| subject.meta.version(bucket, super::KEY.get_or_init(|| key("k")), id);
    assert!(!read(Some(first)).await.unwrap().unwrap().is_latest);
    assert!(read(Some(second)).await.unwrap().unwrap().is_latest);
    assert_eq!(read(Some(VersionId::Null)).await.unwrap(), None);
    let VersionId::Id { seq, salt } = first else { panic!("an id") };
    let forged = VersionId::Id { seq, salt: salt ^ 1 };
    assert_eq!(read(Some(forged)).await.unwrap(), None, "an id counts whole");
    let target = VersionTarget::Version(forged);
    assert_eq!(subject.delete(bucket, "k", target).await, (None, false));

    let (marker, is_marker) = subject.delete(bucket, "k", VersionTarget::Current).await;
    let marker = marker.unwrap();
    assert!(is_marker);
    expects!(subject.current(bucket, "k").await.unwrap().kind, VersionKind::DeleteMarker);
    assert!(!read(Some(second)).await.unwrap().unwrap().is_latest);
    assert_eq!(
        subject.delete(bucket, "k", VersionTarget::Version(marker)).await,
        (Some(marker), true),
        "removing the marker"
    );
    assert_eq!(text(&data(subject.current(bucket, "k").await.unwrap().kind).body), b"two");
    let target = VersionTarget::Version(second);
    assert_eq!(subject.delete(bucket, "k", target).await, (Some(second), false));
    assert_eq!(subject.current(bucket, "k").await.unwrap().id, first);
}

pub(super) async fn suspended(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.put(bucket, "k", inline("before")).await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let (kept, _) = subject.put(bucket, "k", inline("kept")).await;
    subject.versioning(bucket, Versioning::Suspended).await;
    subject.put(bucket, "k", inline("null")).await;
    let null = subject.meta.version(bucket, &key("k"), Some(VersionId::Null)).await.unwrap().unwrap();
    assert_eq!((text(&data(null.kind).body), null.is_latest), (&b"null"[..], true));
    assert_eq!(subject.log.totals().await.unwrap().versions, 2, "the null version was replaced");
    assert!(subject.meta.version(bucket, &key("k"), Some(kept)).await.unwrap().is_some());

    let deleted = subject.delete(bucket, "k", VersionTarget::Current).await;
    assert_eq!(deleted, (Some(VersionId::Null), true), "the marker is the null version");
    let totals = subject.log.totals().await.unwrap();
    assert_eq!((totals.versions, totals.delete_markers), (1, 1));
    subject.delete(bucket, "k", VersionTarget::Version(VersionId::Null)).await;
    assert_eq!(subject.current(bucket, "k").await.unwrap().id, kept);
}

/// The null version is found wherever it stands, from before versioning or from a suspension.
pub(super) async fn null_versions_deep_in_a_history(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let null = || async {
        let found = subject.meta.version(bucket, super::KEY.get_or_init(|| key("k")), Some(VersionId::Null));
        found.await.unwrap().map(|version| text(&data(version.kind).body).to_vec())
    };
    subject.put(bucket, "k", inline("oldest")).await;
    subject.versioning(bucket, Versioning::Enabled).await;
    for _ in 0..20 {
        subject.put(bucket, "k", inline("newer")).await;
    }
    assert_eq!(null().await.as_deref(), Some(&b"oldest"[..]));
    subject.versioning(bucket, Versioning::Suspended).await;
    subject.put(bucket, "k", inline("middle")).await;
    subject.versioning(bucket, Versioning::Enabled).await;
    for _ in 0..20 {
        subject.put(bucket, "k", inline("newest")).await;
    }
    assert_eq!(null().await.as_deref(), Some(&b"middle"[..]));
    assert_eq!(subject.log.totals().await.unwrap().versions, 41);
    subject.versioning(bucket, Versioning::Suspended).await;
    subject.put(bucket, "k", inline("top")).await;
    assert_eq!(subject.log.totals().await.unwrap().versions, 41, "the one in the middle was replaced");
    assert_eq!(null().await.as_deref(), Some(&b"top"[..]));
    subject.delete(bucket, "k", VersionTarget::Version(VersionId::Null)).await;
    assert_eq!(null().await, None);
}

pub(super) async fn conditions(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let one = ETag::of_body([b'1'; 16]);
    let attempt = |condition| put(bucket, "k", inline("1"), condition);
    expects!(subject.refuse(attempt(WriteCondition::IfExists)).await, CommitError::NoSuchKey);
    expects!(subject.refuse(attempt(WriteCondition::IfMatch(one))).await, CommitError::NoSuchKey);
    subject.commit(attempt(WriteCondition::IfAbsent)).await;
    expects!(subject.refuse(attempt(WriteCondition::IfAbsent)).await, CommitError::ConditionFailed);
    subject.commit(attempt(WriteCondition::IfExists)).await;
    subject.commit(attempt(WriteCondition::IfMatch(one))).await;
    let other = WriteCondition::IfMatch(ETag::of_parts([b'1'; 16], 1));
    expects!(subject.refuse(attempt(other)).await, CommitError::ConditionFailed);
    expects!(subject.refuse(attempt(WriteCondition::UnlessMatch(one))).await, CommitError::ConditionFailed);
    subject.commit(attempt(WriteCondition::UnlessMatch(ETag::of_body([0; 16])))).await;

    subject.versioning(bucket, Versioning::Enabled).await;
    subject.delete(bucket, "k", VersionTarget::Current).await;
    expects!(subject.refuse(attempt(WriteCondition::IfExists)).await, CommitError::NoSuchKey);
    subject.commit(attempt(WriteCondition::IfAbsent)).await;
    let Commit::DeleteVersion { bucket, key, target, .. } = delete(bucket, "k", VersionTarget::Current)
    else {
        return;
    };
    let conditional =
        Commit::DeleteVersion { bucket, key, target, condition: other.into(), bypass_governance: false };
    expects!(subject.refuse(conditional).await, CommitError::ConditionFailed);
}

/// Every field of every kind of body, as it was given.
pub(super) async fn fields_come_back(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let plain = PlainId::new([9; 16]);
    let bodies = [
        (inline(""), StoredBody::Inline(bytes::Bytes::new())),
        (inline("text"), StoredBody::Inline("text".into())),
        (NewBody::Inline(vec![7; 5_000].into()), StoredBody::Inline(vec![7; 5_000].into())),
        (chunked(3, 99), StoredBody::Chunked { id: manifest(3, 99).id(), root: Arc::new(manifest(3, 99)) }),
        (NewBody::Plain(plain), StoredBody::Plain(plain)),
    ];
    subject.clock.set(at(1_234));
    for (body, stored) in bodies {
        let mut new = object(body);
        new.checksum = Checksum::composite(ChecksumAlgorithm::Sha1, &[5; 20], 2).ok();
        new.etag = ETag::of_parts([6; 16], 10_000);
        new.attributes.content_type = Some("text/plain".into());
        new.attributes.expires = Some("never".into());
        new.attributes.user.insert("näme".into(), "wört".into());
        let checksum = Checksum::full(ChecksumAlgorithm::Crc64Nvme, &[1; 8]).ok();
        new.parts = vec![PartLayout { number: PartNumber::MAX, size: u64::MAX, checksum }];
        let condition = WriteCondition::None;
        subject.commit(Commit::PutVersion { bucket, key: key("k"), object: new.clone(), condition }).await;
        // Twice: from the database, and perhaps from a cache.
        for _ in 0..2 {
            let version = subject.current(bucket, "k").await.unwrap();
            assert_eq!(version.modified, at(1_234));
            let found = data(version.kind);
            assert_eq!(found.body, stored);
            assert_eq!((found.size, found.etag, &found.checksum), (new.size, new.etag, &new.checksum));
            assert_eq!((&found.attributes, &found.parts), (&new.attributes, &new.parts));
        }
    }
}

/// A read that begins after a commit returned sees it, whatever was read before.
pub(super) async fn reads_see_what_was_committed(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let reader = {
        let subject = subject.clone();
        tokio::spawn(async move {
            for _ in 0..300 {
                subject.current(bucket, "hot").await;
            }
        })
    };
    for n in 0..60 {
        let (_, seq) = subject.put(bucket, "hot", inline(&format!("{n}"))).await;
        let seen = subject.current(bucket, "hot").await.unwrap();
        assert_eq!(seen.seq, seq, "the read after the commit sees it");
        if n % 7 == 0 {
            subject.delete(bucket, "hot", VersionTarget::Current).await;
            assert_eq!(subject.current(bucket, "hot").await, None);
        }
    }
    reader.await.unwrap();
}

/// Of many that write a key only if it is absent, one does.
pub(super) async fn one_winner(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let racers: Vec<_> = (0..64)
        .map(|n| {
            let meta = subject.meta.clone();
            tokio::spawn(async move {
                meta.commit(put(bucket, "k", inline(&format!("{n}")), WriteCondition::IfAbsent)).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(Outcome::Written { seq, .. }) => winners.push(seq),
            Err(CommitError::ConditionFailed) => {}
            other => panic!("written or refused, not {other:?}"),
        }
    }
    let current = subject.current(bucket, "k").await.unwrap();
    assert_eq!(winners, [current.seq]);
}

pub(super) async fn the_key_value_bucket(subject: &Subject) {
    let bucket = BucketId::KEY_VALUE;
    assert_eq!(subject.put(bucket, "", inline("empty key")).await.0, VersionId::Null);
    assert!(subject.current(bucket, "").await.is_some());
    assert_eq!(subject.meta.buckets(None, 9).await.unwrap(), [], "it is in no list of buckets");
    subject.delete(bucket, "", VersionTarget::Current).await;
    assert_eq!(subject.current(bucket, "").await, None);
}
