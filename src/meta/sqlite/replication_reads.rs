//! What the replication worker asks of the store.

use super::{SqliteStore, replication};
use crate::meta::{
    Bucket, MetaError, QueueDepth, QueuedKey, ReplicaState, ReplicableVersion, ReplicationReads, Route,
};
use crate::types::{BucketId, CommitSeq, DestinationArn, ObjectKey, UnixMillis};
use async_trait::async_trait;

#[async_trait]
impl ReplicationReads for SqliteStore {
    async fn replicated_buckets(&self) -> Result<Vec<Bucket>, MetaError> {
        self.scans.ask(replication::replicated_buckets).await
    }

    async fn queued_destinations(&self) -> Result<Vec<DestinationArn>, MetaError> {
        self.scans.ask(replication::queued_destinations).await
    }

    async fn queued_keys(
        &self,
        destination: &DestinationArn,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<QueuedKey>, MetaError> {
        let to = destination.clone();
        self.scans.ask(move |db| replication::queued_keys(db, &to, now, limit)).await
    }

    async fn next_queued(&self, destination: &DestinationArn) -> Result<Option<UnixMillis>, MetaError> {
        let to = destination.clone();
        self.look_ups.ask(move |db| replication::next_queued(db, &to)).await
    }

    async fn queue_depth(&self, destination: &DestinationArn) -> Result<QueueDepth, MetaError> {
        let to = destination.clone();
        self.scans.ask(move |db| replication::queue_depth(db, &to)).await
    }

    async fn versions_from(
        &self,
        route: &Route,
        from: CommitSeq,
        limit: usize,
    ) -> Result<Vec<ReplicableVersion>, MetaError> {
        let route = route.clone();
        self.scans.ask(move |db| replication::versions_from(db, &route, from, limit)).await
    }

    async fn replica_states(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        seq: CommitSeq,
    ) -> Result<Vec<ReplicaState>, MetaError> {
        let key = key.clone();
        self.look_ups.ask(move |db| replication::replica_states(db, bucket, &key, seq)).await
    }

    async fn replication_scans(&self) -> Result<Vec<(BucketId, Vec<u8>)>, MetaError> {
        self.scans.ask(replication::scans).await
    }
}
