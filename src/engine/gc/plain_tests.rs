//! What a look at a plain file says of those who come to it later.

use super::testing::{World, named, new_object};
use super::{Collector, PlainFiles};
use crate::engine::index::{ChunkIndex, Hold};
use crate::meta::{
    ChangeLog, Commit, Duplicate, Inspect, MemoryStore, MetaError, MetaStore, NewBody, PlainVersion,
    VersionPlace, VersionTarget, WriteCondition,
};
use crate::types::{BucketId, ManifestId, PlainId, UnixMillis};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

/// A collection saw it while it was written; it was committed since.
async fn seen_before_its_commit(world: &mut World) -> PlainId {
    let writer = world.index.hold();
    let file = world.write_plain(&[1, 2, 3]);
    world.gc().await.unwrap();
    world.put_body("whole", NewBody::Plain(file), &[1, 2, 3]).await.unwrap();
    drop(writer);
    file
}

/// Reads what names the file, and deletes that: the file stays until the reader has gone, whatever the index has applied before.
async fn read_and_delete(world: &mut World, key: &str, file: PlainId) {
    world.follow().await;
    let reader = world.index.hold();
    assert!(world.read_plain(key).await.is_some());
    world.delete(key).await;
    for _ in 0..3 {
        world.gc().await.unwrap();
        assert_eq!(world.plain.list().unwrap(), [file], "its reader is at work");
    }
    drop(reader);
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), []);
}

#[tokio::test]
async fn i1_a_plain_file_that_was_seen_before_its_commit_stays_for_whoever_reads_it() {
    let mut world = World::new().await;
    let file = seen_before_its_commit(&mut world).await;
    read_and_delete(&mut world, "whole", file).await;
}

/// As who completes an upload of a part stored whole.
#[tokio::test]
async fn i1_a_plain_file_stays_for_whoever_reads_what_names_it_again() {
    let mut world = World::new().await;
    let file = seen_before_its_commit(&mut world).await;
    world.follow().await;
    world.put_body("copy", NewBody::SharedPlain(file), &[1, 2, 3]).await.unwrap();
    world.delete("whole").await;
    read_and_delete(&mut world, "copy", file).await;
}

#[tokio::test]
async fn i5_one_collection_frees_a_plain_file_that_nobody_has() {
    let mut world = World::new().await;
    let file = seen_before_its_commit(&mut world).await;
    world.delete("whole").await;
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), [], "{file} stays");
    let left = world.write_plain(&[4]);
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), [], "{left} was never committed");
}

/// Commits a file just after the first look at the rows, ends its writer, and reads and deletes it just before the second one.
#[derive(Debug)]
struct Meddler {
    meta: Arc<MemoryStore>,
    index: ChunkIndex,
    bucket: BucketId,
    file: PlainId,
    looks: Mutex<u32>,
    writer: Mutex<Option<Hold>>,
    reader: Mutex<Option<Hold>>,
}

impl Meddler {
    async fn commit(&self, commit: Commit) {
        self.meta.commit(commit).await.unwrap();
        self.index.wait_applied(self.meta.last_seq().await.unwrap()).await;
    }

    async fn put(&self) {
        let (bucket, key, condition) = (self.bucket, named("whole"), WriteCondition::None);
        let object = new_object(NewBody::Plain(self.file), &[1, 2, 3]);
        self.commit(Commit::PutVersion { bucket, key, object, condition }).await;
        drop(self.writer.lock().take());
    }

    async fn read_and_delete(&self) {
        *self.reader.lock() = Some(self.index.hold());
        let row = self.meta.version(self.bucket, &named("whole"), None).await.unwrap();
        assert!(row.is_some());
        let (bucket, key, target) = (self.bucket, named("whole"), VersionTarget::Current);
        let condition = WriteCondition::None.into();
        self.commit(Commit::DeleteVersion { bucket, key, target, condition, bypass_governance: false }).await;
    }
}

#[async_trait]
impl Inspect for Meddler {
    async fn duplicates(&self, _: Option<ManifestId>, _: usize) -> Result<Vec<Duplicate>, MetaError> {
        unreachable!()
    }

    async fn versions_of_body(
        &self,
        _: ManifestId,
        _: Option<&VersionPlace>,
        _: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        unreachable!()
    }

    async fn versions_before(
        &self,
        _: UnixMillis,
        _: Option<&VersionPlace>,
        _: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        unreachable!()
    }

    async fn plain_versions(
        &self,
        _: Option<&VersionPlace>,
        _: usize,
    ) -> Result<Vec<PlainVersion>, MetaError> {
        unreachable!()
    }

    async fn plain_bodies(&self, after: Option<PlainId>, limit: usize) -> Result<Vec<PlainId>, MetaError> {
        let look = {
            let mut looks = self.looks.lock();
            *looks += 1;
            *looks
        };
        if look == 2 {
            self.read_and_delete().await;
        }
        let found = self.meta.plain_bodies(after, limit).await;
        if look == 1 {
            self.put().await;
        }
        found
    }
}

/// No record tells of that once it is noted.
#[tokio::test]
async fn i1_a_plain_file_that_is_committed_between_look_and_note_stays_for_whoever_reads_it() {
    let mut world = World::new().await;
    let writer = Mutex::new(Some(world.index.hold()));
    let file = world.write_plain(&[1, 2, 3]);
    let (meta, index, bucket) = (world.meta.clone(), world.index.clone(), world.bucket);
    let (looks, reader) = (Mutex::new(0), Mutex::new(None));
    let meddler =
        Arc::new(Meddler { meta: meta.clone(), index: index.clone(), bucket, file, looks, writer, reader });
    let files = PlainFiles { store: world.plain.clone(), inspect: meddler.clone() };
    world.collector = Collector::new(world.packs.clone(), index, meta, Some(files), world.settings.clone());
    world.gc().await.unwrap();
    assert!(*meddler.looks.lock() >= 2);
    assert_eq!(world.plain.list().unwrap(), [file], "its reader is at work");
    drop(meddler.reader.lock().take());
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), []);
}
