//! What rules may say, and where versions stand by them.

use super::{status, validate};
use crate::meta::ReplicaState;
use crate::service::ServiceError;
use crate::types::{
    CommitSeq, DestinationArn, FilterForm, LifecycleFilter, ObjectKey, ReplicationRule, ReplicationRules,
    ReplicationStatus, Tag, TagSet,
};

fn destination() -> DestinationArn {
    DestinationArn::parse("arn:aws:s3:::far").unwrap()
}

fn rule(id: &str, priority: u32) -> ReplicationRule {
    ReplicationRule {
        id: id.to_owned(),
        enabled: true,
        priority: Some(priority),
        filter: LifecycleFilter::default(),
        destination: destination(),
        storage_class: None,
        delete_markers: Some(false),
        existing_objects: None,
        since: CommitSeq::new(10),
    }
}

fn rules(rules: Vec<ReplicationRule>) -> ReplicationRules {
    ReplicationRules { role: "role".into(), rules }
}

fn reason(of: Vec<ReplicationRule>) -> String {
    match validate(&rules(of)) {
        Ok(()) => String::new(),
        Err(ServiceError::InvalidRequest { reason }) => reason,
        Err(other) => other.to_string(),
    }
}

#[test]
fn rules_are_refused_as_aws_refuses_them() {
    assert_eq!(reason(vec![rule("a", 1), rule("b", 2)]), "");
    assert!(validate(&rules(Vec::new())).is_err());
    assert_eq!(reason(vec![rule("a", 1), rule("b", 1)]), "Found duplicate priority 1");
    let twice = validate(&rules(vec![rule("a", 1), rule("a", 2)]));
    assert!(matches!(twice, Err(ServiceError::InvalidArgument { name: "ID", .. })));
    assert!(reason(vec![ReplicationRule { priority: None, ..rule("a", 1) }]).starts_with("Priority must"));
    let silent = ReplicationRule { delete_markers: None, ..rule("a", 1) };
    assert!(reason(vec![silent]).starts_with("DeleteMarkerReplication must"));
    let tags = vec![Tag { key: "k".into(), value: "v".into() }];
    let filter = LifecycleFilter { form: FilterForm::Tag, tags, ..LifecycleFilter::default() };
    let tagged = ReplicationRule { filter, delete_markers: Some(true), ..rule("a", 1) };
    assert!(reason(vec![tagged]).starts_with("Delete marker replication is not supported"));
    let old = |id: &str| ReplicationRule {
        filter: LifecycleFilter { form: FilterForm::Rule, ..LifecycleFilter::default() },
        priority: None,
        delete_markers: None,
        ..rule(id, 1)
    };
    assert_eq!(reason(vec![old("a"), old("b")]), "");
    assert!(!reason(vec![old("a"), rule("b", 1)]).is_empty(), "forms do not mix");
}

#[test]
fn a_version_is_pending_until_every_destination_has_it_as_it_is_now() {
    let (key, tags) = (ObjectKey::parse("k").unwrap(), TagSet::default());
    let rules = rules(vec![rule("a", 1)]);
    let of = |states: &[ReplicaState], seq| status(&rules, states, &key, &tags, CommitSeq::new(seq));
    assert_eq!(of(&[], 10), None, "it was there before the rule");
    assert_eq!(of(&[], 11), Some(ReplicationStatus::Pending));
    let copied = ReplicaState { is_copied: true, synced: CommitSeq::new(20), ..blank() };
    assert_eq!(of(std::slice::from_ref(&copied), 11), Some(ReplicationStatus::Completed));
    let retagged = ReplicaState { changed: CommitSeq::new(21), ..copied.clone() };
    assert_eq!(of(&[retagged], 11), Some(ReplicationStatus::Pending));
    let failed = ReplicaState { has_failed: true, ..copied };
    assert_eq!(of(&[failed], 11), Some(ReplicationStatus::Failed));
}

fn blank() -> ReplicaState {
    let (synced, changed) = (CommitSeq::ZERO, CommitSeq::ZERO);
    let destination = destination();
    ReplicaState { destination, is_copied: false, has_failed: false, synced, changed, remote: None }
}
