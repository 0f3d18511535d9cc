//! The lifecycle worker's agenda in the database.

use super::apply::Session;
use super::columns::{
    DELETE_MARKER, blob, bucket, limit, millis, optional_blob, seq, unpack_or_default, unsigned, version_id,
};
use super::error::corrupt;
use super::read::{all, first};
use super::sql;
use crate::meta::{
    AgendaChange, Bucket, CommitError, DueKey, HistoryEntry, HistoryObject, MetaError, Outcome, ScanPosition,
    listing,
};
use crate::types::{
    Attributes, BucketId, CommitSeq, Namespace, ObjectKey, UnixMillis, decode_row_key, object_prefix,
    object_prefix_end, row_key,
};
use rusqlite::{Connection, params};

const VERSIONS: u8 = 0;
const UPLOADS: u8 = 1;

impl Session<'_> {
    pub(super) fn change_agenda(&mut self, changes: &[AgendaChange]) -> Result<Outcome, CommitError> {
        for change in changes {
            match change {
                AgendaChange::Touch { bucket, key, at, touched } => {
                    let touched = touched.get().cast_signed();
                    let mut touch = self.db.prepare_cached(sql::TOUCH)?;
                    touch.execute(params![bucket.get(), key.as_bytes(), at.get(), touched])?;
                }
                AgendaChange::Settle { bucket, key, touched, next } => {
                    let touched = touched.get().cast_signed();
                    match next {
                        Some(at) => self.db.prepare_cached(sql::SETTLE)?.execute(params![
                            bucket.get(),
                            key.as_bytes(),
                            touched,
                            at.get()
                        ])?,
                        None => self.db.prepare_cached(sql::SETTLE_FOR_GOOD)?.execute(params![
                            bucket.get(),
                            key.as_bytes(),
                            touched
                        ])?,
                    };
                }
                AgendaChange::Scan { bucket, position: Some(position) } => {
                    let mut set = self.db.prepare_cached(sql::SET_SCAN)?;
                    set.execute(params![bucket.get(), encode(position)])?;
                }
                AgendaChange::Scan { bucket, position: None } => {
                    self.db.prepare_cached(sql::DROP_SCAN)?.execute([bucket.get()])?;
                }
            }
        }
        Ok(Outcome::Done)
    }
}

fn encode(position: &ScanPosition) -> Vec<u8> {
    match position {
        ScanPosition::Versions(key) => [&[VERSIONS], key.as_slice()].concat(),
        ScanPosition::Uploads(key) => [&[UPLOADS], key.as_slice()].concat(),
    }
}

fn decode(position: &[u8]) -> Result<ScanPosition, MetaError> {
    match position.split_first() {
        Some((&VERSIONS, key)) => Ok(ScanPosition::Versions(key.to_vec())),
        Some((&UPLOADS, key)) => Ok(ScanPosition::Uploads(key.to_vec())),
        _ => Err(corrupt("the position of a scan")),
    }
}

pub(super) fn due_keys(db: &Connection, now: UnixMillis, rows: usize) -> Result<Vec<DueKey>, MetaError> {
    all(db, sql::DUE, &[&now.get(), &limit(rows)], |row| {
        Ok(DueKey {
            bucket: BucketId::new(row.get(0)?),
            key: ObjectKey::opaque(blob(row, 1)?.to_vec()),
            at: millis(row, 2)?,
            touched: seq(row, 3)?,
        })
    })
}

pub(super) fn next_due(db: &Connection) -> Result<Option<UnixMillis>, MetaError> {
    first(db, sql::NEXT_DUE, &[], |row| millis(row, 0))
}

pub(super) fn scans(db: &Connection) -> Result<Vec<(BucketId, ScanPosition)>, MetaError> {
    all(db, sql::SCANS, &[], |row| Ok((BucketId::new(row.get(0)?), decode(blob(row, 1)?)?)))
}

pub(super) fn key_behind(
    db: &Connection,
    bucket: BucketId,
    position: &ScanPosition,
) -> Result<Option<ObjectKey>, MetaError> {
    let (namespace, key, sql) = match position {
        ScanPosition::Versions(key) => (Namespace::Versions, key, sql::FIRST_VERSION),
        ScanPosition::Uploads(key) => (Namespace::Uploads, key, sql::FIRST_UPLOAD),
    };
    let (from, end) = listing::rows_behind(namespace, bucket, key);
    first(db, sql, &[&from, &end], |row| {
        let (_, _, key, _) = decode_row_key(blob(row, 0)?).ok_or_else(|| corrupt("a row key"))?;
        Ok(key)
    })
}

pub(super) fn buckets_with_rules(db: &Connection) -> Result<Vec<Bucket>, MetaError> {
    let mut buckets = all(db, sql::BUCKETS_WITH_SETTINGS, &[], bucket)?;
    buckets.retain(|bucket| bucket.settings.lifecycle.is_some());
    Ok(buckets)
}

pub(super) fn history(
    db: &Connection,
    bucket: BucketId,
    key: &ObjectKey,
    before: Option<CommitSeq>,
    rows: usize,
) -> Result<Vec<HistoryEntry>, MetaError> {
    let end = object_prefix_end(Namespace::Versions, bucket, key.as_bytes());
    let behind = match before {
        None => object_prefix(Namespace::Versions, bucket, key.as_bytes()),
        Some(before) => row_key(Namespace::Versions, bucket, key.as_bytes(), !before.get()),
    };
    all(db, sql::HISTORY, &[&behind, &end, &limit(rows)], |row| {
        let seq = seq(row, 0)?;
        let is_marker = row.get::<_, i64>(3)? == DELETE_MARKER;
        let object = || -> Result<_, MetaError> {
            let Attributes { storage_class, .. } = unpack_or_default(optional_blob(row, 6)?)?;
            Ok(HistoryObject {
                size: unsigned(row, 4)?,
                tags: unpack_or_default(optional_blob(row, 5)?)?,
                storage_class,
                lock: unpack_or_default(optional_blob(row, 7)?)?,
            })
        };
        Ok(HistoryEntry {
            id: version_id(seq, row.get(1)?),
            seq,
            modified: millis(row, 2)?,
            object: if is_marker { None } else { Some(object()?) },
        })
    })
}
