//! Packs alone, without an index: appending, syncing, reading. Run: `cargo bench --bench packs`; `TMPDIR` says on which
//! disk. What is read is in the operating system's cache. Costs are in seconds of one core per GB of content.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/cost.rs"]
mod cost;

use bytes::Bytes;
use cost::cost;
use sediment::engine::pack::{Codec, Location, NewRecord, PackSet, PackSettings, RecordKind};
use sediment::storage::DiskPackStore;
use sediment::sys::{OsRandom, Random, RealFileSystem, SeededRandom, SystemClock};
use sediment::types::ChunkId;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const CONTENT_BYTES: usize = 64 << 20;
const BLOCK_BYTES: usize = 1 << 20;
const SYNCS: u32 = 300;

fn packs(dir: &Path) -> PackSet {
    let files = DiskPackStore::open(Arc::new(RealFileSystem), dir).unwrap();
    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
    PackSet::open(Arc::new(files), clock, random, &PackSettings::default()).unwrap().0
}

fn records(content: &Bytes, record_bytes: usize) -> Vec<NewRecord> {
    let record = |n: usize| {
        let payload = content.slice(n * record_bytes..(n + 1) * record_bytes);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_le_bytes());
        let raw_len = u32::try_from(record_bytes).unwrap();
        NewRecord { id: ChunkId::new(id), kind: RecordKind::Chunk, codec: Codec::Raw, raw_len, payload }
    };
    (0..content.len() / record_bytes).map(record).collect()
}

/// Appends all, as many in one call as make up a block.
fn append(packs: &PackSet, records: &[NewRecord]) -> Vec<Location> {
    let at_once = BLOCK_BYTES / records[0].raw_len as usize;
    records.chunks(at_once).flat_map(|block| packs.append(block).unwrap()).collect()
}

fn appending(content: &Bytes) {
    for record_bytes in [4 << 10, 16 << 10, 64 << 10] {
        let dir = tempfile::tempdir().unwrap();
        let (packs, records) = (packs(dir.path()), records(content, record_bytes));
        let kib = record_bytes >> 10;
        cost(&format!("append, records of {kib} KiB"), content.len(), || drop(append(&packs, &records)));
        cost(&format!("append and sync each 16 MiB, of {kib} KiB"), content.len(), || {
            for step in records.chunks((16 << 20) / record_bytes) {
                append(&packs, step);
                packs.sync().unwrap();
            }
        });
    }
}

/// The time that one waits for a small append to be durable.
fn syncing(content: &Bytes) {
    let dir = tempfile::tempdir().unwrap();
    let (packs, records) = (packs(dir.path()), records(content, 4 << 10));
    let mut waits: Vec<_> = records
        .iter()
        .take(SYNCS as usize)
        .map(|record| {
            packs.append(std::slice::from_ref(record)).unwrap();
            let began = Instant::now();
            packs.sync().unwrap();
            began.elapsed()
        })
        .collect();
    waits.sort_unstable();
    let at = |percent: usize| waits[waits.len() * percent / 100].as_secs_f64() * 1e6;
    println!("sync after 4 KiB: median {:.0} µs, 90 % {:.0} µs, 99 % {:.0} µs", at(50), at(90), at(99));
}

fn reading(content: &Bytes) {
    for record_bytes in [4 << 10, 16 << 10, 64 << 10] {
        let dir = tempfile::tempdir().unwrap();
        let (packs, records) = (packs(dir.path()), records(content, record_bytes));
        let places = append(&packs, &records);
        packs.sync().unwrap();
        let wanted: Vec<_> = records.iter().map(|record| record.id).zip(places).collect();
        let kib = record_bytes >> 10;
        cost(&format!("read 1 MiB in a row, records of {kib} KiB"), content.len(), || {
            for window in wanted.chunks(BLOCK_BYTES / record_bytes) {
                assert!(black_box(packs.read(window)).iter().all(Result::is_ok));
            }
        });
        // Each as far from the one before as may be.
        let stride = wanted.len() / 2 + 1;
        cost(&format!("read one here and there, of {kib} KiB"), content.len(), || {
            for n in 0..wanted.len() {
                let one = std::slice::from_ref(&wanted[n * stride % wanted.len()]);
                assert!(black_box(packs.read(one))[0].is_ok());
            }
        });
    }
}

fn main() {
    let mut content = vec![0; CONTENT_BYTES];
    SeededRandom::new(1).fill(&mut content);
    let content = Bytes::from(content);
    appending(&content);
    syncing(&content);
    reading(&content);
}
