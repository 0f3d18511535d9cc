//! The closed set of writes, their preconditions and their outcomes.

use super::CommitError;
use super::rows::Bucket;
use crate::types::{
    Attributes, BucketId, BucketName, Checksum, ChecksumAlgorithm, ChecksumKind, CommitSeq, ETag, Manifest,
    ManifestId, ObjectKey, PartLayout, PartNumber, PlainId, UnixMillis, UploadId, VersionId, Versioning,
};
use bytes::Bytes;

/// One write. What it requires is checked inside the transaction that does it.
#[derive(Debug, Clone)]
pub enum Commit {
    /// Fails with `BucketExists` when the name is taken.
    CreateBucket {
        name: BucketName,
    },
    /// Fails with `BucketNotEmpty` while a version or delete marker is left, else with `UploadsOpen` while an
    /// upload is.
    DeleteBucket {
        name: BucketName,
    },
    /// Fails with `InvalidState` when asked to go back to `Unversioned`.
    SetVersioning {
        bucket: BucketId,
        versioning: Versioning,
    },
    /// Adds a version, or replaces the null version, as the bucket's versioning says.
    PutVersion {
        bucket: BucketId,
        key: ObjectKey,
        object: NewObject,
        condition: WriteCondition,
    },
    /// S3's delete: of the current version (which may write a delete marker) or of one version for good.
    DeleteVersion {
        bucket: BucketId,
        key: ObjectKey,
        target: DeleteTarget,
        condition: WriteCondition,
    },
    CreateUpload {
        bucket: BucketId,
        key: ObjectKey,
        upload: NewUpload,
    },
    /// Replaces the part of that number. Fails with `NoSuchUpload`.
    PutPart {
        upload: UploadId,
        number: PartNumber,
        part: NewPart,
    },
    /// Turns an upload into a version. Every part is named with its revision and must still be that one
    /// (`PartGone`); so the parts' manifests hold every chunk of `object.body` until this commit does.
    CompleteUpload {
        upload: UploadId,
        parts: Vec<(PartNumber, CommitSeq)>,
        object: NewObject,
        condition: WriteCondition,
    },
    AbortUpload {
        upload: UploadId,
    },
    /// Takes a number in the log and changes nothing: garbage collection uses it as a fence.
    Mark,
    /// Says how far a consumer of the log has got, for ever. Not logged.
    AdvanceCursor {
        consumer: Consumer,
        through: CommitSeq,
    },
    /// Drops log records up to and including `through`, never past the slowest cursor. Not logged.
    TrimLog {
        through: CommitSeq,
    },
}

/// A consumer of the change log with a durable cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consumer {
    ChunkIndex,
}

impl Consumer {
    pub const ALL: [Self; 1] = [Self::ChunkIndex];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChunkIndex => "chunk-index",
        }
    }
}

/// What a write requires of the key's current version. A delete marker counts as no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteCondition {
    #[default]
    None,
    /// `If-None-Match: *`
    IfAbsent,
    /// `If-Match: *`; without an object: `NoSuchKey`.
    IfExists,
    /// `If-Match: etag`; without an object: `NoSuchKey`.
    IfMatch(ETag),
}

impl WriteCondition {
    /// `current`: the ETag of the key's current version, `None` without one or with a delete marker.
    pub(super) fn check(&self, current: Option<ETag>) -> Result<(), CommitError> {
        match (self, current) {
            (Self::None, _) | (Self::IfAbsent, None) | (Self::IfExists, Some(_)) => Ok(()),
            (Self::IfExists | Self::IfMatch(_), None) => Err(CommitError::NoSuchKey),
            (Self::IfMatch(wanted), Some(etag)) if *wanted == etag => Ok(()),
            (Self::IfAbsent | Self::IfMatch(_), Some(_)) => Err(CommitError::ConditionFailed),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteTarget {
    Current,
    Version(VersionId),
}

/// A body on its way into a row.
#[derive(Debug, Clone)]
pub enum NewBody {
    Inline(Bytes),
    /// All chunks and nodes below it are appended; the store's barrier makes them durable before the commit.
    Manifest(Manifest),
    /// A manifest that must already have a row: `BodyGone` otherwise. For copies.
    SharedManifest(ManifestId),
    /// A file already durable in `plain/`.
    Plain(PlainId),
    /// A plain body that must already have a row: `BodyGone` otherwise. For copies.
    SharedPlain(PlainId),
}

#[derive(Debug, Clone)]
pub struct NewObject {
    pub body: NewBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub attributes: Attributes,
    pub parts: Vec<PartLayout>,
}

#[derive(Debug, Clone)]
pub struct NewUpload {
    pub id: UploadId,
    pub attributes: Attributes,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

#[derive(Debug, Clone)]
pub struct NewPart {
    pub body: NewBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Bucket(Bucket),
    Written {
        id: VersionId,
        seq: CommitSeq,
        modified: UnixMillis,
    },
    /// `id` is the delete marker's when one was written, else the removed version's; `None` when there was
    /// nothing to delete, which S3 counts as success. `delete_marker`: a marker was written or removed.
    Deleted {
        id: Option<VersionId>,
        delete_marker: bool,
    },
    Upload {
        seq: CommitSeq,
        initiated: UnixMillis,
    },
    Part {
        seq: CommitSeq,
        modified: UnixMillis,
    },
    Marked {
        seq: CommitSeq,
    },
}
