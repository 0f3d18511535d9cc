//! Entries beside the tree: random lives with kills, power cuts and a follower that lags, against a recount; and what
//! look-ups see meanwhile.

use super::crash_tests::copy;
use super::store::Home;
use super::tests::{World, manifest};
use super::{ChunkIndex, Hold, IndexCounts, IndexEntry, IndexSettings, Progress};
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{Codec, Location, NewRecord, PackSet, PackSettings, RecordKind};
use crate::meta::{Change, LogRecord, ManifestRow};
use crate::storage::PackStore;
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{BucketId, ChunkId, CommitSeq, Entry, EntryKind, Node, UnixMillis};
use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Clone)]
enum Step {
    Begin { chunks: Vec<u8>, node: bool },
    Finish { key: u8 },
    Abort,
    Delete { key: u8 },
    Follow { records: u8 },
    Collect,
    Checkpoint,
    Seal,
    Relocate { nth: u8 },
    Condemn { nth: u8 },
    Heal,
    Crash { saved_index: bool, power: bool, luck: u8 },
    Audit,
    Filter { ids: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        9 => (proptest::collection::vec(0..12u8, 1..8), any::<bool>())
            .prop_map(|(chunks, node)| Step::Begin { chunks, node }),
        9 => (0..4u8).prop_map(|key| Step::Finish { key }),
        2 => Just(Step::Abort),
        4 => (0..4u8).prop_map(|key| Step::Delete { key }),
        6 => (1..4u8).prop_map(|records| Step::Follow { records }),
        3 => Just(Step::Collect),
        3 => Just(Step::Checkpoint),
        3 => Just(Step::Seal),
        2 => (0..20u8).prop_map(|nth| Step::Relocate { nth }),
        1 => (0..20u8).prop_map(|nth| Step::Condemn { nth }),
        1 => Just(Step::Heal),
        3 => (any::<bool>(), any::<bool>(), any::<u8>())
            .prop_map(|(saved_index, power, luck)| Step::Crash { saved_index, power, luck }),
        1 => Just(Step::Audit),
        5 => (1..6u8).prop_map(|ids| Step::Filter { ids }),
    ];
    proptest::collection::vec(step, 10..60)
}

struct Writer {
    hold: Hold,
    root: Vec<Entry>,
}

struct Life {
    dir: tempfile::TempDir,
    /// Where the index is, and as it was at the last checkpoint: what a power cut may leave.
    path: PathBuf,
    saved: PathBuf,
    copies: u32,
    store: Arc<TestPacks>,
    packs: PackSet,
    index: ChunkIndex,
    log: Vec<LogRecord>,
    keys: BTreeMap<u8, ManifestRow>,
    writers: Vec<Writer>,
    /// What every record that was ever written names.
    written: BTreeMap<ChunkId, Vec<Entry>>,
    /// Made homeless on purpose, and not stored again yet.
    homeless: Vec<ChunkId>,
}

fn open_packs(store: &Arc<TestPacks>) -> PackSet {
    let store: Arc<dyn PackStore> = Arc::<TestPacks>::clone(store);
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
    PackSet::open(store, clock, Arc::new(SeededRandom::new(1)), &PackSettings::default()).unwrap().0
}

fn open_index(path: &std::path::Path, packs: &PackSet) -> ChunkIndex {
    ChunkIndex::open(path, packs.clone(), &IndexSettings::default()).unwrap()
}

impl Life {
    fn new() -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(TestPacks::default()));
        let packs = open_packs(&store);
        let path = dir.path().join("index");
        let index = open_index(&path, &packs);
        let saved = dir.path().join("saved");
        copy(&path, &saved);
        Self {
            dir,
            path,
            saved,
            copies: 0,
            store,
            packs,
            index,
            log: Vec::new(),
            keys: BTreeMap::new(),
            writers: Vec::new(),
            written: BTreeMap::new(),
            homeless: Vec::new(),
        }
    }

    fn append(&self, id: ChunkId, kind: RecordKind, raw: &[u8]) -> Location {
        let raw_len = u32::try_from(raw.len()).unwrap();
        let payload = Bytes::copy_from_slice(raw);
        self.packs.append(&[NewRecord { id, kind, codec: Codec::Raw, raw_len, payload }]).unwrap()[0]
    }

    fn store(&mut self, hold: &Hold, kind: RecordKind, raw: &[u8], names: Vec<Entry>) -> Entry {
        let (id, entry_kind) = match kind {
            RecordKind::Chunk => (ChunkId::new(Sha256::digest(raw).into()), EntryKind::Chunk),
            RecordKind::Node => (Node::id_of(raw), EntryKind::Node),
        };
        let len = match kind {
            RecordKind::Chunk => raw.len() as u64,
            RecordKind::Node => names.iter().map(|entry| entry.len).sum(),
        };
        if self.index.hit(hold, &[id]).unwrap()[0].is_none() {
            let location = self.append(id, kind, raw);
            self.index.insert(hold, &[(id, kind, location)]).unwrap();
            self.homeless.retain(|other| *other != id);
        }
        self.written.insert(id, names);
        Entry { kind: entry_kind, id, len }
    }

    fn begin(&mut self, chunks: &[u8], node: bool) {
        let hold = self.index.hold();
        let mut root: Vec<_> = chunks
            .iter()
            .map(|n| self.store(&hold, RecordKind::Chunk, &vec![*n; 100 + usize::from(*n)], Vec::new()))
            .collect();
        if node {
            let raw = Node::new(root.clone()).unwrap().encode();
            let names = root.clone();
            root.push(self.store(&hold, RecordKind::Node, &raw, names));
        }
        self.writers.push(Writer { hold, root });
    }

    /// As metadata does it: a manifest is added with its first row and dropped with its last.
    fn commit(&mut self, key: u8, row: Option<ManifestRow>) {
        let has = |keys: &BTreeMap<u8, ManifestRow>, row: &ManifestRow| keys.values().any(|r| r.id == row.id);
        let added: Vec<_> = row.iter().filter(|row| !has(&self.keys, row)).cloned().collect();
        let old = match row {
            Some(row) => self.keys.insert(key, row),
            None => self.keys.remove(&key),
        };
        let dropped = old.into_iter().filter(|row| !has(&self.keys, row)).collect();
        self.record(added, dropped);
    }

    fn record(&mut self, added: Vec<ManifestRow>, dropped: Vec<ManifestRow>) -> CommitSeq {
        let seq = CommitSeq::new(self.log.len() as u64 + 1);
        let change = Change::BucketDeleted { bucket: BucketId::new(1) };
        self.log.push(LogRecord { seq, at: UnixMillis::new(0), change, added, dropped });
        seq
    }

    fn finish(&mut self, key: u8) {
        if self.writers.is_empty() {
            return;
        }
        let Writer { hold, root } = self.writers.remove(0);
        self.packs.sync().unwrap();
        self.commit(key, Some(manifest(root)));
        drop(hold);
    }

    fn follow(&self, most: usize) {
        let applied = usize::try_from(self.index.applied().get()).unwrap();
        let records: Vec<_> = self.log.iter().skip(applied).take(most).cloned().collect();
        self.index.apply(&records).unwrap();
    }

    fn checkpoint(&mut self) {
        self.index.checkpoint().unwrap();
        assert!(self.recent().is_empty(), "a checkpoint leaves nothing beside the tree");
        self.copies += 1;
        self.saved = self.dir.path().join(format!("saved {}", self.copies));
        copy(&self.path, &self.saved);
    }

    fn collect(&mut self) {
        self.follow(usize::MAX);
        let mark = self.record(vec![], vec![]);
        self.follow(usize::MAX);
        let bound = self.index.oldest_hold().map_or(mark, |hold| hold.min(mark));
        let ids: Vec<_> =
            self.index.candidates(bound, None, 1000).unwrap().iter().map(|(_, id, _)| *id).collect();
        self.begin(&[1, 2, 3], true);
        self.finish(0);
        self.follow(usize::MAX);
        if ids.is_empty() {
            return;
        }
        let gone: Vec<_> =
            self.index.collect(&ids, bound).unwrap().iter().map(|(_, location)| *location).collect();
        self.checkpoint();
        self.packs.tombstone(&gone).unwrap();
    }

    fn nth(&self, nth: u8) -> Option<(ChunkId, IndexEntry)> {
        let all = self.all();
        let (id, entry, _) = all.get(usize::from(nth) % all.len().max(1))?;
        self.packs.is_valid(&entry.location).then_some((*id, *entry))
    }

    fn relocate(&self, nth: u8) {
        let Some((id, entry)) = self.nth(nth) else { return };
        let _hold = self.index.hold();
        let record = self.packs.read(&[(id, entry.location)]).pop().unwrap().unwrap();
        let to = self.append(id, record.kind, &record.payload);
        self.packs.sync().unwrap();
        assert_eq!(self.index.relocate(&[(id, entry.location, to)]).unwrap(), 1);
    }

    fn condemn(&mut self, nth: u8) {
        // Whoever is at work relies on what was found.
        self.writers.clear();
        let Some((id, entry)) = self.nth(nth) else { return };
        // A node that cannot be read cannot be counted.
        if entry.kind == RecordKind::Chunk {
            assert!(self.index.condemn(&id, entry.location).unwrap());
            self.homeless.push(id);
        }
    }

    fn crash(&mut self, saved_index: bool, power: bool, luck: u8) {
        self.copies += 1;
        let path = self.dir.path().join(format!("index {}", self.copies));
        copy(if saved_index { &self.saved } else { &self.path }, &path);
        let store = if power {
            self.store.after_power_cut_with_luck(u64::from(luck))
        } else {
            self.store.after_kill()
        };
        self.writers.clear();
        self.store = Arc::new(store);
        self.packs = open_packs(&self.store);
        self.index = open_index(&path, &self.packs);
        self.path = path;
        if self.index.is_new() && !self.log.is_empty() {
            let mut rows: BTreeMap<_, _> = self.keys.values().map(|row| (row.id, row.clone())).collect();
            let seq = CommitSeq::new(self.log.len() as u64);
            let mut rows = std::iter::from_fn(|| rows.pop_first().map(|(_, row)| Ok(row)));
            self.index.rebuild(&mut rows, seq, Progress::SILENT).unwrap();
        }
        // A damaged place may be forgotten to be damaged, or another copy taken: both are places.
        self.homeless.retain(|id| self.index.get(&[*id]).unwrap()[0].is_none());
    }

    /// Every entry, and where it is; without settling anything, as `entries` does.
    fn all(&self) -> Vec<(ChunkId, IndexEntry, Home)> {
        let found = self.written.keys().map(|id| (id, self.index.0.store.find(id).unwrap()));
        found.filter_map(|(id, found)| found.map(|(entry, home)| (*id, entry, home))).collect()
    }

    fn recent(&self) -> Vec<IndexEntry> {
        self.all().into_iter().filter(|(_, _, home)| *home == Home::Recent).map(|(_, e, _)| e).collect()
    }

    fn recount(&self, rows: impl Iterator<Item = ManifestRow>) -> BTreeMap<ChunkId, u64> {
        let mut counted = BTreeMap::new();
        let mut rest: Vec<Entry> = rows.flat_map(|row| row.root.entries().to_vec()).collect();
        while let Some(entry) = rest.pop() {
            let references = counted.entry(entry.id).or_insert(0);
            *references += 1;
            if *references == 1 {
                rest.extend(&self.written[&entry.id]);
            }
        }
        counted
    }

    /// The manifests that there were when `applied` was the end of the log.
    fn rows_at(&self, applied: CommitSeq) -> BTreeMap<crate::types::ManifestId, ManifestRow> {
        let mut rows = BTreeMap::new();
        for record in self.log.iter().take_while(|record| record.seq <= applied) {
            rows.extend(record.added.iter().map(|row| (row.id, row.clone())));
            for row in &record.dropped {
                rows.remove(&row.id);
            }
        }
        rows
    }

    fn check(&self) {
        let rows = self.index.0.store.entries_after(None, usize::MAX).unwrap();
        let denied = rows.iter().find(|(id, _)| !self.index.0.store.filters.read().may_have(id));
        assert_eq!(denied, None, "the filter denies a row of the tree");
        let all = self.all();
        let references: BTreeMap<_, _> =
            all.iter().filter(|(_, e, _)| e.references > 0).map(|(id, e, _)| (*id, e.references)).collect();
        let recount = self.recount(self.rows_at(self.index.applied()).into_values());
        assert_eq!(references, recount, "references differ from a recount");
        let committed = self.recount(self.keys.values().cloned());
        let held = self.writers.iter().flat_map(|writer| &writer.root).map(|entry| entry.id);
        for id in committed.keys().copied().chain(held).filter(|id| !self.homeless.contains(id)) {
            let place = self.index.get(&[id]).unwrap()[0];
            let place = place.unwrap_or_else(|| panic!("{id:?} is needed and gone"));
            assert!(self.packs.read(&[(id, place)]).pop().unwrap().is_ok());
        }
        let (mut counts, mut usage) = (IndexCounts::default(), BTreeMap::<_, (u64, u64)>::new());
        for (_, entry, home) in &all {
            counts.add(entry);
            let pack = usage.entry(entry.location.pack).or_default();
            *pack = (pack.0 + 1, pack.1 + entry.location.record_len());
            let is_recent = *home == Home::Recent;
            assert!(!is_recent || entry.references == 0);
            assert!(!is_recent || !self.index.0.store.is_known(entry.location.pack).unwrap());
        }
        assert_eq!(self.index.counts().unwrap(), counts);
        usage.retain(|pack, _| self.packs.ids().contains(pack));
        let told = self.index.pack_usage().unwrap();
        let told: BTreeMap<_, _> =
            told.into_iter().map(|u| (u.pack, (u.live_records, u.live_bytes))).collect();
        assert_eq!(told, usage);
    }

    /// What a check, or a collection's dry run, lists.
    fn audit(&self) {
        let before: Vec<_> = self.all().into_iter().map(|(id, entry, _)| (id, entry)).collect();
        let zeros = self.index.candidates(CommitSeq::MAX, None, 1000).unwrap();
        let unreferenced = before.iter().filter(|(_, entry)| entry.references == 0);
        assert_eq!(
            zeros.iter().map(|(since, id, _)| (*id, *since)).collect::<BTreeMap<_, _>>(),
            unreferenced.map(|(id, entry)| (*id, entry.zero_since)).collect()
        );
        assert_eq!(self.index.entries(None, 1000).unwrap(), before);
    }

    fn run(mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Begin { chunks, node } => self.begin(chunks, *node),
                Step::Finish { key } => self.finish(*key),
                Step::Abort => drop(self.writers.pop()),
                Step::Delete { key } => self.commit(*key, None),
                Step::Follow { records } => self.follow(usize::from(*records)),
                Step::Collect => self.collect(),
                Step::Checkpoint => self.checkpoint(),
                Step::Seal => self.packs.seal().unwrap(),
                Step::Relocate { nth } => self.relocate(*nth),
                Step::Condemn { nth } => self.condemn(*nth),
                Step::Heal => {
                    self.writers.clear();
                    self.index.fail("no space");
                    self.index.heal().unwrap();
                }
                Step::Crash { saved_index, power, luck } => self.crash(*saved_index, *power, *luck),
                Step::Audit => self.audit(),
                Step::Filter { ids } => _ = self.index.extend_filter_by(usize::from(*ids)).unwrap(),
            }
            self.check();
        }
        self.follow(usize::MAX);
        self.check();
        self.audit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn i3_entries_beside_the_tree_agree_with_a_recount_through_kills_and_power_cuts(steps in steps()) {
        Life::new().run(&steps);
    }
}

#[test]
fn i1_a_chunk_is_never_missed_while_its_entry_goes_to_the_tree() {
    let world = World::new();
    let chunks: Vec<_> = (0..400u32).map(u32::to_be_bytes).collect();
    let is_done = AtomicBool::new(false);
    let added = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !is_done.load(Ordering::Acquire) || looks == 0 {
                let ids = added.lock().clone();
                assert!(world.index.get(&ids).unwrap().iter().all(Option::is_some));
                looks += 1;
            }
        });
        for raw in &chunks {
            let entry = world.chunk(raw);
            added.lock().push(entry.id);
            world.log(vec![manifest(vec![entry])], vec![]);
        }
        is_done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

#[test]
fn a_first_reference_is_the_only_thing_that_the_tree_is_told() {
    let world = World::new();
    let used = world.chunk(b"used");
    assert_eq!(world.index.0.store.find(&used.id).unwrap().unwrap().1, Home::Recent);
    assert_eq!(world.index.0.totals.lock().counts, IndexCounts::default());
    assert_eq!(world.index.counts().unwrap().unreferenced, 1);
    world.log(vec![manifest(vec![used])], vec![]);
    assert_eq!(world.index.0.store.find(&used.id).unwrap().unwrap().1, Home::Tree);
    assert_eq!(world.index.counts().unwrap(), world.index.0.totals.lock().counts);
    assert_eq!(world.index.candidates(CommitSeq::MAX, None, 10).unwrap(), []);
}

#[test]
fn what_was_appended_to_a_pack_that_is_sealed_by_now_goes_to_the_tree_at_once() {
    let world = World::new();
    let hold = world.index.hold();
    let (id, location) = world.append(RecordKind::Chunk, b"chunk");
    world.packs.seal().unwrap();
    world.index.insert(&hold, &[(id, RecordKind::Chunk, location)]).unwrap();
    assert_eq!(world.index.0.store.find(&id).unwrap().unwrap().1, Home::Tree);
}
