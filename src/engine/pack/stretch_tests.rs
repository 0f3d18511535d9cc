use super::super::testing::TestPacks;
use super::super::tests::{append, chunk, open};
use crate::engine::pack::{Location, NewRecord, PackSet, RECORD_HEADER_BYTES, RecordKind};
use crate::types::ChunkId;
use std::sync::Arc;

const LEN: usize = 10_000;

struct World {
    store: Arc<TestPacks>,
    packs: PackSet,
    records: Vec<NewRecord>,
    places: Vec<(ChunkId, Location)>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let records: Vec<_> = (0..20).map(|seed| chunk(seed, LEN)).collect();
        let places = append(&packs, &records);
        Self { store, packs, records, places }
    }

    /// Which of the records a stretch from the first to the last has, asked for in order.
    fn taken(&self) -> Vec<bool> {
        let mut stretch = self.packs.read_stretch(&self.places[0].1, &self.places[19].1).unwrap();
        let taken = self.records.iter().map(|record| {
            let taken = stretch.take(&record.id, RecordKind::Chunk, LEN);
            assert!(taken.as_ref().is_none_or(|taken| taken.payload == record.payload), "wrong bytes");
            taken.is_some()
        });
        taken.collect()
    }

    fn flip(&self, at: u64, bits: u8) {
        let mut bytes = self.store.bytes(self.places[0].1.pack);
        bytes[usize::try_from(at).unwrap()] ^= bits;
        self.store.set_bytes(self.places[0].1.pack, bytes);
    }

    fn is_stretch(&self, first: usize, last: usize) -> bool {
        let (first, last) = (&self.places[first].1, &self.places[last].1);
        self.packs.is_stretch(first, last, 20 * LEN as u64, 20)
    }
}

fn all_but(missing: usize) -> Vec<bool> {
    (0..20).map(|n| n != missing).collect()
}

#[test]
fn records_that_follow_each_other_come_from_one_read_in_any_order() {
    let world = World::new();
    *world.store.reads.lock() = 0;
    assert_eq!(world.taken(), vec![true; 20]);
    assert_eq!(*world.store.reads.lock(), 1);
    let mut stretch = world.packs.read_stretch(&world.places[0].1, &world.places[19].1).unwrap();
    for n in [7, 7, 3, 19, 0, 19] {
        let taken = stretch.take(&world.records[n].id, RecordKind::Chunk, LEN).unwrap();
        assert_eq!(taken.payload, world.records[n].payload);
    }
}

#[test]
fn i4_what_is_damaged_dead_or_something_else_is_not_taken() {
    let at = |world: &World| u64::from(world.places[5].1.offset);
    let world = World::new();
    world.flip(at(&world) + RECORD_HEADER_BYTES as u64 + 77, 1);
    assert_eq!(world.taken(), all_but(5), "a damaged payload");

    let world = World::new();
    world.flip(at(&world) + 20, 1);
    assert_eq!(world.taken(), (0..20).map(|n| n < 5).collect::<Vec<_>>(), "behind a damaged header");

    let world = World::new();
    world.packs.seal().unwrap();
    assert_eq!(world.packs.tombstone(&[world.places[5].1]).unwrap(), 1);
    assert_eq!(world.taken(), all_but(5), "a dead record");

    let world = World::new();
    let mut stretch = world.packs.read_stretch(&world.places[0].1, &world.places[19].1).unwrap();
    let id = &world.records[5].id;
    assert!(stretch.take(id, RecordKind::Node, LEN).is_none());
    assert!(stretch.take(id, RecordKind::Chunk, LEN - 1).is_none());
    assert!(stretch.take(&chunk(99, LEN).id, RecordKind::Chunk, LEN).is_none());
    assert!(stretch.take(id, RecordKind::Chunk, LEN).is_some());
}

#[test]
fn i4_a_condemned_record_is_not_found_by_its_neighbours() {
    // In a pack that is still written to, too.
    let world = World::new();
    assert!(world.packs.bury(&world.places[5].1).unwrap());
    assert!(world.is_stretch(0, 19));
    assert_eq!(world.taken(), all_but(5));

    // Nor where there is no room to seal that pack, now or at once again.
    let world = World::new();
    *world.store.full_writes.lock() = 2;
    assert!(!matches!(world.packs.bury(&world.places[5].1), Ok(true)));
    assert!(!world.is_stretch(0, 19), "what could not be marked is still found");
}

#[test]
fn only_what_is_about_as_long_as_its_records_is_read_at_once() {
    let world = World::new();
    assert!(world.is_stretch(0, 19) && world.is_stretch(3, 3) && !world.is_stretch(19, 0));
    let (first, last) = (&world.places[0].1, &world.places[19].1);
    assert!(!world.packs.is_stretch(first, last, 10 * LEN as u64, 10));
    let far = Location { offset: first.offset + (2 << 20), ..*last };
    assert!(!world.packs.is_stretch(first, &far, 64 << 20, 1000), "more than a window");
    let other = Location { pack: crate::storage::PackId::new(7), ..*last };
    assert!(!world.packs.is_stretch(first, &other, 20 * LEN as u64, 20));
}
