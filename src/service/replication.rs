//! Replication rules of a bucket: set, read, taken away; and where a version stands. What carries them out is another room.

use super::context::{WRONG_OUTCOME, unexpected};
use super::{Action, Caller, Inner, ObjectService, ServiceError};
use crate::meta::{Bucket, Commit, ObjectData, Outcome, ReplicaState, ReplicationReads};
use crate::types::{
    BucketName, BucketSetting, CommitSeq, DestinationArn, FilterForm, MAX_REPLICATION_RULES, ObjectKey,
    Principal, ReplicationRule, ReplicationRules, ReplicationStatus, TagError, TagSet, Versioning,
};
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::Arc;

const MAX_ID_CHARS: usize = 255;
const NEEDS_VERSIONING: &str =
    "Versioning must be 'Enabled' on the bucket to apply a replication configuration";

/// Where replicas may go: what the operator has named.
#[async_trait]
pub trait ReplicationTargets: Send + Sync + std::fmt::Debug {
    /// Looks at the destination as far as it can be reached. `has_lock`: the source has object lock.
    async fn look(&self, destination: &DestinationArn, has_lock: bool) -> DestinationLook;
}

/// What is known of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationLook {
    /// It can take replicas, or cannot be asked now.
    Fit,
    /// No target of that name, or no bucket there.
    Missing,
    Unversioned,
    WithoutLock,
}

/// What the service asks about replication.
#[derive(Debug)]
pub(super) struct Replication {
    reads: Arc<dyn ReplicationReads>,
    targets: Arc<dyn ReplicationTargets>,
}

impl ObjectService {
    /// Says where replicas may go, and where it is noted what went. The first call counts; before it nothing may.
    pub fn set_replication_parts(
        &self,
        reads: Arc<dyn ReplicationReads>,
        targets: Arc<dyn ReplicationTargets>,
    ) {
        let _ = self.inner.replication.set(Replication { reads, targets });
    }

    /// Replaces all rules of a bucket. Rules without an id get one. Only the root user may: replicas are written with the
    /// operator's credentials.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`, and all that can be wrong with rules.
    pub async fn put_replication(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        mut rules: ReplicationRules,
    ) -> Result<(), ServiceError> {
        let action = Action::PutReplicationConfiguration;
        let home = self.inner.allowed(caller, action, bucket).await?;
        if !matches!(caller.principal(), Principal::Root { .. }) {
            return Err(ServiceError::AccessDenied { action });
        }
        for rule in &mut rules.rules {
            if rule.id.is_empty() {
                rule.id = format!("{:016x}{:016x}", self.inner.random.u64(), self.inner.random.u64());
            }
        }
        validate(&rules)?;
        if home.versioning != Versioning::Enabled {
            return Err(request(NEEDS_VERSIONING));
        }
        self.inner.check_destinations(&rules, home.lock.is_some()).await?;
        self.set_replication(&home, Some(rules)).await
    }

    /// # Errors
    /// `NoSuchBucket`, `NoSuchReplicationConfiguration`.
    pub async fn replication(
        &self,
        caller: &Caller,
        bucket: &BucketName,
    ) -> Result<ReplicationRules, ServiceError> {
        let home = self.inner.allowed(caller, Action::GetReplicationConfiguration, bucket).await?;
        let rules = home.settings.replication.clone();
        rules.ok_or_else(|| ServiceError::NoSuchReplicationConfiguration { bucket: bucket.clone() })
    }

    /// Taking away what is not there is a success.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn delete_replication(&self, caller: &Caller, bucket: &BucketName) -> Result<(), ServiceError> {
        let home = self.inner.allowed(caller, Action::PutReplicationConfiguration, bucket).await?;
        self.set_replication(&home, None).await
    }

    async fn set_replication(
        &self,
        home: &Bucket,
        rules: Option<ReplicationRules>,
    ) -> Result<(), ServiceError> {
        let commit = Commit::SetBucket { bucket: home.id, setting: BucketSetting::Replication(rules) };
        match self.inner.commit(commit).await {
            Ok(Outcome::Done) => Ok(()),
            Ok(_) => Err(WRONG_OUTCOME),
            Err(error) => Err(unexpected(&home.name, error)),
        }
    }
}

impl Inner {
    async fn check_destinations(&self, rules: &ReplicationRules, has_lock: bool) -> Result<(), ServiceError> {
        let all: HashSet<_> = rules.rules.iter().map(|rule| &rule.destination).collect();
        for destination in all {
            let look = match self.replication.get() {
                Some(Replication { targets, .. }) => targets.look(destination, has_lock).await,
                None => DestinationLook::Missing,
            };
            match look {
                DestinationLook::Fit => {}
                DestinationLook::Missing => return Err(request("Destination bucket must exist.")),
                DestinationLook::Unversioned => {
                    return Err(request("Destination bucket must have versioning enabled."));
                }
                DestinationLook::WithoutLock => {
                    return Err(request("Destination bucket must have object lock enabled."));
                }
            }
        }
        Ok(())
    }

    /// Where a version stands. Of buckets without replication only replicas are known.
    pub(super) async fn replication_status(
        &self,
        home: &Bucket,
        key: &ObjectKey,
        seq: CommitSeq,
        data: &ObjectData,
    ) -> Result<Option<ReplicationStatus>, ServiceError> {
        if data.attributes.replica_of.is_some() {
            return Ok(Some(ReplicationStatus::Replica));
        }
        let (Some(rules), Some(Replication { reads, .. })) =
            (&home.settings.replication, self.replication.get())
        else {
            return Ok(None);
        };
        let states = reads.replica_states(home.id, key, seq).await?;
        Ok(status(rules, &states, key, &data.tags, seq))
    }
}

fn status(
    rules: &ReplicationRules,
    states: &[ReplicaState],
    key: &ObjectKey,
    tags: &TagSet,
    seq: CommitSeq,
) -> Option<ReplicationStatus> {
    let is_known =
        |destination: &DestinationArn| states.iter().any(|state| state.destination == *destination);
    let covering = rules.covering(key, Some(tags)).into_iter();
    let is_awaited = covering.filter(|rule| rule.concerns(seq)).any(|rule| !is_known(&rule.destination));
    if states.iter().any(|state| state.has_failed) {
        Some(ReplicationStatus::Failed)
    } else if is_awaited || states.iter().any(|state| !state.is_current()) {
        Some(ReplicationStatus::Pending)
    } else {
        (!states.is_empty()).then_some(ReplicationStatus::Completed)
    }
}

fn request(reason: &str) -> ServiceError {
    ServiceError::InvalidRequest { reason: reason.to_owned() }
}

fn validate(rules: &ReplicationRules) -> Result<(), ServiceError> {
    if rules.rules.is_empty() || rules.rules.len() > MAX_REPLICATION_RULES {
        return Err(ServiceError::MalformedDocument);
    }
    let (mut ids, mut priorities) = (HashSet::new(), HashSet::new());
    let is_old = |rule: &ReplicationRule| rule.filter.form == FilterForm::Rule;
    if rules.rules.iter().any(is_old) && !rules.rules.iter().all(is_old) {
        return Err(request("Rules with a Filter and rules without one cannot stand in one configuration."));
    }
    for rule in &rules.rules {
        if rule.id.chars().count() > MAX_ID_CHARS {
            let reason = "The maximum value of the ID element is 255 characters";
            return Err(ServiceError::InvalidArgument { name: "ID", value: rule.id.clone(), reason });
        }
        if !ids.insert(rule.id.as_str()) {
            let reason = "Rule Id must be unique";
            return Err(ServiceError::InvalidArgument { name: "ID", value: rule.id.clone(), reason });
        }
        if rule.filter.form == FilterForm::Rule {
            continue;
        }
        filtered(rule)?;
        if !priorities.insert(rule.priority) {
            let reason = format!("Found duplicate priority {}", rule.priority.unwrap_or_default());
            return Err(ServiceError::InvalidRequest { reason });
        }
    }
    Ok(())
}

/// What rules of the newer form have to say.
fn filtered(rule: &ReplicationRule) -> Result<(), ServiceError> {
    let filter = &rule.filter;
    if rule.priority.is_none() {
        let reason = "Priority must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.";
        return Err(request(reason));
    }
    if rule.delete_markers.is_none() {
        let reason = "DeleteMarkerReplication must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.";
        return Err(request(reason));
    }
    if rule.delete_markers == Some(true) && !filter.tags.is_empty() {
        let reason = "Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide for more information.";
        return Err(request(reason));
    }
    let predicates = usize::from(!filter.prefix.is_empty()) + filter.tags.len();
    if filter.form == FilterForm::And && predicates < 2 {
        return Err(ServiceError::MalformedDocument);
    }
    TagSet::of_object(filter.tags.clone()).map(drop).map_err(|error| match error {
        TagError::Duplicate { .. } => request("Duplicate Tag Keys are not allowed."),
        other => request(&other.to_string()),
    })
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
