//! Replication in the model.

use super::MemoryStore;
use super::state::{Draft, State};
use crate::meta::{
    Bucket, CommitError, MetaError, Outcome, QueueDepth, QueuedKey, ReplicaState, ReplicableVersion,
    ReplicationChange, ReplicationReads, Route, Voyage,
};
use crate::types::{BucketId, CommitSeq, DestinationArn, ObjectKey, ReplicaOf, UnixMillis};
use async_trait::async_trait;
use std::collections::BTreeMap;

type Place = (BucketId, Vec<u8>);

#[derive(Debug, Clone)]
struct Queued {
    at: UnixMillis,
    since: UnixMillis,
    from: CommitSeq,
    touched: CommitSeq,
    attempts: u32,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Replication {
    queue: BTreeMap<(DestinationArn, Place), Queued>,
    states: BTreeMap<(Place, CommitSeq, DestinationArn), ReplicaState>,
    scans: BTreeMap<BucketId, Vec<u8>>,
}

fn place(route: &Route) -> Place {
    (route.bucket, route.key.as_bytes().to_vec())
}

impl Replication {
    fn apply(&mut self, change: ReplicationChange) {
        match change {
            ReplicationChange::Touch { route, from, at, touched } => {
                let new = Queued { at, since: at, from, touched, attempts: 0 };
                let entry = self.queue.entry((route.destination.clone(), place(&route))).or_insert(new);
                entry.from = entry.from.min(from);
                entry.touched = entry.touched.max(touched);
            }
            ReplicationChange::Changed { voyage, changed } => {
                let state = self.state(&voyage);
                state.changed = state.changed.max(changed);
            }
            ReplicationChange::Copied { voyage, synced, remote } => {
                let state = self.state(&voyage);
                (state.is_copied, state.has_failed) = (true, false);
                (state.synced, state.remote) = (state.synced.max(synced), remote);
            }
            ReplicationChange::Refused { voyage } => self.state(&voyage).has_failed = true,
            ReplicationChange::Done { route, touched } => {
                let place = (route.destination.clone(), place(&route));
                if self.queue.get(&place).is_some_and(|queued| queued.touched == touched) {
                    self.queue.remove(&place);
                }
            }
            ReplicationChange::Later { route, at } => {
                if let Some(queued) = self.queue.get_mut(&(route.destination.clone(), place(&route))) {
                    (queued.at, queued.attempts) = (at, queued.attempts + 1);
                }
            }
            ReplicationChange::Scan { bucket, behind: Some(behind) } => {
                self.scans.insert(bucket, behind);
            }
            ReplicationChange::Scan { bucket, behind: None } => {
                self.scans.remove(&bucket);
            }
        }
    }

    fn state(&mut self, voyage: &Voyage) -> &mut ReplicaState {
        let destination = voyage.route.destination.clone();
        let row = (place(&voyage.route), voyage.seq, destination.clone());
        self.states.entry(row).or_insert_with(|| ReplicaState::new(destination))
    }

    /// The version is no more.
    pub(super) fn forget(&mut self, bucket: BucketId, key: &ObjectKey, seq: CommitSeq) {
        let place = (bucket, key.as_bytes().to_vec());
        self.states.retain(|(of, written, _), _| (of, *written) != (&place, seq));
    }

    fn of_version(&self, bucket: BucketId, key: &ObjectKey, seq: CommitSeq) -> Vec<ReplicaState> {
        let place = (bucket, key.as_bytes().to_vec());
        let all = self.states.iter().filter(|((of, written, _), _)| (of, *written) == (&place, seq));
        all.map(|(_, state)| state.clone()).collect()
    }
}

impl State {
    pub(super) fn change_replication(&mut self, change: ReplicationChange) {
        use ReplicationChange as R;
        // Of a version that is no more, nothing is kept.
        if let R::Changed { voyage, .. } | R::Copied { voyage, .. } | R::Refused { voyage } = &change {
            let Voyage { route, seq } = voyage;
            let mut there = self.of_key(route.bucket, route.key.as_bytes());
            if !there.any(|(_, version)| version.seq == *seq) {
                return;
            }
        }
        self.replication.apply(change);
    }

    pub(super) fn put_marker(
        &mut self,
        bucket: BucketId,
        key: ObjectKey,
        replica_of: ReplicaOf,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let draft = Draft { replica_of: Some(replica_of), ..draft };
        let id = self.put_on_top(bucket, key, None, draft)?;
        Ok(Outcome::Deleted { id: Some(id), delete_marker: true })
    }
}

#[async_trait]
impl ReplicationReads for MemoryStore {
    async fn replicated_buckets(&self) -> Result<Vec<Bucket>, MetaError> {
        let state = self.state.lock();
        let with_rules = state.buckets.values().filter(|bucket| bucket.settings.replication.is_some());
        Ok(with_rules.cloned().collect())
    }

    async fn queued_destinations(&self) -> Result<Vec<DestinationArn>, MetaError> {
        let mut all: Vec<_> =
            self.state.lock().replication.queue.keys().map(|(destination, _)| destination.clone()).collect();
        all.dedup();
        Ok(all)
    }

    async fn queued_keys(
        &self,
        destination: &DestinationArn,
        now: UnixMillis,
        limit: usize,
    ) -> Result<Vec<QueuedKey>, MetaError> {
        let state = self.state.lock();
        let waiting = state.replication.queue.iter();
        let mut due: Vec<_> =
            waiting.filter(|((to, _), queued)| to == destination && queued.at <= now).collect();
        due.sort_by_key(|(_, queued)| queued.at);
        let key = |((destination, (bucket, key)), queued): (&(DestinationArn, Place), &Queued)| QueuedKey {
            route: Route {
                destination: destination.clone(),
                bucket: *bucket,
                key: ObjectKey::opaque(key.clone()),
            },
            from: queued.from,
            touched: queued.touched,
            attempts: queued.attempts,
        };
        Ok(due.into_iter().take(limit).map(key).collect())
    }

    async fn next_queued(&self, destination: &DestinationArn) -> Result<Option<UnixMillis>, MetaError> {
        let state = self.state.lock();
        let own = state.replication.queue.iter().filter(|((to, _), _)| to == destination);
        Ok(own.map(|(_, queued)| queued.at).min())
    }

    async fn queue_depth(&self, destination: &DestinationArn) -> Result<QueueDepth, MetaError> {
        let state = self.state.lock();
        let own = || state.replication.queue.iter().filter(|((to, _), _)| to == destination);
        Ok(QueueDepth { keys: own().count() as u64, oldest: own().map(|(_, queued)| queued.since).min() })
    }

    async fn versions_from(
        &self,
        route: &Route,
        from: CommitSeq,
        limit: usize,
    ) -> Result<Vec<ReplicableVersion>, MetaError> {
        let state = self.state.lock();
        let versions = state.of_key(route.bucket, route.key.as_bytes()).rev();
        let versions = versions.map(|(_, version)| version).filter(|version| version.seq >= from);
        let replicable = |version: &super::rows::Version| {
            let object = version.logged.object.as_ref();
            let states = state.replication.of_version(route.bucket, &route.key, version.seq);
            ReplicableVersion {
                id: version.logged.id,
                seq: version.seq,
                replica_of: object
                    .map_or(&version.logged.replica_of, |object| &object.attributes.replica_of)
                    .clone(),
                tags: object.map(|object| object.tags.clone()),
                state: states.into_iter().find(|state| state.destination == route.destination),
            }
        };
        Ok(versions.take(limit).map(replicable).collect())
    }

    async fn replica_states(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        seq: CommitSeq,
    ) -> Result<Vec<ReplicaState>, MetaError> {
        Ok(self.state.lock().replication.of_version(bucket, key, seq))
    }

    async fn replication_scans(&self) -> Result<Vec<(BucketId, Vec<u8>)>, MetaError> {
        Ok(self.state.lock().replication.scans.iter().map(|(bucket, at)| (*bucket, at.clone())).collect())
    }
}
