//! Everything that metadata holds comes back: of what the image has, and of what the log behind it has.

use super::Target;
use super::testing::repository;
use super::testing_store::{TestStore, restore};
use crate::engine::BodyStore;
use crate::meta::testing::{dump, object};
use crate::meta::{
    Change, ChangeLog, Commit, MetaStore, NewObject, NewPart, NewUpload, Outcome, VersionKind, VersionPlace,
    VersionTarget, WriteCondition,
};
use crate::types::{
    AccountId, Attributes, BucketId, BucketName, BucketSetting, BucketSettings, CommitSeq, DefaultRetention,
    ETag, LockMode, LockSettings, ObjectKey, ObjectLock, PartNumber, ReplicaOf, Retention, RetentionPeriod,
    Tag, TagSet, UnixMillis, UploadId, VersionId, Versioning,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeSet;

const KINDS: usize = 17;

/// Every kind of record; a new one has to be done below, too.
const fn kind(change: &Change) -> &'static str {
    match change {
        Change::BucketCreated(_) => "bucket created",
        Change::BucketDeleted { .. } => "bucket deleted",
        Change::VersioningSet { .. } => "versioning set",
        Change::BucketSet { .. } => "bucket set",
        Change::BucketLocked { .. } => "bucket locked",
        Change::VersionPut { .. } => "version put",
        Change::VersionDeleted { .. } => "version deleted",
        Change::VersionTagged { .. } => "version tagged",
        Change::VersionTransitioned { .. } => "version transitioned",
        Change::BodyReplaced { .. } => "body replaced",
        Change::VersionLocked { .. } => "version locked",
        Change::UploadCreated(_) => "upload created",
        Change::PartPut { .. } => "part put",
        Change::UploadCompleted { .. } => "upload completed",
        Change::UploadAborted { .. } => "upload aborted",
        Change::Released => "released",
        Change::Mark => "mark",
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

fn tags(value: &str) -> TagSet {
    TagSet::of_object(vec![Tag { key: "kind".into(), value: value.into() }]).unwrap()
}

fn rules<T: DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// One turn of everything.
struct Turn<'a> {
    store: &'a TestStore,
    n: u8,
}

impl Turn<'_> {
    async fn commit(&self, commit: Commit) -> Outcome {
        self.store.pass(1000);
        let shown = format!("{commit:?}");
        self.store.meta.commit(commit).await.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    async fn bucket(&self, name: &str, lock: bool) -> BucketId {
        let name = BucketName::parse(&format!("{name}-{}", self.n)).unwrap();
        let owner = Some(AccountId::parse("someone").unwrap());
        let made = Commit::CreateBucket { name, owner, lock, settings: BucketSettings::default() };
        match self.commit(made).await {
            Outcome::Bucket(bucket) => bucket.id,
            other => panic!("{other:?}"),
        }
    }

    async fn put(&self, bucket: BucketId, name: &str, lock: ObjectLock) -> VersionId {
        let staged = self.store.staged(&vec![self.n; 30_000], false).await;
        let attributes = Attributes {
            content_type: Some("text/plain".into()),
            cache_control: Some("no-store".into()),
            user: [("owner".to_owned(), format!("{}", self.n))].into(),
            ..Attributes::default()
        };
        let object = NewObject { attributes, tags: tags("new"), lock, ..object(staged.body, staged.size) };
        let (key, condition) = (key(name), WriteCondition::None);
        let Outcome::Written { id, .. } =
            self.commit(Commit::PutVersion { bucket, key, object, condition }).await
        else {
            panic!()
        };
        id
    }

    async fn buckets(&self) {
        let gone = self.bucket("gone", false).await;
        self.commit(Commit::DeleteBucket { bucket: gone }).await;
        let bucket = self.bucket("rules", false).await;
        self.commit(Commit::SetVersioning { bucket, versioning: Versioning::Enabled }).await;
        let filter = json!({ "prefix": format!("logs/{}", self.n) });
        let lifecycle = json!([{
            "id": "old", "enabled": true, "filter": filter, "expiration": { "Days": 30 }, "abort_uploads_days": 7,
        }]);
        let cors = json!([{ "origins": ["https://*.example.com"], "methods": ["Get", "Put"], "max_age_seconds": 60 }]);
        let replication = json!({ "role": "arn:aws:iam::1:role/r", "rules": [{
            "id": "far", "enabled": true, "priority": 1, "filter": filter, "destination": "arn:aws:s3:::far",
        }] });
        let settings = [
            BucketSetting::Tags(Some(tags("bucket"))),
            BucketSetting::Lifecycle(Some(rules(lifecycle))),
            BucketSetting::Cors(Some(rules(cors))),
            BucketSetting::Replication(Some(rules(replication))),
        ];
        for setting in settings {
            self.commit(Commit::SetBucket { bucket, setting }).await;
        }
        let locked = self.bucket("locked", true).await;
        let period = RetentionPeriod::Days(1);
        let default_retention = Some(DefaultRetention { mode: LockMode::Governance, period });
        self.commit(Commit::LockBucket { bucket: locked, lock: LockSettings { default_retention } }).await;
        self.versions(locked).await;
        self.copies(bucket).await;
        self.uploads(bucket).await;
    }

    async fn versions(&self, bucket: BucketId) {
        let until = |days: i64| UnixMillis::new(self.store.now().get() + days * 86_400_000);
        let kept = Retention { mode: LockMode::Compliance, until: until(9) };
        self.put(bucket, "kept", ObjectLock { retention: Some(kept), legal_hold: Some(true) }).await;
        self.put(bucket, "object", ObjectLock::default()).await;
        let (key, target) = (key("object"), VersionTarget::Current);
        self.commit(Commit::SetTags { bucket, key: key.clone(), target, tags: tags("set") }).await;
        let retention = Some(Retention { mode: LockMode::Governance, until: until(20) });
        let bypass_governance = true;
        let retain = Commit::SetRetention { bucket, key: key.clone(), target, retention, bypass_governance };
        self.commit(retain).await;
        self.commit(Commit::SetLegalHold { bucket, key: key.clone(), target, legal_hold: true }).await;
        // A marker.
        let condition = WriteCondition::None.into();
        self.commit(Commit::DeleteVersion { bucket, key, target, condition, bypass_governance }).await;
    }

    async fn copies(&self, bucket: BucketId) {
        let gone = self.put(bucket, "gone", ObjectLock::default()).await;
        let condition = WriteCondition::None.into();
        let (target, bypass_governance) = (VersionTarget::Version(gone), false);
        let delete = Commit::DeleteVersion { bucket, key: key("gone"), target, condition, bypass_governance };
        self.commit(delete).await;
        let id = self.put(bucket, "cold", ObjectLock::default()).await;
        let (storage_class, condition) = ("GLACIER".into(), WriteCondition::None.into());
        self.commit(Commit::Transition { bucket, key: key("cold"), id, storage_class, condition }).await;
        let replica_of = ReplicaOf::parse("far/1").unwrap();
        self.commit(Commit::PutMarker { bucket, key: key("marker"), replica_of }).await;
        self.store.put(&format!("stays-whole-{}", self.n), &vec![self.n; 50_000], true).await;
        let (name, body) = (format!("whole-{}", self.n), vec![self.n; 40_000]);
        self.store.put(&name, &body, true).await;
        let bucket = self.store.bucket;
        let row = self.store.meta.version(bucket, &key(&name), None).await.unwrap().unwrap();
        let VersionKind::Object(found) = row.kind else { panic!() };
        let crate::meta::StoredBody::Plain(plain) = found.body else { panic!("{:?}", found.body) };
        let place =
            VersionPlace { bucket, key: key(&name), id: row.id, seq: row.seq, modified: row.modified };
        let staged = self.store.staged(&body, false).await;
        self.commit(Commit::ReplacePlain { place, plain, body: staged.body }).await;
    }

    async fn uploads(&self, bucket: BucketId) {
        for (at, what) in ["completed", "aborted", "open"].into_iter().enumerate() {
            let upload = UploadId::new([self.n * 8 + at as u8; 16]);
            let new = NewUpload {
                id: upload,
                attributes: Attributes { content_type: Some("video/mp4".into()), ..Attributes::default() },
                checksum: None,
                tags: tags("upload"),
                lock: ObjectLock::default(),
            };
            self.commit(Commit::CreateUpload { bucket, key: key(what), upload: new }).await;
            for number in 1..3u8 {
                let staged = self.store.staged(&vec![number * 16 + self.n; 30_000], false).await;
                let part = NewPart {
                    body: staged.body,
                    size: staged.size,
                    etag: ETag::of_body([number; 16]),
                    checksum: None,
                };
                let number = PartNumber::parse(number.into()).unwrap();
                self.commit(Commit::PutPart { upload, number, part }).await;
            }
            match what {
                "aborted" => drop(self.commit(Commit::AbortUpload { upload, rules_as_of: None }).await),
                "completed" => {
                    let hold = self.store.engine.hold();
                    let parts = self.store.meta.parts(upload, None, 9).await.unwrap();
                    let named = parts.iter().map(|part| (part.number, part.seq)).collect();
                    let bodies = parts.into_iter().map(|part| (part.body, part.size)).collect();
                    let staged = self.store.engine.join(bodies).await.unwrap();
                    let object = object(staged.body, staged.size);
                    let condition = WriteCondition::None;
                    self.commit(Commit::CompleteUpload { upload, parts: named, object, condition }).await;
                    drop((staged.hold, hold));
                }
                _ => {}
            }
        }
        self.commit(Commit::Mark).await;
    }
}

async fn kinds(store: &TestStore, after: CommitSeq, up_to: CommitSeq) -> BTreeSet<&'static str> {
    let records = store.meta.changes_after(after, 9_999).await.unwrap();
    records.iter().filter(|record| record.seq <= up_to).map(|record| kind(&record.change)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_buckets_rules_tags_locks_uploads_and_all_else_come_back_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    Turn { store: &store, n: 1 }.buckets().await;
    store.follow().await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    let base = shipper.snapshot(true).await.unwrap().base.seq;
    Turn { store: &store, n: 2 }.buckets().await;
    store.follow().await;
    shipper.round().await.unwrap();
    let end = shipper.shipped().0;
    assert_eq!(kinds(&store, CommitSeq::ZERO, base).await.len(), KINDS, "in the image");
    assert_eq!(kinds(&store, base, end).await.len(), KINDS, "in the log behind it");

    let (restored, plan) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert_eq!((plan.seq, plan.snapshot.base.seq), (end, base));
    let database = |name: &str| dir.path().join(name).join("meta").join("sediment.db");
    let (wanted, found) = (dump(&database("store"), true), dump(&database("to"), true));
    for (at, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        assert!(!wanted.is_empty());
        assert_eq!(wanted, found, "table {at}");
    }
    assert!(restored.bodies().await == store.bodies().await);
}
