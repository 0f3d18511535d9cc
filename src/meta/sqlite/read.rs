//! What readers ask of the database. Each question is answered from one snapshot.

use super::columns::{
    DELETE_MARKER, announced, array, blob, body, bucket, checksum, etag, limit, manifest, millis,
    optional_blob, seq, unpack_or_default, unsigned, version_id,
};
use super::error::corrupt;
use super::{record, sql, state};
use crate::meta::{
    Bucket, Duplicate, LogRecord, ManifestRow, MetaError, ObjectData, ObjectVersion, Part, PlainVersion,
    Upload, VersionKind, VersionPlace,
};
use crate::types::{
    BucketId, BucketName, CommitSeq, ManifestId, Namespace, ObjectKey, PartNumber, PlainId, UnixMillis,
    UploadId, VersionId, decode_row_key, object_prefix, object_prefix_end, row_key,
};
use rusqlite::{Connection, Row, ToSql, params};

/// The most bytes of log records in one answer, unless one record alone has more.
pub(super) const CHANGES_BYTES: usize = 8 << 20;

/// Runs several statements on one snapshot.
pub(super) fn snapshot<T>(
    db: &Connection,
    ask: impl FnOnce(&Connection) -> Result<T, MetaError>,
) -> Result<T, MetaError> {
    let transaction = db.unchecked_transaction()?;
    let answer = ask(&transaction)?;
    transaction.finish()?;
    Ok(answer)
}

/// The first row that a statement gives.
pub(super) fn first<T>(
    db: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnOnce(&Row<'_>) -> Result<T, MetaError>,
) -> Result<Option<T>, MetaError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> Result<T, MetaError>,
) -> Result<Vec<T>, MetaError> {
    let mut statement = db.prepare_cached(sql)?;
    statement.query_and_then(params, read)?.collect()
}

pub(super) fn bucket_by_name(db: &Connection, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
    first(db, sql::BUCKET_BY_NAME, &[&name.as_str()], bucket)
}

pub(super) fn buckets(
    db: &Connection,
    after: Option<&BucketName>,
    rows: usize,
) -> Result<Vec<Bucket>, MetaError> {
    all(db, sql::BUCKETS, &[&after.map_or("", BucketName::as_str), &limit(rows)], bucket)
}

pub(super) fn version(
    db: &Connection,
    bucket: BucketId,
    key: &ObjectKey,
    id: Option<VersionId>,
) -> Result<Option<ObjectVersion>, MetaError> {
    let start = object_prefix(Namespace::Versions, bucket, key.as_bytes());
    let read = |row: &Row<'_>| object_version(row, key);
    match id {
        None => {
            let end = object_prefix_end(Namespace::Versions, bucket, key.as_bytes());
            first(db, sql::CURRENT, &[&start, &end], read)
        }
        Some(id @ VersionId::Id { seq, .. }) => {
            let row = row_key(Namespace::Versions, bucket, key.as_bytes(), !seq.get());
            let found = first(db, sql::VERSION_AT, &[&row, &start], read)?;
            Ok(found.filter(|version| version.id == id))
        }
        Some(VersionId::Null) => snapshot(db, |db| {
            let end = object_prefix_end(Namespace::Versions, bucket, key.as_bytes());
            let Some(row) = null_row(db, &start, &end)? else { return Ok(None) };
            first(db, sql::VERSION_AT, &[&row, &start], read)
        }),
    }
}

pub(super) fn completed(
    db: &Connection,
    bucket: BucketId,
    key: &ObjectKey,
    upload: UploadId,
) -> Result<Option<ObjectVersion>, MetaError> {
    let start = object_prefix(Namespace::Versions, bucket, key.as_bytes());
    let end = object_prefix_end(Namespace::Versions, bucket, key.as_bytes());
    first(db, sql::COMPLETED, &[upload.as_bytes(), &start, &end], |row| object_version(row, key))
}

/// The row of a key's null version. One written before the bucket had versioning is the key's oldest row; one
/// written while it was suspended is in an index of its own. So no key's history is ever searched.
pub(super) fn null_row(db: &Connection, start: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
    let oldest = first(db, sql::OLDEST, &[&start, &end], |row| {
        Ok((blob(row, 0)?.to_vec(), row.get::<_, Option<i64>>(1)?))
    })?;
    match oldest {
        None => Ok(None),
        Some((row, None)) => Ok(Some(row)),
        Some((_, Some(_))) => {
            first(db, sql::SUSPENDED_NULL, &[&start, &end], |row| Ok(blob(row, 0)?.to_vec()))
        }
    }
}

/// From the columns of `CURRENT`, `VERSION_AT`, `COMPLETED` and `AUDIT_VERSIONS`.
pub(super) fn object_version(row: &Row<'_>, key: &ObjectKey) -> Result<ObjectVersion, MetaError> {
    let seq = seq(row, 0)?;
    let kind = match row.get(4)? {
        DELETE_MARKER => VersionKind::DeleteMarker,
        kind => VersionKind::Object(ObjectData {
            body: body(row, kind, 8)?,
            size: unsigned(row, 5)?,
            etag: etag(blob(row, 6)?)?,
            checksum: optional_blob(row, 7)?.map(checksum).transpose()?,
            attributes: unpack_or_default(optional_blob(row, 11)?)?,
            parts: unpack_or_default(optional_blob(row, 12)?)?,
            tags: unpack_or_default(optional_blob(row, 13)?)?,
            lock: unpack_or_default(optional_blob(row, 14)?)?,
        }),
    };
    let id = version_id(seq, row.get(1)?);
    Ok(ObjectVersion { key: key.clone(), id, seq, modified: millis(row, 2)?, is_latest: row.get(3)?, kind })
}

pub(super) fn upload(db: &Connection, id: UploadId) -> Result<Option<Upload>, MetaError> {
    first(db, sql::UPLOAD, &[id.as_bytes()], |row| {
        let (_, bucket, key, _) =
            decode_row_key(blob(row, 0)?).ok_or_else(|| corrupt("an upload's row key"))?;
        Ok(Upload {
            id,
            bucket,
            key,
            seq: seq(row, 1)?,
            initiated: millis(row, 2)?,
            attributes: unpack_or_default(optional_blob(row, 4)?)?,
            checksum: row.get::<_, Option<i64>>(3)?.map(announced).transpose()?,
            tags: unpack_or_default(optional_blob(row, 5)?)?,
            lock: unpack_or_default(optional_blob(row, 6)?)?,
        })
    })
}

pub(super) fn upload_row(db: &Connection, id: UploadId) -> Result<Option<Vec<u8>>, MetaError> {
    first(db, sql::UPLOAD, &[id.as_bytes()], |row| Ok(blob(row, 0)?.to_vec()))
}

pub(super) fn parts(
    db: &Connection,
    upload: UploadId,
    after: Option<PartNumber>,
    rows: usize,
) -> Result<Vec<Part>, MetaError> {
    let after = after.map_or(0, PartNumber::get);
    all(db, sql::PARTS, &[upload.as_bytes(), &after, &limit(rows)], |row| {
        Ok(Part {
            number: PartNumber::parse(row.get(0)?).map_err(corrupt)?,
            seq: seq(row, 1)?,
            modified: millis(row, 2)?,
            body: body(row, row.get(4)?, 8)?,
            size: unsigned(row, 5)?,
            etag: etag(blob(row, 6)?)?,
            checksum: optional_blob(row, 7)?.map(checksum).transpose()?,
        })
    })
}

pub(super) fn changes_after(
    db: &Connection,
    after: CommitSeq,
    rows: usize,
) -> Result<Vec<LogRecord>, MetaError> {
    snapshot(db, |db| {
        let after_seq = after.get().cast_signed();
        let mut statement = db.prepare_cached(sql::CHANGES)?;
        let mut found = statement.query(params![after_seq, limit(rows.max(1))])?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let record = blob(row, 2)?;
            bytes += record.len();
            if bytes > CHANGES_BYTES && !records.is_empty() {
                break;
            }
            records.push(record::decode(seq(row, 0)?, millis(row, 1)?, record)?);
        }
        let whole = match records.first() {
            Some(first) => first.seq == after.next(),
            None => state::load(db)?.last_seq <= after,
        };
        if !whole {
            return Err(MetaError::Trimmed(after));
        }
        records.truncate(rows);
        Ok(records)
    })
}

pub(super) fn manifests(
    db: &Connection,
    after: Option<ManifestId>,
    rows: usize,
) -> Result<Vec<ManifestRow>, MetaError> {
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    all(db, sql::MANIFESTS, &[&after, &limit(rows)], |row| {
        let (id, root) = manifest(blob(row, 0)?, blob(row, 1)?)?;
        Ok(ManifestRow { id, root })
    })
}

pub(super) fn duplicates(
    db: &Connection,
    after: Option<ManifestId>,
    rows: usize,
) -> Result<Vec<Duplicate>, MetaError> {
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    all(db, sql::DUPLICATES, &[&after, &limit(rows)], |row| {
        let id = ManifestId::new(array(blob(row, 0)?)?);
        Ok(Duplicate { id, references: unsigned(row, 1)?, size: unsigned(row, 2)? })
    })
}

pub(super) fn versions_of_body(
    db: &Connection,
    body: ManifestId,
    after: Option<&VersionPlace>,
    rows: usize,
) -> Result<Vec<VersionPlace>, MetaError> {
    let after = after.map_or_else(Vec::new, |place| {
        row_key(Namespace::Versions, place.bucket, place.key.as_bytes(), !place.seq.get())
    });
    all(db, sql::OF_BODY, &[body.as_bytes(), &after, &limit(rows)], version_place)
}

pub(super) fn versions_before(
    db: &Connection,
    time: UnixMillis,
    after: Option<&VersionPlace>,
    rows: usize,
) -> Result<Vec<VersionPlace>, MetaError> {
    let after = after.map_or(0, |place| place.seq.get().cast_signed());
    let mut statement = db.prepare_cached(sql::BY_AGE)?;
    let mut places = Vec::new();
    for place in statement.query_and_then(params![after, limit(rows)], version_place)? {
        let place = place?;
        // Stamps never decrease, so everything behind is younger still.
        if place.modified >= time {
            break;
        }
        places.push(place);
    }
    Ok(places)
}

fn version_place(row: &Row<'_>) -> Result<VersionPlace, MetaError> {
    let decoded = decode_row_key(blob(row, 0)?);
    let (_, bucket, key, order) = decoded.ok_or_else(|| corrupt("a version's row key"))?;
    let seq = CommitSeq::new(!order);
    Ok(VersionPlace { bucket, key, id: version_id(seq, row.get(1)?), seq, modified: millis(row, 2)? })
}

pub(super) fn plain_versions(
    db: &Connection,
    after: Option<&VersionPlace>,
    rows: usize,
) -> Result<Vec<PlainVersion>, MetaError> {
    let after = after.map_or_else(Vec::new, |place| {
        row_key(Namespace::Versions, place.bucket, place.key.as_bytes(), !place.seq.get())
    });
    all(db, sql::PLAIN_VERSIONS, &[&after, &limit(rows)], |row| {
        let (size, etag) = (unsigned(row, 3)?, etag(blob(row, 4)?)?);
        Ok(PlainVersion { place: version_place(row)?, body: PlainId::new(array(blob(row, 5)?)?), size, etag })
    })
}

pub(super) fn plain_bodies(
    db: &Connection,
    after: Option<PlainId>,
    rows: usize,
) -> Result<Vec<PlainId>, MetaError> {
    let after = after.as_ref().map_or(&[][..], |id| id.as_bytes());
    all(db, sql::PLAINS, &[&after, &limit(rows)], |row| Ok(PlainId::new(array(blob(row, 0)?)?)))
}
