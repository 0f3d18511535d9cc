//! The change log: the spine that the chunk index, backup, replication and the rest follow.
//!
//! A record says everything needed to repeat its change elsewhere. Records are stored as MessagePack with named
//! fields: fields are only added, with a default, and never change their meaning.

use super::rows::Bucket;
use crate::types::{
    Attributes, Body, BucketId, BucketSetting, Checksum, ChecksumAlgorithm, ChecksumKind, CommitSeq, ETag,
    LockSettings, Manifest, ManifestId, ObjectKey, ObjectLock, PartLayout, PartNumber, ReplicaOf, TagSet,
    UnixMillis, UploadId, VersionId, Versioning,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub seq: CommitSeq,
    /// Never less than the record's before.
    pub at: UnixMillis,
    pub change: Change,
    /// Manifests that got their first reference with this commit.
    pub added: Vec<ManifestRow>,
    /// Manifests that lost their last one. Apply `added` before `dropped`. One whose row was damaged has an unknown root.
    pub dropped: Vec<ManifestRow>,
}

/// A distinct manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    pub id: ManifestId,
    pub root: Manifest,
}

impl ManifestRow {
    /// Of a manifest whose row was damaged when it was dropped: nobody knows what it named. Its root shows no entries.
    pub(super) fn unknown(id: ManifestId) -> Self {
        Self { id, root: Manifest::default() }
    }

    /// Whether its root could not be read when it was dropped.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.root.entries().is_empty() && self.root.id() != self.id
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    BucketCreated(Bucket),
    BucketDeleted {
        bucket: BucketId,
    },
    VersioningSet {
        bucket: BucketId,
        versioning: Versioning,
    },
    BucketSet {
        bucket: BucketId,
        setting: BucketSetting,
    },
    /// The bucket has object lock from now on, or another default retention.
    BucketLocked {
        bucket: BucketId,
        lock: LockSettings,
    },
    VersionPut {
        bucket: BucketId,
        key: ObjectKey,
        version: LoggedVersion,
        replaced: Option<VersionId>,
    },
    VersionDeleted {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
    },
    VersionTagged {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        tags: TagSet,
    },
    /// A lifecycle rule gave the version another storage class.
    VersionTransitioned {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        storage_class: String,
    },
    /// The same bytes are stored in another way from now on.
    BodyReplaced {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        body: Body,
    },
    /// The version's lock as it is from now on.
    VersionLocked {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        lock: ObjectLock,
    },
    UploadCreated(LoggedUpload),
    PartPut {
        upload: UploadId,
        part: LoggedPart,
    },
    UploadCompleted {
        upload: UploadId,
        bucket: BucketId,
        key: ObjectKey,
        version: LoggedVersion,
        replaced: Option<VersionId>,
    },
    UploadAborted {
        upload: UploadId,
    },
    /// The manifests dropped belong to the change before, of the same commit: parts of an upload that ended.
    Released,
    Mark,
}

/// The most manifests that a `Released` record names. A root has at most 10 KiB, so a record about 1.3 MiB.
pub(super) const MANIFESTS_PER_RECORD: usize = 128;

/// A version as logged; `object` is `None` for a delete marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedVersion {
    pub id: VersionId,
    pub object: Option<LoggedObject>,
    /// Of a delete marker; an object's stands in its attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_of: Option<ReplicaOf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedObject {
    pub body: Body,
    pub size: u64,
    pub etag: ETag,
    #[serde(default)]
    pub checksum: Option<Checksum>,
    #[serde(default)]
    pub attributes: Attributes,
    #[serde(default)]
    pub parts: Vec<PartLayout>,
    #[serde(default, skip_serializing_if = "TagSet::is_empty")]
    pub tags: TagSet,
    #[serde(default, skip_serializing_if = "ObjectLock::is_unset")]
    pub lock: ObjectLock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedUpload {
    pub id: UploadId,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub attributes: Attributes,
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    #[serde(default, skip_serializing_if = "TagSet::is_empty")]
    pub tags: TagSet,
    #[serde(default, skip_serializing_if = "ObjectLock::is_unset")]
    pub lock: ObjectLock,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedPart {
    pub number: PartNumber,
    pub body: Body,
    pub size: u64,
    pub etag: ETag,
    #[serde(default)]
    pub checksum: Option<Checksum>,
}
