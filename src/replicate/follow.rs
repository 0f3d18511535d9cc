//! From records of the change log to keys that have to be looked at.

use crate::meta::{Bucket, Change, LogRecord, LoggedVersion, ReplicationChange, Route};
use crate::types::{BucketId, BucketSetting, CommitSeq, ObjectKey, ReplicationRules, UnixMillis, VersionId};
use std::collections::HashMap;

/// The buckets that have rules, with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ruled {
    buckets: HashMap<BucketId, Bucket>,
}

/// What a record asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Change(ReplicationChange),
    /// A version has other tags or another lock: it has to be found first.
    Changed {
        bucket: BucketId,
        key: ObjectKey,
        id: VersionId,
        changed: CommitSeq,
        at: UnixMillis,
    },
}

impl Ruled {
    pub(super) fn new(buckets: Vec<Bucket>) -> Self {
        Self { buckets: buckets.into_iter().map(|bucket| (bucket.id, bucket)).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = BucketId> + '_ {
        self.buckets.keys().copied()
    }

    pub(super) fn bucket(&self, id: BucketId) -> Option<&Bucket> {
        self.buckets.get(&id)
    }

    pub(super) fn rules(&self, id: BucketId) -> Option<&ReplicationRules> {
        self.bucket(id)?.settings.replication.as_ref()
    }

    /// What a record asks for, by rules that are at least as new as it. `now`: a stamp that a wrong clock once gave must not
    /// put anything off.
    pub(super) fn follow(&self, record: &LogRecord, now: UnixMillis) -> Vec<Asked> {
        let at = record.at.min(now);
        match &record.change {
            Change::BucketSet { bucket, setting: BucketSetting::Replication(rules) } => {
                scan(*bucket, rules.as_ref(), record.seq)
            }
            Change::BucketDeleted { bucket } => vec![end_of_scan(*bucket)],
            Change::VersionPut { bucket, key, version, .. }
            | Change::UploadCompleted { bucket, key, version, .. } => {
                self.written(*bucket, key, version, (record.seq, at))
            }
            Change::VersionTagged { bucket, key, id, .. } | Change::VersionLocked { bucket, key, id, .. } => {
                if self.rules(*bucket).is_none_or(|rules| rules.destinations(key).is_empty()) {
                    return Vec::new();
                }
                vec![Asked::Changed { bucket: *bucket, key: key.clone(), id: *id, changed: record.seq, at }]
            }
            // Replicas outlive the source's versions, as on AWS, and keep the class that they were given.
            Change::VersionDeleted { .. }
            | Change::VersionTransitioned { .. }
            | Change::BodyReplaced { .. }
            | Change::BucketCreated(_)
            | Change::VersioningSet { .. }
            | Change::BucketSet { .. }
            | Change::BucketLocked { .. }
            | Change::UploadCreated(_)
            | Change::PartPut { .. }
            | Change::UploadAborted { .. }
            | Change::Released
            | Change::Mark => Vec::new(),
        }
    }

    fn written(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: &LoggedVersion,
        (seq, at): (CommitSeq, UnixMillis),
    ) -> Vec<Asked> {
        let Some(rules) = self.rules(bucket) else { return Vec::new() };
        let object = version.object.as_ref();
        let origin = object.map_or(&version.replica_of, |object| &object.attributes.replica_of);
        if origin.is_some() {
            return Vec::new();
        }
        let covering = rules.covering(key, object.map(|object| &object.tags));
        let concerned = covering.into_iter().filter(|rule| rule.concerns(seq));
        let touch = |destination| {
            let route = Route { destination, bucket, key: key.clone() };
            Asked::Change(ReplicationChange::Touch { route, from: seq, at, touched: seq })
        };
        concerned.map(|rule| touch(rule.destination.clone())).collect()
    }
}

fn end_of_scan(bucket: BucketId) -> Asked {
    Asked::Change(ReplicationChange::Scan { bucket, behind: None })
}

/// New rules may concern what is there already.
fn scan(bucket: BucketId, rules: Option<&ReplicationRules>, set: CommitSeq) -> Vec<Asked> {
    let Some(rules) = rules else { return vec![end_of_scan(bucket)] };
    let is_new = rules.rules.iter().any(|rule| rule.enabled && rule.copies_existing() && rule.since == set);
    let begin = ReplicationChange::Scan { bucket, behind: Some(Vec::new()) };
    if is_new { vec![Asked::Change(begin)] } else { Vec::new() }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
