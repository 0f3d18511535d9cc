//! The listing algorithm's view of a snapshot.

use super::columns::{
    DELETE_MARKER, announced, array, blob, checksum, etag, millis, optional_blob, seq, unpack_or_default,
    unsigned, version_id,
};
use super::{read, sql};
use crate::meta::listing::{Positions, Seen, Source, Step, Visit};
use crate::meta::{ListedObject, ListedVersion, MetaError, UploadEntry};
use crate::types::{BucketId, Namespace, ObjectKey, UploadId, object_prefix, object_prefix_end};
use rusqlite::{Connection, Row, params};
use serde::Deserialize;

/// A connection inside a read transaction.
#[derive(Debug)]
pub(super) struct Snapshot<'c>(pub &'c Connection);

/// The one attribute that listings show.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedAttributes {
    storage_class: Option<String>,
}

impl Snapshot<'_> {
    fn first_row(&self, sql: &str, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params![from, end])?;
        rows.next()?.map(|row| Ok(blob(row, 0)?.to_vec())).transpose()
    }

    fn rows<E>(
        &self,
        sql: &str,
        (from, end): (&[u8], &[u8]),
        visit: &mut Visit<'_, E>,
        entry: impl Fn(&Row<'_>, ObjectKey) -> Result<E, MetaError>,
    ) -> Result<(), MetaError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params![from, end])?;
        while let Some(row) = rows.next()? {
            let entry = |key| entry(row, key);
            let seen = Seen { row: blob(row, 0)?, entry: &entry };
            if visit(seen)? == Step::Stop {
                break;
            }
        }
        Ok(())
    }
}

/// From the columns of `SCAN_OBJECTS` and `SCAN_VERSIONS`.
fn listed(row: &Row<'_>, key: ObjectKey) -> Result<ListedObject, MetaError> {
    let attributes: ListedAttributes = unpack_or_default(optional_blob(row, 8)?)?;
    let checksum = optional_blob(row, 7)?.map(checksum).transpose()?;
    Ok(ListedObject {
        key,
        size: unsigned(row, 5)?,
        etag: etag(blob(row, 6)?)?,
        modified: millis(row, 3)?,
        checksum: checksum.map(|sum| (sum.algorithm(), sum.kind())),
        storage_class: attributes.storage_class,
    })
}

impl Source<ListedObject> for Snapshot<'_> {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.first_row(sql::FIRST_OBJECT, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, ListedObject>) -> Result<(), MetaError> {
        self.rows(sql::SCAN_OBJECTS, (from, end), visit, listed)
    }
}

impl Source<ListedVersion> for Snapshot<'_> {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.first_row(sql::FIRST_VERSION, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, ListedVersion>) -> Result<(), MetaError> {
        self.rows(sql::SCAN_VERSIONS, (from, end), visit, |row, key| {
            let marker = row.get::<_, i64>(4)? == DELETE_MARKER;
            let object = if marker { None } else { Some(listed(row, key.clone())?) };
            let id = version_id(seq(row, 1)?, row.get(2)?);
            Ok(ListedVersion { key, id, is_latest: false, modified: millis(row, 3)?, object })
        })
    }
}

impl Source<UploadEntry> for Snapshot<'_> {
    fn first(&self, from: &[u8], end: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        self.first_row(sql::FIRST_UPLOAD, from, end)
    }

    fn scan(&self, from: &[u8], end: &[u8], visit: &mut Visit<'_, UploadEntry>) -> Result<(), MetaError> {
        self.rows(sql::SCAN_UPLOADS, (from, end), visit, |row, key| {
            let attributes: ListedAttributes = unpack_or_default(optional_blob(row, 5)?)?;
            Ok(UploadEntry::Upload {
                id: UploadId::new(array(blob(row, 1)?)?),
                key,
                seq: seq(row, 2)?,
                initiated: millis(row, 3)?,
                checksum: row.get::<_, Option<i64>>(4)?.map(announced).transpose()?,
                storage_class: attributes.storage_class,
            })
        })
    }
}

impl Positions for Snapshot<'_> {
    fn null_version(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Vec<u8>>, MetaError> {
        let start = object_prefix(Namespace::Versions, bucket, key);
        read::null_row(self.0, &start, &object_prefix_end(Namespace::Versions, bucket, key))
    }

    fn upload(&self, id: UploadId) -> Result<Option<Vec<u8>>, MetaError> {
        read::upload_row(self.0, id)
    }
}
