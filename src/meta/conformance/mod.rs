//! What every metadata store must do, as checks that panic with what went wrong. Each check gets an empty store.

#![expect(clippy::unwrap_used, reason = "a test suite: its verdict is a panic")]

mod agenda;
mod buckets;
mod inspect;
mod lifecycle;
mod listing;
mod lock_clock;
mod log;
mod marks;
mod replace;
mod replay;
mod replication;
mod uploads;
mod versions;

use super::{
    ChangeLog, Commit, CommitError, DeleteCondition, Inspect, LifecycleReads, MetaStore, NewBody, NewObject,
    Outcome, ReplicationReads, VersionTarget, WriteCondition,
};
use crate::sys::ManualClock;
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, ChunkId, CommitSeq, ETag, Entry, EntryKind, Manifest,
    ObjectKey, ObjectLock, TagSet, UnixMillis, VersionId, Versioning,
};
use std::future::Future;
use std::sync::Arc;

/// An empty store, and the clock that it reads.
#[derive(Debug, Clone)]
pub struct Subject {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn ChangeLog>,
    pub inspect: Arc<dyn Inspect>,
    pub lifecycle: Arc<dyn LifecycleReads>,
    pub replication: Arc<dyn ReplicationReads>,
    pub clock: Arc<ManualClock>,
}

impl Subject {
    /// `store` as all its contracts.
    pub fn new<S: MetaStore + ChangeLog + Inspect + LifecycleReads + ReplicationReads + 'static>(
        store: Arc<S>,
        clock: Arc<ManualClock>,
    ) -> Self {
        Self {
            meta: store.clone(),
            log: store.clone(),
            inspect: store.clone(),
            lifecycle: store.clone(),
            replication: store,
            clock,
        }
    }

    async fn commit(&self, commit: Commit) -> Outcome {
        self.meta.commit(commit).await.unwrap()
    }

    async fn refuse(&self, commit: Commit) -> CommitError {
        let before = (self.log.last_seq().await.unwrap(), self.log.totals().await.unwrap());
        let error = self.meta.commit(commit).await.unwrap_err();
        let after = (self.log.last_seq().await.unwrap(), self.log.totals().await.unwrap());
        assert_eq!(before, after, "a refused command leaves nothing");
        error
    }

    async fn bucket(&self, name: &str) -> BucketId {
        let name = BucketName::parse(name).unwrap();
        match self
            .commit(Commit::CreateBucket {
                name,
                owner: None,
                lock: false,
                settings: BucketSettings::default(),
            })
            .await
        {
            Outcome::Bucket(bucket) => bucket.id,
            other => panic!("a bucket was created, not {other:?}"),
        }
    }

    async fn versioning(&self, bucket: BucketId, versioning: Versioning) {
        self.commit(Commit::SetVersioning { bucket, versioning }).await;
    }

    async fn put(&self, bucket: BucketId, name: &str, body: NewBody) -> (VersionId, CommitSeq) {
        let condition = WriteCondition::None;
        match self.commit(put(bucket, name, body, condition)).await {
            Outcome::Written { id, seq, .. } => (id, seq),
            other => panic!("a version was written, not {other:?}"),
        }
    }

    async fn delete(&self, bucket: BucketId, name: &str, target: VersionTarget) -> (Option<VersionId>, bool) {
        match self.commit(delete(bucket, name, target)).await {
            Outcome::Deleted { id, delete_marker } => (id, delete_marker),
            other => panic!("a version was deleted, not {other:?}"),
        }
    }

    async fn current(&self, bucket: BucketId, name: &str) -> Option<super::ObjectVersion> {
        self.meta.version(bucket, &key(name), None).await.unwrap()
    }
}

/// Runs every check; `empty` gives a new store each time.
///
/// # Panics
/// When a store breaks its contract.
pub async fn run<F: Future<Output = Subject>>(empty: impl Fn() -> F) {
    buckets::names_and_states(&empty().await).await;
    buckets::deleting(&empty().await).await;
    versions::unversioned(&empty().await).await;
    versions::enabled(&empty().await).await;
    versions::suspended(&empty().await).await;
    versions::null_versions_deep_in_a_history(&empty().await).await;
    versions::conditions(&empty().await).await;
    versions::fields_come_back(&empty().await).await;
    versions::reads_see_what_was_committed(&empty().await).await;
    versions::one_winner(&empty().await).await;
    versions::the_key_value_bucket(&empty().await).await;
    uploads::parts(&empty().await).await;
    uploads::completing(&empty().await).await;
    uploads::aborting(&empty().await).await;
    uploads::completed(&empty().await).await;
    uploads::many_parts(&empty().await).await;
    listing::objects(&empty().await).await;
    listing::versions(&empty().await).await;
    listing::uploads(&empty().await).await;
    listing::current_objects(&empty().await).await;
    listing::vanished_versions(&empty().await).await;
    listing::vanished_uploads(&empty().await).await;
    marks::buckets(&empty().await).await;
    marks::tagging(&empty().await).await;
    marks::transitions(&empty().await).await;
    marks::locks(&empty().await).await;
    marks::default_retention(&empty().await).await;
    marks::delete_conditions(&empty().await).await;
    agenda::keys(&empty().await).await;
    agenda::history(&empty().await).await;
    agenda::trimming(&empty().await).await;
    lifecycle::tags_at_the_commit(&empty().await).await;
    lifecycle::what_stands_above(&empty().await).await;
    lifecycle::nothing_above(&empty().await).await;
    lifecycle::rules_that_changed(&empty().await).await;
    lifecycle::conditions_of_transitions(&empty().await).await;
    lifecycle::versions_above(&empty().await).await;
    lifecycle::names_and_locks(&empty().await).await;
    log::positions_and_stamps(&empty().await).await;
    log::manifests_added_and_dropped(&empty().await).await;
    log::shared_bodies(&empty().await).await;
    log::trimming(&empty().await).await;
    log::trimming_in_steps(&empty().await).await;
    log::waiting(&empty().await).await;
    replace::plain_bodies(&empty().await).await;
    replace::only_what_was_read(&empty().await).await;
    log::consumers(&empty().await).await;
    log::consumers_given_up(&empty().await).await;
    replay::every_change(&empty().await, &empty().await).await;
    replay::ends_of_uploads(&empty().await, &empty().await).await;
    replay::what_happened_is_not_asked_again(&empty().await, &empty().await).await;
    replay::records_out_of_place(&empty().await, &empty().await).await;
    replay::records_that_are_not_true(&empty().await, &empty().await).await;
    replication::rules(&empty().await).await;
    replication::markers(&empty().await, &empty().await).await;
    replication::queue(&empty().await).await;
    replication::states(&empty().await).await;
    inspect::bodies(&empty().await).await;
    inspect::ages(&empty().await).await;
    inspect::totals(&empty().await).await;
}

/// Runs the check of a store whose locks go by `locks`.
///
/// # Panics
/// When the store breaks its contract.
pub async fn lock_clock(subject: &Subject, locks: &ManualClock) {
    marks::lock_clock(subject, locks).await;
}

/// Runs the check of what a store whose locks go by `locks` lets be asked for.
///
/// # Panics
/// When the store breaks its contract.
pub async fn lock_requests(subject: &Subject, locks: &ManualClock) {
    lock_clock::what_protects_nothing(subject, locks).await;
}

/// Runs the check of when the default locks begin in a store whose locks go by `locks`.
///
/// # Panics
/// When the store breaks its contract.
pub async fn lock_starts(subject: &Subject, locks: &ManualClock) {
    lock_clock::a_default_begins_now(subject, locks).await;
}

/// The key of checks that need only one.
static KEY: std::sync::OnceLock<ObjectKey> = std::sync::OnceLock::new();

fn key(name: &str) -> ObjectKey {
    ObjectKey::opaque(name.as_bytes().to_vec())
}

fn inline(text: &str) -> NewBody {
    NewBody::Inline(text.as_bytes().to_vec().into())
}

/// A manifest of one chunk; equal seeds give equal manifests.
fn manifest(seed: u8, len: u64) -> Manifest {
    let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([seed; 32]), len };
    Manifest::new(vec![entry]).unwrap()
}

fn chunked(seed: u8, len: u64) -> NewBody {
    NewBody::Manifest(manifest(seed, len))
}

fn object(body: NewBody) -> NewObject {
    let (size, tag) = match &body {
        NewBody::Inline(bytes) => (bytes.len() as u64, bytes.first().copied().unwrap_or(0)),
        NewBody::Manifest(root) => (root.size(), root.entries()[0].id.as_bytes()[0]),
        NewBody::SharedManifest(id) => (10, id.as_bytes()[0]),
        NewBody::Plain(id) | NewBody::SharedPlain(id) => (10, id.as_bytes()[0]),
    };
    let etag = ETag::of_body([tag; 16]);
    NewObject {
        body,
        size,
        etag,
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    }
}

fn put(bucket: BucketId, name: &str, body: NewBody, condition: WriteCondition) -> Commit {
    Commit::PutVersion { bucket, key: key(name), object: object(body), condition }
}

fn delete(bucket: BucketId, name: &str, target: VersionTarget) -> Commit {
    Commit::DeleteVersion {
        bucket,
        key: key(name),
        target,
        condition: DeleteCondition::default(),
        bypass_governance: false,
    }
}

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis)
}

/// Asserts that an expression matches a pattern, and says what it was instead.
macro_rules! expects {
    ($value:expr, $pattern:pat $(if $guard:expr)?) => {
        match $value {
            $pattern $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}
use expects;
