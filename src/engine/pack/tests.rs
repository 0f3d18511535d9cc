use super::testing::TestPacks;
use super::{
    Codec, Location, NewRecord, PackSet, PackSettings, RECORD_HEADER_BYTES, RecordKind, RecoveryReport,
};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::{Random, SeededRandom, SystemClock};
use crate::types::ChunkId;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(super) fn open(store: &Arc<TestPacks>) -> (PackSet, RecoveryReport) {
    let settings = PackSettings { target_bytes: 1 << 20 };
    PackSet::open(store.clone(), Arc::new(SystemClock), Arc::new(SeededRandom::new(1)), &settings).unwrap()
}

pub(super) fn chunk(seed: u64, len: usize) -> NewRecord {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    let id = ChunkId::new(Sha256::digest(&bytes).into());
    let raw_len = u32::try_from(len).unwrap();
    NewRecord { id, kind: RecordKind::Chunk, codec: Codec::Raw, raw_len, payload: Bytes::from(bytes) }
}

pub(super) fn append(packs: &PackSet, records: &[NewRecord]) -> Vec<(ChunkId, Location)> {
    let locations = packs.append(records).unwrap();
    records.iter().map(|record| record.id).zip(locations).collect()
}

pub(super) fn scanned(packs: &PackSet) -> Vec<(ChunkId, bool)> {
    let mut found = Vec::new();
    for pack in packs.ids() {
        packs.scan(pack, &mut |record| found.push((record.id, record.dead))).unwrap();
    }
    found
}

#[test]
fn records_are_read_back_whole_and_in_the_order_asked() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let records: Vec<_> = (0..100).map(|seed| chunk(seed, 30_000)).collect();
    let mut places = append(&packs, &records);
    assert!(packs.ids().len() > 2, "three megabytes fill packs of one");
    places.reverse();
    for (read, record) in packs.read(&places).into_iter().zip(records.iter().rev()) {
        assert_eq!(read.unwrap().payload, record.payload);
    }
    let neighbours = *store.reads.lock();
    assert!(neighbours <= 8, "neighbours are read together, not in {neighbours} reads");
}

#[test]
fn i5_small_records_far_apart_do_not_keep_what_stands_between() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let records: Vec<_> = (0..16).map(|n| chunk(n, if n % 2 == 0 { 4096 } else { 60_000 })).collect();
    let places: Vec<_> = append(&packs, &records).into_iter().step_by(2).collect();
    let read = packs.read(&places);
    assert_eq!(*store.reads.lock(), 1, "gaps below 64 KiB are read over");
    for (read, record) in read.into_iter().zip(records.iter().step_by(2)) {
        let payload = read.unwrap().payload;
        assert_eq!(payload, record.payload);
        assert!(payload.is_unique(), "the payload shares the buffer of the whole read");
    }
}

#[test]
fn i1_synced_records_survive_a_power_cut_and_others_leave_no_trace() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let kept = append(&packs, &[chunk(1, 5000), chunk(2, 5000)]);
    packs.sync().unwrap();
    let lost = append(&packs, &[chunk(3, 5000)]);
    let (after, report) = open(&Arc::new(store.after_power_cut()));
    assert_eq!(report.recovered.len(), 1);
    assert!(after.read(&kept).iter().all(Result::is_ok));
    assert!(!after.is_valid(&lost[0].1));
    assert_eq!(scanned(&after), kept.iter().map(|(id, _)| (*id, false)).collect::<Vec<_>>());
}

#[test]
fn i2_a_torn_write_is_cut_off_after_a_kill() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let kept = append(&packs, &[chunk(1, 5000)]);
    let mut killed = store.after_kill();
    let pack = kept[0].1.pack;
    let mut bytes = killed.bytes(pack);
    bytes.extend_from_slice(&[0x5A; 777]);
    killed.set_bytes(pack, bytes);
    let (after, report) = open(&Arc::new(std::mem::take(&mut killed)));
    assert_eq!(report.recovered[0].truncated_bytes, 777);
    assert_eq!(scanned(&after), [(kept[0].0, false)]);
}

#[test]
fn a_failed_write_counts_for_nothing_and_does_not_stand_in_the_way() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let first = append(&packs, &[chunk(1, 5000)]);
    *store.tear_write.lock() = Some(100);
    assert!(matches!(packs.append(&[chunk(2, 5000)]), Err(EngineError::Full)));
    let third = append(&packs, &[chunk(3, 5000)]);
    packs.seal().unwrap();
    assert!(packs.read(&[first[0], third[0]]).iter().all(Result::is_ok));
    assert_eq!(scanned(&packs).len(), 2);
}

#[test]
fn i1_after_a_failed_sync_nothing_is_acknowledged_until_reopened() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    append(&packs, &[chunk(1, 5000)]);
    *store.fail_syncs.lock() = 1;
    assert!(packs.sync().is_err());
    assert!(matches!(packs.sync(), Err(EngineError::Poisoned(_))));
    assert!(matches!(packs.append(&[chunk(2, 10)]), Err(EngineError::Poisoned(_))));
    let (after, _) = open(&Arc::new(store.after_kill()));
    append(&after, &[chunk(2, 10)]);
    after.sync().unwrap();
}

#[test]
fn i1_i5_a_sync_that_found_no_descriptor_is_none_and_poisons_nothing() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let first = append(&packs, &[chunk(1, 100)]);
    *store.unopened_syncs.lock() = 1;
    assert!(matches!(packs.sync(), Err(EngineError::Busy(_))));
    packs.check().unwrap();
    let lost = open(&Arc::new(store.after_power_cut())).0;
    assert!(!lost.is_valid(&first[0].1), "it was not said to be durable");
    packs.sync().unwrap();
    let kept = open(&Arc::new(store.after_power_cut())).0;
    assert!(kept.read(&first)[0].is_ok(), "the next one is for all of it");
    // Sealing waits, and nothing is forgotten.
    *store.unopened_syncs.lock() = 2;
    append(&packs, &[chunk(2, 100)]);
    packs.seal().unwrap();
    assert_eq!(packs.sealed_records(first[0].1.pack), None);
    packs.seal_waiting().unwrap();
    assert_eq!(packs.sealed_records(first[0].1.pack), Some(2));
}

#[test]
fn i4_a_flipped_bit_is_never_returned() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 500), chunk(2, 500), chunk(3, 500)]);
    let (id, location) = places[1];
    let whole = store.bytes(location.pack);
    for at in location.range() {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        store.set_bytes(location.pack, bytes);
        // The state byte is the one that may change; it does not touch the content.
        let result = packs.read(&[places[0], (id, location), places[2]]);
        assert!(result[0].is_ok() && result[2].is_ok(), "a neighbour failed with byte {at}");
        if let Ok(record) = &result[1] {
            assert_eq!(record.payload, chunk(2, 500).payload, "byte {at}");
        }
    }
    let other = ChunkId::new([9; 32]);
    store.set_bytes(location.pack, whole);
    assert!(matches!(packs.read(&[(other, location)])[0], Err(EngineError::Corrupt { .. })));
}

#[test]
fn tombstones_hold_through_punching_and_reopening() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5000), chunk(2, 5000), chunk(3, 5000)]);
    assert_eq!(packs.tombstone(&[places[1].1]).unwrap(), 0, "an open pack is left alone");
    assert!(packs.punch(places[1].1.pack, places[1].1.range()).is_err());
    packs.seal().unwrap();
    assert_eq!(packs.tombstone(&[places[1].1]).unwrap(), 1);
    let payload = places[1].1.range().start + RECORD_HEADER_BYTES as u64..places[1].1.end();
    assert!(packs.punch(places[1].1.pack, payload).unwrap());
    let (after, report) = open(&Arc::new(store.after_kill()));
    assert_eq!(report.recovered, []);
    assert_eq!(scanned(&after).iter().map(|(_, dead)| *dead).collect::<Vec<_>>(), [false, true, false]);
    assert!(after.read(&places)[1].is_err());
    assert!(after.read(&places)[0].is_ok() && after.read(&places)[2].is_ok());
}

#[test]
fn a_removed_pack_is_unknown_and_its_id_is_not_used_again() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    let places = append(&packs, &[chunk(1, 5000)]);
    packs.seal().unwrap();
    packs.remove(places[0].1.pack).unwrap();
    assert!(!packs.is_valid(&places[0].1));
    assert!(matches!(packs.read(&places)[0], Err(EngineError::Missing(_))));
    let again: PackId = append(&packs, &[chunk(1, 5000)])[0].1.pack;
    assert_ne!(again, places[0].1.pack);
}

#[test]
fn syncs_are_shared_and_an_idle_sync_costs_nothing() {
    let store = Arc::new(TestPacks::default());
    let (packs, _) = open(&store);
    append(&packs, &[chunk(1, 5000)]);
    packs.sync().unwrap();
    let syncs = *store.syncs.lock();
    packs.sync().unwrap();
    assert_eq!(*store.syncs.lock(), syncs);
}
