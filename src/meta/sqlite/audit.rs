//! Every row that leads to a body, as it is.

use super::columns::{array, blob, body, etag, limit, manifest, seq, unsigned, version_id};
use super::error::corrupt;
use super::{open, read, sql};
use crate::meta::{
    AuditedBody, AuditedManifest, AuditedUpload, ManifestRow, MetaError, PartRow, UploadRow, VersionKind,
    VersionRow,
};
use crate::types::{BucketId, CommitSeq, UploadId, decode_row_key};
use rusqlite::{Connection, Row};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOG_GROWTH_BYTES: u64 = 4 * open::LOG_BYTES;

pub(super) fn version_rows(db: &Connection, after: &[u8], rows: usize) -> Result<Vec<VersionRow>, MetaError> {
    read::all(db, sql::AUDIT_VERSIONS, &[&after, &limit(rows)], |row| {
        let place = blob(row, 15)?.to_vec();
        let decoded = decode_row_key(&place);
        let name = decoded.zip(version_id_of(row).ok());
        let name = name.map(|((_, bucket, key, _), id)| (bucket, key, id));
        let body = match &name {
            Some((_, key, _)) => read::object_version(row, key).map(|version| match version.kind {
                VersionKind::DeleteMarker => None,
                VersionKind::Object(object) => {
                    Some(AuditedBody { body: object.body, size: object.size, etag: object.etag })
                }
            }),
            None => Err(corrupt("a version's row key")),
        };
        Ok(VersionRow { row: place, name, body: body.map_err(|error| error.to_string()) })
    })
}

fn version_id_of(row: &Row<'_>) -> Result<crate::types::VersionId, MetaError> {
    Ok(version_id(seq(row, 0)?, row.get(1)?))
}

pub(super) fn upload_rows(db: &Connection, after: &[u8], rows: usize) -> Result<Vec<UploadRow>, MetaError> {
    read::all(db, sql::AUDIT_UPLOADS, &[&after, &limit(rows)], |row| {
        let place = blob(row, 0)?.to_vec();
        let upload = upload_of(row, &place).map_err(|error| error.to_string());
        Ok(UploadRow { row: place, upload })
    })
}

fn upload_of(row: &Row<'_>, place: &[u8]) -> Result<AuditedUpload, MetaError> {
    let (_, bucket, key, _) = decode_row_key(place).ok_or_else(|| corrupt("an upload's row key"))?;
    Ok(AuditedUpload { bucket, key, id: UploadId::new(array(blob(row, 1)?)?), seq: seq(row, 2)? })
}

pub(super) fn part_rows(
    db: &Connection,
    upload: CommitSeq,
    after: i64,
    rows: usize,
) -> Result<Vec<PartRow>, MetaError> {
    let upload = upload.get().cast_signed();
    read::all(db, sql::AUDIT_PARTS, &[&upload, &after, &limit(rows)], |row| {
        let body = part_body(row).map_err(|error| error.to_string());
        Ok(PartRow { number: row.get(0)?, body })
    })
}

fn part_body(row: &Row<'_>) -> Result<AuditedBody, MetaError> {
    Ok(AuditedBody { body: body(row, row.get(1)?, 4)?, size: unsigned(row, 2)?, etag: etag(blob(row, 3)?)? })
}

pub(super) fn manifest_rows(
    db: &Connection,
    after: &[u8],
    rows: usize,
) -> Result<Vec<AuditedManifest>, MetaError> {
    read::all(db, sql::MANIFESTS, &[&after, &limit(rows)], |row| {
        let id = blob(row, 0)?.to_vec();
        let decoded = blob(row, 1).and_then(|root| manifest(&id, root));
        let decoded = decoded.map(|(id, root)| ManifestRow { id, root });
        Ok(AuditedManifest { id, manifest: decoded.map_err(|error| error.to_string()) })
    })
}

pub(super) fn bucket_name(db: &Connection, id: BucketId) -> Result<Option<String>, MetaError> {
    read::first(db, sql::BUCKET_BY_ID, &[&id.get()], |row| Ok(row.get(1)?))
}

/// How much the log has grown. A check reads one moment of the database, and while it does the log cannot be begun anew.
struct LogGrowth {
    log: PathBuf,
    most: u64,
}

impl LogGrowth {
    fn of(log: PathBuf) -> Self {
        let before = std::fs::metadata(&log).map_or(0, |log| log.len());
        Self { log, most: before + LOG_GROWTH_BYTES }
    }

    fn is_too_much(&self) -> bool {
        std::fs::metadata(&self.log).is_ok_and(|log| log.len() > self.most)
    }
}

/// What SQLite says of a database, which may be too damaged to be opened as a store; nothing, if nothing is wrong. `thorough`: of
/// its indexes as well. On a connection of its own, for it may take minutes. Given up where the server writes too much
/// meanwhile. Changes nothing.
///
/// # Errors
/// When not even that can be asked.
pub async fn integrity_of(
    path: &Path,
    thorough: bool,
    stop: &CancellationToken,
) -> Result<Vec<String>, MetaError> {
    const CACHE_BYTES: u64 = 8 << 20;
    if stop.is_cancelled() {
        return Ok(Vec::new());
    }
    let log = LogGrowth::of(open::beside(path, "-wal"));
    let failed = |error| MetaError::Database(format!("the check of the database ended: {error}"));
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || open::open_reader(&path, CACHE_BYTES)).await;
    let db = opened.map_err(failed)??;
    let interrupt = db.get_interrupt_handle();
    let mut work = tokio::task::spawn_blocking(move || told(&db, thorough));
    let mut is_given_up = false;
    let told = loop {
        tokio::select! {
            told = &mut work => break told,
            () = tokio::time::sleep(LOOK_EVERY) => {
                is_given_up |= log.is_too_much();
                // Again each time: SQLite forgets one that comes before its statement has begun.
                if is_given_up || stop.is_cancelled() {
                    interrupt.interrupt();
                }
            }
        }
    };
    match told.map_err(failed)? {
        _ if stop.is_cancelled() => Ok(Vec::new()),
        Err(MetaError::Damaged(why)) => Ok(vec![why]),
        Err(MetaError::Database(why)) if is_given_up => {
            tracing::warn!(%why, "the check of the database was given up, since its log grew beside it: `sediment fsck --deep` does it while the server is stopped");
            Ok(Vec::new())
        }
        told => told,
    }
}

fn told(db: &Connection, thorough: bool) -> Result<Vec<String>, MetaError> {
    let pragma = if thorough { "PRAGMA integrity_check(100)" } else { "PRAGMA quick_check(100)" };
    let mut statement = db.prepare(pragma)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
