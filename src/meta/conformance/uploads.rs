//! Multipart uploads: parts and their revisions, completion, abort.

use super::{Subject, chunked, expects, inline, key, manifest, object};
use crate::meta::{
    Change, Commit, CommitError, NewBody, NewPart, NewUpload, Outcome, StoredBody, VersionKind,
    VersionTarget, WriteCondition,
};
use crate::types::{
    Attributes, BucketId, ChecksumAlgorithm, ChecksumKind, CommitSeq, ETag, ObjectLock, PartNumber, TagSet,
    UploadId, Versioning,
};

pub(super) fn number(n: i64) -> PartNumber {
    PartNumber::parse(n).unwrap()
}

pub(super) fn part(body: NewBody) -> NewPart {
    let object = object(body);
    NewPart { body: object.body, size: object.size, etag: object.etag, checksum: None }
}

pub(super) async fn start(subject: &Subject, bucket: BucketId, name: &str, id: u8) -> UploadId {
    let id = UploadId::new([id; 16]);
    let checksum = Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite));
    let attributes = Attributes { storage_class: Some("STANDARD_IA".into()), ..Attributes::default() };
    let upload = NewUpload { id, attributes, checksum, tags: TagSet::default(), lock: ObjectLock::default() };
    subject.commit(Commit::CreateUpload { bucket, key: key(name), upload }).await;
    id
}

async fn put(subject: &Subject, upload: UploadId, n: i64, body: NewBody) -> CommitSeq {
    match subject.commit(Commit::PutPart { upload, number: number(n), part: part(body) }).await {
        Outcome::Part { seq, .. } => seq,
        other => panic!("a part was put, not {other:?}"),
    }
}

pub(super) async fn parts(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let upload = start(subject, bucket, "big", 1).await;
    let found = subject.meta.upload(upload).await.unwrap().unwrap();
    assert_eq!((found.bucket, found.key, found.id), (bucket, key("big"), upload));
    assert_eq!(found.checksum, Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite)));
    assert_eq!(found.attributes.storage_class.as_deref(), Some("STANDARD_IA"));
    let again = NewUpload {
        id: upload,
        attributes: Attributes::default(),
        checksum: None,
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    let again = Commit::CreateUpload { bucket, key: key("other"), upload: again };
    expects!(subject.refuse(again).await, CommitError::InvalidState(_));

    let first = put(subject, upload, 2, chunked(2, 20)).await;
    put(subject, upload, 10_000, inline("end")).await;
    put(subject, upload, 1, chunked(1, 10)).await;
    let second = put(subject, upload, 2, inline("again")).await;
    assert!(second > first, "a part put again is another revision");
    let listed = subject.meta.parts(upload, None, 10).await.unwrap();
    let numbers = |parts: &[crate::meta::Part]| parts.iter().map(|p| p.number.get()).collect::<Vec<_>>();
    assert_eq!(numbers(&listed), [1, 2, 10_000]);
    assert_eq!((listed[1].seq, listed[1].size), (second, 5));
    assert_eq!(listed[1].body, StoredBody::Inline("again".into()));
    assert_eq!(listed[1].etag, ETag::of_body([b'a'; 16]));
    expects!(&listed[0].body, StoredBody::Chunked { id, .. } if *id == manifest(1, 10).id());
    assert_eq!(numbers(&subject.meta.parts(upload, Some(number(1)), 1).await.unwrap()), [2]);
    assert_eq!(subject.meta.parts(UploadId::new([9; 16]), None, 10).await.unwrap(), []);
    let totals = subject.log.totals().await.unwrap();
    assert_eq!((totals.uploads, totals.parts, totals.manifests), (1, 3, 1));
    assert_eq!((totals.logical_bytes, totals.inline_bytes), (18, 8));
    let stray = Commit::PutPart { upload: UploadId::new([9; 16]), number: number(1), part: part(inline("")) };
    expects!(subject.refuse(stray).await, CommitError::NoSuchUpload);
}

pub(super) async fn completing(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let upload = start(subject, bucket, "big", 1).await;
    let old = put(subject, upload, 1, chunked(1, 10)).await;
    let new = put(subject, upload, 1, chunked(2, 10)).await;
    let complete = |parts, condition| {
        let object = object(chunked(3, 10));
        Commit::CompleteUpload { upload, parts, object, condition }
    };
    let replaced = complete(vec![(number(1), old)], WriteCondition::None);
    expects!(subject.refuse(replaced).await, CommitError::PartGone(n) if n == number(1));
    let missing = complete(vec![(number(1), new), (number(2), new)], WriteCondition::None);
    expects!(subject.refuse(missing).await, CommitError::PartGone(n) if n == number(2));
    let conditional = complete(vec![(number(1), new)], WriteCondition::IfExists);
    expects!(subject.refuse(conditional).await, CommitError::NoSuchKey);
    subject.commit(complete(vec![(number(1), new)], WriteCondition::IfAbsent)).await;

    assert_eq!(subject.meta.upload(upload).await.unwrap(), None);
    assert_eq!(subject.meta.parts(upload, None, 9).await.unwrap(), []);
    let version = subject.current(bucket, "big").await.unwrap();
    expects!(
        version.kind,
        VersionKind::Object(data) if matches!(&data.body, StoredBody::Chunked { id, .. } if *id == manifest(3, 10).id())
    );
    let manifests = subject.log.manifests(None, 9).await.unwrap();
    assert_eq!(manifests.iter().map(|row| row.id).collect::<Vec<_>>(), [manifest(3, 10).id()]);
    expects!(subject.refuse(complete(Vec::new(), WriteCondition::None)).await, CommitError::NoSuchUpload);
}

/// What an upload's completion made is found by the upload, wherever it stands, until it is deleted.
pub(super) async fn completed(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.versioning(bucket, Versioning::Enabled).await;
    let upload = start(subject, bucket, "big", 1).await;
    let found = |name: &'static str, upload| async move {
        let version = subject.meta.completed(bucket, &key(name), upload).await.unwrap();
        version.map(|version| (version.id, version.is_latest))
    };
    assert_eq!(found("big", upload).await, None, "it is still open");
    let seq = put(subject, upload, 1, chunked(1, 10)).await;
    let (parts, condition) = (vec![(number(1), seq)], WriteCondition::None);
    let complete = Commit::CompleteUpload { upload, parts, object: object(chunked(1, 10)), condition };
    let Outcome::Written { id, .. } = subject.commit(complete).await else { panic!("a version") };
    assert_eq!(found("big", upload).await, Some((id, true)));
    assert_eq!(found("other", upload).await, None, "another key's");
    let stranger = start(subject, bucket, "big", 2).await;
    subject.commit(Commit::AbortUpload { upload: stranger, rules_as_of: None }).await;
    assert_eq!(found("big", stranger).await, None, "it was aborted");
    subject.put(bucket, "big", chunked(1, 10)).await;
    assert_eq!(found("big", upload).await, Some((id, false)), "a newer version hides nothing");
    subject.delete(bucket, "big", VersionTarget::Version(id)).await;
    assert_eq!(found("big", upload).await, None);
}

/// However many parts an upload has, no record of the log grows with them (I5).
pub(super) async fn many_parts(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    for (id, ends) in [(1, "completed"), (2, "aborted")] {
        let upload = start(subject, bucket, ends, id).await;
        let mut parts = Vec::new();
        for n in 1..=300_i64 {
            let len = u64::from(id) * 1_000 + n.unsigned_abs();
            parts.push((number(n), put(subject, upload, n, chunked(id, len)).await));
        }
        let before = subject.log.last_seq().await.unwrap();
        let (object, condition) = (object(inline("whole")), WriteCondition::None);
        subject
            .commit(match id {
                1 => Commit::CompleteUpload { upload, parts, object, condition },
                _ => Commit::AbortUpload { upload, rules_as_of: None },
            })
            .await;
        let records = subject.log.changes_after(before, 100).await.unwrap();
        let dropped: Vec<_> = records.iter().map(|record| record.dropped.len()).collect();
        assert_eq!(dropped, [0, 128, 128, 44], "{ends}");
        assert!(records[1..].iter().all(|record| record.change == Change::Released));
        assert_eq!(records.last().map(|record| record.seq), subject.log.last_seq().await.ok());
        assert_eq!(subject.log.manifests(None, 9).await.unwrap(), []);
    }
}

pub(super) async fn aborting(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    let upload = start(subject, bucket, "big", 1).await;
    let body = chunked(1, 10);
    put(subject, upload, 1, body.clone()).await;
    put(subject, upload, 2, body).await;
    subject.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
    assert_eq!(subject.meta.upload(upload).await.unwrap(), None);
    assert_eq!(subject.log.manifests(None, 9).await.unwrap(), []);
    assert_eq!(subject.log.totals().await.unwrap().logical_bytes, 0);
    expects!(
        subject.refuse(Commit::AbortUpload { upload, rules_as_of: None }).await,
        CommitError::NoSuchUpload
    );
    assert_eq!(subject.current(bucket, "big").await, None);
}
