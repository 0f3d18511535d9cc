//! Copying packs while they are written, sealed, collected and cut off by a crash; opening the copy.

use super::testing::TestPacks;
use super::tests::{append, chunk, open, scanned};
use super::{PackExtent, PackSet, RECORD_HEADER_BYTES, zeros};
use crate::storage::{PackId, PackStore};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A remote place: what was copied of each pack.
#[derive(Debug, Default)]
struct Remote(BTreeMap<PackId, Vec<u8>>);

impl Remote {
    /// Copies what is new, in pieces of at most so many bytes.
    fn copy(&mut self, packs: &PackSet, most: u64) {
        for PackExtent { id, end, .. } in packs.extents().unwrap() {
            let have = self.0.entry(id).or_default();
            for piece in packs.pieces(id, have.len() as u64..end, most).unwrap() {
                let bytes = packs.read_raw(id, piece).unwrap();
                have.extend_from_slice(&bytes);
            }
        }
    }

    /// As a restore writes it: what is zero is not written.
    fn restored(&self) -> Arc<TestPacks> {
        let store = TestPacks::default();
        for (id, bytes) in &self.0 {
            store.create(*id).unwrap();
            let (mut at, mut written) = (0, vec![0; bytes.len()]);
            for hole in zeros(bytes).into_iter().chain(std::iter::once(bytes.len()..bytes.len())) {
                written[at..hole.start].copy_from_slice(&bytes[at..hole.start]);
                at = hole.end;
            }
            store.write_at(*id, 0, &written).unwrap();
            store.sync(*id).unwrap();
        }
        Arc::new(store)
    }
}

#[test]
fn i1_what_is_durable_can_be_copied_and_nothing_else() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    assert_eq!(packs.extents().unwrap(), []);
    let kept = append(&packs, &[chunk(1, 5000), chunk(2, 700)]);
    assert_eq!(packs.extents().unwrap(), [], "not durable yet");
    packs.sync().unwrap();
    append(&packs, &[chunk(3, 5000)]);
    let (id, end) = (kept[0].1.pack, kept[1].1.end());
    assert_eq!(packs.extents().unwrap(), [PackExtent { id, end, sealed: false }], "to the end of a record");
    packs.seal().unwrap();
    let len = store.list().unwrap()[0].len;
    assert_eq!(packs.extents().unwrap(), [PackExtent { id, end: len, sealed: true }], "with its footer");
    let (again, _) = open(&store);
    assert_eq!(again.extents().unwrap(), packs.extents().unwrap());
    let moved = packs.append_aside(&[chunk(4, 100)]).unwrap();
    let aside = packs.extents().unwrap().into_iter().find(|extent| extent.id == moved[0].pack);
    assert_eq!(aside.map(|extent| extent.end), Some(moved[0].end()), "durable when it is told");
    *store.fail_syncs.lock() = 1;
    append(&packs, &[chunk(5, 100)]);
    packs.sync().unwrap_err();
    assert_eq!(packs.extents().unwrap().len(), 2);
}

/// The log goes out once the packs have: so none of them may be left out in silence.
#[test]
fn i1_a_pack_that_could_not_be_made_durable_at_the_start_keeps_everything_from_being_copied() {
    for is_unreadable in [false, true] {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let kept = append(&packs, &[chunk(1, 50_000), chunk(2, 50_000)]);
        packs.sync().unwrap();
        let pack = kept[0].1.pack;
        for fails in [false, true] {
            let killed = Arc::new(store.after_kill());
            if is_unreadable {
                let bad = kept[1].1.range().start + 9;
                *killed.bad.lock() = Some((pack, bad..bad + 1));
            } else {
                *killed.full_writes.lock() = 1;
            }
            *killed.fail_syncs_at.lock() = fails.then_some(1);
            let (after, _) = open(&killed);
            assert!(after.read(&kept)[0].is_ok());
            *killed.fail_syncs_at.lock() = None;
            match after.extents() {
                Ok(extents) => assert!(!fails && extents[0].id == pack, "{extents:?}"),
                Err(error) => assert!(fails && error.to_string().contains(&pack.to_string()), "{error}"),
            }
            // A sync that succeeds behind one that failed proves nothing.
            after.tombstone(&[kept[0].1]).unwrap();
            assert_eq!(after.extents().is_err(), fails);
        }
    }
}

#[test]
fn i1_a_pack_that_a_crash_left_open_goes_on_where_its_copy_ends() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let kept = append(&packs, &[chunk(1, 5000), chunk(2, 700)]);
    packs.sync().unwrap();
    let mut remote = Remote::default();
    remote.copy(&packs, 1 << 20);
    append(&packs, &[chunk(3, 5000)]);
    for crashed in [store.after_power_cut(), store.after_kill()] {
        let mut remote = Remote(remote.0.clone());
        let (after, _) = open(&Arc::new(crashed));
        remote.copy(&after, 1 << 20);
        let (copy, report) = open(&remote.restored());
        assert!(report.recovered.is_empty(), "its footer came with it");
        assert_eq!(scanned(&copy), scanned(&after));
        assert!(copy.read(&kept).iter().all(Result::is_ok));
    }
}

/// Holes and marks, as collection makes them.
#[test]
fn i1_a_copy_of_packs_with_holes_opens_and_has_what_lives() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let records: Vec<_> = (0..40).map(|n| chunk(n, 9_000)).collect();
    let places = append(&packs, &records);
    packs.seal().unwrap();
    let dead: Vec<_> = places[5..20].iter().map(|(_, place)| *place).collect();
    packs.tombstone(&dead).unwrap();
    let before = packs.given_back();
    packs.punch(dead[0].pack, dead[0].offset.into()..dead[14].end()).unwrap();
    assert_ne!(packs.given_back(), before);
    let mut remote = Remote::default();
    remote.copy(&packs, 50_000);
    let bytes = &remote.0[&dead[0].pack];
    assert!(zeros(bytes).iter().map(ExactSizeIterator::len).sum::<usize>() > 14 * 9_000, "not to be stored");
    for with_footer in [true, false] {
        let mut remote = Remote(remote.0.clone());
        if !with_footer {
            let bytes = remote.0.get_mut(&dead[0].pack).unwrap();
            bytes.truncate(usize::try_from(places[39].1.end()).unwrap());
        }
        let (copy, report) = open(&remote.restored());
        assert_eq!(report.recovered.len(), usize::from(!with_footer), "zeros are walked over");
        let living: Vec<_> = places[..5].iter().chain(&places[20..]).copied().collect();
        assert!(copy.read(&living).iter().all(Result::is_ok));
        assert_eq!(copy.revive(dead[0].pack).unwrap(), 0, "what was given back stays dead");
    }
}

/// The footer is copied last: it may call a record dead that lived when it was copied, for which an older moment asks.
#[test]
fn i1_a_record_that_died_between_the_copies_of_its_bytes_and_of_its_footer_lives_again() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5_000), chunk(2, 5_000), chunk(3, 5_000)]);
    packs.sync().unwrap();
    let mut remote = Remote::default();
    remote.copy(&packs, 1 << 20);
    packs.seal().unwrap();
    packs.tombstone(&[places[1].1]).unwrap();
    packs.punch(places[1].1.pack, places[1].1.range()).unwrap();
    remote.copy(&packs, 1 << 20);
    let restored = remote.restored();
    let (copy, _) = open(&restored);
    assert!(scanned(&copy)[1].1, "the footer says so");
    assert_eq!(copy.revive(places[1].1.pack).unwrap(), 1);
    let (copy, _) = open(&Arc::new(restored.after_power_cut()));
    assert!(scanned(&copy).iter().all(|(_, dead)| !dead), "durably");
    assert!(copy.read(&places).iter().all(Result::is_ok));
    assert_eq!(copy.revive(places[1].1.pack).unwrap(), 0);
}

#[test]
fn i4_a_damaged_record_is_not_revived() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5_000), chunk(2, 5_000)]);
    packs.seal().unwrap();
    let place = places[0].1;
    packs.tombstone(&[place]).unwrap();
    let mut bytes = store.bytes(place.pack);
    bytes[place.offset as usize + RECORD_HEADER_BYTES + 9] ^= 1;
    store.set_bytes(place.pack, bytes);
    assert_eq!(open(&store).0.revive(place.pack).unwrap(), 0);
}

#[test]
fn a_pack_that_is_gone_is_said_to_be() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5_000)]);
    packs.seal().unwrap();
    let before = packs.given_back();
    packs.remove(places[0].1.pack).unwrap();
    assert_ne!(packs.given_back(), before);
    let error = packs.read_raw(places[0].1.pack, 0..100).unwrap_err();
    let kind = std::io::ErrorKind::NotFound;
    assert!(matches!(&error, crate::engine::EngineError::Io(io) if io.kind() == kind), "{error}");
}

proptest! {
    #[test]
    fn pieces_are_whole_records_and_all_of_the_range(
        lens in proptest::collection::vec(1..3_000usize, 1..30), most in 500..9_000u64, sealed: bool, from in 0..30usize,
    ) {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let records: Vec<_> = lens.iter().enumerate().map(|(n, len)| chunk(n as u64, *len)).collect();
        let places = append(&packs, &records);
        if sealed { packs.seal().unwrap() } else { packs.sync().unwrap() }
        let extent = packs.extents().unwrap()[0];
        let from = places.get(from).map_or(0, |(_, place)| u64::from(place.offset));
        let pieces = packs.pieces(extent.id, from..extent.end, most).unwrap();
        prop_assert_eq!(pieces.first().map(|piece| piece.start), Some(from));
        prop_assert_eq!(pieces.last().map(|piece| piece.end), Some(extent.end));
        prop_assert!(pieces.windows(2).all(|two| two[0].end == two[1].start));
        for piece in &pieces {
            let inside: Vec<_> =
                places.iter().filter(|(_, at)| piece.start < at.end() && at.range().start < piece.end).collect();
            prop_assert!(inside.iter().all(|(_, at)| piece.start <= at.range().start && at.end() <= piece.end));
            prop_assert!(piece.end - piece.start <= most || inside.len() == 1);
        }
    }

    #[test]
    fn runs_of_zeros_are_all_that_is_zero_in_whole_blocks(blocks in proptest::collection::vec(0..4u8, 0..12), rest in 0..4096usize) {
        let mut bytes = Vec::new();
        for kind in &blocks {
            let at = bytes.len();
            bytes.resize(at + 4096, 0);
            if *kind == 0 { bytes[at + 17] = 1 }
        }
        bytes.resize(bytes.len() + rest, 0);
        let runs = zeros(&bytes);
        prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
        let counted: usize = runs.iter().map(ExactSizeIterator::len).sum();
        prop_assert_eq!(counted, blocks.iter().filter(|kind| **kind > 0).count() * 4096);
        for run in runs {
            prop_assert!(bytes[run].iter().all(|byte| *byte == 0));
        }
    }
}
