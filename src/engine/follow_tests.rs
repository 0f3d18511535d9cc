//! The follower over a metadata store in memory.

use super::{Follower, TRIM_RECORDS, Unsaved};
use crate::engine::index::{ChunkIndex, IndexSettings, Progress};
use crate::engine::pack::{Codec, NewRecord, PackSet, PackSettings, RecordKind};
use crate::meta::testing::{create_bucket, object};
use crate::meta::{ChangeLog, Commit, Consumer, MemoryStore, MetaError, MetaStore, NewBody, WriteCondition};
use crate::storage::MemoryPackStore;
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{BucketId, ChunkId, CommitSeq, Entry, EntryKind, Manifest, ObjectKey, UnixMillis};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn open(dir: &Path, packs: &PackSet) -> ChunkIndex {
    ChunkIndex::open(dir, packs.clone(), &IndexSettings::default()).unwrap()
}

struct World {
    dir: tempfile::TempDir,
    packs: PackSet,
    meta: Arc<MemoryStore>,
    bucket: BucketId,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
        let random = Arc::new(SeededRandom::new(5));
        let meta = Arc::new(MemoryStore::new(clock.clone(), random.clone()));
        let store = Arc::new(MemoryPackStore::new());
        let packs = PackSet::open(store, clock, random, &PackSettings::default()).unwrap().0;
        let bucket = create_bucket(meta.as_ref()).await;
        Self { dir: tempfile::tempdir().unwrap(), packs, meta, bucket }
    }

    fn follower(&self, index: &ChunkIndex) -> Follower {
        Follower::new(self.meta.clone(), self.meta.clone(), index.clone())
    }

    async fn put(&self, index: &ChunkIndex, content: &'static [u8]) -> ChunkId {
        let hold = index.hold();
        let id = ChunkId::new(Sha256::digest(content).into());
        let raw_len = u32::try_from(content.len()).unwrap();
        let payload = Bytes::from_static(content);
        let record = NewRecord { id, kind: RecordKind::Chunk, codec: Codec::Raw, raw_len, payload };
        let location = self.packs.append(&[record]).unwrap()[0];
        index.insert(&hold, &[(id, RecordKind::Chunk, location)]).unwrap();
        let entry = Entry { kind: EntryKind::Chunk, id, len: u64::from(raw_len) };
        let manifest = Manifest::new(vec![entry]).unwrap();
        let object = object(NewBody::Manifest(manifest), u64::from(raw_len));
        let key = ObjectKey::parse(&id.to_string()).unwrap();
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.meta.commit(Commit::PutVersion { bucket, key, object, condition }).await.unwrap();
        id
    }
}

fn references(index: &ChunkIndex) -> Vec<u64> {
    index.entries(None, 100).unwrap().iter().map(|(_, entry)| entry.references).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_following_counts_and_a_stop_trims_only_what_is_durable() {
    let world = World::new().await;
    let index = open(&world.dir.path().join("index"), &world.packs);
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.follower(&index).run(stop.clone()));
    world.put(&index, b"one").await;
    world.put(&index, b"two").await;
    let last = world.meta.last_seq().await.unwrap();
    index.wait_applied(last).await;
    assert_eq!(references(&index), [1, 1]);
    assert_eq!(world.meta.cursor(Consumer::ChunkIndex).await.unwrap(), CommitSeq::ZERO, "nothing is durable");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(world.meta.cursor(Consumer::ChunkIndex).await.unwrap(), last);
    let trimmed = world.meta.changes_after(CommitSeq::ZERO, 10).await;
    assert!(matches!(trimmed, Err(MetaError::Trimmed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_deleted_index_is_counted_anew_from_manifests() {
    let world = World::new().await;
    let first = open(&world.dir.path().join("index"), &world.packs);
    world.put(&first, b"one").await;
    world.put(&first, b"two").await;
    world.follower(&first).catch_up(Progress::SILENT).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    world.follower(&first).run(stop).await.unwrap();
    let other = open(&world.dir.path().join("other"), &world.packs);
    assert_eq!(references(&other), [0, 0]);
    world.follower(&other).catch_up(Progress::SILENT).await.unwrap();
    assert_eq!(references(&other), [1, 1]);
    assert_eq!(other.applied(), world.meta.last_seq().await.unwrap());
    assert_eq!(other.counts().unwrap(), first.counts().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_an_index_behind_the_beginning_of_the_log_is_counted_anew() {
    let world = World::new().await;
    let index = open(&world.dir.path().join("index"), &world.packs);
    world.put(&index, b"one").await;
    world.follower(&index).catch_up(Progress::SILENT).await.unwrap();
    world.put(&index, b"two").await;
    world.put(&index, b"three").await;
    let through = world.meta.last_seq().await.unwrap();
    let cursor = Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through };
    world.meta.commit(cursor).await.unwrap();
    world.meta.commit(Commit::TrimLog { through }).await.unwrap();
    world.follower(&index).catch_up(Progress::SILENT).await.unwrap();
    assert_eq!(references(&index), [1, 1, 1]);
    assert_eq!(index.applied(), through);
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_an_index_that_failed_a_write_is_opened_anew_by_itself() {
    let world = World::new().await;
    let index = open(&world.dir.path().join("index"), &world.packs);
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.follower(&index).run(stop.clone()));
    world.put(&index, b"one").await;
    index.wait_applied(world.meta.last_seq().await.unwrap()).await;
    let mut failure = index.failure();
    index.fail("no space");
    failure.wait_for(Option::is_none).await.unwrap();
    world.put(&index, b"two").await;
    index.wait_applied(world.meta.last_seq().await.unwrap()).await;
    assert_eq!(references(&index), [1, 1]);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_follower_that_cannot_follow_says_so() {
    let world = World::new().await;
    let index = open(&world.dir.path().join("index"), &world.packs);
    world.put(&index, b"one").await;
    let through = world.meta.last_seq().await.unwrap();
    world.meta.commit(Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through }).await.unwrap();
    world.meta.commit(Commit::TrimLog { through }).await.unwrap();
    let follower = world.follower(&index);
    let mut trouble = follower.trouble();
    assert!(trouble.borrow().is_none());
    let stop = CancellationToken::new();
    let running = tokio::spawn(follower.run(stop.clone()));
    trouble.wait_for(Option::is_some).await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_the_log_is_trimmed_in_steps_until_nothing_is_left_or_it_is_to_stop() {
    let world = World::new().await;
    for _ in 0..3 * TRIM_RECORDS {
        world.meta.commit(Commit::Mark).await.unwrap();
    }
    let index = open(&world.dir.path().join("index"), &world.packs);
    let follower = world.follower(&index);
    follower.catch_up(Progress::SILENT).await.unwrap();
    let is_trimmed = async |through: u64| {
        let after = CommitSeq::new(through - 1);
        matches!(world.meta.changes_after(after, 1).await, Err(MetaError::Trimmed(_)))
    };
    let stop = CancellationToken::new();
    stop.cancel();
    for (stop, through) in [(stop, TRIM_RECORDS), (CancellationToken::new(), 3 * TRIM_RECORDS)] {
        let mut unsaved = Unsaved::default();
        unsaved.add(1);
        follower.checkpoint(&mut unsaved, &stop).await.unwrap();
        assert!(is_trimmed(through).await);
        assert_eq!(is_trimmed(through + 1).await, through > TRIM_RECORDS, "the bucket's record is one more");
    }
}
