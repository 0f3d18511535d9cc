//! Versions that were stored whole, and get another body of the same bytes.

use super::{Subject, chunked, expects, key, manifest};
use crate::meta::{
    Change, Commit, CommitError, NewBody, Outcome, PlainVersion, StoredBody, VersionKind, VersionTarget,
};
use crate::types::{Body, PlainId, Versioning};

const WHOLE: PlainId = PlainId::new([7; 16]);

fn replace(found: &PlainVersion, body: NewBody) -> Commit {
    Commit::ReplacePlain { place: found.place.clone(), plain: found.body, body }
}

async fn whole(subject: &Subject) -> Vec<PlainVersion> {
    subject.inspect.plain_versions(None, 9).await.unwrap()
}

pub(super) async fn plain_bodies(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.put(bucket, "a", NewBody::Plain(WHOLE)).await;
    subject.put(bucket, "b", NewBody::SharedPlain(WHOLE)).await;
    subject.put(bucket, "c", chunked(3, 10)).await;
    let found = whole(subject).await;
    assert_eq!(found.iter().map(|found| found.body).collect::<Vec<_>>(), [WHOLE; 2]);
    let behind = subject.inspect.plain_versions(Some(&found[0].place), 1).await.unwrap();
    assert_eq!(behind, found[1..]);
    let (before, totals) = (subject.current(bucket, "a").await.unwrap(), subject.log.totals().await.unwrap());

    let id = found[0].place.id;
    assert_eq!(subject.commit(replace(&found[0], chunked(1, 10))).await, Outcome::Changed { id });
    let after = subject.current(bucket, "a").await.unwrap();
    assert_eq!((after.id, after.modified, after.seq), (before.id, before.modified, before.seq));
    let (VersionKind::Object(mut is), VersionKind::Object(was)) = (after.kind, before.kind) else {
        panic!("objects")
    };
    let root = manifest(1, 10);
    expects!(&is.body, StoredBody::Chunked { id, .. } if *id == root.id());
    is.body = was.body.clone();
    assert_eq!(is, was, "nothing else of it changed");
    let now = subject.log.totals().await.unwrap();
    assert_eq!((now.manifests, now.logical_bytes), (totals.manifests + 1, totals.logical_bytes));
    let last = subject.log.last_seq().await.unwrap();
    let record = subject.log.changes_after(crate::types::CommitSeq::new(last.get() - 1), 1).await.unwrap();
    let body = Body::Chunked(root.id());
    assert_eq!(record[0].change, Change::BodyReplaced { bucket, key: key("a"), id, body });
    assert_eq!(record[0].added[0].id, root.id(), "the index learns of it");

    assert_eq!(subject.inspect.plain_bodies(None, 9).await.unwrap(), [WHOLE], "the other one has it still");
    subject.commit(replace(&found[1], NewBody::SharedManifest(root.id()))).await;
    assert_eq!(
        (whole(subject).await, subject.inspect.plain_bodies(None, 9).await.unwrap()),
        (vec![], vec![])
    );
}

pub(super) async fn only_what_was_read(subject: &Subject) {
    let bucket = subject.bucket("bucket").await;
    subject.put(bucket, "k", NewBody::Plain(WHOLE)).await;
    let found = whole(subject).await.remove(0);
    let gone = NewBody::SharedManifest(manifest(9, 9).id());
    expects!(subject.refuse(replace(&found, gone)).await, CommitError::BodyGone);
    // Overwritten with the very file: the null version is another one by now.
    subject.put(bucket, "k", NewBody::SharedPlain(WHOLE)).await;
    expects!(subject.refuse(replace(&found, chunked(1, 10))).await, CommitError::ConditionFailed);
    let found = whole(subject).await.remove(0);
    let other = PlainVersion { body: PlainId::new([8; 16]), ..found.clone() };
    expects!(subject.refuse(replace(&other, chunked(1, 10))).await, CommitError::ConditionFailed);
    subject.delete(bucket, "k", VersionTarget::Current).await;
    expects!(subject.refuse(replace(&found, chunked(1, 10))).await, CommitError::NoSuchKey);
    subject.versioning(bucket, Versioning::Enabled).await;
    subject.put(bucket, "k", NewBody::Plain(WHOLE)).await;
    let found = whole(subject).await.remove(0);
    subject.delete(bucket, "k", VersionTarget::Current).await;
    subject.commit(replace(&found, chunked(1, 10))).await;
    assert_eq!(whole(subject).await, [], "also below a delete marker");
}
