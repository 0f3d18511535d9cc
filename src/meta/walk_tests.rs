//! Walks through listings while rows come and go between the pages, against a naive model: what was there all the
//! time is shown exactly once, nothing is shown twice, and nothing that never was.

use super::conformance::Subject;
use super::testing::{create_bucket, object};
use super::tests::{memory, sqlite};
use super::{
    Commit, ListEntry, ListFrom, ListQuery, NewBody, NewObject, NewPart, NewUpload, UploadEntry,
    VersionEntry, VersionTarget, WriteCondition,
};
use crate::types::{
    Attributes, BucketId, ObjectKey, ObjectLock, PartNumber, TagSet, UploadId, VersionId, Versioning,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A change between two pages. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Change {
    Put(usize),
    Delete(usize),
    DeleteVersion(usize),
    Versioning(bool),
    Start(usize),
    Abort(usize),
    Complete(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<usize>().prop_map(Change::Put),
        3 => any::<usize>().prop_map(Change::Delete),
        3 => any::<usize>().prop_map(Change::DeleteVersion),
        1 => any::<bool>().prop_map(Change::Versioning),
        3 => any::<usize>().prop_map(Change::Start),
        2 => any::<usize>().prop_map(Change::Abort),
        2 => any::<usize>().prop_map(Change::Complete),
    ]
}

const NAMES: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "a/bb", "a\0", "b", "c/1", "c/2"];

/// A row by its key and what tells it from all others: its stamp, or an upload's id. Common prefixes have none.
type Row = (Vec<u8>, u128);

/// What a kind of listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Objects,
    Versions,
    Uploads,
}

const KINDS: [Kind; 3] = [Kind::Objects, Kind::Versions, Kind::Uploads];

struct World {
    subject: Subject,
    bucket: BucketId,
    uploads: u8,
}

impl World {
    async fn new(subject: Subject) -> Self {
        let bucket = create_bucket(subject.meta.as_ref()).await;
        Self { subject, bucket, uploads: 0 }
    }

    async fn commit(&self, commit: Commit) {
        self.subject.clock.advance_millis(1);
        self.subject.meta.commit(commit).await.unwrap();
    }

    async fn take(&mut self, change: &Change) {
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        let key = |n: &usize| ObjectKey::opaque(NAMES[n % NAMES.len()].as_bytes().to_vec());
        let object = || object(NewBody::Inline("x".into()), 1);
        match change {
            Change::Put(n) => {
                self.commit(Commit::PutVersion { bucket, key: key(n), object: object(), condition }).await;
            }
            Change::Delete(n) => {
                let target = VersionTarget::Current;
                self.commit(Commit::DeleteVersion {
                    bucket,
                    key: key(n),
                    target,
                    condition: condition.into(),
                    bypass_governance: false,
                })
                .await;
            }
            Change::DeleteVersion(n) => {
                let all = self.versions().await;
                if all.is_empty() {
                    return;
                }
                let (key, id) = all[n % all.len()].clone();
                let target = VersionTarget::Version(id);
                self.commit(Commit::DeleteVersion {
                    bucket,
                    key,
                    target,
                    condition: condition.into(),
                    bypass_governance: false,
                })
                .await;
            }
            Change::Versioning(enabled) => {
                let versioning = if *enabled { Versioning::Enabled } else { Versioning::Suspended };
                self.commit(Commit::SetVersioning { bucket, versioning }).await;
            }
            Change::Start(n) if self.uploads < u8::MAX => {
                self.uploads += 1;
                let id = UploadId::new([self.uploads; 16]);
                let upload = NewUpload {
                    id,
                    attributes: Attributes::default(),
                    checksum: None,
                    tags: TagSet::default(),
                    lock: ObjectLock::default(),
                };
                self.commit(Commit::CreateUpload { bucket, key: key(n), upload }).await;
            }
            Change::Start(_) => {}
            Change::Abort(n) => {
                if let Some(upload) = self.upload(*n).await {
                    self.commit(Commit::AbortUpload { upload, rules_as_of: None }).await;
                }
            }
            Change::Complete(n) => {
                let Some(upload) = self.upload(*n).await else { return };
                let NewObject { body, size, etag, checksum, .. } = object();
                let part = NewPart { body, size, etag, checksum };
                let number = PartNumber::MAX;
                self.commit(Commit::PutPart { upload, number, part }).await;
                let parts = self.subject.meta.parts(upload, None, 9).await.unwrap();
                let parts = parts.iter().map(|part| (part.number, part.seq)).collect();
                self.commit(Commit::CompleteUpload { upload, parts, object: object(), condition }).await;
            }
        }
    }

    async fn versions(&self) -> Vec<(ObjectKey, VersionId)> {
        let query = ListQuery { limit: 10_000, ..ListQuery::default() };
        let page = self.subject.meta.list_versions(self.bucket, query).await.unwrap();
        let version = |entry: VersionEntry| match entry {
            VersionEntry::Version(version) => (version.key, version.id),
            VersionEntry::CommonPrefix(_) => panic!("no delimiter was given"),
        };
        page.entries.into_iter().map(version).collect()
    }

    async fn upload(&self, n: usize) -> Option<UploadId> {
        let rows = self.page(Kind::Uploads, &ListQuery::default(), ListFrom::Start, 10_000).await.0;
        let bytes = rows.get(n.checked_rem(rows.len())?)?.1.to_be_bytes();
        Some(UploadId::new(bytes))
    }

    async fn page(
        &self,
        kind: Kind,
        asked: &ListQuery,
        from: ListFrom,
        limit: usize,
    ) -> (Vec<Row>, Option<ListFrom>) {
        let (meta, bucket) = (&self.subject.meta, self.bucket);
        let query = ListQuery { from, limit, ..asked.clone() };
        let row = |key: &ObjectKey, mark: u128| (key.as_bytes().to_vec(), mark);
        match kind {
            Kind::Objects => {
                let page = meta.list_objects(bucket, query).await.unwrap();
                let rows = page.entries.iter().map(|entry| match entry {
                    ListEntry::Object(object) => row(&object.key, object.modified.get() as u128),
                    ListEntry::CommonPrefix(prefix) => (prefix.clone(), 0),
                });
                (rows.collect(), page.next)
            }
            Kind::Versions => {
                let page = meta.list_versions(bucket, query).await.unwrap();
                let rows = page.entries.iter().map(|entry| match entry {
                    VersionEntry::Version(version) => row(&version.key, version.modified.get() as u128),
                    VersionEntry::CommonPrefix(prefix) => (prefix.clone(), 0),
                });
                (rows.collect(), page.next)
            }
            Kind::Uploads => {
                let page = meta.list_uploads(bucket, query).await.unwrap();
                let rows = page.entries.iter().map(|entry| match entry {
                    UploadEntry::Upload { id, key, .. } => row(key, u128::from_be_bytes(*id.as_bytes())),
                    UploadEntry::CommonPrefix(prefix) => (prefix.clone(), 0),
                });
                (rows.collect(), page.next)
            }
        }
    }

    async fn all(&self, kind: Kind, asked: &ListQuery) -> BTreeSet<Row> {
        self.page(kind, asked, ListFrom::Start, 10_000).await.0.into_iter().collect()
    }
}

/// Walks one listing, with a change between any two pages.
async fn walk(world: &mut World, kind: Kind, asked: &ListQuery, limit: usize, changes: &[Change]) {
    let mut always = world.all(kind, asked).await;
    let mut ever = always.clone();
    let (mut seen, mut from) = (Vec::new(), ListFrom::Start);
    let mut changes = changes.iter();
    loop {
        let (rows, next) = world.page(kind, asked, from, limit).await;
        assert!(rows.len() <= limit);
        seen.extend(rows);
        let Some(next) = next else { break };
        from = next;
        if let Some(change) = changes.next() {
            world.take(change).await;
            let now = world.all(kind, asked).await;
            always = always.intersection(&now).cloned().collect();
            ever.extend(now);
        }
    }
    let once: BTreeSet<Row> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "{kind:?}: something was shown twice: {seen:?}");
    assert!(always.is_subset(&once), "{kind:?}: {always:?} was there all the time, {seen:?} was shown");
    assert!(once.is_subset(&ever), "{kind:?}: {seen:?} was shown, {ever:?} has been");
}

async fn walks(subject: Subject, before: &[Change], between: &[Change], asked: &ListQuery, limit: usize) {
    let mut world = World::new(subject).await;
    for change in before {
        world.take(change).await;
    }
    for kind in KINDS {
        walk(&mut world, kind, asked, limit, between).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn i1_a_walk_shows_what_was_there_all_the_time_exactly_once(
        before in proptest::collection::vec(change(), 0..40),
        between in proptest::collection::vec(change(), 0..20),
        prefix in prop::sample::select(&["", "a", "a/", "c"][..]),
        delimiter in prop::option::of(prop::sample::select(&["/", "b", "a/"][..])),
        limit in 1..4_usize,
        on_disk in prop::bool::weighted(0.2),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let delimiter = delimiter.map(|delimiter| delimiter.as_bytes().to_vec());
        let asked = ListQuery { prefix: prefix.as_bytes().to_vec(), delimiter, ..ListQuery::default() };
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let subject = if on_disk { sqlite(&dir.path().join("sediment.db")) } else { memory() };
            walks(subject, &before, &between, &asked, limit).await;
        });
    }
}
