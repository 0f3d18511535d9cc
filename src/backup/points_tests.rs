//! Random points in time of a store that lives: each is restored and compared with a model of what the store was then.
//!
//! `SEDIMENT_POINTS` (default 5): how many points; `SEDIMENT_POINTS_SEED`: of which life on.

use super::prune::{Guard, Pruner, remote_time};
use super::retention::{Age, RetentionSettings};
use super::testing::{TestRemote, open};
use super::testing_store::{TestStore, restore};
use super::{BackupError, Epoch, Repository, Shipper, Target};
use crate::engine::BodyStore;
use crate::meta::testing::object;
use crate::meta::{
    ChangeLog, Commit, ListQuery, MetaStore, NewObject, NewPart, NewUpload, Outcome, VersionEntry,
    VersionKind, VersionTarget, WriteCondition,
};
use crate::remote::{Faulty, MemoryRemote};
use crate::sys::{ManualClock, Random, SeededRandom};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, CommitSeq, ETag, ObjectKey, ObjectLock, PartLayout,
    PartNumber, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use async_trait::async_trait;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Operations of one life.
const STEPS: u64 = 140;
/// Points that are restored of one life.
const POINTS_OF_A_LIFE: u64 = 10;

/// MD5 of a body; `None`: a delete marker.
type Seen = Option<[u8; 16]>;
/// Versions of each key of each bucket, newest first.
type Model = BTreeMap<(BucketId, String), Vec<(VersionId, Seen)>>;

fn digest(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

struct Always(Epoch);

#[async_trait]
impl Guard for Always {
    async fn held(&self) -> Result<Epoch, BackupError> {
        Ok(self.0)
    }
}

/// Reads everything.
async fn look(store: &TestStore) -> Model {
    let mut model = Model::new();
    for bucket in store.meta.buckets(None, 10).await.unwrap() {
        let query = ListQuery { limit: 10_000, ..ListQuery::default() };
        for entry in store.meta.list_versions(bucket.id, query).await.unwrap().entries {
            let VersionEntry::Version(found) = entry else { continue };
            let row = store.meta.version(bucket.id, &found.key, Some(found.id)).await.unwrap().unwrap();
            let seen = match row.kind {
                VersionKind::DeleteMarker => None,
                VersionKind::Object(object) => {
                    Some(digest(&store.try_read(&object.body, object.size).await.unwrap()))
                }
            };
            let key = found.key.to_text().to_string();
            model.entry((bucket.id, key)).or_default().push((found.id, seen));
        }
    }
    model
}

struct Life {
    seed: u64,
    random: SeededRandom,
    clock: Arc<ManualClock>,
    remote: TestRemote,
    repository: Arc<Repository>,
    store: TestStore,
    buckets: [BucketId; 2],
    model: Model,
    /// What there was from this record on.
    moments: Vec<(CommitSeq, UnixMillis, Model)>,
    uploads: u64,
}

impl Life {
    async fn new(seed: u64, dir: &Path) -> Self {
        let store = TestStore::open(&dir.join("store")).await;
        let clock = Arc::new(ManualClock::at(store.now()));
        let remote = Arc::new(Faulty::new(MemoryRemote::new(clock.clone())));
        let repository = open(&remote, true).await;
        let (name, settings) = (BucketName::parse("versions").unwrap(), BucketSettings::default());
        let create = Commit::CreateBucket { name, owner: None, lock: false, settings };
        let Outcome::Bucket(made) = store.meta.commit(create).await.unwrap() else { panic!() };
        let versioning = Versioning::Enabled;
        store.meta.commit(Commit::SetVersioning { bucket: made.id, versioning }).await.unwrap();
        let buckets = [store.bucket, made.id];
        let (random, model, moments) = (SeededRandom::new(seed), Model::new(), Vec::new());
        Self { seed, random, clock, remote, repository, store, buckets, model, moments, uploads: 0 }
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.u64() % limit
    }

    fn body(&self) -> Vec<u8> {
        let mut body = vec![0; [10, 900, 8_000, 70_000][self.below(4) as usize]];
        // Now and then what was there before.
        SeededRandom::new(self.below(60)).fill(&mut body);
        body
    }

    fn place(&self) -> (BucketId, ObjectKey, String) {
        let key = format!("key/{}", self.below(10));
        (self.buckets[self.below(2) as usize], ObjectKey::parse(&key).unwrap(), key)
    }

    async fn commit(&self, commit: Commit) -> Outcome {
        self.store.meta.commit(commit).await.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// What is so from the last record on, or from `seq`.
    async fn note(&mut self, seq: Option<CommitSeq>) {
        let seq = match seq {
            Some(seq) => seq,
            None => self.store.meta.last_seq().await.unwrap(),
        };
        self.moments.push((seq, self.store.now(), self.model.clone()));
    }

    async fn wrote(&mut self, place: (BucketId, String), outcome: Outcome, body: &[u8]) {
        let Outcome::Written { id, seq, .. } = outcome else { panic!("{outcome:?}") };
        let versions = self.model.entry(place).or_default();
        versions.retain(|(known, _)| *known != id);
        versions.insert(0, (id, Some(digest(body))));
        self.note(Some(seq)).await;
    }

    async fn put(&mut self) {
        let ((bucket, key, name), body) = (self.place(), self.body());
        let staged = self.store.staged(&body, self.below(5) == 0).await;
        let object = NewObject { etag: ETag::of_body(digest(&body)), ..object(staged.body, staged.size) };
        let put = Commit::PutVersion { bucket, key, object, condition: WriteCondition::None };
        let outcome = self.commit(put).await;
        drop(staged.hold);
        self.wrote((bucket, name), outcome, &body).await;
    }

    async fn delete(&mut self) {
        let (bucket, key, name) = self.place();
        let known = self.model.get(&(bucket, name.clone())).cloned().unwrap_or_default();
        let target = match known.len() as u64 {
            len if len > 1 && self.below(2) == 0 => VersionTarget::Version(known[self.below(len) as usize].0),
            _ => VersionTarget::Current,
        };
        let condition = WriteCondition::None.into();
        let delete = Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false };
        let Outcome::Deleted { id, .. } = self.commit(delete).await else { panic!() };
        let versions = self.model.entry((bucket, name.clone())).or_default();
        match (target, id) {
            (VersionTarget::Current, Some(marker)) if bucket == self.buckets[1] => {
                versions.insert(0, (marker, None));
            }
            (VersionTarget::Version(gone), _) => versions.retain(|(known, _)| *known != gone),
            _ => versions.clear(),
        }
        if versions.is_empty() {
            self.model.remove(&(bucket, name));
        }
        self.note(None).await;
    }

    /// In parts; some are put again, some uploads are given up.
    async fn upload(&mut self) {
        let (bucket, key, name) = self.place();
        self.uploads += 1;
        let upload = UploadId::new(u128::from(self.uploads).to_be_bytes());
        let new = NewUpload {
            id: upload,
            attributes: Attributes::default(),
            checksum: None,
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        self.commit(Commit::CreateUpload { bucket, key, upload: new }).await;
        let mut bodies = BTreeMap::new();
        for number in [1, 2, 1 + self.below(3) as i64] {
            self.store.pass(100);
            let body = self.body();
            let staged = self.store.staged(&body, self.below(6) == 0).await;
            let (size, etag) = (staged.size, ETag::of_body(digest(&body)));
            let part = NewPart { body: staged.body, size, etag, checksum: None };
            let number = PartNumber::parse(number).unwrap();
            self.commit(Commit::PutPart { upload, number, part }).await;
            drop(staged.hold);
            bodies.insert(number, body);
        }
        self.store.pass(100);
        if self.below(4) == 0 {
            self.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
            return;
        }
        let hold = self.store.engine.hold();
        let parts = self.store.meta.parts(upload, None, 10).await.unwrap();
        let layout =
            |part: &crate::meta::Part| PartLayout { number: part.number, size: part.size, checksum: None };
        let layout: Vec<_> = parts.iter().map(layout).collect();
        let named = parts.iter().map(|part| (part.number, part.seq)).collect();
        let joined = parts.into_iter().map(|part| (part.body, part.size)).collect();
        let staged = self.store.engine.join(joined).await.unwrap();
        drop(hold);
        let body: Vec<u8> = bodies.into_values().flatten().collect();
        let etag = ETag::of_parts(digest(&body), layout.len() as u16);
        let object = NewObject { etag, parts: layout, ..object(staged.body, staged.size) };
        let complete =
            Commit::CompleteUpload { upload, parts: named, object, condition: WriteCondition::None };
        let outcome = self.commit(complete).await;
        drop(staged.hold);
        self.wrote((bucket, name), outcome, &body).await;
    }

    /// Of the window's beginning.
    async fn prune(&self, shipper: &Shipper) -> UnixMillis {
        // To the second: what was written before is older.
        self.store.pass(1000);
        self.clock.set(self.store.now());
        let epoch = self.repository.timeline().await.unwrap().newest().unwrap();
        let settings = RetentionSettings {
            keep_last: 1,
            retention_days: 0,
            window: Age::parse("2h").unwrap(),
            grace_seconds: 0,
            ..RetentionSettings::default()
        };
        let pruner = Pruner::new(Arc::clone(&self.repository), Some(shipper.local()), settings);
        let now = remote_time(&*self.remote, &self.random).await.unwrap();
        let plan = pruner.plan(Some(epoch), now).await.unwrap();
        pruner.execute(&plan, now, &Always(epoch), &|_| true).await.unwrap();
        plan.window_begin.unwrap()
    }

    /// Returns from when on every moment is kept.
    async fn live(&mut self) -> UnixMillis {
        self.note(None).await;
        let mut shipper = self.store.shipper(&self.repository).await.unwrap();
        shipper.snapshot(true).await.unwrap();
        for _ in 0..STEPS {
            self.store.pass(1000 + self.below(180_000) as i64);
            self.clock.set(self.store.now());
            match self.below(8) {
                0..4 => self.put().await,
                4..6 => self.delete().await,
                _ => self.upload().await,
            }
            self.store.follow().await;
            match self.below(24) {
                0 => drop(shipper.snapshot(self.below(2) == 0).await.unwrap()),
                1 => {
                    shipper.round().await.unwrap();
                    self.store.collect().await;
                }
                2 => {
                    drop(shipper);
                    shipper = self.store.shipper(&self.repository).await.unwrap();
                }
                3 => drop(self.prune(&shipper).await),
                4..12 => drop(shipper.round().await.unwrap()),
                _ => {}
            }
        }
        shipper.round().await.unwrap();
        self.prune(&shipper).await
    }

    /// A record or a time, and what there was then.
    fn point(&self, begin: UnixMillis, end: CommitSeq) -> (Target, &Model) {
        let first = self.moments.partition_point(|(_, at, _)| *at <= begin);
        let first_seq = self.moments[first].0.get();
        let now = self.store.now().get();
        let drawn = if self.below(2) == 0 {
            Target::Seq(CommitSeq::new(first_seq + self.below(end.get() - first_seq + 1)))
        } else {
            Target::Time(UnixMillis::new(begin.get() + self.below((now - begin.get()) as u64) as i64))
        };
        let is_then = |(seq, at, _): &&(CommitSeq, UnixMillis, Model)| match drawn {
            Target::Seq(target) => *seq <= target,
            Target::Time(target) => *at <= target,
            _ => false,
        };
        let (_, _, model) = self.moments.iter().take_while(is_then).last().unwrap();
        (drawn, model)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_random_points_in_time_are_restored_as_the_model_has_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (points, first) =
        (number("SEDIMENT_POINTS").unwrap_or(5), number("SEDIMENT_POINTS_SEED").unwrap_or(0));
    let mut compared = 0;
    for seed in first.. {
        let dir = tempfile::tempdir().unwrap();
        let mut life = Life::new(seed, dir.path()).await;
        let begin = life.live().await;
        assert!(look(&life.store).await == life.model, "seed {seed}: the model is wrong");
        let end = life.store.meta.last_seq().await.unwrap();
        let to = dir.path().join("to");
        for _ in 0..POINTS_OF_A_LIFE.min(points - compared) {
            let (target, wanted) = life.point(begin, end);
            println!("SEDIMENT_POINTS_SEED={seed} {target:?}");
            let (restored, plan) = restore(&life.repository, target, &to)
                .await
                .unwrap_or_else(|error| panic!("seed {seed} {target:?}: {error}"));
            assert!(look(&restored).await == *wanted, "seed {seed} {target:?}, record {}", plan.seq);
            drop(restored);
            std::fs::remove_dir_all(&to).unwrap();
            compared += 1;
        }
        if compared >= points {
            break;
        }
    }
    println!("{compared} points compared, 0 differences");
}
