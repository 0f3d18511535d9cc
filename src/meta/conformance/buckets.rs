//! Buckets: names, ids for life, versioning states, deletion.

use super::{Subject, expects, inline};
use crate::meta::{Commit, CommitError, NewUpload, Outcome, VersionTarget};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, ObjectLock, TagSet, UploadId, Versioning,
};

fn name(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

pub(super) async fn names_and_states(subject: &Subject) {
    let id = subject.bucket("middle").await;
    subject.bucket("first").await;
    subject.bucket("second").await;
    expects!(
        subject
            .refuse(Commit::CreateBucket {
                name: name("middle"),
                owner: None,
                lock: false,
                settings: BucketSettings::default()
            })
            .await,
        CommitError::BucketExists
    );
    let names = |buckets: Vec<crate::meta::Bucket>| -> Vec<String> {
        buckets.iter().map(|bucket| bucket.name.to_string()).collect()
    };
    let meta = &subject.meta;
    assert_eq!(names(meta.buckets(None, 10).await.unwrap()), ["first", "middle", "second"]);
    assert_eq!(names(meta.buckets(None, 1).await.unwrap()), ["first"]);
    assert_eq!(names(meta.buckets(Some(&name("first")), 1).await.unwrap()), ["middle"]);
    assert_eq!(names(meta.buckets(Some(&name("gone-by-now")), 9).await.unwrap()), ["middle", "second"]);
    assert_eq!(meta.bucket(&name("missing")).await.unwrap(), None);

    let state = || async { meta.bucket(&name("middle")).await.unwrap().unwrap().versioning };
    assert_eq!(state().await, Versioning::Unversioned);
    for versioning in [Versioning::Enabled, Versioning::Suspended, Versioning::Enabled] {
        subject.versioning(id, versioning).await;
        assert_eq!(state().await, versioning, "a read after the commit sees the new state");
    }
    let back = Commit::SetVersioning { bucket: id, versioning: Versioning::Unversioned };
    expects!(subject.refuse(back).await, CommitError::InvalidState(_));
    let unknown = Commit::SetVersioning { bucket: BucketId::new(99), versioning: Versioning::Enabled };
    expects!(subject.refuse(unknown).await, CommitError::NoSuchBucket);
    let reserved = Commit::SetVersioning { bucket: BucketId::KEY_VALUE, versioning: Versioning::Enabled };
    expects!(subject.refuse(reserved).await, CommitError::InvalidState(_));
}

pub(super) async fn deleting(subject: &Subject) {
    let id = subject.bucket("short-lived").await;
    let gone = || Commit::DeleteBucket { bucket: id };
    subject.put(id, "k", inline("x")).await;
    expects!(subject.refuse(gone()).await, CommitError::BucketNotEmpty);
    subject.delete(id, "k", VersionTarget::Current).await;

    // A delete marker keeps a bucket, and so does an open upload, which is for the caller to abort.
    subject.versioning(id, Versioning::Enabled).await;
    let (marker, _) = subject.delete(id, "k", VersionTarget::Current).await;
    expects!(subject.refuse(gone()).await, CommitError::BucketNotEmpty);
    subject.delete(id, "k", VersionTarget::Version(marker.unwrap())).await;
    let upload = UploadId::new([7; 16]);
    let new = NewUpload {
        id: upload,
        attributes: Attributes::default(),
        checksum: None,
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    };
    subject.commit(Commit::CreateUpload { bucket: id, key: super::key("k"), upload: new }).await;
    subject
        .commit(Commit::PutPart {
            upload,
            number: super::uploads::number(1),
            part: super::uploads::part(super::chunked(1, 10)),
        })
        .await;
    expects!(subject.refuse(gone()).await, CommitError::UploadsOpen);
    subject.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
    assert_eq!(subject.commit(gone()).await, Outcome::Done);
    assert_eq!(subject.meta.bucket(&name("short-lived")).await.unwrap(), None);
    let totals = subject.log.totals().await.unwrap();
    assert_eq!((totals.uploads, totals.parts, totals.manifests, totals.logical_bytes), (0, 0, 0, 0));
    expects!(subject.refuse(gone()).await, CommitError::NoSuchBucket);
    expects!(
        subject.refuse(super::put(id, "k", inline("x"), super::WriteCondition::None)).await,
        CommitError::NoSuchBucket
    );

    let again = subject.bucket("short-lived").await;
    assert_ne!(again, id, "an id is never used again");
    let bucket = subject.meta.bucket(&name("short-lived")).await.unwrap().unwrap();
    assert_eq!((bucket.id, bucket.versioning), (again, Versioning::Unversioned));
    expects!(subject.refuse(gone()).await, CommitError::NoSuchBucket);
    assert!(subject.meta.bucket(&name("short-lived")).await.unwrap().is_some(), "it is another bucket");
}
