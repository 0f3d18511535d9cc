//! Power cuts between and within all calls that change the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{BLOCK_BYTES, PlainStore};
use crate::engine::EngineError;
use crate::sys::{SeededRandom, SimulatedFileSystem};
use crate::types::PlainId;
use std::path::Path;
use std::sync::Arc;

const SEEDS: u64 = 25;

fn open(fs: &SimulatedFileSystem) -> Result<PlainStore, EngineError> {
    PlainStore::open(Arc::new(fs.clone()), Path::new("some/where/plain"))
}

fn body(seed: u64) -> Vec<u8> {
    (0..BLOCK_BYTES + 1000).map(|at| (at as u64 * (seed + 3) / 7) as u8).collect()
}

fn put(store: &PlainStore, random: u64) -> Result<PlainId, EngineError> {
    let mut writer = store.create(&SeededRandom::new(random))?;
    writer.write(&body(random))?;
    writer.finish()
}

fn get(store: &PlainStore, id: PlainId) -> Result<Vec<u8>, EngineError> {
    let reader = store.reader(id)?;
    Ok(reader.read_at(0..reader.size())?.to_vec())
}

#[test]
fn i1_i2_a_body_cut_anywhere_is_whole_or_absent_and_the_others_stay() {
    for seed in 0..SEEDS {
        for calls in 1..100 {
            let fs = SimulatedFileSystem::new(seed);
            let store = open(&fs).unwrap();
            let other = put(&store, 1000).unwrap();
            fs.cut_after(calls);
            let new = put(&store, seed);
            let was_cut = fs.is_cut();
            fs.crash();
            let store = open(&fs).unwrap();
            assert_eq!(get(&store, other).unwrap(), body(1000));
            for id in store.list().unwrap() {
                let expected = if id == other { body(1000) } else { body(seed) };
                assert!(get(&store, id).unwrap() == expected, "torn after {calls} calls, seed {seed}");
            }
            match new {
                Ok(id) => assert_eq!(get(&store, id).unwrap(), body(seed), "{calls} calls, seed {seed}"),
                Err(error) => assert!(was_cut, "{error}"),
            }
            if !was_cut {
                assert!(calls > 5);
                break;
            }
        }
    }
}

#[test]
fn i1_a_removal_cut_anywhere_removes_its_body_or_not_and_nothing_else() {
    for seed in 0..SEEDS {
        for calls in 1..100 {
            let fs = SimulatedFileSystem::new(seed);
            let store = open(&fs).unwrap();
            let (other, removed) = (put(&store, 1000).unwrap(), put(&store, seed).unwrap());
            fs.cut_after(calls);
            let result = store.remove(removed);
            let was_cut = fs.is_cut();
            fs.crash();
            let store = open(&fs).unwrap();
            assert_eq!(get(&store, other).unwrap(), body(1000));
            match get(&store, removed) {
                Ok(bytes) => assert!(result.is_err() && bytes == body(seed), "it came back"),
                Err(error) => assert!(error.is_missing(), "{error}"),
            }
            if !was_cut {
                break;
            }
        }
    }
}
