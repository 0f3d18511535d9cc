//! What tests of every room store.

use super::{Commit, MetaStore, NewBody, NewObject, Outcome};
use crate::types::{Attributes, BucketId, BucketName, BucketSettings, ETag, ObjectLock, TagSet};
use md5::{Digest, Md5};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

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

/// What a database holds, but for what its log does not tell: cursors, the agenda, and the clock of locks.
const TABLES: [&str; 8] = [
    "SELECT last_seq, last_at, last_bucket, buckets, versions, delete_markers, logical_bytes, uploads, parts,
        manifests, manifest_bytes, inline_bytes FROM state",
    "SELECT * FROM buckets ORDER BY id",
    "SELECT * FROM versions ORDER BY row",
    "SELECT * FROM manifests ORDER BY n",
    "SELECT * FROM plains ORDER BY id",
    "SELECT * FROM uploads ORDER BY row",
    "SELECT * FROM parts ORDER BY upload, number",
    "SELECT * FROM changes ORDER BY seq",
];

pub(crate) type Rows = Vec<Vec<Value>>;

/// All that a replayed log has to make; `trimmed`: without the log itself.
pub(crate) fn dump(path: &Path, trimmed: bool) -> Vec<Rows> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let rows = |sql: &&str| -> Rows {
        let mut statement = db.prepare(sql).unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows: rusqlite::Result<Rows> = statement.query_map([], read).unwrap().collect();
        rows.unwrap()
    };
    let tables = if trimmed { &TABLES[..7] } else { &TABLES[..] };
    tables.iter().map(rows).collect()
}
