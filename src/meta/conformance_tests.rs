//! Both stores keep the contracts, and random commands have the same effect on both.

use super::conformance::{self, Subject};
use super::{
    Commit, Consumer, ListFrom, ListQuery, MemoryStore, NewBody, NewObject, NewPart, NewUpload, OpenMode,
    SqliteSettings, SqliteStore, VersionPlace, VersionTarget, WriteCondition,
};
use crate::meta::{Above, DeleteCondition, ReplicationChange, Route, Voyage};
use crate::sys::{ManualClock, NoBarrier, SeededRandom};
use crate::types::{
    AccountId, Attributes, BucketId, BucketName, BucketSetting, BucketSettings, ChunkId, CommitSeq,
    DefaultRetention, DestinationArn, ETag, Entry, EntryKind, LifecycleRules, LockMode, LockSettings,
    Manifest, ObjectKey, ObjectLock, PartNumber, PlainId, ReplicaOf, ReplicationRules, Retention,
    RetentionPeriod, Tag, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) fn memory() -> Subject {
    let clock = Arc::new(ManualClock::default());
    let random = Arc::new(SeededRandom::new(7));
    Subject::new(Arc::new(MemoryStore::new(clock.clone(), random)), clock)
}

pub(super) fn sqlite(path: &Path) -> Subject {
    let clock = Arc::new(ManualClock::default());
    Subject::new(Arc::new(open(path, clock.clone())), clock)
}

pub(super) fn open(path: &Path, clock: Arc<ManualClock>) -> SqliteStore {
    let random = Arc::new(SeededRandom::new(7));
    let settings = SqliteSettings { reader_threads: 2, ..SqliteSettings::default() };
    SqliteStore::open(path, OpenMode::Create, Arc::new(NoBarrier), clock, random, &settings).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_go_by_a_clock_of_their_own() {
    let (clock, locks) = (Arc::new(ManualClock::default()), Arc::new(ManualClock::default()));
    let store = MemoryStore::new(clock.clone(), Arc::new(SeededRandom::new(7)));
    store.set_lock_clock(locks.clone());
    conformance::lock_clock(&Subject::new(Arc::new(store), clock), &locks).await;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("locks.db");
    let (clock, locks) = (Arc::new(ManualClock::default()), Arc::new(ManualClock::default()));
    let store = Arc::new(open(&path, clock.clone()));
    assert_eq!(store.reached(), None);
    store.set_lock_clock(locks.clone());
    conformance::lock_clock(&Subject::new(Arc::clone(&store), clock.clone()), &locks).await;
    drop(store);
    let reached = open(&path, clock).reached();
    assert_eq!(reached, Some(UnixMillis::new(900_086_400_000)), "it is kept");
}

/// Both stores, each with the clock that its locks go by.
fn with_lock_clocks(path: &Path) -> [(Subject, Arc<ManualClock>); 2] {
    let clocks = || (Arc::new(ManualClock::default()), Arc::new(ManualClock::default()));
    let (clock, model_locks) = clocks();
    let model = MemoryStore::new(clock.clone(), Arc::new(SeededRandom::new(7)));
    model.set_lock_clock(model_locks.clone());
    let model = Subject::new(Arc::new(model), clock);
    let (clock, locks) = clocks();
    let store = open(path, clock.clone());
    store.set_lock_clock(locks.clone());
    [(model, model_locks), (Subject::new(Arc::new(store), clock), locks)]
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_lock_that_would_protect_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (subject, locks) in with_lock_clocks(&dir.path().join("locks.db")) {
        conformance::lock_requests(&subject, &locks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_locks_begin_when_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    for (subject, locks) in with_lock_clocks(&dir.path().join("locks.db")) {
        conformance::lock_starts(&subject, &locks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_conforms() {
    conformance::run(|| async { memory() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let n = AtomicU32::new(0);
    conformance::run(|| async {
        sqlite(&dir.path().join(format!("{}.db", n.fetch_add(1, Ordering::Relaxed))))
    })
    .await;
}

/// A command over few names, so that commands meet.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Commit(Commit),
    /// Deletes, or completes with, what an earlier step made: the n-th outcome.
    DeleteWritten(usize, u32, ObjectKey),
    Complete(UploadId, NewObject, WriteCondition, bool),
    Clock(i64),
}

fn bucket() -> impl Strategy<Value = BucketId> {
    (0..3u32).prop_map(BucketId::new)
}

fn name() -> impl Strategy<Value = BucketName> {
    prop_oneof![Just("one"), Just("two")].prop_map(|name| BucketName::parse(name).unwrap())
}

fn key() -> impl Strategy<Value = ObjectKey> {
    prop_oneof![Just("a"), Just("a/"), Just("a/b"), Just("a/c/d"), Just("a\0"), Just("b"), Just("ä")]
        .prop_map(|key| ObjectKey::opaque(key.as_bytes().to_vec()))
}

fn body() -> impl Strategy<Value = NewBody> {
    let manifest = |n: u8| {
        let entry = Entry { kind: EntryKind::Chunk, id: ChunkId::new([n; 32]), len: u64::from(n) + 1 };
        Manifest::new(vec![entry]).unwrap()
    };
    (0..5u8, 0..4u8).prop_map(move |(kind, n)| match kind {
        0 => NewBody::Inline(vec![n; usize::from(n)].into()),
        1 => NewBody::SharedManifest(manifest(n).id()),
        2 => NewBody::Plain(PlainId::new([n; 16])),
        3 => NewBody::SharedPlain(PlainId::new([n; 16])),
        _ => NewBody::Manifest(manifest(n)),
    })
}

fn version_target() -> impl Strategy<Value = VersionTarget> {
    prop_oneof![Just(VersionTarget::Current), Just(VersionTarget::Version(VersionId::Null))]
}

fn tags() -> TagSet {
    TagSet::of_object(vec![Tag { key: "k".into(), value: "v".into() }]).unwrap()
}

/// Around the times that the clock shows.
fn retention() -> impl Strategy<Value = Option<Retention>> {
    let mode = prop_oneof![Just(LockMode::Governance), Just(LockMode::Compliance)];
    proptest::option::of((mode, 0..400i64).prop_map(|(mode, until)| {
        let until = UnixMillis::new(until);
        Retention { mode, until }
    }))
}

fn lock() -> impl Strategy<Value = ObjectLock> {
    let some = (retention(), proptest::option::of(any::<bool>()))
        .prop_map(|(retention, legal_hold)| ObjectLock { retention, legal_hold });
    prop_oneof![4 => Just(ObjectLock::default()), 1 => some]
}

fn object() -> impl Strategy<Value = NewObject> {
    (body(), 0..3u8, lock()).prop_map(|(body, tag, lock)| NewObject {
        body,
        size: u64::from(tag) * 100,
        etag: ETag::of_body([tag; 16]),
        checksum: None,
        attributes: Attributes::default(),
        parts: Vec::new(),
        tags: if tag == 1 { tags() } else { TagSet::default() },
        lock,
    })
}

fn condition() -> impl Strategy<Value = WriteCondition> {
    prop_oneof![
        4 => Just(WriteCondition::None),
        1 => Just(WriteCondition::IfAbsent),
        1 => Just(WriteCondition::IfExists),
        1 => (0..3u8).prop_map(|tag| WriteCondition::IfMatch(ETag::of_body([tag; 16]))),
        1 => (0..3u8).prop_map(|tag| WriteCondition::UnlessMatch(ETag::of_body([tag; 16]))),
    ]
}

fn upload() -> impl Strategy<Value = UploadId> {
    (0..3u8).prop_map(|n| UploadId::new([n; 16]))
}

fn number() -> impl Strategy<Value = PartNumber> {
    (1..4i64).prop_map(|n| PartNumber::parse(n).unwrap())
}

fn versioning() -> impl Strategy<Value = Versioning> {
    prop_oneof![Just(Versioning::Unversioned), Just(Versioning::Enabled), Just(Versioning::Suspended)]
}

fn new_upload(id: UploadId) -> NewUpload {
    NewUpload {
        id,
        attributes: Attributes::default(),
        checksum: None,
        tags: TagSet::default(),
        lock: ObjectLock::default(),
    }
}

/// A position of the log, if any.
fn position() -> impl Strategy<Value = Option<CommitSeq>> {
    prop_oneof![3 => Just(None), 1 => (0..60u64).prop_map(|seq| Some(CommitSeq::new(seq)))]
}

fn above() -> impl Strategy<Value = Above> {
    let version = (0..60u64).prop_map(|seq| Above::Version(CommitSeq::new(seq)));
    prop_oneof![3 => Just(Above::Anything), 1 => Just(Above::Nothing), 1 => version]
}

fn delete_condition() -> impl Strategy<Value = DeleteCondition> {
    (condition(), 0..6u8, above(), position()).prop_map(|(etag, tagged, above, rules_as_of)| {
        let tags = match tagged {
            0 => Some(TagSet::default()),
            1 => Some(tags()),
            _ => None,
        };
        DeleteCondition { tags, above, rules_as_of, ..etag.into() }
    })
}

fn route() -> impl Strategy<Value = Route> {
    (bucket(), key(), any::<bool>()).prop_map(|(bucket, key, one)| {
        let destination = DestinationArn::parse(if one { "arn:aws:s3:::one" } else { "arn:aws:s3:::two" });
        Route { destination: destination.unwrap(), bucket, key }
    })
}

fn replication_change() -> impl Strategy<Value = ReplicationChange> {
    let number = || (0..30u64).prop_map(CommitSeq::new);
    let time = || (0..400i64).prop_map(UnixMillis::new);
    let voyage = move || (route(), number()).prop_map(|(route, seq)| Voyage { route, seq });
    prop_oneof![
        3 => (route(), number(), time(), number())
            .prop_map(|(route, from, at, touched)| ReplicationChange::Touch { route, from, at, touched }),
        3 => (voyage(), number()).prop_map(|(voyage, changed)| ReplicationChange::Changed { voyage, changed }),
        3 => (voyage(), number()).prop_map(|(voyage, synced)| {
            ReplicationChange::Copied { voyage, synced, remote: None }
        }),
        2 => voyage().prop_map(|voyage| ReplicationChange::Refused { voyage }),
        2 => (route(), number()).prop_map(|(route, touched)| ReplicationChange::Done { route, touched }),
        2 => (route(), time()).prop_map(|(route, at)| ReplicationChange::Later { route, at }),
    ]
}

fn command() -> impl Strategy<Value = Commit> {
    let target = version_target();
    let cursor =
        |through| Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through: CommitSeq::new(through) };
    prop_oneof![
        2 => (name(), any::<bool>()).prop_map(|(name, lock)| {
            let owner = lock.then(|| AccountId::parse("someone").unwrap());
            let settings = BucketSettings { tags: lock.then(tags), ..BucketSettings::default() };
            Commit::CreateBucket { name, owner, lock, settings }
        }),
        1 => bucket().prop_map(|bucket| Commit::DeleteBucket { bucket }),
        2 => (bucket(), versioning())
            .prop_map(|(bucket, versioning)| Commit::SetVersioning { bucket, versioning }),
        12 => (bucket(), key(), object(), condition())
            .prop_map(|(bucket, key, object, condition)| Commit::PutVersion { bucket, key, object, condition }),
        5 => (bucket(), key(), target, delete_condition())
            .prop_map(|(bucket, key, target, condition)| Commit::DeleteVersion {
                bucket, key, target, condition, bypass_governance: true,
            }),
        3 => (bucket(), key(), upload())
            .prop_map(|(bucket, key, id)| Commit::CreateUpload { bucket, key, upload: new_upload(id) }),
        4 => (upload(), number(), object()).prop_map(|(upload, number, object)| {
            let NewObject { body, size, etag, checksum, .. } = object;
            Commit::PutPart { upload, number, part: NewPart { body, size, etag, checksum } }
        }),
        1 => (bucket(), any::<bool>()).prop_map(|(bucket, some)| {
            let setting = BucketSetting::Tags(some.then(tags));
            Commit::SetBucket { bucket, setting }
        }),
        1 => (bucket(), any::<bool>()).prop_map(|(bucket, some)| {
            let setting = BucketSetting::Lifecycle(some.then(LifecycleRules::default));
            Commit::SetBucket { bucket, setting }
        }),
        2 => (bucket(), any::<bool>()).prop_map(|(bucket, some)| {
            let (mode, period) = (LockMode::Compliance, RetentionPeriod::Days(1));
            let default_retention = some.then_some(DefaultRetention { mode, period });
            Commit::LockBucket { bucket, lock: LockSettings { default_retention } }
        }),
        3 => (bucket(), key(), version_target(), any::<bool>()).prop_map(|(bucket, key, target, some)| {
            let tags = if some { tags() } else { TagSet::default() };
            Commit::SetTags { bucket, key, target, tags }
        }),
        3 => (bucket(), key(), delete_condition()).prop_map(|(bucket, key, condition)| Commit::Transition {
            bucket, key, id: VersionId::Null, storage_class: "GLACIER".into(), condition,
        }),
        6 => (bucket(), key(), 0..30u64, 0..4u8, body()).prop_map(|(bucket, key, seq, n, body)| {
            let (id, seq, modified) = (VersionId::Null, CommitSeq::new(seq), UnixMillis::new(0));
            let place = VersionPlace { bucket, key, id, seq, modified };
            Commit::ReplacePlain { place, plain: PlainId::new([n; 16]), body }
        }),
        4 => (bucket(), key(), version_target(), retention(), any::<bool>()).prop_map(
            |(bucket, key, target, retention, bypass_governance)| Commit::SetRetention {
                bucket, key, target, retention, bypass_governance,
            }
        ),
        2 => (bucket(), key(), version_target(), any::<bool>()).prop_map(
            |(bucket, key, target, legal_hold)| Commit::SetLegalHold { bucket, key, target, legal_hold }
        ),
        1 => (upload(), position())
            .prop_map(|(upload, rules_as_of)| Commit::AbortUpload { upload, rules_as_of }),
        1 => (bucket(), key()).prop_map(|(bucket, key)| {
            Commit::PutMarker { bucket, key, replica_of: ReplicaOf::parse("far/1").unwrap() }
        }),
        2 => (bucket(), any::<bool>()).prop_map(|(bucket, some)| {
            let setting = BucketSetting::Replication(some.then(ReplicationRules::default));
            Commit::SetBucket { bucket, setting }
        }),
        3 => proptest::collection::vec(replication_change(), 1..4).prop_map(Commit::Replication),
        1 => Just(Commit::Mark),
        1 => (0..60u64).prop_map(cursor),
        1 => (0..60u64).prop_map(|through| Commit::AdvanceCursor {
            consumer: Consumer::Backup, through: CommitSeq::new(through),
        }),
        1 => Just(Commit::Follow { consumer: Consumer::Backup }),
        1 => Just(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }),
        1 => (0..40_u64).prop_map(|at| {
            Commit::ForgetConsumer { consumer: Consumer::Backup, at: Some(CommitSeq::new(at)) }
        }),
        1 => (0..60u64).prop_map(|through| Commit::TrimLog { through: CommitSeq::new(through) }),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => command().prop_map(Step::Commit),
        4 => (any::<usize>(), 1..3u32, key()).prop_map(|(n, bucket, key)| Step::DeleteWritten(n, bucket, key)),
        2 => (upload(), object(), condition(), any::<bool>())
            .prop_map(|(id, object, condition, all)| Step::Complete(id, object, condition, all)),
        2 => (-50..100i64).prop_map(Step::Clock),
    ]
}

/// The same step on one store. Both see the same, so both make the same command of it.
pub(super) async fn take(subject: &Subject, step: &Step, written: &[VersionId]) -> String {
    let commit = match step.clone() {
        Step::Commit(commit) => commit,
        Step::Clock(millis) => {
            subject.clock.advance_millis(millis);
            return String::new();
        }
        Step::DeleteWritten(n, bucket, key) => {
            let target = match written.len() {
                0 => VersionTarget::Current,
                len => VersionTarget::Version(written[n % len]),
            };
            let bucket = BucketId::new(bucket);
            let condition = DeleteCondition::default();
            Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }
        }
        Step::Complete(upload, object, condition, all) => {
            let there = subject.meta.parts(upload, None, if all { 10 } else { 1 }).await.unwrap();
            let parts = there.iter().map(|part| (part.number, part.seq)).collect();
            Commit::CompleteUpload { upload, parts, object, condition }
        }
    };
    format!("{:?}", subject.meta.commit(commit).await)
}

async fn pages(
    subject: &Subject,
    bucket: BucketId,
    limit: usize,
    delimiter: bool,
    prefix: &str,
) -> Vec<String> {
    let delimiter = delimiter.then(|| b"/".to_vec());
    let start = ListQuery { prefix: prefix.into(), delimiter, from: ListFrom::Start, limit };
    let mut seen = Vec::new();
    let mut query = start.clone();
    loop {
        let page = subject.meta.list_objects(bucket, query.clone()).await.unwrap();
        seen.push(format!("{page:?}"));
        let Some(next) = page.next else { break };
        query.from = next;
    }
    query = start.clone();
    loop {
        let page = subject.meta.list_versions(bucket, query.clone()).await.unwrap();
        seen.push(format!("{page:?}"));
        let Some(next) = page.next else { break };
        query.from = next;
    }
    query = start;
    loop {
        let page = subject.meta.list_uploads(bucket, query.clone()).await.unwrap();
        seen.push(format!("{page:?}"));
        let Some(next) = page.next else { break };
        query.from = next;
    }
    seen
}

/// Everything that a store shows.
pub(super) async fn view(subject: &Subject, keys: &[ObjectKey], written: &[VersionId]) -> Vec<String> {
    let (meta, log, inspect) = (&subject.meta, &subject.log, &subject.inspect);
    let mut seen = vec![
        format!("{:?}", meta.buckets(None, 9).await),
        format!("{:?}", log.totals().await),
        format!("{:?}", log.cursor(Consumer::ChunkIndex).await),
        format!("{:?}", log.known_cursor(Consumer::Backup).await),
        format!("{:?}", log.manifests(None, 99).await),
        format!("{:?}", inspect.duplicates(None, 99).await),
        format!("{:?}", inspect.plain_bodies(None, 99).await),
        format!("{:?}", inspect.versions_before(UnixMillis::new(500), None, 99).await),
    ];
    seen.push(format!("{:?}", subject.replication.replicated_buckets().await));
    for destination in subject.replication.queued_destinations().await.unwrap() {
        let replication = &subject.replication;
        seen.push(format!("{:?}", replication.queue_depth(&destination).await));
        seen.push(format!("{:?}", replication.next_queued(&destination).await));
        let mut due = replication.queued_keys(&destination, UnixMillis::new(300), 99).await.unwrap();
        // Those of one moment have no order.
        due.sort_by_key(|queued| format!("{queued:?}"));
        seen.push(format!("{due:?}"));
    }
    for from in [0, 5, 10, 20, 60] {
        seen.push(format!("{:?}", log.changes_after(CommitSeq::new(from), 99).await));
    }
    for row in log.manifests(None, 99).await.unwrap() {
        seen.push(format!("{:?}", inspect.versions_of_body(row.id, None, 99).await));
    }
    for n in 0..3 {
        let bucket = BucketId::new(n);
        for limit in [1, 100] {
            seen.extend(pages(subject, bucket, limit, false, "").await);
            seen.extend(pages(subject, bucket, limit, true, "a").await);
        }
        for key in keys {
            let ids = written.iter().rev().take(3).map(|id| Some(*id)).chain([None, Some(VersionId::Null)]);
            for id in ids {
                seen.push(format!("{:?}", meta.version(bucket, key, id).await));
            }
        }
        for key in keys {
            let destination = DestinationArn::parse("arn:aws:s3:::one").unwrap();
            let route = Route { destination, bucket, key: key.clone() };
            seen.push(format!(
                "{:?}",
                subject.replication.versions_from(&route, CommitSeq::new(n.into()), 9).await
            ));
            seen.push(format!("{:?}", meta.completed(bucket, key, UploadId::new([n as u8; 16])).await));
        }
        seen.push(format!("{:?}", meta.parts(UploadId::new([n as u8; 16]), None, 9).await));
        seen.push(format!("{:?}", meta.upload(UploadId::new([n as u8; 16])).await));
    }
    seen
}

/// The version id in an outcome.
pub(super) fn written_by(outcome: &str) -> Option<VersionId> {
    let id = outcome.split("Written { id: Id { seq: CommitSeq(").nth(1)?;
    let numbers: Vec<u64> =
        id.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    Some(VersionId::Id { seq: CommitSeq::new(numbers[0]), salt: numbers[1] })
}

async fn compare(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let (model, store) = (memory(), sqlite(&dir.path().join("sediment.db")));
    let mut written = Vec::new();
    let keys: Vec<_> =
        ["a", "a/", "a/b", "a\0", "b", "ä"].map(|key| ObjectKey::opaque(key.as_bytes().to_vec())).into();
    for (n, step) in steps.iter().enumerate() {
        let expected = take(&model, step, &written).await;
        assert_eq!(take(&store, step, &written).await, expected, "step {n}: {step:?}");
        let records = model.log.changes_after(model.log.last_seq().await.unwrap(), 1).await;
        assert!(records.is_ok());
        written.extend(written_by(&expected));
        if n % 15 == 14 || n + 1 == steps.len() {
            let (expected, seen) = (view(&model, &keys, &written).await, view(&store, &keys, &written).await);
            for (expected, seen) in expected.iter().zip(&seen) {
                assert_eq!(seen, expected, "after step {n}");
            }
            assert_eq!(seen.len(), expected.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn sqlite_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(compare(&steps));
    }
}
