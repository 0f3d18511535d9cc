//! Looking at every row that leads to a body, also at those that cannot be read.

use super::{ManifestRow, MetaError, StoredBody};
use crate::types::{BucketId, CommitSeq, ETag, ObjectKey, UploadId, VersionId};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

/// Rows in order, a page at a time, behind `after`. What is wrong with one row is told in its place and keeps nobody
/// from the next: an error of a method means that the database itself cannot be read there.
#[async_trait]
pub trait Audit: Send + Sync + std::fmt::Debug {
    async fn version_rows(&self, after: &[u8], limit: usize) -> Result<Vec<VersionRow>, MetaError>;

    async fn upload_rows(&self, after: &[u8], limit: usize) -> Result<Vec<UploadRow>, MetaError>;

    /// The parts of the upload that this commit began, behind number `after`.
    async fn part_rows(&self, upload: CommitSeq, after: i64, limit: usize)
    -> Result<Vec<PartRow>, MetaError>;

    async fn manifest_rows(&self, after: &[u8], limit: usize) -> Result<Vec<AuditedManifest>, MetaError>;

    async fn bucket_name(&self, id: BucketId) -> Result<Option<String>, MetaError>;

    /// What the database says against itself, at most 100 lines: its pages and rows, and with `thorough` whether its
    /// indexes agree with its tables. Reads all of it. Nothing once `stop` is cancelled.
    async fn integrity(&self, thorough: bool, stop: &CancellationToken) -> Result<Vec<String>, MetaError>;
}

/// The row of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The next page begins behind it.
    pub row: Vec<u8>,
    /// `None`: the row's key makes no sense.
    pub name: Option<(BucketId, ObjectKey, VersionId)>,
    /// `None` for a delete marker.
    pub body: Result<Option<AuditedBody>, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedBody {
    pub body: StoredBody,
    pub size: u64,
    pub etag: ETag,
}

/// The row of an open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// The next page begins behind it.
    pub row: Vec<u8>,
    pub upload: Result<AuditedUpload, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedUpload {
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub id: UploadId,
    pub seq: CommitSeq,
}

/// The row of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    pub number: i64,
    pub body: Result<AuditedBody, String>,
}

/// The row of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedManifest {
    /// The next page begins behind it.
    pub id: Vec<u8>,
    pub manifest: Result<ManifestRow, String>,
}
