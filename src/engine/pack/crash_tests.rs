//! What kills, power cuts and failing devices leave of packs.

use super::testing::TestPacks;
use super::tests::{append, chunk, open, scanned};
use super::{Location, PackSet, PackSettings};
use crate::engine::EngineError;
use crate::storage::{DiskPackStore, PackId, PackStore};
use crate::sys::{CallKind, Fault, FaultPlan, ManualClock, SeededRandom, SimulatedFileSystem};
use crate::types::ChunkId;
use std::sync::Arc;

/// All that a rebuilt index would name is readable.
fn assert_no_promise_is_broken(packs: &PackSet, acknowledged: &[(ChunkId, Location)], when: &str) {
    let mut found = Vec::new();
    for pack in packs.ids() {
        packs.scan(pack, &mut |record| found.push((record.id, record.location))).unwrap();
    }
    for ((id, _), read) in found.iter().zip(packs.read(&found)) {
        assert!(read.is_ok(), "{when}: {id} is listed and {}", read.unwrap_err());
    }
    for ((id, place), read) in acknowledged.iter().zip(packs.read(acknowledged)) {
        assert!(packs.is_valid(place) && read.is_ok(), "{when}: {id} was acknowledged and is lost");
    }
}

/// Fills packs of 1 MiB and acknowledges every third append; the sync of that number fails, as if the machine
/// stopped there.
fn work_until(store: &Arc<TestPacks>, failing_sync: usize) -> Vec<(ChunkId, Location)> {
    let (packs, _) = open(store);
    let (mut appended, mut acknowledged) = (Vec::new(), Vec::new());
    for seed in 0..30 {
        *store.fail_syncs_at.lock() = Some(failing_sync);
        let Ok(places) = packs.append(&[chunk(seed, 90_000)]) else { break };
        appended.push((chunk(seed, 90_000).id, places[0]));
        if seed % 3 == 2 {
            if packs.sync().is_err() {
                break;
            }
            acknowledged.clone_from(&appended);
        }
    }
    acknowledged
}

#[test]
fn i1_a_power_cut_at_any_sync_takes_nothing_acknowledged_and_lists_nothing_lost() {
    for stop in 1..13 {
        let store = Arc::new(TestPacks::default());
        let acknowledged = work_until(&store, stop);
        for luck in 0..4 {
            let cut = Arc::new(store.after_power_cut_with_luck(luck));
            let (packs, _) = open(&cut);
            assert_no_promise_is_broken(&packs, &acknowledged, &format!("sync {stop}, luck {luck}"));
            let again = Arc::new(cut.after_power_cut_with_luck(luck + 100));
            assert_no_promise_is_broken(&open(&again).0, &acknowledged, "cut twice");
        }
    }
}

#[test]
fn i1_what_a_start_after_a_kill_finds_is_durable_before_anything_is_acknowledged() {
    for stop in 1..13 {
        let store = Arc::new(TestPacks::default());
        work_until(&store, stop);
        let killed = Arc::new(store.after_kill());
        let (packs, _) = open(&killed);
        let mut found = Vec::new();
        for pack in packs.ids() {
            packs.scan(pack, &mut |record| found.push((record.id, record.location))).unwrap();
        }
        // A writer that finds all its chunks there appends nothing, and its commit syncs what was appended.
        packs.sync().unwrap();
        for luck in 0..4 {
            let cut = Arc::new(killed.after_power_cut_with_luck(luck));
            assert_no_promise_is_broken(&open(&cut).0, &found, &format!("sync {stop}, luck {luck}"));
        }
    }
}

#[test]
fn i1_after_a_failed_sync_a_start_finds_what_the_device_has() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let kept = append(&packs, &[chunk(1, 5000)]);
    packs.sync().unwrap();
    let lost = append(&packs, &[chunk(2, 5000)]);
    *store.fail_syncs.lock() = 1;
    assert!(packs.sync().is_err());
    assert!(packs.read(&lost)[0].is_ok(), "memory still has it");
    let (after, _) = open(&Arc::new(store.after_kill()));
    assert!(!after.is_valid(&lost[0].1), "a writer would not store again what is lost");
    assert!(after.read(&kept)[0].is_ok());
}

#[test]
fn i5_a_pack_that_cannot_be_read_somewhere_keeps_no_store_from_starting() {
    for is_sealed in [false, true] {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let places = append(&packs, &(0..9).map(|seed| chunk(seed, 50_000)).collect::<Vec<_>>());
        packs.sync().unwrap();
        let pack = places[0].1.pack;
        if is_sealed {
            packs.seal().unwrap();
        }
        let (bytes, killed) = (store.bytes(pack), Arc::new(store.after_kill()));
        // The trailer, or a place in the middle.
        let bad = if is_sealed { bytes.len() as u64 - 9 } else { places[4].1.range().start + 9 };
        *killed.bad.lock() = Some((pack, bad..bad + 1));
        let (after, report) = open(&killed);
        assert_eq!(report.unreadable, [pack]);
        let readable = after.read(&places).iter().filter(|read| read.is_ok()).count();
        assert_eq!(readable, if is_sealed { 9 } else { 8 });
        assert!(scanned(&after).len() >= 7);
        assert_eq!(killed.bytes(pack), bytes, "it was changed");
        let again = append(&after, &[chunk(4, 50_000)]);
        assert!(after.read(&again)[0].is_ok());
    }
}

#[test]
fn i3_a_pack_that_there_was_no_room_to_seal_is_sealed_later() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5000)]);
    *store.tear_write.lock() = Some(10);
    packs.seal().unwrap();
    assert_eq!(packs.sealed_records(places[0].1.pack), Some(1), "tried again at once");
    let places = append(&packs, &[chunk(2, 5000)]);
    *store.full_writes.lock() = 2;
    packs.seal().unwrap();
    assert_eq!(packs.sealed_records(places[0].1.pack), None);
    assert!(packs.read(&places)[0].is_ok());
    packs.seal_waiting().unwrap();
    assert_eq!(packs.sealed_records(places[0].1.pack), Some(1));
    let (_, report) = open(&Arc::new(store.after_power_cut()));
    assert_eq!(report.recovered, []);
}

#[test]
fn i3_a_pack_that_a_start_had_no_room_to_seal_is_sealed_later() {
    let store = Arc::new(TestPacks::default());
    let places = append(&open(&store).0, &[chunk(1, 5000)]);
    let killed = Arc::new(store.after_kill());
    *killed.full_writes.lock() = 1;
    let (packs, _) = open(&killed);
    assert_eq!(packs.sealed_records(places[0].1.pack), None);
    packs.seal_waiting().unwrap();
    assert_eq!(packs.sealed_records(places[0].1.pack), Some(1));
    assert!(packs.read(&places)[0].is_ok());
    assert!(!matches!(packs.append(&[chunk(2, 10)]), Err(EngineError::Full)));
}

#[test]
fn i3_a_pack_whose_header_a_power_cut_took_is_removed_with_the_half_records_behind_it() {
    let store = Arc::new(TestPacks::default());
    let id = PackId::new(7);
    store.create(id).unwrap();
    store.write_at(id, 512, &chunk(1, 3000).payload).unwrap();
    let (_, report) = open(&Arc::new(store.after_kill()));
    assert_eq!(report.removed, [id]);
}

fn open_on(fs: &SimulatedFileSystem) -> PackSet {
    let store = Arc::new(DiskPackStore::open(Arc::new(fs.clone()), "packs").unwrap());
    let random = Arc::new(SeededRandom::new(fs.calls() as u64));
    PackSet::open(store, Arc::new(ManualClock::default()), random, &PackSettings::default()).unwrap().0
}

/// The process is killed between marks and their sync; the next one punches what is marked, and the power fails.
#[test]
fn i1_what_is_punched_never_looks_alive_after_a_kill_and_a_power_cut() {
    let fs = SimulatedFileSystem::new(1);
    let packs = open_on(&fs);
    let places = append(&packs, &(0..4).map(|seed| chunk(seed, 9000)).collect::<Vec<_>>());
    packs.seal().unwrap();
    packs.tombstone(&[places[1].1, places[2].1]).unwrap();
    let marks_synced = fs.calls() - 1;
    for seed in 0..60 {
        let fs = fs.killed_at(marks_synced, seed);
        let packs = open_on(&fs);
        let range = places[1].1.range().end - 4096..places[2].1.range().end;
        assert!(packs.punch(places[0].1.pack, range).unwrap());
        fs.crash();
        let packs = open_on(&fs);
        packs
            .scan(places[0].1.pack, &mut |record| {
                let read = packs.read(&[(record.id, record.location)]).remove(0);
                assert!(record.dead || read.is_ok(), "seed {seed}: {read:?}");
            })
            .unwrap();
    }
}

#[test]
fn i5_a_start_whose_sync_found_no_room_takes_writes_once_there_is_some() {
    let fs = SimulatedFileSystem::new(1);
    let packs = open_on(&fs);
    let places = append(&packs, &[chunk(1, 5000)]);
    packs.sync().unwrap();
    fs.kill();
    // The first sync is that of reading anew, the second that of sealing.
    fs.inject(FaultPlan { kind: Some(CallKind::Sync), after: 1, times: 1, fault: Fault::Full });
    let packs = open_on(&fs);
    assert_eq!((fs.fault_counts().of("call: Sync Full"), packs.sealed_records(places[0].1.pack)), (1, None));
    append(&packs, &[chunk(2, 5000)]);
    packs.seal().unwrap();
    assert!(packs.read(&places)[0].is_ok());
    fs.kill();
    assert_eq!(open_on(&fs).sealed_records(places[0].1.pack), Some(1));
}
