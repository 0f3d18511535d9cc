//! Power cuts between and within all calls that change the disk.

use super::FileStorage;
use crate::storage::StorageLayer;
use crate::sys::{ManualClock, SeededRandom, SimulatedFileSystem};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

const SEEDS: u64 = 25;
/// Of several directories, none of which is there.
const BASE: &str = "some/where/data";

#[derive(Debug, Clone, Copy)]
enum Op {
    Put(&'static [u8], &'static [u8]),
    Delete(&'static [u8]),
}

impl Op {
    async fn run(self, storage: &FileStorage) -> bool {
        match self {
            Self::Put(key, value) => storage.put(key, value).await.is_ok(),
            Self::Delete(key) => storage.delete(key).await.is_ok(),
        }
    }

    const fn key(self) -> &'static [u8] {
        let (Self::Put(key, _) | Self::Delete(key)) = self;
        key
    }

    fn value(self) -> Option<Bytes> {
        match self {
            Self::Put(_, value) => Some(Bytes::from_static(value)),
            Self::Delete(_) => None,
        }
    }
}

async fn open(fs: &SimulatedFileSystem, seed: u64) -> Option<FileStorage> {
    let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(seed)));
    FileStorage::with(Arc::new(fs.clone()), clock, random, Path::new(BASE)).await.ok()
}

/// Runs the operation with a cut after so many calls; says whether it was cut.
async fn cut(op: Op, calls: u64, seed: u64) -> bool {
    let fs = SimulatedFileSystem::new(seed);
    let storage = open(&fs, seed).await.unwrap();
    let long = vec![b'k'; 500];
    let others = [&b"kez"[..], b"other", b"", &long];
    for key in others.into_iter().chain([&b"key"[..]]) {
        storage.put(key, b"old").await.unwrap();
    }
    let before = storage.get(op.key()).await.unwrap();
    fs.cut_after(calls);
    let acknowledged = op.run(&storage).await;
    let was_cut = fs.is_cut();
    assert!(acknowledged || was_cut, "{op:?} failed by itself");
    fs.crash();
    let storage = open(&fs, seed + 1).await.unwrap();
    let after = storage.get(op.key()).await.unwrap();
    let context = format!("{op:?} cut after {calls} calls, seed {seed}");
    assert!(after == op.value() || (!acknowledged && after == before), "{after:?}: {context}");
    for key in others {
        assert_eq!(storage.get(key).await.unwrap().as_deref(), Some(&b"old"[..]), "{key:?}: {context}");
    }
    // What was cut off stands in nobody's way, and what is seen now stays.
    assert!(op.run(&storage).await, "{context}");
    fs.crash();
    let storage = open(&fs, seed + 2).await.unwrap();
    assert_eq!(storage.get(op.key()).await.unwrap(), op.value(), "{context}");
    was_cut
}

async fn cut_everywhere(op: Op) {
    for seed in 0..SEEDS {
        let mut calls = 1;
        while cut(op, calls, seed).await {
            calls += 1;
            assert!(calls < 100);
        }
        assert!(calls > 1);
    }
}

#[tokio::test]
async fn i1_i2_a_put_cut_anywhere_leaves_the_old_value_or_the_new_one() {
    cut_everywhere(Op::Put(b"key", b"a new and longer value")).await;
    cut_everywhere(Op::Put(b"a key in directories that are not there yet", b"new")).await;
}

#[tokio::test]
async fn i1_i2_a_delete_cut_anywhere_leaves_the_value_or_nothing() {
    cut_everywhere(Op::Delete(b"key")).await;
}

#[tokio::test]
async fn i1_what_a_first_start_cut_anywhere_left_is_no_obstacle() {
    for seed in 0..SEEDS {
        for calls in 1.. {
            let fs = SimulatedFileSystem::new(seed);
            fs.cut_after(calls);
            let opened = open(&fs, seed).await;
            fs.crash();
            let storage = open(&fs, seed + 1).await.unwrap();
            storage.put(b"key", b"value").await.unwrap();
            fs.crash();
            let storage = open(&fs, seed + 2).await.unwrap();
            assert_eq!(storage.get(b"key").await.unwrap().as_deref(), Some(&b"value"[..]));
            if opened.is_some() {
                break;
            }
        }
    }
}
