#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::hot::hot;
use super::{BodyReader, FRAME_BYTES, Locate, ReadBudget};
use crate::engine::codec::encode;
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{Location, NewRecord, PackSet, PackSettings, RecordKind};
use crate::engine::{BodyStream, CacheSettings, ChunkCache, EngineError, PlainStore};
use crate::meta::StoredBody;
use crate::sys::{Random, RealFileSystem, SeededRandom, SystemClock, SystemSteady};
use crate::types::{ByteRange, ChunkId, Entry, EntryKind, Manifest, ManifestId, Node, ResolvedRange};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// An index in memory. `stale` is answered first, the last of it first: what a reader saw before a collection moved the chunk.
#[derive(Debug, Default)]
struct TestIndex {
    at: Mutex<HashMap<ChunkId, Location>>,
    stale: Mutex<HashMap<ChunkId, Vec<Location>>>,
    condemned: Mutex<Vec<(ChunkId, Location)>>,
    looked_up: AtomicUsize,
    holds: Arc<AtomicUsize>,
}

struct TestHold(Arc<AtomicUsize>);

impl Drop for TestHold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Locate for TestIndex {
    fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError> {
        self.looked_up.fetch_add(ids.len(), Ordering::SeqCst);
        let (at, mut stale) = (self.at.lock(), self.stale.lock());
        let found = |id| stale.get_mut(id).and_then(Vec::pop).or_else(|| at.get(id).copied());
        Ok(ids.iter().map(found).collect())
    }

    fn hold(&self) -> Box<dyn Any + Send + Sync> {
        self.holds.fetch_add(1, Ordering::SeqCst);
        Box::new(TestHold(Arc::clone(&self.holds)))
    }

    fn condemn(&self, id: &ChunkId, damaged: Location) {
        self.condemned.lock().push((*id, damaged));
    }
}

struct World {
    store: Arc<TestPacks>,
    packs: PackSet,
    index: Arc<TestIndex>,
    plain: PlainStore,
    reader: BodyReader,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(cache_bytes: u64, total_kib: u32) -> Self {
        Self::with_wait(cache_bytes, total_kib, PATIENCE)
    }

    fn with_wait(cache_bytes: u64, total_kib: u32, wait: Duration) -> Self {
        let store = Arc::new(TestPacks::default());
        let random = Arc::new(SeededRandom::new(1));
        let settings = PackSettings { target_bytes: 1 << 20 };
        let (packs, _) =
            PackSet::open(Arc::clone(&store) as _, Arc::new(SystemClock), random, &settings).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let plain = PlainStore::open(Arc::new(RealFileSystem), &dir.path().join("plain")).unwrap();
        let settings = CacheSettings { memory_bytes: cache_bytes, ..CacheSettings::default() };
        let cache = ChunkCache::new(&settings, Arc::new(SystemSteady)).unwrap();
        let budget = ReadBudget::new(u64::from(total_kib) << 10, 64 << 10, wait);
        let index = Arc::new(TestIndex::default());
        let reader = BodyReader::new(packs.clone(), Arc::clone(&index) as _, cache, plain.clone(), budget);
        Self { store, packs, index, plain, reader, _dir: dir }
    }

    fn append(&self, id: ChunkId, kind: RecordKind, raw: &Bytes) -> Location {
        let (codec, payload) = encode(raw, 1);
        let raw_len = u32::try_from(raw.len()).unwrap();
        self.packs.append(&[NewRecord { id, kind, codec, raw_len, payload }]).unwrap()[0]
    }

    fn add(&self, kind: RecordKind, raw: &Bytes) -> ChunkId {
        let id = match kind {
            RecordKind::Chunk => ChunkId::new(Sha256::digest(raw).into()),
            RecordKind::Node => Node::id_of(raw),
        };
        if !self.index.at.lock().contains_key(&id) {
            let location = self.append(id, kind, raw);
            self.index.at.lock().insert(id, location);
        }
        id
    }

    /// A tree with at most `fan` entries in each node and in the root.
    fn body(&self, chunks: &[Bytes], fan: usize) -> (StoredBody, Vec<u8>) {
        let chunk = |raw: &Bytes| Entry {
            kind: EntryKind::Chunk,
            id: self.add(RecordKind::Chunk, raw),
            len: raw.len() as u64,
        };
        let mut entries: Vec<Entry> = chunks.iter().map(chunk).collect();
        while entries.len() > fan {
            let node = |entries: &[Entry]| {
                let node = Node::new(entries.to_vec()).unwrap();
                let id = self.add(RecordKind::Node, &node.encode().into());
                Entry { kind: EntryKind::Node, id, len: node.size() }
            };
            entries = entries.chunks(fan).map(node).collect();
        }
        (stored(entries), chunks.concat())
    }

    async fn read(
        &self,
        body: &StoredBody,
        size: usize,
        range: ResolvedRange,
    ) -> (Vec<u8>, Option<EngineError>) {
        let mut stream = match self.reader.open(body, size as u64, range).await {
            Ok(stream) => stream,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let mut bytes = Vec::new();
        while let Some(frame) = stream.next().await {
            match frame {
                Ok(frame) => {
                    assert!(!frame.is_empty() && frame.len() <= FRAME_BYTES, "a frame of {}", frame.len());
                    bytes.extend_from_slice(&frame);
                }
                Err(error) => {
                    assert!(stream.next().await.is_none(), "the stream goes on behind an error");
                    return (bytes, Some(error));
                }
            }
        }
        (bytes, None)
    }

    async fn assert_all_released(&self) {
        let released = async {
            while self.index.holds.load(Ordering::SeqCst) > 0 || self.used() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, released).await.expect("memory or a hold was not given back");
    }

    /// KiB.
    fn used(&self) -> usize {
        self.reader.budget.used()
    }

    async fn open(&self, body: &StoredBody, size: usize) -> Result<BodyStream, EngineError> {
        self.reader.open(body, size as u64, all(size)).await
    }
}

fn stored(entries: Vec<Entry>) -> StoredBody {
    let root = Arc::new(Manifest::new(entries).unwrap());
    StoredBody::Chunked { id: ManifestId::new([0; 32]), root }
}

const fn all(size: usize) -> ResolvedRange {
    ResolvedRange { start: 0, end: size as u64 }
}

fn noise(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes.into()
}

fn noisy_chunks(count: u64, len: usize) -> Vec<Bytes> {
    (0..count).map(|n| noise(n + 1, len)).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Noise and text; few seeds, so that chunks repeat.
fn chunk() -> impl Strategy<Value = Bytes> {
    (0..20u64, 1..6000usize, any::<bool>()).prop_map(|(seed, len, is_text)| match is_text {
        true => Bytes::from("settles like sediment; ".repeat(len / 23 + 1).into_bytes()),
        false => noise(seed, len),
    })
}

fn range() -> impl Strategy<Value = ByteRange> {
    let place = || prop_oneof![0..4000u64, 0..200_000u64, Just(u64::MAX)];
    prop_oneof![
        Just(ByteRange::All),
        place().prop_map(|first| ByteRange::From { first }),
        (place(), place()).prop_map(|(first, last)| ByteRange::Span { first, last }),
        place().prop_map(|length| ByteRange::Suffix { length }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn i1_any_range_of_any_tree_is_that_of_the_body(
        chunks in proptest::collection::vec(chunk(), 1..60),
        fan in 2..9usize,
        ranges in proptest::collection::vec(range(), 1..6),
        cache_bytes in prop_oneof![Just(0), Just(32u64 << 20)],
    ) {
        run(async {
            let world = World::new(cache_bytes, 64 << 10);
            let (body, expected) = world.body(&chunks, fan);
            for range in ranges {
                let Some(range) = range.resolve(expected.len() as u64) else { continue };
                let (bytes, error) = world.read(&body, expected.len(), range).await;
                assert!(error.is_none(), "{error:?}");
                let wanted = &expected[range.start as usize..range.end as usize];
                assert!(bytes == wanted, "{range:?} of {} bytes is wrong", expected.len());
            }
            world.assert_all_released().await;
        });
    }

    #[test]
    fn i4_a_changed_byte_is_never_served(
        chunks in proptest::collection::vec(chunk(), 1..30),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        run(async {
            let world = World::new(0, 64 << 10);
            let (body, expected) = world.body(&chunks, 4);
            let pack = world.packs.ids()[0];
            let mut bytes = world.store.bytes(pack);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            world.store.set_bytes(pack, bytes);
            let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
            assert!(expected.starts_with(&bytes), "wrong bytes were served");
            assert!(error.is_some() || bytes.len() == expected.len(), "the body ended early without an error");
            world.assert_all_released().await;
        });
    }
}

#[tokio::test]
async fn i4_a_corrupt_chunk_ends_the_stream_before_its_first_byte() {
    let world = World::new(0, 64 << 10);
    let chunks = noisy_chunks(200, 16 << 10);
    let (body, expected) = world.body(&chunks, 256);
    for broken in [0, 150] {
        let location = world.index.at.lock()[&ChunkId::new(Sha256::digest(&chunks[broken]).into())];
        let intact = world.store.bytes(location.pack);
        let mut bytes = intact.clone();
        let last = usize::try_from(location.end()).unwrap() - 1;
        bytes[last] ^= 1;
        world.store.set_bytes(location.pack, bytes);
        let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
        assert!(matches!(error, Some(EngineError::Corrupt { .. })), "{error:?}");
        let condemned = std::mem::take(&mut *world.index.condemned.lock());
        assert_eq!(condemned.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [location]);
        assert!(bytes.len() <= broken * (16 << 10) && expected.starts_with(&bytes));
        assert!(broken == 0 || !bytes.is_empty(), "what stands far before a corrupt chunk is served");
        // Its neighbours still are.
        let range = ResolvedRange { start: 160 * (16 << 10), end: 170 * (16 << 10) };
        let (bytes, error) = world.read(&body, expected.len(), range).await;
        assert!(error.is_none() && bytes == expected[range.start as usize..range.end as usize]);
        world.store.set_bytes(location.pack, intact);
    }
    world.assert_all_released().await;
}

#[tokio::test]
async fn i4_a_manifest_that_lies_about_lengths_is_not_served() {
    let world = World::new(0, 64 << 10);
    let raw = noise(1, 5000);
    let id = world.add(RecordKind::Chunk, &raw);
    let chunk = |len| Entry { kind: EntryKind::Chunk, id, len };
    let node = Node::new(vec![chunk(5000)]).unwrap();
    let node_id = world.add(RecordKind::Node, &node.encode().into());
    let node = |len| Entry { kind: EntryKind::Node, id: node_id, len };
    let as_chunk = Entry { kind: EntryKind::Chunk, id: node_id, len: 44 };
    let as_node = Entry { kind: EntryKind::Node, id, len: 5000 };
    for entry in [chunk(4999), chunk(5001), chunk(1 << 40), node(4999), node(5001), as_chunk, as_node] {
        let size = usize::try_from(entry.len).unwrap();
        let (bytes, error) = world.read(&stored(vec![entry]), size, all(size)).await;
        assert!(matches!(error, Some(EngineError::Corrupt { .. })), "{entry:?}: {error:?}");
        assert!(bytes.is_empty());
    }
    let (bytes, error) = world.read(&stored(vec![chunk(5000)]), 6000, all(10)).await;
    assert!(bytes.is_empty() && error.is_some(), "the row's size is not the manifest's");
    world.assert_all_released().await;
}

#[tokio::test]
async fn neighbours_are_read_together_and_a_range_touches_only_its_chunks() {
    let world = World::new(0, 64 << 10);
    let chunks = noisy_chunks(256, 16 << 10);
    let (body, expected) = world.body(&chunks, 256);
    *world.store.reads.lock() = 0;
    let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
    assert!(error.is_none() && bytes == expected);
    let reads = *world.store.reads.lock();
    assert!(reads <= 16, "{reads} reads for 4 MiB that stand in a row");

    let (body, expected) = world.body(&chunks, 4);
    *world.store.reads.lock() = 0;
    let range = ResolvedRange { start: 2_000_000, end: 2_000_001 };
    let (bytes, error) = world.read(&body, expected.len(), range).await;
    assert!(error.is_none() && bytes == expected[2_000_000..2_000_001]);
    let reads = *world.store.reads.lock();
    assert!(reads <= 4, "{reads} reads for one byte under three nodes");
}

/// A quarter of the look-ups that a body of so many chunks would need one by one, in packs that end once a window.
#[tokio::test]
async fn what_two_versions_stored_is_read_in_one_piece_of_each() {
    let world = World::new(0, 64 << 10);
    let mut chunks = noisy_chunks(48, 16 << 10);
    world.body(&chunks, 64);
    world.packs.seal().unwrap();
    for (n, edit) in [4, 16, 30, 41].into_iter().enumerate() {
        for (m, chunk) in chunks[edit..edit + 3].iter_mut().enumerate() {
            *chunk = noise(1000 + 10 * n as u64 + m as u64, 16 << 10);
        }
    }
    let (body, expected) = world.body(&chunks, 64);
    *world.store.reads.lock() = 0;
    let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
    assert!(error.is_none() && bytes == expected);
    let (reads, windows) = (*world.store.reads.lock(), 3);
    assert!(reads <= 2 * windows, "{reads} reads for {windows} windows of two pieces each");
}

#[tokio::test]
async fn chunks_in_a_row_are_not_looked_up_one_by_one() {
    let text = (0..256u32).map(|n| Bytes::from(format!("{n} settles; ").repeat(1500))).collect();
    for chunks in [noisy_chunks(256, 16 << 10), text] {
        let world = World::new(0, 64 << 10);
        let (body, expected) = world.body(&chunks, 256);
        world.index.looked_up.store(0, Ordering::SeqCst);
        let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
        assert!(error.is_none() && bytes == expected, "{error:?}");
        let looked_up = world.index.looked_up.load(Ordering::SeqCst);
        assert!(looked_up <= 64, "{looked_up} look-ups for 256 chunks");
    }
}

/// In any order, with others between them, in part moved away or marked dead where they stood.
#[tokio::test]
async fn i1_chunks_all_over_the_packs_are_found() {
    let mut chunks = noisy_chunks(200, 9 << 10);
    chunks.extend((0..200u32).map(|n| Bytes::from(format!("{n} settles; ").repeat(900))));
    let random = SeededRandom::new(11);
    for step in [1, 3, 7, 399] {
        let world = World::new(0, 64 << 10);
        let order: Vec<usize> = (0..chunks.len()).map(|n| n * step % chunks.len()).collect();
        for &at in &order {
            world.add(RecordKind::Chunk, &chunks[at]);
            if random.u64().is_multiple_of(8) {
                world.append(ChunkId::new([at as u8; 32]), RecordKind::Chunk, &noise(at as u64, 20_000));
            }
        }
        world.packs.seal().unwrap();
        for &at in order.iter().step_by(13) {
            let id = ChunkId::new(Sha256::digest(&chunks[at]).into());
            let moved = world.append(id, RecordKind::Chunk, &chunks[at]);
            let old = world.index.at.lock().insert(id, moved).unwrap();
            if at % 2 == 0 {
                world.packs.tombstone(&[old]).unwrap();
            }
        }
        let (body, expected) = world.body(&chunks, 100);
        for start in [0, 777_777] {
            let range = ResolvedRange { start, end: expected.len() as u64 };
            let (bytes, error) = world.read(&body, expected.len(), range).await;
            assert!(error.is_none() && bytes == expected[start as usize..], "{error:?}");
        }
        world.assert_all_released().await;
    }
}

#[tokio::test]
async fn a_hot_short_body_needs_neither_index_nor_memory() {
    let world = World::new(64 << 20, 64 << 10);
    let (body, expected) = world.body(&noisy_chunks(3, 16 << 10), 256);
    let size = expected.len() as u64;
    let at_once = || hot(&world.reader.chunks.cache, &body, size, all(expected.len()));
    assert!(at_once().is_none(), "it was never read");
    world.read(&body, expected.len(), all(expected.len())).await;
    let frames: Vec<_> = at_once().expect("it was read before").collect().await;
    let bytes: Vec<u8> = frames.into_iter().flat_map(Result::unwrap).collect();
    assert!(bytes == expected && world.used() == 0);
    let part = ResolvedRange { start: 1, end: size };
    assert!(hot(&world.reader.chunks.cache, &body, size, part).is_none());
    let lying = stored(vec![Entry {
        kind: EntryKind::Chunk,
        id: world.add(RecordKind::Chunk, &noise(1, 16 << 10)),
        len: 9,
    }]);
    assert!(hot(&world.reader.chunks.cache, &lying, 9, all(9)).is_none(), "a length that is not the chunk's");
}

#[tokio::test]
async fn what_a_collection_moves_between_look_up_and_read_is_found_again() {
    for times in 1..=3 {
        moved_while_read(times).await;
    }
}

/// Everything moves so many times before each read that the reader does; where it was is gone, or punched.
async fn moved_while_read(times: usize) {
    let world = World::new(0, 64 << 10);
    let chunks = noisy_chunks(80, 16 << 10);
    let (body, expected) = world.body(&chunks, 8);
    for _ in 0..times {
        let old = world.index.at.lock().clone();
        let left = world.packs.ids();
        world.packs.seal().unwrap();
        for (id, location) in &old {
            let record = world.packs.read(&[(*id, *location)]).pop().unwrap().unwrap();
            let record = NewRecord {
                id: *id,
                kind: record.kind,
                codec: record.codec,
                raw_len: record.raw_len,
                payload: record.payload,
            };
            let moved = world.packs.append(&[record]).unwrap()[0];
            world.index.at.lock().insert(*id, moved);
            // The oldest is told first.
            world.index.stale.lock().entry(*id).or_default().insert(0, *location);
        }
        let punched = *left.last().unwrap();
        if left.first() != left.last() {
            world.packs.remove(left[0]).unwrap();
        }
        let zeros = vec![0; world.store.bytes(punched).len()];
        world.store.set_bytes(punched, zeros);
    }
    let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
    assert!(error.is_none() && bytes == expected, "{times} moves: {error:?}");
}

#[tokio::test]
async fn a_chunk_in_no_pack_is_missing_from_the_start_or_later() {
    let world = World::new(0, 64 << 10);
    let chunks = noisy_chunks(200, 16 << 10);
    let (body, expected) = world.body(&chunks, 256);
    for lost in [0, 199] {
        let id = ChunkId::new(Sha256::digest(&chunks[lost]).into());
        let location = world.index.at.lock().remove(&id).unwrap();
        let opened = world.reader.open(&body, expected.len() as u64, all(expected.len())).await;
        if lost == 0 {
            assert!(matches!(opened.err(), Some(EngineError::Missing(missing)) if missing == id));
        } else {
            drop(opened.unwrap());
            let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
            assert!(matches!(error, Some(EngineError::Missing(missing)) if missing == id));
            assert!(expected.starts_with(&bytes) && bytes.len() <= 199 * (16 << 10));
        }
        world.index.at.lock().insert(id, location);
    }
    world.assert_all_released().await;
}

#[tokio::test]
async fn i5_a_slow_reader_uses_bounded_memory_and_a_dropped_one_none() {
    let total = 128 << 10;
    let world = World::new(0, total);
    let (body, expected) = world.body(&noisy_chunks(1000, 16 << 10), 256);
    let mut stream = world.reader.open(&body, expected.len() as u64, all(expected.len())).await.unwrap();
    assert_eq!(world.index.holds.load(Ordering::SeqCst), 1);
    for _ in 0..20 {
        stream.next().await.unwrap().unwrap();
        let used = world.used();
        assert!(used <= 9 << 10, "{used} KiB for one stream");
        assert_eq!(world.index.holds.load(Ordering::SeqCst), 1, "the hold ends before the stream");
    }
    drop(stream);
    world.assert_all_released().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_many_readers_share_little_memory() {
    let world = Arc::new(World::new(0, 2 << 10));
    let (body, expected) = world.body(&noisy_chunks(150, 16 << 10), 16);
    let expected = Arc::new(expected);
    let readers = (0..24).map(|n: u64| {
        let (world, body, expected) = (Arc::clone(&world), body.clone(), Arc::clone(&expected));
        tokio::spawn(async move {
            let range = ResolvedRange { start: n * 1000, end: expected.len() as u64 };
            let (bytes, error) = world.read(&body, expected.len(), range).await;
            assert!(error.is_none() && bytes == expected[range.start as usize..], "{error:?}");
        })
    });
    let done = tokio::time::timeout(3 * PATIENCE, futures::future::join_all(readers)).await;
    done.expect("readers wait for each other").into_iter().for_each(|read| read.unwrap());
    world.assert_all_released().await;
}

/// Reads the first frame of so many streams and then no further; those that were not let in are left out.
async fn stalled(world: &World, body: &StoredBody, size: usize, count: usize) -> Vec<BodyStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        match world.open(body, size).await {
            Ok(mut stream) => {
                stream.next().await.unwrap().unwrap();
                streams.push(stream);
            }
            Err(error) => assert!(matches!(error, EngineError::Busy(_)), "{error:?}"),
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_readers_that_stop_reading_neither_starve_nor_break_the_others() {
    let world = World::with_wait(0, 64 << 10, Duration::from_millis(20));
    let (long, expected) = world.body(&noisy_chunks(1000, 16 << 10), 256);
    let (short, few) = world.body(&noisy_chunks(1, 4 << 10), 256);
    let mut steady = world.open(&long, expected.len()).await.unwrap();
    let mut got = steady.next().await.unwrap().unwrap().to_vec();
    // The default budget for reads lets 400 such in, with their first bytes.
    let many = stalled(&world, &long, expected.len(), 400).await;
    assert_eq!(many.len(), 400);
    let more = stalled(&world, &long, expected.len(), 80).await;
    assert!(more.len() < 80, "{} KiB: they were meant to use everything up", world.used());
    while let Some(frame) = steady.next().await {
        got.extend_from_slice(&frame.expect("a stream that had begun was broken"));
        let (bytes, error) = world.read(&short, few.len(), all(few.len())).await;
        assert!(error.is_none() && bytes == few, "a short read was starved: {error:?}");
    }
    assert!(got == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_stalled_readers_go_on_where_they_stopped_and_nobody_waits_for_what_they_loaded() {
    let world = World::with_wait(0, 16 << 10, PATIENCE);
    let (body, expected) = world.body(&noisy_chunks(600, 16 << 10), 64);
    let stalled = stalled(&world, &body, expected.len(), 20).await;
    let ahead = world.used();
    let mut steady = world.open(&body, expected.len()).await.unwrap();
    let mut size = 0;
    while let Some(frame) = steady.next().await {
        size += frame.unwrap().len();
    }
    assert_eq!(size, expected.len());
    drop(steady);
    // A window that is being handed on and its share are all that each keeps.
    assert!(world.used() < ahead && world.used() <= 20 * (128 + 256), "{} KiB of {ahead}", world.used());
    for mut stream in stalled {
        let mut rest = Vec::new();
        while let Some(frame) = stream.next().await {
            rest.extend_from_slice(&frame.unwrap());
        }
        assert!(expected.ends_with(&rest) && rest.len() > expected.len() - (1 << 20), "bytes out of order");
    }
    world.assert_all_released().await;
}

#[tokio::test]
async fn i5_without_memory_a_reader_is_told_to_come_back() {
    let world = World::with_wait(0, 1 << 10, Duration::from_millis(10));
    let (body, expected) = world.body(&noisy_chunks(20, 16 << 10), 256);
    let taken = stalled(&world, &body, expected.len(), 20).await;
    let refused = world.open(&body, expected.len()).await;
    assert!(matches!(refused.err(), Some(EngineError::Busy(_))));
    assert_eq!(world.index.holds.load(Ordering::SeqCst), taken.len());
    drop(taken);
    let (bytes, error) = world.read(&body, expected.len(), all(expected.len())).await;
    assert!(error.is_none() && bytes == expected);
}

#[tokio::test]
async fn short_bodies_and_ranges_stay_in_the_cache_and_long_ones_do_not() {
    let world = World::new(64 << 20, 64 << 10);
    let (long, expected) = world.body(&noisy_chunks(600, 16 << 10), 256);
    let reads = || std::mem::take(&mut *world.store.reads.lock());
    let range = |start: u64, len: u64| ResolvedRange { start, end: start + len };
    reads();
    // As clients fetch long objects: in pieces of 8 MiB and less, and that is no reason to keep them.
    for range in [all(expected.len()), range(0, 8 << 20), range(1 << 20, 1 << 20)] {
        for _ in 0..2 {
            world.read(&long, expected.len(), range).await;
            assert!(reads() > 0, "{range:?} of a long body filled the cache");
        }
    }
    world.read(&long, expected.len(), range(5000, 200_000)).await;
    assert!(reads() > 0);
    let (bytes, _) = world.read(&long, expected.len(), range(5000, 200_000)).await;
    assert_eq!(reads(), 0, "a short range did not fill the cache");
    assert_eq!(bytes, expected[5000..205_000]);
    let (body, expected) = world.body(&noisy_chunks(300, 16 << 10)[50..], 256);
    world.read(&body, expected.len(), all(expected.len())).await;
    reads();
    world.read(&body, expected.len(), all(expected.len())).await;
    assert_eq!(reads(), 0, "a short body did not fill the cache");
}

#[tokio::test]
async fn plain_and_inline_bodies_read_in_ranges() {
    let world = World::new(0, 64 << 10);
    let expected = noise(5, (5 << 20) + 77);
    let mut writer = world.plain.create(&SeededRandom::new(3)).unwrap();
    writer.write(&expected).unwrap();
    let id = writer.finish().unwrap();
    let plain = StoredBody::Plain(id);
    let inline = StoredBody::Inline(expected.slice(..4000));
    for (start, end) in
        [(0, expected.len()), (1, 2), (100_000, 3_000_001), (expected.len() - 1, expected.len())]
    {
        let range = ResolvedRange { start: start as u64, end: end as u64 };
        let (bytes, error) = world.read(&plain, expected.len(), range).await;
        assert!(error.is_none() && bytes == expected[start..end], "{error:?}");
    }
    for (start, end) in [(0, 4000), (1, 2), (3999, 4000), (7, 7)] {
        let range = ResolvedRange { start: start as u64, end: end as u64 };
        let (bytes, error) = world.read(&inline, 4000, range).await;
        assert!(error.is_none() && bytes == expected[start..end], "{error:?}");
    }
    assert!(matches!(world.read(&plain, 9, all(9)).await.1, Some(EngineError::CorruptPlain { .. })));
    assert!(world.read(&inline, 9, all(9)).await.1.is_some());
    let outside = ResolvedRange { start: 0, end: 4001 };
    assert!(matches!(world.read(&inline, 4000, outside).await.1, Some(EngineError::Range)));
    world.plain.remove(id).unwrap();
    assert!(matches!(world.read(&plain, expected.len(), all(9)).await.1, Some(EngineError::MissingPlain(_))));
    world.assert_all_released().await;
}

#[tokio::test]
async fn an_empty_body_has_no_frames() {
    let world = World::new(0, 64 << 10);
    let (body, _) = world.body(&[], 4);
    assert!(matches!(world.read(&body, 0, all(0)).await, (bytes, None) if bytes.is_empty()));
    world.assert_all_released().await;
}
