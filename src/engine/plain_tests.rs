#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{BLOCK_BYTES, PlainStore};
use crate::engine::EngineError;
use crate::sys::{Random, RealFileSystem, SeededRandom};
use crate::types::PlainId;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn store(dir: &Path) -> PlainStore {
    PlainStore::open(Arc::new(RealFileSystem), &dir.join("plain")).unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(len as u64).fill(&mut bytes);
    bytes
}

fn put(store: &PlainStore, random: &SeededRandom, body: &[u8], piece: usize) -> PlainId {
    let mut writer = store.create(random).unwrap();
    for bytes in body.chunks(piece.max(1)) {
        writer.write(bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn file_of(dir: &Path, id: PlainId) -> PathBuf {
    let name = id.to_string();
    dir.join("plain").join(&name[..2]).join(name)
}

fn temporaries(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("plain/.tmp")).unwrap().count()
}

#[test]
fn i1_bodies_of_all_sizes_read_back_in_ranges_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let random = SeededRandom::new(1);
    let sizes = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, (5 << 20) + 17];
    let first = store(dir.path());
    let bodies: Vec<_> = sizes.map(|n| (put(&first, &random, &noise(n), 100_000), noise(n))).into();
    drop(first);
    let store = store(dir.path());
    for (id, body) in &bodies {
        let reader = store.reader(*id).unwrap();
        assert_eq!(reader.size(), body.len() as u64);
        assert_eq!(reader.read_at(0..reader.size()).unwrap(), body);
        assert!(matches!(reader.read_at(0..reader.size() + 1), Err(EngineError::Range)));
    }
    let mut ids: Vec<_> = bodies.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert_eq!(store.list().unwrap(), ids);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_range_is_that_of_the_body(
        len in 1..4 * BLOCK_BYTES,
        piece in 1..100_000usize,
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let body = noise(len);
        let id = put(&store, &SeededRandom::new(7), &body, piece);
        let (a, b) = (cuts.0.index(len + 1), cuts.1.index(len + 1));
        let range = a.min(b)..a.max(b);
        let read = store.reader(id).unwrap().read_at(range.start as u64..range.end as u64).unwrap();
        prop_assert_eq!(&read[..], &body[range]);
    }

    #[test]
    fn i4_a_changed_byte_is_never_served(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let body = noise(2 * BLOCK_BYTES + 99);
        let id = put(&store, &SeededRandom::new(7), &body, 1 << 20);
        let path = file_of(dir.path(), id);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(&path, bytes).unwrap();
        let read = store.reader(id).and_then(|reader| reader.read_at(0..body.len() as u64));
        prop_assert!(matches!(read, Err(EngineError::CorruptPlain { .. })), "byte {} passed", at);
    }
}

#[test]
fn i4_swapped_blocks_and_swapped_bodies_are_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let random = SeededRandom::new(3);
    let (one, two) = (noise(2 * BLOCK_BYTES), vec![5; 2 * BLOCK_BYTES]);
    let (first, second) = (put(&store, &random, &one, 1 << 20), put(&store, &random, &two, 1 << 20));
    let mut bytes = std::fs::read(file_of(dir.path(), first)).unwrap();
    let stride = BLOCK_BYTES + 4;
    let head = bytes[..stride].to_vec();
    bytes.copy_within(stride..2 * stride, 0);
    bytes[stride..2 * stride].copy_from_slice(&head);
    std::fs::write(file_of(dir.path(), first), &bytes).unwrap();
    let read = store.reader(first).unwrap().read_at(0..10);
    assert!(matches!(read, Err(EngineError::CorruptPlain { .. })));
    std::fs::copy(file_of(dir.path(), second), file_of(dir.path(), first)).unwrap();
    assert!(matches!(store.reader(first), Err(EngineError::CorruptPlain { .. })));
}

#[test]
fn i4_a_cut_file_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let id = put(&store, &SeededRandom::new(3), &noise(100_000), 1 << 20);
    let bytes = std::fs::read(file_of(dir.path(), id)).unwrap();
    for len in [0, 39, 40, 70_000, bytes.len() - 1] {
        std::fs::write(file_of(dir.path(), id), &bytes[..len]).unwrap();
        assert!(matches!(store.reader(id), Err(EngineError::CorruptPlain { .. })), "cut to {len}");
    }
}

#[test]
fn i2_an_unfinished_body_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let random = SeededRandom::new(3);
    let first = store(dir.path());
    let mut writer = first.create(&random).unwrap();
    writer.write(&noise(3 << 20)).unwrap();
    drop(writer);
    assert_eq!(temporaries(dir.path()), 0, "a dropped writer left its file");
    let mut killed = first.create(&random).unwrap();
    killed.write(&noise(3 << 20)).unwrap();
    std::mem::forget(killed);
    assert_eq!(temporaries(dir.path()), 1);
    assert_eq!(store(dir.path()).list().unwrap(), []);
    assert_eq!(temporaries(dir.path()), 0, "opening did not clear away a leftover");
}

#[test]
fn a_removed_body_is_missing_and_an_open_reader_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let body = noise(200_000);
    let id = put(&store, &SeededRandom::new(3), &body, 1 << 20);
    let reader = store.reader(id).unwrap();
    store.remove(id).unwrap();
    store.remove(id).unwrap();
    assert!(matches!(store.reader(id), Err(EngineError::MissingPlain(missing)) if missing == id));
    assert_eq!(store.list().unwrap(), []);
    assert_eq!(reader.read_at(0..200_000).unwrap(), body);
}

/// Byte for byte as `docs/format.md` has it: a change here makes stored bodies unreadable.
#[test]
fn i1_a_body_is_written_as_documented() {
    #[derive(Debug)]
    struct Counting;
    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
        }
    }
    const GOLDEN: &str = "\
        706c61696e20626f647978afbee3534544504c41494e01000000000102030405060708090a0b0c0d0e0f0a000000\
        000000007819a4cc";
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut writer = store.create(&Counting).unwrap();
    writer.write(b"plain body").unwrap();
    let id = writer.finish().unwrap();
    let file = dir.path().join("plain/00/000102030405060708090a0b0c0d0e0f");
    assert_eq!(hex::encode(std::fs::read(&file).unwrap()), GOLDEN);
    std::fs::write(&file, hex::decode(GOLDEN).unwrap()).unwrap();
    assert_eq!(store.reader(id).unwrap().read_at(0..10).unwrap(), &b"plain body"[..]);
}
