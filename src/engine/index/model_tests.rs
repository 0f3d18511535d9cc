//! Random lives of an index against a model: what metadata says, counted by hand after every step.

use super::tests::World;
use super::{Hold, IndexCounts, IndexEntry, Progress};
use crate::engine::pack::RecordKind;
use crate::meta::{
    ChangeLog, Commit, ManifestRow, MemoryStore, MetaStore, NewBody, NewObject, Outcome, VersionTarget,
    WriteCondition,
};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{
    Attributes, BucketId, BucketName, BucketSettings, ChunkId, CommitSeq, ETag, Entry, EntryKind, Manifest,
    Node, ObjectKey, ObjectLock, TagSet, UnixMillis,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::runtime::Runtime;

#[derive(Debug, Clone)]
enum Step {
    Begin { chunks: Vec<u8>, nodes: bool },
    Finish { key: u8 },
    Abort,
    Delete { key: u8 },
    Collect,
    Relocate { nth: u8 },
    Replace { nth: u8 },
    Reopen,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (proptest::collection::vec(0..10u8, 1..8), any::<bool>())
            .prop_map(|(chunks, nodes)| Step::Begin { chunks, nodes }),
        8 => (0..4u8).prop_map(|key| Step::Finish { key }),
        1 => Just(Step::Abort),
        5 => (0..4u8).prop_map(|key| Step::Delete { key }),
        5 => Just(Step::Collect),
        3 => (0..20u8).prop_map(|nth| Step::Relocate { nth }),
        3 => (0..20u8).prop_map(|nth| Step::Replace { nth }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rebuild),
    ];
    proptest::collection::vec(step, 5..40)
}

struct Writer {
    hold: Hold,
    named: Vec<ChunkId>,
    root: Vec<Entry>,
}

struct Life {
    world: World,
    meta: MemoryStore,
    bucket: BucketId,
    writers: Vec<Writer>,
    /// What each node that was ever written names.
    nodes: HashMap<ChunkId, Vec<Entry>>,
    runtime: Runtime,
}

impl Life {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
        let meta = MemoryStore::new(clock, Arc::new(SeededRandom::new(3)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let name = BucketName::parse("bucket").unwrap();
        let made = runtime
            .block_on(meta.commit(Commit::CreateBucket {
                name,
                owner: None,
                lock: false,
                settings: BucketSettings::default(),
            }))
            .unwrap();
        let Outcome::Bucket(bucket) = made else { panic!("no bucket") };
        let (writers, nodes) = (Vec::new(), HashMap::new());
        Self { world: World::new(), meta, bucket: bucket.id, writers, nodes, runtime }
    }

    /// Looks up, and appends what is missing, as the way in does.
    fn store(&mut self, writer: &mut Writer, kind: RecordKind, raw: &[u8]) -> ChunkId {
        let id = match kind {
            RecordKind::Chunk => ChunkId::new(<sha2::Sha256 as sha2::Digest>::digest(raw).into()),
            RecordKind::Node => Node::id_of(raw),
        };
        if self.world.index.hit(&writer.hold, &[id]).unwrap()[0].is_none() {
            let (_, location) = self.world.append(kind, raw);
            self.world.index.insert(&writer.hold, &[(id, kind, location)]).unwrap();
        }
        writer.named.push(id);
        id
    }

    fn begin(&mut self, chunks: &[u8], nodes: bool) {
        let mut writer = Writer { hold: self.world.index.hold(), named: Vec::new(), root: Vec::new() };
        let mut entries = Vec::new();
        for chunk in chunks {
            let raw = vec![*chunk; 100 + usize::from(*chunk)];
            let id = self.store(&mut writer, RecordKind::Chunk, &raw);
            entries.push(Entry { kind: EntryKind::Chunk, id, len: raw.len() as u64 });
        }
        if nodes {
            // Two levels, the same node more than once: as long bodies that repeat themselves have.
            let low = self.wrap(&mut writer, entries[..entries.len().div_ceil(2)].to_vec());
            let high = self.wrap(&mut writer, vec![low, entries[0], low]);
            entries.extend([high, low]);
        }
        writer.root = entries;
        self.writers.push(writer);
    }

    fn wrap(&mut self, writer: &mut Writer, entries: Vec<Entry>) -> Entry {
        let node = Node::new(entries.clone()).unwrap();
        let id = self.store(writer, RecordKind::Node, &node.encode());
        self.nodes.insert(id, entries);
        Entry { kind: EntryKind::Node, id, len: node.size() }
    }

    fn commit(&self, commit: Commit) {
        self.runtime.block_on(self.meta.commit(commit)).unwrap();
    }

    fn finish(&mut self, key: u8) {
        if self.writers.is_empty() {
            return;
        }
        let writer = self.writers.remove(0);
        let root = Manifest::new(writer.root).unwrap();
        let object = NewObject {
            size: root.size(),
            body: NewBody::Manifest(root),
            etag: ETag::of_body([0; 16]),
            checksum: None,
            attributes: Attributes::default(),
            parts: Vec::new(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        };
        let (bucket, condition) = (self.bucket, WriteCondition::None);
        self.commit(Commit::PutVersion { bucket, key: key_of(key), object, condition });
    }

    fn follow(&self) {
        let log = self.runtime.block_on(self.meta.changes_after(self.world.index.applied(), 1000)).unwrap();
        self.world.index.apply(&log).unwrap();
    }

    /// The order of a real collection; a writer that begins in the middle is there too.
    fn collect(&mut self) {
        self.follow();
        let marked = self.runtime.block_on(self.meta.commit(Commit::Mark)).unwrap();
        let Outcome::Marked { seq: mark } = marked else { panic!("no mark") };
        self.follow();
        let bound = self.world.index.oldest_hold().map_or(mark, |hold| hold.min(mark));
        let alone = self.writers.is_empty();
        let found = self.world.index.candidates(bound, None, 1000).unwrap();
        let ids: Vec<_> = found.iter().map(|(_, id, _)| *id).collect();
        self.finish(0);
        self.begin(&[1, 2, 3], true);
        self.follow();
        self.world.index.collect(&ids, bound).unwrap();
        self.world.index.checkpoint().unwrap();
        if alone {
            let rest = self.world.index.candidates(bound, None, 1000).unwrap();
            assert_eq!(rest, [], "garbage that nobody holds stays");
        }
    }

    fn relocate(&self, nth: u8) {
        let all = self.world.index.entries(None, 1000).unwrap();
        let Some((id, entry)) = all.get(usize::from(nth) % all.len().max(1)) else { return };
        let record = self.world.packs.read(&[(*id, entry.location)]).pop().unwrap().unwrap();
        let (_, to) = self.world.append(record.kind, &record.payload);
        assert_eq!(self.world.index.relocate(&[(*id, entry.location, to)]).unwrap(), 1);
        assert_eq!(self.world.index.relocate(&[(*id, entry.location, to)]).unwrap(), 0, "it moved already");
    }

    /// A writer stores a chunk again, and so does another.
    fn replace(&self, nth: u8) {
        let all = self.world.index.entries(None, 1000).unwrap();
        let is_chunk = |(_, entry): &&(ChunkId, IndexEntry)| entry.kind == RecordKind::Chunk;
        let Some((id, entry)) = all.iter().filter(is_chunk).nth(usize::from(nth)) else { return };
        let hold = self.world.index.hold();
        let record = self.world.packs.read(&[(*id, entry.location)]).pop().unwrap().unwrap();
        let copy = || (*id, entry.location, self.world.append(record.kind, &record.payload).1);
        let moves = [copy(), copy()];
        self.world.packs.sync().unwrap();
        moves.iter().for_each(|moved| self.world.index.replace(&hold, &[*moved]).unwrap());
        assert_eq!(self.world.index.get(&[*id]).unwrap(), [Some(moves[0].2)], "the first stays");
    }

    fn manifests(&self) -> Vec<ManifestRow> {
        self.runtime.block_on(self.meta.manifests(None, 1000)).unwrap()
    }

    fn rebuild(&mut self) {
        self.writers.clear();
        let last = self.runtime.block_on(self.meta.last_seq()).unwrap();
        let mut rows = self.manifests().into_iter().map(Ok);
        self.world.index.rebuild(&mut rows, last, Progress::SILENT).unwrap();
    }

    fn run(mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Begin { chunks, nodes } => self.begin(chunks, *nodes),
                Step::Finish { key } => self.finish(*key),
                Step::Abort => drop(self.writers.pop()),
                Step::Delete { key } => {
                    let (bucket, condition) = (self.bucket, WriteCondition::None);
                    let (key, target) = (key_of(*key), VersionTarget::Current);
                    self.commit(Commit::DeleteVersion {
                        bucket,
                        key,
                        target,
                        condition: condition.into(),
                        bypass_governance: false,
                    });
                }
                Step::Collect => self.collect(),
                Step::Relocate { nth } => self.relocate(*nth),
                Step::Replace { nth } => self.replace(*nth),
                Step::Reopen => {
                    self.writers.clear();
                    self.world = self.world.reopen();
                }
                Step::Rebuild => self.rebuild(),
            }
            self.follow();
            self.check();
        }
    }

    /// References by the definition: once for each manifest row, passed on by each live distinct node.
    fn recount(&self) -> BTreeMap<ChunkId, u64> {
        let mut counted = BTreeMap::new();
        let mut rest: Vec<Entry> =
            self.manifests().iter().flat_map(|row| row.root.entries().to_vec()).collect();
        while let Some(entry) = rest.pop() {
            let references = counted.entry(entry.id).or_insert(0);
            *references += 1;
            if *references == 1 && entry.kind == EntryKind::Node {
                rest.extend(&self.nodes[&entry.id]);
            }
        }
        counted
    }

    fn check(&self) {
        let index = &self.world.index;
        let entries = index.entries(None, 1000).unwrap();
        let referenced = entries.iter().filter(|(_, e)| e.references > 0);
        let references: BTreeMap<_, _> = referenced.map(|(id, e)| (*id, e.references)).collect();
        let recount = self.recount();
        assert_eq!(references, recount, "references differ from a recount");
        let held = self.writers.iter().flat_map(|writer| &writer.named);
        for id in recount.keys().chain(held) {
            assert!(index.get(&[*id]).unwrap()[0].is_some(), "{id:?} is needed and gone");
        }
        let mut counts = IndexCounts::default();
        let mut usage = BTreeMap::<_, (u64, u64)>::new();
        for (_, entry) in &entries {
            counts.add(entry);
            let pack = usage.entry(entry.location.pack).or_default();
            *pack = (pack.0 + 1, pack.1 + entry.location.record_len());
        }
        assert_eq!(index.counts().unwrap(), counts);
        let told = index.pack_usage().unwrap();
        let told: BTreeMap<_, _> =
            told.into_iter().map(|u| (u.pack, (u.live_records, u.live_bytes))).collect();
        assert_eq!(told, usage);
        let zeros = index.candidates(CommitSeq::MAX, None, 1000).unwrap().len() as u64;
        assert_eq!(zeros, counts.unreferenced);
    }
}

fn key_of(key: u8) -> ObjectKey {
    ObjectKey::parse(&format!("key {key}")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn i3_references_equal_a_recount(steps in steps()) {
        Life::new().run(&steps);
    }
}
