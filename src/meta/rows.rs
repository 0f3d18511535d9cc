//! What readers get.

use crate::types::{
    AccountId, Attributes, BucketId, BucketName, BucketSettings, Checksum, ChecksumAlgorithm, ChecksumKind,
    CommitSeq, ETag, LockSettings, Manifest, ManifestId, ObjectKey, ObjectLock, PartLayout, PartNumber,
    PlainId, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub id: BucketId,
    pub name: BucketName,
    pub created: UnixMillis,
    pub versioning: Versioning,
    /// `None`: the owner of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AccountId>,
    /// `None`: without object lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockSettings>,
    #[serde(default, skip_serializing_if = "shared_settings::are_unset", with = "shared_settings")]
    pub settings: Arc<BucketSettings>,
}

mod shared_settings {
    use crate::types::BucketSettings;
    use serde::{Deserialize as _, Serialize as _};
    use std::sync::Arc;

    pub(super) fn are_unset(settings: &BucketSettings) -> bool {
        settings.is_unset()
    }

    pub(super) fn serialize<S: serde::Serializer>(
        settings: &BucketSettings,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        settings.serialize(s)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Arc<BucketSettings>, D::Error> {
        BucketSettings::deserialize(d).map(Arc::new)
    }
}

/// A body with what is needed to read it: no second look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredBody {
    Inline(Bytes),
    Chunked { id: ManifestId, root: Arc<Manifest> },
    Plain(PlainId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    pub key: ObjectKey,
    pub id: VersionId,
    /// The commit that wrote it; versions of a key are ordered by it.
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub is_latest: bool,
    pub kind: VersionKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "markers are rare; a box would cost every other read")]
pub enum VersionKind {
    DeleteMarker,
    Object(ObjectData),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectData {
    pub body: StoredBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub attributes: Attributes,
    /// Empty for an object put in one piece.
    pub parts: Vec<PartLayout>,
    pub tags: TagSet,
    pub lock: ObjectLock,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub seq: CommitSeq,
    pub initiated: UnixMillis,
    pub attributes: Attributes,
    /// The checksum that the client announced, if any.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Of the object to be.
    pub tags: TagSet,
    /// Of the object to be, as the client asked for it.
    pub lock: ObjectLock,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub number: PartNumber,
    /// The commit that wrote it: a part's revision. A part put again has another.
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    pub body: StoredBody,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// Counters kept by the store, exact at some recent commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub buckets: u64,
    /// Object versions, delete markers not counted.
    pub versions: u64,
    pub delete_markers: u64,
    /// The sum of the sizes of all versions and parts, as clients see them.
    pub logical_bytes: u64,
    pub uploads: u64,
    pub parts: u64,
    pub manifests: u64,
    /// The sum of the sizes of distinct manifests: logical bytes after whole-body deduplication.
    pub manifest_bytes: u64,
    pub inline_bytes: u64,
}
