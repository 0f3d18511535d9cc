//! Lifecycle rules carried out, with days of ten seconds, on a clock that the tests move.

use super::{World, expects, key, put_request};
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, DeleteCondition, LifecycleReads, ListQuery, MemoryStore,
    MetaStore, VersionKind, VersionTarget,
};
use crate::service::lifecycle::testing::{Worked, turns};
use crate::service::{CreateUploadRequest, LifecycleWorker, PutRequest, ServiceError, ServiceSettings};
use crate::types::{
    Attributes, BucketId, Expiration, LifecycleFilter, LifecycleRule, LifecycleRules, NoncurrentExpiration,
    NoncurrentTransition, SmallObjects, Transition, UnixMillis, Versioning,
};
use std::sync::Arc;

pub(super) const DAY_SECONDS: u32 = 10;
pub(super) const DAY_MILLIS: i64 = 10_000;

pub(super) fn rule(id: &str) -> LifecycleRule {
    LifecycleRule {
        id: id.into(),
        enabled: true,
        filter: LifecycleFilter::default(),
        expiration: None,
        noncurrent: None,
        abort_uploads_days: None,
        transitions: Vec::new(),
        noncurrent_transitions: Vec::new(),
        small_objects: SmallObjects::Stay,
    }
}

pub(super) fn expires(prefix: &str, days: u32) -> LifecycleRule {
    let filter = LifecycleFilter { prefix: prefix.into(), ..LifecycleFilter::default() };
    LifecycleRule { filter, expiration: Some(Expiration::Days(days)), ..rule(prefix) }
}

/// `reads`: what the worker reads through.
pub(super) fn worker(world: &World, reads: Arc<dyn LifecycleReads>) -> LifecycleWorker {
    let settings = ServiceSettings { lifecycle_day_seconds: DAY_SECONDS, ..ServiceSettings::default() };
    let meta: Arc<MemoryStore> = world.meta.clone();
    LifecycleWorker::new(meta.clone(), meta, reads, world.clock.clone(), settings)
}

/// The world's bucket under some rules, and the worker that follows it.
pub(super) struct Ruled {
    pub(super) world: World,
    pub(super) worker: LifecycleWorker,
    pub(super) worked: Worked,
}

impl Ruled {
    pub(super) async fn new(world: World, rules: Vec<LifecycleRule>) -> Self {
        let worker = worker(&world, world.meta.clone());
        let worked = worker.begin().await.unwrap();
        let mut this = Self { world, worker, worked };
        this.rules(rules).await;
        this
    }

    pub(super) async fn rules(&mut self, rules: Vec<LifecycleRule>) {
        let World { service, caller, bucket, .. } = &self.world;
        service.put_lifecycle(caller, bucket, LifecycleRules(rules)).await.unwrap();
    }

    /// Lets the worker do all that there is to do, so many days later.
    pub(super) async fn days(&mut self, days: i64) {
        self.world.clock.advance_millis(days * DAY_MILLIS);
        turns(&self.worker, &mut self.worked).await;
    }

    pub(super) async fn bucket(&self) -> BucketId {
        self.world.service.head_bucket(&self.world.caller, &self.world.bucket).await.unwrap().id
    }

    /// Versions and delete markers of the whole bucket.
    pub(super) async fn versions(&self) -> usize {
        let query = ListQuery { limit: 10_000, ..ListQuery::default() };
        self.world.meta.list_versions(self.bucket().await, query).await.unwrap().entries.len()
    }

    /// Of the versions of a key, newest first.
    pub(super) async fn classes(&self, name: &str) -> Vec<String> {
        let history = self.world.meta.history(self.bucket().await, &key(name), None, 10_000).await.unwrap();
        let class = |object: crate::meta::HistoryObject| object.storage_class.unwrap_or_default();
        history.into_iter().filter_map(|entry| entry.object).map(class).collect()
    }

    pub(super) async fn is_there(&self, name: &str) -> bool {
        self.world.get(name, None).await.is_ok()
    }
}

#[tokio::test]
async fn objects_expire_on_their_day_and_not_before() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("a/", 1), expires("b/", 5)]).await;
    for name in ["a/1", "b/1", "c/1"] {
        ruled.world.put(name, "x").await;
    }
    ruled.days(0).await;
    assert!(ruled.is_there("a/1").await);
    ruled.days(1).await;
    assert!(!ruled.is_there("a/1").await);
    assert!(ruled.is_there("b/1").await);
    ruled.days(4).await;
    assert!(!ruled.is_there("b/1").await);
    assert!(ruled.is_there("c/1").await, "no rule covers it");
}

#[tokio::test]
async fn new_rules_concern_what_is_there_already() {
    let world = World::new().await;
    for n in 0..30 {
        world.put(&format!("a/{n}"), "x").await;
    }
    world.clock.advance_millis(9 * DAY_MILLIS);
    world.put("a/young", "x").await;
    let mut ruled = Ruled::new(world, vec![expires("a/", 3)]).await;
    ruled.days(0).await;
    assert_eq!(ruled.versions().await, 1);
    assert!(ruled.is_there("a/young").await);
}

#[tokio::test]
async fn a_worker_started_anew_goes_on_where_the_last_one_was() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("a/", 1)]).await;
    ruled.days(0).await;
    ruled.world.put("a/1", "x").await;
    // The last one never saw the put.
    ruled.worked = ruled.worker.begin().await.unwrap();
    ruled.days(1).await;
    assert!(!ruled.is_there("a/1").await);
    let cursor = ruled.world.meta.cursor(Consumer::Lifecycle).await.unwrap();
    assert!(cursor.get() > 0, "how far it has got is durable");
}

#[tokio::test]
async fn what_cannot_have_expired_is_not_looked_at() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("a/", 2)]).await;
    for n in 0..50 {
        ruled.world.put(&format!("a/{n}"), "x").await;
    }
    ruled.world.put("b", "x").await;
    ruled.days(0).await;
    let meta = &ruled.world.meta;
    assert_eq!(meta.due_keys(UnixMillis::new(2 * DAY_MILLIS - 1), 100).await.unwrap(), []);
    assert_eq!(meta.due_keys(UnixMillis::new(2 * DAY_MILLIS), 100).await.unwrap().len(), 50);
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, 1);
    assert_eq!(ruled.world.meta.next_due().await.unwrap(), None, "nothing is left on the agenda");
}

#[tokio::test]
async fn a_version_put_again_in_time_stays() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("a/", 2)]).await;
    ruled.world.put("a/1", "old").await;
    ruled.days(1).await;
    ruled.world.put("a/1", "new").await;
    ruled.days(1).await;
    assert_eq!(ruled.world.text("a/1").await, "new");
    ruled.days(1).await;
    assert!(!ruled.is_there("a/1").await);
}

#[tokio::test]
async fn with_versions_a_marker_hides_what_expires_and_goes_in_the_end() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let noncurrent = LifecycleRule {
        noncurrent: Some(NoncurrentExpiration { days: 1, newer_versions: None }),
        ..rule("noncurrent")
    };
    let markers = LifecycleRule { expiration: Some(Expiration::DeleteMarkers(true)), ..rule("markers") };
    let mut ruled = Ruled::new(world, vec![expires("a/", 1), noncurrent, markers]).await;
    ruled.world.put("a/1", "x").await;
    ruled.days(1).await;
    let current = ruled.world.meta.version(ruled.bucket().await, &key("a/1"), None).await.unwrap().unwrap();
    expects!(current.kind, VersionKind::DeleteMarker);
    assert_eq!(ruled.versions().await, 2);
    ruled.days(1).await;
    assert_eq!(ruled.versions().await, 0, "the old version, then the marker with nothing below it");
}

#[tokio::test]
async fn the_newest_noncurrent_versions_are_kept_however_old() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let keep = NoncurrentExpiration { days: 1, newer_versions: Some(2) };
    let mut ruled = Ruled::new(world, vec![LifecycleRule { noncurrent: Some(keep), ..rule("keep") }]).await;
    for text in ["1", "2", "3", "4", "5"] {
        ruled.world.put("k", text).await;
    }
    ruled.days(9).await;
    assert_eq!(ruled.versions().await, 3);
    // One more pushes the oldest out at once: it is old enough.
    ruled.world.put("k", "6").await;
    ruled.days(0).await;
    assert_eq!(ruled.versions().await, 3);
    assert_eq!(ruled.world.text("k").await, "6");
}

#[tokio::test]
async fn uploads_left_open_are_aborted() {
    let abort = LifecycleRule { abort_uploads_days: Some(2), ..rule("abort") };
    let mut ruled = Ruled::new(World::new().await, vec![abort]).await;
    let World { service, caller, bucket, .. } = &ruled.world;
    let request = CreateUploadRequest { attributes: Attributes::default(), ..CreateUploadRequest::default() };
    let created = service.create_upload(caller, bucket, &key("big"), request).await.unwrap();
    assert_eq!(created.expiry.unwrap().rule, "abort");
    ruled.days(1).await;
    assert!(ruled.world.meta.upload(created.id).await.unwrap().is_some());
    ruled.days(1).await;
    assert!(ruled.world.meta.upload(created.id).await.unwrap().is_none());
}

#[tokio::test]
async fn answers_say_when_an_object_expires() {
    let ruled = Ruled::new(World::new().await, vec![expires("a/", 1)]).await;
    let put = ruled.world.put("a/1", "x").await;
    // The service's own days are real ones here.
    let expiry = put.expiry.unwrap();
    assert_eq!((expiry.at.get(), expiry.rule.as_str()), (86_400_000, "a/"));
    let got = ruled.world.get("a/1", None).await.unwrap();
    assert_eq!(got.head.info.expiry, Some(expiry));
    let request = PutRequest { ..put_request("x") };
    let World { service, caller, bucket, .. } = &ruled.world;
    let put = service.put(caller, bucket, &key("b/1"), request).await.unwrap();
    assert_eq!(put.expiry, None);
}

#[tokio::test]
async fn rules_are_set_read_and_taken_away() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("a/", 1)]).await;
    ruled.world.put("a/1", "x").await;
    ruled.days(0).await;
    let World { service, caller, bucket, .. } = &ruled.world;
    assert_eq!(service.lifecycle(caller, bucket).await.unwrap().0, [expires("a/", 1)]);
    service.delete_lifecycle(caller, bucket).await.unwrap();
    service.delete_lifecycle(caller, bucket).await.unwrap();
    expects!(service.lifecycle(caller, bucket).await, Err(ServiceError::NoSuchLifecycleConfiguration { .. }));
    ruled.days(5).await;
    assert!(ruled.is_there("a/1").await, "its rules are gone");
}

/// An object put in place of a delete marker, both of them the null version, is not taken for the marker.
#[tokio::test]
async fn i1_an_object_put_over_a_null_marker_stays() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    world.versioning(Versioning::Suspended).await;
    world.delete("k", None).await;
    let bucket = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap().id;
    let marker = world.meta.history(bucket, &key("k"), None, 1).await.unwrap().remove(0);
    world.put("k", "new").await;
    // What the worker would commit of what it saw before the put.
    let seen = DeleteCondition { seq: Some(marker.seq), ..DeleteCondition::default() };
    let commit = Commit::DeleteVersion {
        bucket,
        key: key("k"),
        target: VersionTarget::Version(marker.id),
        condition: seen,
        bypass_governance: false,
    };
    expects!(world.meta.commit(commit).await, Err(CommitError::ConditionFailed));
    assert_eq!(world.text("k").await, "new");
}

/// A worker that starts behind does not go by rules that were withdrawn since.
#[tokio::test]
async fn i1_withdrawn_rules_delete_nothing_however_far_behind_the_worker_is() {
    let mut ruled = Ruled::new(World::new().await, vec![expires("other/", 9)]).await;
    ruled.days(0).await;
    ruled.rules(vec![expires("a/", 1)]).await;
    ruled.world.put("a/1", "x").await;
    for n in 0..1_100 {
        ruled.world.put(&format!("b/{n}"), "x").await;
    }
    ruled.rules(vec![expires("other/", 9)]).await;
    ruled.worked = ruled.worker.begin().await.unwrap();
    ruled.days(5).await;
    assert!(ruled.is_there("a/1").await);
}

/// Many versions of one key do not keep others waiting, and all of them go.
#[tokio::test]
async fn one_key_with_many_versions_is_done_in_pieces() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    for n in 0..600 {
        world.put("k", &n.to_string()).await;
    }
    let noncurrent = NoncurrentExpiration { days: 1, newer_versions: None };
    let mut ruled =
        Ruled::new(world, vec![LifecycleRule { noncurrent: Some(noncurrent), ..rule("old") }]).await;
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, 1);
    assert_eq!(ruled.world.text("k").await, "599");
}

/// A rule for delete markers concerns no object: a put costs no look.
#[tokio::test]
async fn a_rule_for_delete_markers_puts_no_object_on_the_agenda() {
    let markers = LifecycleRule { expiration: Some(Expiration::DeleteMarkers(true)), ..rule("markers") };
    let mut ruled = Ruled::new(World::new().await, vec![markers]).await;
    ruled.days(0).await;
    ruled.world.put("k", "x").await;
    ruled.days(0).await;
    assert_eq!(ruled.world.meta.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn versions_change_their_storage_class_as_they_grow_old() {
    let world = World::new().await;
    world.put("k", "null").await;
    world.versioning(Versioning::Enabled).await;
    let moves = |days, class: &str| Transition { days: Some(days), date: None, storage_class: class.into() };
    let noncurrent =
        |days, class: &str| NoncurrentTransition { days, newer_versions: None, storage_class: class.into() };
    let cooling = LifecycleRule {
        transitions: vec![moves(1, "GLACIER_IR"), moves(4, "DEEP_ARCHIVE")],
        noncurrent_transitions: vec![noncurrent(2, "GLACIER")],
        ..rule("cooling")
    };
    let mut ruled = Ruled::new(world, vec![cooling]).await;
    ruled.days(1).await;
    assert_eq!(ruled.classes("k").await, ["GLACIER_IR"], "what was there before the rule");
    ruled.world.put("k", "second").await;
    ruled.days(1).await;
    assert_eq!(ruled.classes("k").await, ["GLACIER_IR", "GLACIER_IR"]);
    ruled.days(1).await;
    assert_eq!(ruled.classes("k").await, ["GLACIER_IR", "GLACIER"]);
    ruled.days(2).await;
    assert_eq!(ruled.classes("k").await, ["DEEP_ARCHIVE", "GLACIER"]);
    assert_eq!(ruled.world.meta.next_due().await.unwrap(), None, "nothing is left to be done");
}

/// The machine's clock was years ahead once, and is right again: every stamp since then is the wrong one.
#[tokio::test]
async fn a_wrong_stamp_in_the_log_delays_nothing() {
    const YEARS: i64 = 3_650 * 86_400_000;
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let keep = NoncurrentExpiration { days: 1, newer_versions: Some(1) };
    let keep = LifecycleRule {
        filter: LifecycleFilter { prefix: "many".into(), ..LifecycleFilter::default() },
        noncurrent: Some(keep),
        ..rule("keep")
    };
    let markers = LifecycleRule { expiration: Some(Expiration::DeleteMarkers(true)), ..rule("markers") };
    let mut ruled = Ruled::new(world, vec![keep, markers]).await;
    let hidden = ruled.world.put("k", "x").await.version_id.unwrap();
    ruled.world.delete("k", None).await;
    for text in ["1", "2", "3"] {
        ruled.world.put("many", text).await;
    }
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, 4, "the oldest of many is gone");
    ruled.world.clock.advance_millis(YEARS);
    ruled.world.put("other", "x").await;
    ruled.world.clock.advance_millis(-YEARS);
    ruled.world.put("many", "4").await;
    ruled.world.delete("k", Some(hidden)).await;
    ruled.days(0).await;
    assert_eq!(ruled.versions().await, 3, "one more of many, and the marker with nothing below it");
}
