//! The lifecycle worker's agenda: which keys to look at, and when.
//!
//! A key stands in it at most once, at or before the moment when something of it may expire; so what cannot have
//! expired is not looked at. It is derived: without it, a scan of each bucket with rules gives it back.

use super::{Bucket, MetaError};
use crate::types::{BucketId, CommitSeq, ObjectKey, ObjectLock, TagSet, UnixMillis, VersionId};
use async_trait::async_trait;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgendaChange {
    /// The key is to be looked at no later than `at`, because of the log record `touched`.
    Touch { bucket: BucketId, key: ObjectKey, at: UnixMillis, touched: CommitSeq },
    /// The key was looked at, as of the entry that had this `touched`; next at `next`, or no more. Does nothing when
    /// the key was touched since.
    Settle { bucket: BucketId, key: ObjectKey, touched: CommitSeq, next: Option<UnixMillis> },
    /// A bucket's scan has got so far; `None`: it is finished.
    Scan { bucket: BucketId, position: Option<ScanPosition> },
}

/// How far the scan of a bucket is: behind this key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScanPosition {
    Versions(Vec<u8>),
    Uploads(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueKey {
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub at: UnixMillis,
    pub touched: CommitSeq,
}

/// A version or delete marker, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    pub id: VersionId,
    pub seq: CommitSeq,
    pub modified: UnixMillis,
    /// `None` for a delete marker.
    pub object: Option<HistoryObject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryObject {
    pub size: u64,
    pub tags: TagSet,
    /// `None`: that of objects that name none.
    pub storage_class: Option<String>,
    pub lock: ObjectLock,
}

/// What the lifecycle worker reads.
#[async_trait]
pub trait LifecycleReads: Send + Sync + std::fmt::Debug {
    /// Keys to be looked at by `now`, earliest first, at most `limit`.
    async fn due_keys(&self, now: UnixMillis, limit: usize) -> Result<Vec<DueKey>, MetaError>;

    /// When the earliest key is due.
    async fn next_due(&self) -> Result<Option<UnixMillis>, MetaError>;

    /// Scans under way.
    async fn scans(&self) -> Result<Vec<(BucketId, ScanPosition)>, MetaError>;

    /// All buckets that have lifecycle rules.
    async fn buckets_with_rules(&self) -> Result<Vec<Bucket>, MetaError>;

    /// The first key behind a position, by nothing but its name: even if what else is kept of it cannot be read.
    async fn key_behind(
        &self,
        bucket: BucketId,
        position: &ScanPosition,
    ) -> Result<Option<ObjectKey>, MetaError>;

    /// Versions and delete markers of one key, newest first, older than `before`, at most `limit`.
    async fn history(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        before: Option<CommitSeq>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, MetaError>;
}
