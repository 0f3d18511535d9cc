//! A step of a collection, and the index opened anew beside it.

use super::reclaim::move_records;
use super::testing::chunk;
use crate::engine::index::{ChunkIndex, IndexSettings};
use crate::engine::pack::testing::Held;
use crate::engine::pack::{NewRecord, PackSet, PackSettings};
use crate::sys::{ManualClock, SeededRandom};
use crate::types::UnixMillis;
use std::sync::Arc;

/// The copy is in an open pack, where a scan finds it, before it is durable.
#[test]
fn i1_an_index_opened_anew_names_no_copy_that_is_not_durable() {
    let (store, dir) = (Arc::new(Held::default()), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
    let random = Arc::new(SeededRandom::new(1));
    let settings = PackSettings::default();
    let (packs, _) =
        PackSet::open(Arc::clone(&store) as _, Arc::clone(&clock) as _, random, &settings).unwrap();
    let path = dir.path().join("index");
    let index = ChunkIndex::open(&path, packs.clone(), &IndexSettings::default()).unwrap();
    let NewRecord { id, kind, .. } = chunk(1);
    // Begun first, so that a scan of all packs meets it first.
    let aside = packs.append_aside(&[chunk(2)]).unwrap()[0].pack;
    clock.advance_millis(1);
    let hold = index.hold();
    let place = packs.append(&[chunk(1)]).unwrap()[0];
    assert!(aside < place.pack);
    index.insert(&hold, &[(id, kind, place)]).unwrap();
    packs.sync().unwrap();
    drop(hold);
    let syncing = store.hold(aside);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| move_records(&packs, &index, &[(id, place)]));
        syncing.recv().unwrap();
        let healer = scope.spawn(|| {
            index.fail("no space");
            index.heal()
        });
        while !index.is_reopening() && !healer.is_finished() {
            std::thread::yield_now();
        }
        let named = index.get(&[id]);
        store.release();
        let (moved, healed) = (mover.join().unwrap(), healer.join().unwrap());
        assert_eq!(named.unwrap(), [Some(place)], "the copy is not durable yet");
        assert_eq!(moved.unwrap(), 1);
        healed.unwrap();
    });
    assert!(index.get(&[id]).unwrap()[0].is_some());
    assert!(index.failure().borrow().is_none());
}
