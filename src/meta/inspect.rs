//! Questions of people and of housekeeping, not of the request path.

use super::MetaError;
use crate::types::{BucketId, CommitSeq, ETag, ManifestId, ObjectKey, PlainId, UnixMillis, VersionId};
use async_trait::async_trait;

/// Indexed queries over the metadata. Keys by prefix are [`super::MetaStore::list_objects`].
#[async_trait]
pub trait Inspect: Send + Sync + std::fmt::Debug {
    /// Bodies stored once and used several times, in order of id, behind `after`.
    async fn duplicates(&self, after: Option<ManifestId>, limit: usize) -> Result<Vec<Duplicate>, MetaError>;

    /// The versions whose body is `body`, in the order of bucket, key and age (newest first), behind `after`.
    async fn versions_of_body(
        &self,
        body: ManifestId,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError>;

    /// Versions and delete markers of all buckets written before `time`, oldest first, behind `after`.
    async fn versions_before(
        &self,
        time: UnixMillis,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError>;

    /// Versions whose body is stored whole, in the order of bucket, key and age (newest first), behind `after`.
    async fn plain_versions(
        &self,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<PlainVersion>, MetaError>;

    /// The plain bodies in use, in order of id, behind `after`: every other file in `plain/` is garbage once
    /// no write is under way.
    async fn plain_bodies(&self, after: Option<PlainId>, limit: usize) -> Result<Vec<PlainId>, MetaError>;
}

/// A body used by more than one version or part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    pub id: ManifestId,
    pub references: u64,
    pub size: u64,
}

/// A version whose body is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainVersion {
    pub place: VersionPlace,
    pub body: PlainId,
    pub size: u64,
    pub etag: ETag,
}

/// Which version, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPlace {
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub id: VersionId,
    pub seq: CommitSeq,
    pub modified: UnixMillis,
}
