//! Lifecycle rules that meet locks and long histories.

use super::lifecycle::{DAY_MILLIS, Ruled, expires, rule};
use super::{World, key, put_request};
use crate::meta::{Change, ChangeLog, Commit, LifecycleReads, MetaStore, VersionTarget};
use crate::service::{CreateUploadRequest, PutRequest};
use crate::types::{
    CommitSeq, LifecycleFilter, LifecycleRule, LockMode, LockSettings, NoncurrentExpiration,
    NoncurrentTransition, ObjectLock, Retention, UnixMillis, VersionId, Versioning,
};

fn noncurrent(newer_versions: Option<u32>) -> LifecycleRule {
    let noncurrent = NoncurrentExpiration { days: 1, newer_versions };
    LifecycleRule { noncurrent: Some(noncurrent), abort_uploads_days: Some(1), ..rule("old") }
}

fn locked_until(until: UnixMillis) -> ObjectLock {
    ObjectLock { retention: Some(Retention { mode: LockMode::Compliance, until }), legal_hold: None }
}

/// A world whose bucket has object lock.
async fn locked() -> World {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    let bucket = world.service.head_bucket(&world.caller, &world.bucket).await.unwrap().id;
    world.meta.commit(Commit::LockBucket { bucket, lock: LockSettings::default() }).await.unwrap();
    world
}

async fn put(world: &World, name: &str, lock: ObjectLock) -> VersionId {
    let request = PutRequest { lock, ..put_request("x") };
    let World { service, caller, bucket, .. } = world;
    service.put(caller, bucket, &key(name), request).await.unwrap().version_id.unwrap()
}

async fn turns(ruled: &mut Ruled, most: usize) {
    for _ in 0..most {
        ruled.worker.turn(&mut ruled.worked).await.unwrap();
    }
}

/// More versions than one look reads, and more than are taken away at once: none of them may be.
#[tokio::test]
async fn i5_locked_versions_keep_nothing_else_waiting() {
    let world = locked().await;
    let free = put(&world, "k", ObjectLock::default()).await;
    let until = UnixMillis::new(50 * DAY_MILLIS);
    for _ in 0..1_100 {
        put(&world, "k", locked_until(until)).await;
    }
    put(&world, "k", ObjectLock::default()).await;
    put(&world, "z", ObjectLock::default()).await;
    let World { service, caller, bucket, .. } = &world;
    let upload = service.create_upload(caller, bucket, &key("k"), CreateUploadRequest::default()).await;
    let upload = upload.unwrap().id;
    let mut ruled = Ruled::new(world, vec![noncurrent(None), expires("z", 1)]).await;
    ruled.world.clock.advance_millis(2 * DAY_MILLIS);
    turns(&mut ruled, 12).await;
    assert!(!ruled.is_there("z").await, "another key has its turn");
    assert!(ruled.world.get("k", Some(free)).await.is_err(), "what is not locked below is reached");
    assert!(ruled.world.meta.upload(upload).await.unwrap().is_none());
    // The marker of `z` and what is below it come on top.
    assert_eq!(ruled.versions().await, 1_101 + 2);
    let next = ruled.world.meta.next_due().await.unwrap().unwrap();
    assert_eq!(next, UnixMillis::new(3 * DAY_MILLIS), "tomorrow, not again and again");
    ruled.days(48).await;
    assert_eq!(ruled.versions().await, 1, "the locks are over: the current version is left");
}

/// A lock forbids that versions are deleted, not that they are moved: each is, once, however long the history.
#[tokio::test]
async fn locked_versions_change_their_storage_class_a_piece_at_a_time() {
    let world = locked().await;
    for _ in 0..600 {
        put(&world, "k", locked_until(UnixMillis::new(50 * DAY_MILLIS))).await;
    }
    put(&world, "k", ObjectLock::default()).await;
    let moves =
        NoncurrentTransition { days: 1, newer_versions: Some(100), storage_class: "GLACIER".to_owned() };
    let cooling = LifecycleRule { noncurrent_transitions: vec![moves], ..noncurrent(None) };
    let mut ruled = Ruled::new(world, vec![cooling]).await;
    ruled.world.clock.advance_millis(2 * DAY_MILLIS);
    turns(&mut ruled, 1).await;
    let moved = transitions(&ruled).await;
    assert!(moved > 0 && moved <= 256, "others have their turn after {moved}");
    turns(&mut ruled, 12).await;
    let classes = ruled.classes("k").await;
    assert!(classes[..101].iter().all(String::is_empty), "the newest stay where they are");
    assert!(classes[101..].iter().all(|class| class == "GLACIER"));
    let next = ruled.world.meta.next_due().await.unwrap();
    assert_eq!(next, Some(UnixMillis::new(3 * DAY_MILLIS)), "tomorrow, for the locks");
    ruled.days(1).await;
    assert_eq!(transitions(&ruled).await, 500);
    assert_eq!(ruled.versions().await, 601);
}

/// All that were ever carried out.
async fn transitions(ruled: &Ruled) -> usize {
    let records = ruled.world.meta.changes_after(CommitSeq::ZERO, 10_000).await.unwrap();
    records.iter().filter(|record| matches!(record.change, Change::VersionTransitioned { .. })).count()
}

/// A retention that ends before tomorrow is waited for, a legal hold is looked at again tomorrow.
#[tokio::test]
async fn a_locked_version_is_looked_at_again_when_it_may_go() {
    let mut ruled = Ruled::new(locked().await, vec![noncurrent(None)]).await;
    let retained = locked_until(UnixMillis::new(DAY_MILLIS + 3_000));
    put(&ruled.world, "retained", retained).await;
    let held = put(&ruled.world, "held", ObjectLock { retention: None, legal_hold: Some(true) }).await;
    for name in ["retained", "held"] {
        put(&ruled.world, name, ObjectLock::default()).await;
    }
    ruled.days(1).await;
    assert_eq!(ruled.versions().await, 4);
    let next = ruled.world.meta.next_due().await.unwrap();
    assert_eq!(next, Some(UnixMillis::new(DAY_MILLIS + 3_000)));
    ruled.world.clock.advance_millis(3_000);
    ruled.days(0).await;
    assert_eq!(ruled.versions().await, 3);
    let (bucket, target) = (ruled.bucket().await, VersionTarget::Version(held));
    let lift = Commit::SetLegalHold { bucket, key: key("held"), target, legal_hold: false };
    ruled.world.meta.commit(lift).await.unwrap();
    ruled.days(1).await;
    assert_eq!(ruled.versions().await, 2);
}

/// What goes does not count among the newest that stay, however many pieces a long history is looked at in.
#[tokio::test]
async fn i1_the_newest_that_stay_are_counted_over_a_long_history() {
    let world = World::new().await;
    world.versioning(Versioning::Enabled).await;
    for text in ["small", "larger"] {
        for _ in 0..300 {
            world.put("k", text).await;
        }
    }
    world.put("k", "small").await;
    let larger = LifecycleFilter { larger_than: Some(5), ..LifecycleFilter::default() };
    let small = LifecycleFilter { smaller_than: Some(6), ..LifecycleFilter::default() };
    let rule = |filter, newer| LifecycleRule { filter, abort_uploads_days: None, ..noncurrent(newer) };
    let larger = LifecycleRule { id: "larger".into(), ..rule(larger, None) };
    let mut ruled = Ruled::new(world, vec![larger, rule(small, Some(100))]).await;
    ruled.days(2).await;
    assert_eq!(ruled.versions().await, 101);
}

/// Versions put on top while a long history is looked at have their own time.
#[tokio::test]
async fn what_is_put_during_a_long_look_is_not_forgotten() {
    let world = locked().await;
    let until = UnixMillis::new(50 * DAY_MILLIS);
    for _ in 0..1_100 {
        put(&world, "k", locked_until(until)).await;
    }
    let mut ruled = Ruled::new(world, vec![noncurrent(None)]).await;
    ruled.world.clock.advance_millis(2 * DAY_MILLIS);
    turns(&mut ruled, 1).await;
    assert_eq!(ruled.world.meta.next_due().await.unwrap(), Some(UnixMillis::new(2 * DAY_MILLIS)), "half way");
    let before = put(&ruled.world, "k", ObjectLock::default()).await;
    put(&ruled.world, "k", ObjectLock::default()).await;
    ruled.days(1).await;
    assert!(ruled.world.get("k", Some(before)).await.is_err());
}
