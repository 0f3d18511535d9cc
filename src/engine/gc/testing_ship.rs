//! What a backup has of a store, and whether that is enough.

use crate::engine::EngineError;
use crate::engine::codec::decode_record;
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{Location, PackExtent, PackSet, PackSettings};
use crate::meta::{ChangeLog, Commit, LogRecord, MemoryStore, MetaStore};
use crate::storage::PackId;
use crate::sys::{SeededRandom, SystemClock};
use crate::types::{ChunkId, Entry, EntryKind, Node};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

/// Small ones: what is copied is cut into many.
const PIECE_BYTES: u64 = 100_000;

#[derive(Debug, Default, Clone)]
pub(super) struct Shipped {
    pub(super) packs: BTreeMap<PackId, Vec<u8>>,
}

impl Shipped {
    /// Copies what is new in these extents.
    pub(super) fn copy(&mut self, packs: &PackSet, extents: &[PackExtent]) {
        let is_gone =
            |error: &EngineError| matches!(error, EngineError::Io(io) if io.kind() == ErrorKind::NotFound);
        for extent in extents {
            let have = self.packs.entry(extent.id).or_default();
            let pieces = match packs.pieces(extent.id, have.len() as u64..extent.end, PIECE_BYTES) {
                Err(error) if is_gone(&error) => continue,
                pieces => pieces.unwrap(),
            };
            for piece in pieces {
                match packs.read_raw(extent.id, piece) {
                    Ok(bytes) => have.extend_from_slice(&bytes),
                    // What lived in it is in another one, and that it was given back is told.
                    Err(error) if is_gone(&error) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Copies until nothing was given back meanwhile.
    pub(super) fn copy_all(&mut self, packs: &PackSet) {
        loop {
            let given_back = packs.given_back();
            self.copy(packs, &packs.extents().unwrap());
            if packs.given_back() == given_back {
                return;
            }
        }
    }

    /// Every byte that this log names can be read from it.
    pub(super) async fn assert_holds(&self, log: &[LogRecord], context: &str) {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(1)));
        let store = TestPacks::default();
        for (id, bytes) in &self.packs {
            store.set_bytes(*id, bytes.clone());
        }
        let packs = PackSet::open(Arc::new(store), clock.clone(), random.clone(), &PackSettings::default());
        let packs = packs.unwrap().0;
        let mut places: BTreeMap<ChunkId, Vec<Location>> = BTreeMap::new();
        for pack in packs.ids() {
            packs.revive(pack).unwrap();
            packs
                .scan(pack, &mut |record| places.entry(record.id).or_default().push(record.location))
                .unwrap();
        }
        let meta = MemoryStore::new(clock, random);
        for record in log {
            meta.commit(Commit::Replay(Box::new(record.clone()))).await.unwrap();
        }
        for manifest in meta.manifests(None, 9_999).await.unwrap() {
            walk(&packs, &places, manifest.root.entries(), context);
        }
    }
}

fn walk(packs: &PackSet, places: &BTreeMap<ChunkId, Vec<Location>>, entries: &[Entry], context: &str) {
    for entry in entries {
        let wanted: Vec<_> =
            places.get(&entry.id).into_iter().flatten().map(|place| (entry.id, *place)).collect();
        let record = packs.read(&wanted).into_iter().find_map(Result::ok);
        let record = record.unwrap_or_else(|| panic!("{context}: {} was not copied", entry.id));
        let raw = decode_record(&record).unwrap();
        if entry.kind == EntryKind::Node {
            walk(packs, places, Node::decode(&raw).unwrap().entries(), context);
        }
    }
}
