//! What tests of every room store.

use super::{Commit, MetaStore, NewBody, NewObject, Outcome};
use crate::types::{Attributes, BucketId, BucketName, BucketSettings, ETag, ObjectLock, TagSet};
use md5::{Digest, Md5};

/// An unversioned bucket, `bucket`.
pub(crate) async fn create_bucket(meta: &dyn MetaStore) -> BucketId {
    let (name, settings) = (BucketName::parse("bucket").unwrap(), BucketSettings::default());
    let create = Commit::CreateBucket { name, owner: None, lock: false, settings };
    match meta.commit(create).await.unwrap() {
        Outcome::Bucket(bucket) => bucket.id,
        other => panic!("a bucket was created, not {other:?}"),
    }
}

/// An object in one piece, with nothing to tell of it. Its ETag is made up, unless the body stands in the row.
pub(crate) fn object(body: NewBody, size: u64) -> NewObject {
    let etag = match &body {
        NewBody::Inline(bytes) => ETag::of_body(Md5::digest(bytes).into()),
        _ => ETag::of_body([1; 16]),
    };
    NewObject {
        body,
        size,
        etag,
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    }
}
