//! The index over real packs in memory: what is found, counted, collected and kept.

use super::{ChunkIndex, IndexSettings, Progress};
use crate::engine::EngineError;
use crate::engine::pack::{Codec, Location, NewRecord, PackSet, PackSettings, RecordKind};
use crate::meta::{Change, LogRecord, ManifestRow};
use crate::storage::{MemoryPackStore, PackStore};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{BucketId, ChunkId, CommitSeq, Entry, EntryKind, Manifest, Node, UnixMillis};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Arc<MemoryPackStore>,
    pub(super) packs: PackSet,
    pub(super) index: ChunkIndex,
}

pub(super) fn packs_of(store: &Arc<MemoryPackStore>) -> PackSet {
    let store: Arc<dyn PackStore> = Arc::<MemoryPackStore>::clone(store);
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
    PackSet::open(store, clock, Arc::new(SeededRandom::new(1)), &PackSettings::default()).unwrap().0
}

impl World {
    pub(super) fn new() -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryPackStore::new()));
        let packs = packs_of(&store);
        let index =
            ChunkIndex::open(&dir.path().join("index"), packs.clone(), &IndexSettings::default()).unwrap();
        Self { dir, store, packs, index }
    }

    /// As after a stop: the packs are found anew.
    pub(super) fn reopen(self) -> Self {
        let Self { dir, store, packs, index } = self;
        drop((index, packs));
        let packs = packs_of(&store);
        let index =
            ChunkIndex::open(&dir.path().join("index"), packs.clone(), &IndexSettings::default()).unwrap();
        Self { dir, store, packs, index }
    }

    pub(super) fn append(&self, kind: RecordKind, raw: &[u8]) -> (ChunkId, Location) {
        let id = match kind {
            RecordKind::Chunk => ChunkId::new(Sha256::digest(raw).into()),
            RecordKind::Node => Node::id_of(raw),
        };
        let raw_len = u32::try_from(raw.len()).unwrap();
        let payload = Bytes::copy_from_slice(raw);
        let location =
            self.packs.append(&[NewRecord { id, kind, codec: Codec::Raw, raw_len, payload }]).unwrap();
        (id, location[0])
    }

    pub(super) fn put(&self, kind: RecordKind, raw: &[u8]) -> ChunkId {
        let hold = self.index.hold();
        let (id, location) = self.append(kind, raw);
        self.index.insert(&hold, &[(id, kind, location)]).unwrap();
        id
    }

    pub(super) fn chunk(&self, raw: &[u8]) -> Entry {
        Entry { kind: EntryKind::Chunk, id: self.put(RecordKind::Chunk, raw), len: raw.len() as u64 }
    }

    pub(super) fn node(&self, entries: Vec<Entry>) -> Entry {
        let node = Node::new(entries).unwrap();
        Entry { kind: EntryKind::Node, id: self.put(RecordKind::Node, &node.encode()), len: node.size() }
    }

    pub(super) fn log(&self, added: Vec<ManifestRow>, dropped: Vec<ManifestRow>) -> CommitSeq {
        let seq = self.index.applied().next();
        let change = Change::BucketDeleted { bucket: BucketId::new(1) };
        let record = LogRecord { seq, at: UnixMillis::new(0), change, added, dropped };
        self.index.apply(&[record]).unwrap();
        seq
    }

    pub(super) fn references(&self, id: &ChunkId) -> u64 {
        let all = self.index.entries(None, usize::MAX).unwrap();
        all.iter().find(|(other, _)| other == id).map_or(0, |(_, entry)| entry.references)
    }

    /// What a collection with nobody else around would take.
    pub(super) fn collect(&self) -> Vec<ChunkId> {
        let mark = self.log(vec![], vec![]);
        let bound = self.index.oldest_hold().map_or(mark, |hold| hold.min(mark));
        let ids: Vec<_> = self.index.candidates(bound, None, 100).unwrap().iter().map(|c| c.1).collect();
        self.index.collect(&ids, bound).unwrap().iter().map(|(id, _)| *id).collect()
    }
}

pub(super) fn manifest(entries: Vec<Entry>) -> ManifestRow {
    let root = Manifest::new(entries).unwrap();
    ManifestRow { id: root.id(), root }
}

#[test]
fn i3_nodes_pass_their_references_on_and_take_them_back() {
    let world = World::new();
    let (a, b) = (world.chunk(b"a"), world.chunk(b"b"));
    let node = world.node(vec![a, b, a]);
    let (one, two) = (manifest(vec![node, b]), manifest(vec![node]));
    world.log(vec![one.clone()], vec![]);
    assert_eq!([a, b, node].map(|e| world.references(&e.id)), [2, 2, 1]);
    world.log(vec![two.clone()], vec![one]);
    assert_eq!([a, b, node].map(|e| world.references(&e.id)), [2, 1, 1]);
    world.log(vec![], vec![two]);
    assert_eq!([a, b, node].map(|e| world.references(&e.id)), [0, 0, 0]);
    assert_eq!(world.collect().len(), 3);
    assert_eq!(world.index.counts().unwrap(), super::IndexCounts::default());
    assert!(world.index.pack_usage().unwrap().is_empty());
}

#[test]
fn i3_what_somebody_hit_or_inserted_stays_until_they_are_done() {
    let world = World::new();
    let old = world.chunk(b"old").id;
    let hit = world.chunk(b"hit").id;
    world.log(vec![], vec![]);
    let writer = world.index.hold();
    assert!(world.index.hit(&writer, &[hit]).unwrap()[0].is_some());
    let (new, location) = world.append(RecordKind::Chunk, b"new");
    world.index.insert(&writer, &[(new, RecordKind::Chunk, location)]).unwrap();
    assert_eq!(world.collect(), [old]);
    drop(writer);
    let mut rest = world.collect();
    rest.sort_unstable();
    let mut both = vec![hit, new];
    both.sort_unstable();
    assert_eq!(rest, both);
}

#[test]
fn writers_get_in_between_the_steps_of_a_collection_and_what_they_hit_stays() {
    let world = World::new();
    let ids: Vec<_> = (0..1000).map(|n: u32| world.chunk(&n.to_le_bytes()).id).collect();
    let bound = world.log(vec![], vec![]);
    let (mut steps, mut writer) = (0, None);
    let removed = world.index.collect_in_steps(&ids, bound, &mut |_| {
        steps += 1;
        // Would hang if the lock were held.
        world.chunk(b"new");
        let hold = writer.get_or_insert_with(|| world.index.hold());
        assert!(world.index.hit(hold, &ids[999..]).unwrap()[0].is_some() || steps >= 4);
    });
    assert_eq!((removed.unwrap().len(), steps), (999, 4), "256 at a time");
    assert!(world.index.get(&ids[999..]).unwrap()[0].is_some());
}

#[test]
fn i3_a_hit_after_the_bound_was_set_keeps_the_chunk() {
    let world = World::new();
    let id = world.chunk(b"chunk").id;
    let mark = world.log(vec![], vec![]);
    let writer = world.index.hold();
    assert!(world.index.hit(&writer, &[id]).unwrap()[0].is_some());
    assert_eq!(world.index.collect(&[id], mark).unwrap(), []);
    assert!(world.index.get(&[id]).unwrap()[0].is_some());
}

#[test]
fn a_second_copy_never_replaces_the_first() {
    let world = World::new();
    let id = world.chunk(b"chunk").id;
    let first = world.index.get(&[id]).unwrap();
    world.chunk(b"chunk");
    assert_eq!(world.index.get(&[id]).unwrap(), first);
}

#[test]
fn i1_references_survive_a_reopen_and_packs_written_since_are_found() {
    let world = World::new();
    let a = world.chunk(b"a");
    world.log(vec![manifest(vec![a])], vec![]);
    let (unknown, _) = world.append(RecordKind::Chunk, b"appended, never added");
    world.packs.sync().unwrap();
    let world = world.reopen();
    assert_eq!(world.references(&a.id), 1);
    assert!(world.index.get(&[unknown]).unwrap()[0].is_some());
    assert!(!world.index.is_new());
    assert_eq!(world.collect(), [unknown]);
}

#[test]
fn a_rebuild_counts_what_following_the_log_counts() {
    let world = World::new();
    let entries: Vec<_> = (0..300u32).map(|n| world.chunk(&n.to_be_bytes())).collect();
    let nodes: Vec<_> = entries.chunks(100).map(|some| world.node(some.to_vec())).collect();
    let top = world.node(nodes.clone());
    let rows = [manifest(vec![top, entries[0]]), manifest(nodes)];
    let seq = world.log(rows.to_vec(), vec![]);
    let before = world.index.entries(None, 1000).unwrap();
    let counts = world.index.counts().unwrap();
    world.index.rebuild(&mut rows.into_iter().map(Ok), seq, Progress::SILENT).unwrap();
    let references = |entries: Vec<(ChunkId, super::IndexEntry)>| -> Vec<_> {
        entries.into_iter().map(|(id, entry)| (id, entry.references, entry.location)).collect()
    };
    assert_eq!(references(world.index.entries(None, 1000).unwrap()), references(before));
    assert_eq!(world.index.counts().unwrap(), counts);
    assert_eq!(world.index.applied(), seq);
}

#[test]
fn a_rebuild_that_is_cut_off_leaves_a_new_index() {
    let world = World::new();
    let a = world.chunk(b"a");
    let seq = world.log(vec![manifest(vec![a])], vec![]);
    let mut broken = std::iter::once(Err(EngineError::Index("broken off".into())));
    world.index.rebuild(&mut broken, seq, Progress::SILENT).unwrap_err();
    assert!(world.reopen().index.is_new());
}

#[test]
fn a_lost_index_costs_one_scan_of_the_packs_and_shows_it() {
    let world = World::new();
    let a = world.chunk(b"a");
    let rows = [manifest(vec![a])];
    let seq = world.log(rows.to_vec(), vec![]);
    world.packs.seal().unwrap();
    let World { dir, store, packs, index } = world;
    drop((index, packs));
    let (packs, path) = (packs_of(&store), dir.path().join("other"));
    let told = parking_lot::Mutex::new(Vec::new());
    let progress = |done, total| told.lock().push((done, total));
    let settings = IndexSettings::default();
    let index = ChunkIndex::open_showing(&path, packs.clone(), &settings, Progress(&progress)).unwrap();
    assert_eq!(*told.lock(), [(0, 1)]);
    let again = |_, _| panic!("the packs are scanned a second time");
    index.rebuild(&mut rows.clone().into_iter().map(Ok), seq, Progress(&again)).unwrap();
    assert_eq!((index.applied(), index.counts().unwrap().unreferenced), (seq, 0));
    // By now something is counted: it is done from the beginning.
    index.rebuild(&mut rows.into_iter().map(Ok), seq, Progress::SILENT).unwrap();
    assert_eq!(index.entries(None, 10).unwrap()[0].1.references, 1);
}

#[test]
fn a_damaged_index_is_put_aside() {
    let world = World::new();
    let a = world.chunk(b"a").id;
    world.packs.sync().unwrap();
    let World { dir, store, packs, index } = world;
    drop((index, packs));
    for file in std::fs::read_dir(dir.path().join("index")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"garbage").unwrap();
        }
    }
    let packs = packs_of(&store);
    let index = ChunkIndex::open(&dir.path().join("index"), packs, &IndexSettings::default()).unwrap();
    assert!(index.is_new());
    assert!(index.get(&[a]).unwrap()[0].is_some());
}

/// Its process died between the first file and the one that says that the directory is whole.
#[test]
fn i5_an_index_whose_making_was_cut_off_is_begun_anew() {
    let world = World::new();
    let a = world.chunk(b"a").id;
    world.packs.sync().unwrap();
    let World { dir, store, packs, index } = world;
    drop((index, packs));
    let path = dir.path().join("index");
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("0.jnl"), b"").unwrap();
    let index = ChunkIndex::open(&path, packs_of(&store), &IndexSettings::default()).unwrap();
    assert!(index.is_new());
    assert!(index.get(&[a]).unwrap()[0].is_some());
}

#[test]
fn records_out_of_order_are_refused_and_old_ones_skipped() {
    let world = World::new();
    let record = |seq| LogRecord {
        seq: CommitSeq::new(seq),
        at: UnixMillis::new(0),
        change: Change::BucketDeleted { bucket: BucketId::new(1) },
        added: vec![],
        dropped: vec![],
    };
    world.index.apply(&[record(1), record(2)]).unwrap();
    world.index.apply(&[record(1), record(2), record(3)]).unwrap();
    assert_eq!(world.index.applied(), CommitSeq::new(3));
    world.index.apply(&[record(5)]).unwrap_err();
    assert_eq!(world.index.applied(), CommitSeq::new(3));
}

#[test]
fn i5_what_the_index_keeps_in_memory_is_written_to_disk_however_busy_its_thread_is() {
    use fjall::AbstractTree;
    let world = World::new();
    for batch in 0..40u32 {
        let chunks =
            (0..50u32).map(|n| world.chunk(&[batch.to_be_bytes(), n.to_be_bytes()].concat())).collect();
        world.log(vec![manifest(chunks)], vec![]);
        let in_memory = world.index.0.store.handles().unwrap().entries.tree.active_memtable().size();
        assert!(in_memory < 80 << 10, "{in_memory} bytes");
    }
}
