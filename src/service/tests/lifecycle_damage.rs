//! Rows that cannot be read: lifecycle goes on around them.

use super::key;
use super::lifecycle::{DAY_SECONDS, expires};
use crate::meta::{
    Commit, ListQuery, MetaStore, NewBody, NewObject, OpenMode, Outcome, SqliteSettings, SqliteStore,
    WriteCondition,
};
use crate::service::lifecycle::testing::turns;
use crate::service::{LifecycleWorker, ServiceSettings};
use crate::sys::{ManualClock, NoBarrier, SeededRandom};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSetting, BucketSettings, CommitSeq, ETag, LifecycleRules,
    ObjectLock, TagSet,
};
use std::path::PathBuf;
use std::sync::Arc;

struct Damaged {
    store: Arc<SqliteStore>,
    clock: Arc<ManualClock>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Damaged {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta.db");
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(7)));
        let settings = SqliteSettings::default();
        let (barrier, wall) = (Arc::new(NoBarrier), clock.clone());
        let store = SqliteStore::open(&path, OpenMode::Create, barrier, wall, random, &settings).unwrap();
        Self { store: Arc::new(store), clock, path, _dir: dir }
    }

    /// A bucket with three keys.
    async fn bucket(&self, name: &str) -> (BucketId, Vec<CommitSeq>) {
        let (name, settings) = (BucketName::parse(name).unwrap(), BucketSettings::default());
        let made = Commit::CreateBucket { name, owner: None, lock: false, settings };
        let Outcome::Bucket(bucket) = self.store.commit(made).await.unwrap() else { panic!("a bucket") };
        let mut seqs = Vec::new();
        for name in ["a", "b", "c"] {
            let object = NewObject {
                body: NewBody::Inline("x".into()),
                size: 1,
                etag: ETag::of_body([1; 16]),
                checksum: None,
                attributes: Attributes::default(),
                parts: Vec::new(),
                tags: TagSet::default(),
                lock: ObjectLock::default(),
            };
            let (bucket, condition) = (bucket.id, WriteCondition::None);
            let put = Commit::PutVersion { bucket, key: key(name), object, condition };
            let Outcome::Written { seq, .. } = self.store.commit(put).await.unwrap() else { panic!("a put") };
            seqs.push(seq);
        }
        (bucket.id, seqs)
    }

    fn damage(&self, change: &str, seq: CommitSeq) {
        let db = rusqlite::Connection::open(&self.path).unwrap();
        let changed = db.execute(&format!("UPDATE versions SET {change} WHERE seq = {}", seq.get()), []);
        assert_eq!(changed.unwrap(), 1);
    }

    async fn expire(&self, buckets: &[BucketId]) {
        let settings = ServiceSettings { lifecycle_day_seconds: DAY_SECONDS, ..ServiceSettings::default() };
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let worker = LifecycleWorker::new(store.clone(), store.clone(), store, clock, settings);
        let mut worked = worker.begin().await.unwrap();
        for bucket in buckets {
            let rules = Some(LifecycleRules(vec![expires("", 1)]));
            let setting = BucketSetting::Lifecycle(rules);
            self.store.commit(Commit::SetBucket { bucket: *bucket, setting }).await.unwrap();
        }
        self.clock.advance_millis(i64::from(DAY_SECONDS) * 2_000);
        turns(&worker, &mut worked).await;
    }

    async fn keys_left(&self, bucket: BucketId) -> usize {
        let query = ListQuery { limit: 10, ..ListQuery::default() };
        self.store.list_versions(bucket, query).await.unwrap().entries.len()
    }

    fn rows(&self) -> i64 {
        let db = rusqlite::Connection::open(&self.path).unwrap();
        db.query_row("SELECT count(*) FROM versions", [], |row| row.get(0)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_row_that_cannot_be_read_stops_no_other_key() {
    let damaged = Damaged::new();
    let (first, seqs) = damaged.bucket("first").await;
    let (second, _) = damaged.bucket("second").await;
    damaged.damage("etag = x'01'", seqs[1]);
    damaged.expire(&[first, second]).await;
    assert_eq!(damaged.keys_left(second).await, 0);
    assert_eq!(damaged.rows(), 1, "of the first bucket only the damaged one is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_key_without_a_readable_name_stops_no_other_bucket() {
    let damaged = Damaged::new();
    let (first, seqs) = damaged.bucket("first").await;
    let (second, _) = damaged.bucket("second").await;
    damaged.damage("row = substr(row, 1, length(row) - 3)", seqs[1]);
    damaged.expire(&[first, second]).await;
    assert_eq!(damaged.keys_left(second).await, 0);
    assert_eq!(damaged.rows(), 2, "the key before it went as well");
}
