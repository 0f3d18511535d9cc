//! What replication keeps beside the versions: where each of them stands at each destination, and which keys are to be
//! looked at. Not logged: a store that is made of the log begins anew, and its worker scans what there is.

use super::{Bucket, MetaError};
use crate::types::{
    BucketId, CommitSeq, DestinationArn, ObjectKey, ReplicaOf, TagSet, UnixMillis, VersionId,
};
use async_trait::async_trait;

/// A key on its way to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    pub destination: DestinationArn,
    pub bucket: BucketId,
    pub key: ObjectKey,
}

/// A version on its way to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voyage {
    pub route: Route,
    /// The commit that wrote the version.
    pub seq: CommitSeq,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationChange {
    /// The key is to be looked at from the version `from` on, because of the log record `touched`, of `at`.
    Touch { route: Route, from: CommitSeq, at: UnixMillis, touched: CommitSeq },
    /// The record `changed` gave the version other tags or another lock.
    Changed { voyage: Voyage, changed: CommitSeq },
    /// The destination has the version, as it was at the log's position `synced`, under this id of its own.
    Copied { voyage: Voyage, synced: CommitSeq, remote: Option<String> },
    /// The destination refused the version.
    Refused { voyage: Voyage },
    /// The key was looked at, as of the entry that had this `touched`; it is done, unless it was touched since.
    Done { route: Route, touched: CommitSeq },
    /// The key is to be looked at again at `at`.
    Later { route: Route, at: UnixMillis },
    /// A bucket's scan has got behind this key; `None`: it is finished.
    Scan { bucket: BucketId, behind: Option<Vec<u8>> },
}

/// A key that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedKey {
    pub route: Route,
    pub from: CommitSeq,
    pub touched: CommitSeq,
    /// How often it was put off.
    pub attempts: u32,
}

/// Where a version stands at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    pub destination: DestinationArn,
    /// It is there, as it was at `synced`.
    pub is_copied: bool,
    pub has_failed: bool,
    pub synced: CommitSeq,
    /// The last record that gave it other tags or another lock.
    pub changed: CommitSeq,
    /// Its version there, if the destination has versions.
    pub remote: Option<String>,
}

impl ReplicaState {
    pub(super) const fn new(destination: DestinationArn) -> Self {
        let (synced, changed) = (CommitSeq::ZERO, CommitSeq::ZERO);
        Self { destination, is_copied: false, has_failed: false, synced, changed, remote: None }
    }

    /// Whether the destination has it as it is now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.is_copied && self.changed <= self.synced
    }
}

/// A version or delete marker, as far as replication looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicableVersion {
    pub id: VersionId,
    pub seq: CommitSeq,
    pub replica_of: Option<ReplicaOf>,
    /// `None` for a delete marker.
    pub tags: Option<TagSet>,
    /// At the destination that was asked about.
    pub state: Option<ReplicaState>,
}

/// How much waits for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Counted up to [`MOST_COUNTED`].
    pub keys: u64,
    /// The stamp of the oldest record that waits.
    pub oldest: Option<UnixMillis>,
}

/// Counting more would only take time.
pub const MOST_COUNTED: u32 = 100_000;

/// What the replication worker reads.
#[async_trait]
pub trait ReplicationReads: Send + Sync + std::fmt::Debug {
    /// All buckets that have replication rules.
    async fn replicated_buckets(&self) -> Result<Vec<Bucket>, MetaError>;

    /// Destinations that keys wait for.
    async fn queued_destinations(&self) -> Result<Vec<DestinationArn>, MetaError>;

    /// Keys that wait for a destination and are to be looked at by `now`, earliest first, at most `limit`.
    async fn queued_keys(
        &self,
        destination: &DestinationArn,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<QueuedKey>, MetaError>;

    /// When the earliest key is to be looked at.
    async fn next_queued(&self, destination: &DestinationArn) -> Result<Option<UnixMillis>, MetaError>;

    async fn queue_depth(&self, destination: &DestinationArn) -> Result<QueueDepth, MetaError>;

    /// Versions and delete markers of a key from `from` on, oldest first, at most `limit`.
    async fn versions_from(
        &self,
        route: &Route,
        from: CommitSeq,
        limit: usize,
    ) -> Result<Vec<ReplicableVersion>, MetaError>;

    /// Where a version stands at each destination that anything is known of.
    async fn replica_states(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        seq: CommitSeq,
    ) -> Result<Vec<ReplicaState>, MetaError>;

    /// Scans under way, and behind which key they go on.
    async fn replication_scans(&self) -> Result<Vec<(BucketId, Vec<u8>)>, MetaError>;
}
