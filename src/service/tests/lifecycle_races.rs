//! What clients do between the worker's look at a key and its commit.

use super::lifecycle::{Ruled, rule, worker};
use super::{World, key};
use crate::meta::testing::object;
use crate::meta::{
    Bucket, Commit, CommitError, DeleteCondition, DueKey, HistoryEntry, LifecycleReads, MemoryStore,
    MetaError, MetaStore, NewBody, NewUpload, ScanPosition, VersionTarget, WriteCondition,
};
use crate::types::{
    Attributes, BucketId, BucketSetting, CommitSeq, Expiration, LifecycleFilter, LifecycleRule,
    NoncurrentExpiration, NoncurrentTransition, ObjectKey, ObjectLock, Tag, TagSet, Transition, UnixMillis,
    UploadId, VersionId, Versioning,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

/// Commits what it is given as soon as the history of a key has been read.
#[derive(Debug)]
struct Meddler {
    store: Arc<MemoryStore>,
    commits: Mutex<Vec<Commit>>,
}

#[async_trait]
impl LifecycleReads for Meddler {
    async fn due_keys(&self, now: UnixMillis, limit: usize) -> Result<Vec<DueKey>, MetaError> {
        self.store.due_keys(now, limit).await
    }

    async fn next_due(&self) -> Result<Option<UnixMillis>, MetaError> {
        self.store.next_due().await
    }

    async fn scans(&self) -> Result<Vec<(BucketId, ScanPosition)>, MetaError> {
        self.store.scans().await
    }

    async fn buckets_with_rules(&self) -> Result<Vec<Bucket>, MetaError> {
        self.store.buckets_with_rules().await
    }

    async fn key_behind(
        &self,
        bucket: BucketId,
        position: &ScanPosition,
    ) -> Result<Option<ObjectKey>, MetaError> {
        self.store.key_behind(bucket, position).await
    }

    async fn history(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        before: Option<CommitSeq>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, MetaError> {
        let history = self.store.history(bucket, key, before, limit).await;
        let commits = std::mem::take(&mut *self.commits.lock());
        for commit in commits {
            self.store.commit(commit).await.unwrap();
        }
        history
    }
}

/// A versioned bucket under a rule, by default for noncurrent versions that are a day old.
struct Raced {
    ruled: Ruled,
    meddler: Arc<Meddler>,
    bucket: BucketId,
}

impl Raced {
    async fn new(tags: Vec<Tag>) -> Self {
        let noncurrent = NoncurrentExpiration { days: 1, newer_versions: None };
        // Uploads have no tags to go by.
        let tags_are_none = tags.is_empty();
        let rule = LifecycleRule {
            filter: LifecycleFilter { tags, ..LifecycleFilter::default() },
            noncurrent: Some(noncurrent),
            abort_uploads_days: tags_are_none.then_some(1),
            ..rule("old")
        };
        Self::under(rule).await
    }

    async fn under(rule: LifecycleRule) -> Self {
        let world = World::new().await;
        world.versioning(Versioning::Enabled).await;
        let meddler = Arc::new(Meddler { store: world.meta.clone(), commits: Mutex::default() });
        let mut ruled = Ruled::new(world, vec![rule]).await;
        ruled.worker = worker(&ruled.world, meddler.clone());
        let bucket = ruled.bucket().await;
        Self { ruled, meddler, bucket }
    }

    async fn put(&self, text: &str) -> VersionId {
        self.ruled.world.put("k", text).await.version_id.unwrap()
    }

    fn set_tags(&self, version: VersionId, value: &str) -> Commit {
        let target = VersionTarget::Version(version);
        Commit::SetTags { bucket: self.bucket, key: key("k"), target, tags: tags(value) }
    }

    fn withdraw(&self) -> Commit {
        Commit::SetBucket { bucket: self.bucket, setting: BucketSetting::Lifecycle(None) }
    }

    async fn commit(&self, commit: Commit) {
        self.ruled.world.meta.commit(commit).await.unwrap();
    }

    /// A client writes the newest version.
    fn covering(&self) -> Commit {
        let object = object(NewBody::Inline("newest".into()), 6);
        let condition = WriteCondition::None;
        Commit::PutVersion { bucket: self.bucket, key: key("k"), object, condition }
    }

    /// A client goes back to what is below `above`, and then writes again: it is noncurrent since then.
    fn back_and_on(&self, above: VersionId) -> Vec<Commit> {
        let remove = Commit::DeleteVersion {
            bucket: self.bucket,
            key: key("k"),
            target: VersionTarget::Version(above),
            condition: DeleteCondition::default(),
            bypass_governance: false,
        };
        vec![remove, self.covering()]
    }

    async fn has(&self, version: VersionId) -> bool {
        self.ruled.world.get("k", Some(version)).await.is_ok()
    }

    /// A day passes, and `commits` come between a look and what it leads to.
    async fn a_day_with(&mut self, commits: Vec<Commit>) {
        *self.meddler.commits.lock() = commits;
        self.ruled.days(1).await;
        assert!(self.meddler.commits.lock().is_empty(), "the key was looked at");
    }
}

fn tag(value: &str) -> Tag {
    Tag { key: "class".into(), value: value.into() }
}

fn tags(value: &str) -> TagSet {
    TagSet::of_object(vec![tag(value)]).unwrap()
}

#[tokio::test]
async fn i1_a_version_whose_tags_were_just_changed_stays() {
    let mut raced = Raced::new(vec![tag("temporary")]).await;
    let versions = [raced.put("1").await, raced.put("2").await];
    raced.put("current").await;
    for version in versions {
        raced.commit(raced.set_tags(version, "temporary")).await;
    }
    raced.a_day_with(vec![raced.set_tags(versions[0], "keep")]).await;
    assert!(raced.has(versions[0]).await, "its new tags were acknowledged");
    assert!(!raced.has(versions[1]).await);
    raced.ruled.days(3).await;
    assert!(raced.has(versions[0]).await);
    // A change of tags that brings it under the rule is seen without waiting.
    raced.commit(raced.set_tags(versions[0], "temporary")).await;
    raced.ruled.days(0).await;
    assert!(!raced.has(versions[0]).await);
}

#[tokio::test]
async fn i1_a_version_that_was_current_just_now_stays_its_days() {
    let mut raced = Raced::new(Vec::new()).await;
    let old = raced.put("old").await;
    let above = raced.put("above").await;
    raced.a_day_with(raced.back_and_on(above)).await;
    assert!(raced.has(old).await);
    raced.ruled.days(1).await;
    assert!(!raced.has(old).await);
}

#[tokio::test]
async fn i1_the_newest_that_stay_are_those_at_the_commit() {
    let noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: Some(2) });
    let mut raced = Raced::under(LifecycleRule { noncurrent, ..rule("newest") }).await;
    let [oldest, ..] = [raced.put("1").await, raced.put("2").await, raced.put("3").await];
    let newest = raced.put("4").await;
    // Without the newest, the oldest is one of the two that stay.
    let mut commits = raced.back_and_on(newest);
    commits.truncate(1);
    raced.a_day_with(commits).await;
    assert!(raced.has(oldest).await);
    raced.put("5").await;
    raced.ruled.days(2).await;
    assert!(!raced.has(oldest).await);
}

#[tokio::test]
async fn i1_a_marker_that_was_covered_just_now_stays_its_days() {
    let noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: None });
    let expiration = Some(Expiration::DeleteMarkers(true));
    let mut raced = Raced::under(LifecycleRule { noncurrent, expiration, ..rule("markers") }).await;
    raced.ruled.world.delete("k", None).await;
    raced.a_day_with(vec![raced.covering()]).await;
    assert_eq!(raced.ruled.world.text("k").await, "newest");
    assert_eq!(raced.ruled.versions().await, 2, "the marker is noncurrent, since just now");
    raced.ruled.days(1).await;
    assert_eq!(raced.ruled.versions().await, 1);
}

#[tokio::test]
async fn i1_withdrawn_rules_delete_nothing_from_their_answer_on() {
    let mut raced = Raced::new(Vec::new()).await;
    for n in 0..50 {
        raced.put(&n.to_string()).await;
    }
    let (id, tags, lock) = (UploadId::new([7; 16]), TagSet::default(), ObjectLock::default());
    let upload = NewUpload { id, attributes: Attributes::default(), checksum: None, tags, lock };
    let begin = Commit::CreateUpload { bucket: raced.bucket, key: key("k"), upload };
    raced.commit(begin).await;
    raced.a_day_with(vec![raced.withdraw()]).await;
    assert_eq!(raced.ruled.versions().await, 50);
    assert!(raced.ruled.world.meta.upload(id).await.unwrap().is_some());
    // The worker goes on, by the rules that come next.
    let noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: Some(9) });
    raced.ruled.rules(vec![LifecycleRule { noncurrent, ..rule("next") }]).await;
    raced.ruled.days(0).await;
    assert_eq!(raced.ruled.versions().await, 10);
    assert!(raced.ruled.world.meta.upload(id).await.unwrap().is_some());
    let gone = Commit::AbortUpload { upload: UploadId::new([8; 16]), rules_as_of: None };
    assert!(matches!(raced.ruled.world.meta.commit(gone).await, Err(CommitError::NoSuchUpload)));
}

#[tokio::test]
async fn a_version_is_moved_by_its_tags_and_rules_of_now_alone() {
    let filter = LifecycleFilter { tags: vec![tag("cold")], ..LifecycleFilter::default() };
    let transitions = vec![Transition { days: Some(1), date: None, storage_class: "GLACIER".into() }];
    let cold = LifecycleRule { filter, transitions, ..rule("cold") };
    let mut raced = Raced::under(cold.clone()).await;
    let version = raced.put("1").await;
    raced.commit(raced.set_tags(version, "cold")).await;
    raced.a_day_with(vec![raced.set_tags(version, "warm")]).await;
    assert_eq!(raced.ruled.classes("k").await, [""], "its new tags were acknowledged");
    raced.commit(raced.set_tags(version, "cold")).await;
    raced.a_day_with(vec![raced.withdraw()]).await;
    assert_eq!(raced.ruled.classes("k").await, [""], "no rule is left");
    raced.ruled.rules(vec![cold]).await;
    raced.ruled.days(0).await;
    assert_eq!(raced.ruled.classes("k").await, ["GLACIER"]);
}

#[tokio::test]
async fn a_version_that_was_current_just_now_is_not_moved_before_its_days() {
    let moves = NoncurrentTransition { days: 1, newer_versions: None, storage_class: "GLACIER".into() };
    let mut raced = Raced::under(LifecycleRule { noncurrent_transitions: vec![moves], ..rule("cold") }).await;
    raced.put("old").await;
    let above = raced.put("above").await;
    raced.a_day_with(raced.back_and_on(above)).await;
    assert_eq!(raced.ruled.classes("k").await, ["", ""]);
    raced.ruled.days(1).await;
    assert_eq!(raced.ruled.classes("k").await, ["", "GLACIER"]);
}
