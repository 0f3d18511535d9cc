use super::{Asked, Ruled};
use crate::meta::{Bucket, Change, LogRecord, LoggedObject, LoggedVersion, ReplicationChange};
use crate::types::{
    Attributes, Body, BucketId, BucketName, BucketSetting, BucketSettings, CommitSeq, DestinationArn, ETag,
    LifecycleFilter, ObjectKey, ObjectLock, ReplicaOf, ReplicationRule, ReplicationRules, TagSet, UnixMillis,
    VersionId, Versioning,
};
use std::sync::Arc;

const BUCKET: BucketId = BucketId::new(3);
const NOW: UnixMillis = UnixMillis::new(500);

fn rule(prefix: &str, delete_markers: bool) -> ReplicationRule {
    ReplicationRule {
        id: prefix.to_owned(),
        enabled: true,
        priority: Some(1),
        filter: LifecycleFilter { prefix: prefix.to_owned(), ..LifecycleFilter::default() },
        destination: DestinationArn::parse("arn:aws:s3:::far").unwrap(),
        storage_class: None,
        delete_markers: Some(delete_markers),
        existing_objects: None,
        since: CommitSeq::new(10),
    }
}

fn ruled(rule: ReplicationRule) -> Ruled {
    let rules = ReplicationRules { role: String::new(), rules: vec![rule] };
    let settings = BucketSettings { replication: Some(rules), ..BucketSettings::default() };
    Ruled::new(vec![Bucket {
        id: BUCKET,
        name: BucketName::parse("bucket").unwrap(),
        created: NOW,
        versioning: Versioning::Enabled,
        owner: None,
        lock: None,
        settings: Arc::new(settings),
    }])
}

fn origin() -> Option<ReplicaOf> {
    Some(ReplicaOf::parse("other/1").unwrap())
}

fn put(key: &str, seq: u64, object: Option<Option<ReplicaOf>>, marker_of: Option<ReplicaOf>) -> LogRecord {
    let object = object.map(|replica_of| LoggedObject {
        body: Body::Inline("x".into()),
        size: 1,
        etag: ETag::of_body([1; 16]),
        checksum: None,
        attributes: Attributes { replica_of, ..Attributes::default() },
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    });
    let id = VersionId::Id { seq: CommitSeq::new(seq), salt: 1 };
    let version = LoggedVersion { id, object, replica_of: marker_of };
    let key = ObjectKey::parse(key).unwrap();
    record(seq, Change::VersionPut { bucket: BUCKET, key, version, replaced: None })
}

fn record(seq: u64, change: Change) -> LogRecord {
    let at = UnixMillis::new(900);
    LogRecord { seq: CommitSeq::new(seq), at, change, added: Vec::new(), dropped: Vec::new() }
}

#[test]
fn what_is_written_behind_a_rule_and_covered_by_it_is_looked_at() {
    let ruled = ruled(rule("logs/", false));
    let touches = |record: &LogRecord| ruled.follow(record, NOW).len();
    assert_eq!(touches(&put("logs/1", 11, Some(None), None)), 1);
    assert_eq!(touches(&put("logs/1", 10, Some(None), None)), 0, "it was there before the rule");
    assert_eq!(touches(&put("other", 11, Some(None), None)), 0);
    assert_eq!(touches(&put("logs/1", 11, None, None)), 0, "the rule leaves delete markers out");
    let asked = ruled.follow(&put("logs/1", 12, Some(None), None), NOW);
    let Some(Asked::Change(ReplicationChange::Touch { from, at, touched, .. })) = asked.first() else {
        panic!("{asked:?}")
    };
    assert_eq!((from.get(), at, touched.get()), (12, &NOW, 12), "a stamp ahead puts nothing off");
}

#[test]
fn a_replica_is_not_replicated_and_neither_is_its_marker() {
    let ruled = ruled(rule("", true));
    let touches = |record: &LogRecord| ruled.follow(record, NOW).len();
    assert_eq!(touches(&put("k", 11, None, None)), 1);
    assert_eq!(touches(&put("k", 11, None, origin())), 0);
    assert_eq!(touches(&put("k", 11, Some(origin()), None)), 0);
}

#[test]
fn only_a_new_rule_for_what_is_there_scans_the_bucket() {
    let set = |rules: Option<ReplicationRule>, seq| {
        let rules = rules.map(|rule| ReplicationRules { role: String::new(), rules: vec![rule] });
        let change = Change::BucketSet { bucket: BUCKET, setting: BucketSetting::Replication(rules) };
        Ruled::default().follow(&record(seq, change), NOW)
    };
    let existing = ReplicationRule { existing_objects: Some(true), ..rule("", false) };
    let begin = ReplicationChange::Scan { bucket: BUCKET, behind: Some(Vec::new()) };
    assert_eq!(set(Some(existing.clone()), 10), [Asked::Change(begin)]);
    assert_eq!(set(Some(existing), 11), [], "it was set before, and goes on");
    assert_eq!(set(Some(rule("", false)), 10), []);
    let end = ReplicationChange::Scan { bucket: BUCKET, behind: None };
    assert_eq!(set(None, 12), [Asked::Change(end)]);
}
