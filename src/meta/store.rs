//! The contracts that every metadata store keeps.

use super::{
    Bucket, Commit, CommitError, Consumer, ListPage, ListQuery, LogRecord, ManifestRow, MetaError,
    ObjectVersion, Outcome, Part, Totals, Upload, UploadPage, VersionPage,
};
use crate::sys::SyncPace;
use crate::types::{BucketId, BucketName, CommitSeq, ManifestId, ObjectKey, PartNumber, UploadId, VersionId};
use async_trait::async_trait;
use std::sync::Arc;

/// Buckets, versions, uploads. A read that begins after a commit returned sees it.
/// Nothing here blocks the calling thread; every queue inside is bounded.
#[async_trait]
pub trait MetaStore: Send + Sync + std::fmt::Debug {
    /// Returns once the write is durable and visible, or refused, or known to have failed: one that waited for too long
    /// before it was begun is `Unavailable`, and is not done later. Dropping the future does not take the write back.
    async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError>;

    /// How long it takes to make a commit durable. A store that does not time it says that it is not known.
    fn sync_pace(&self) -> Arc<SyncPace> {
        Arc::default()
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError>;

    /// Buckets in name order, behind `after`, at most `limit`.
    async fn buckets(&self, after: Option<&BucketName>, limit: usize) -> Result<Vec<Bucket>, MetaError>;

    /// The current version (`id` = `None`; it may be a delete marker) or the one named.
    async fn version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, MetaError>;

    /// Keys whose current version is an object.
    async fn list_objects(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, MetaError>;

    /// All versions and delete markers, newest first under each key.
    async fn list_versions(&self, bucket: BucketId, query: ListQuery) -> Result<VersionPage, MetaError>;

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, MetaError>;

    /// The version of a key that an upload's completion made, while it is there.
    async fn completed(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<ObjectVersion>, MetaError>;

    /// Open uploads by key, oldest first under each key.
    async fn list_uploads(&self, bucket: BucketId, query: ListQuery) -> Result<UploadPage, MetaError>;

    /// Parts in order of number, behind `after`, at most `limit`.
    async fn parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<Vec<Part>, MetaError>;
}

/// The change log and what its consumers need beside it.
#[async_trait]
pub trait ChangeLog: Send + Sync + std::fmt::Debug {
    /// The newest record's position; zero for a new store.
    async fn last_seq(&self) -> Result<CommitSeq, MetaError>;

    /// Records behind `seq`, in order, at most `limit`, and fewer when they are large: together about 8 MiB, but one
    /// at least. A gap at the beginning (the log was trimmed past
    /// `seq`) is an error, never silently skipped.
    async fn changes_after(&self, seq: CommitSeq, limit: usize) -> Result<Vec<LogRecord>, MetaError>;

    /// Returns as soon as a record behind `seq` may exist. May return early.
    async fn wait_after(&self, seq: CommitSeq);

    /// How far the consumer said it got; `None` for one that never did, or was forgotten: it holds nothing back.
    async fn known_cursor(&self, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError>;

    /// As [`Self::known_cursor`]: who never said anything stands before the first record.
    async fn cursor(&self, consumer: Consumer) -> Result<CommitSeq, MetaError> {
        Ok(self.known_cursor(consumer).await?.unwrap_or_default())
    }

    /// Distinct manifests in order of id, behind `after`, at most `limit`. For a recount.
    async fn manifests(&self, after: Option<ManifestId>, limit: usize)
    -> Result<Vec<ManifestRow>, MetaError>;

    async fn totals(&self) -> Result<Totals, MetaError>;
}
