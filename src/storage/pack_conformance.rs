//! What every [`PackStore`] must do, as checks that panic with what went wrong. Run them against an empty store.

#![expect(clippy::unwrap_used, reason = "a test suite: its verdict is a panic")]

use super::{PackFile, PackId, PackStore};
use std::io::{ErrorKind, IoSlice};

const BLOCK_BYTES: u64 = 4096;

/// Runs every check. The store must be empty; it is empty again at the end.
///
/// # Panics
/// When the store breaks its contract.
pub fn run(store: &dyn PackStore) {
    assert_eq!(store.list().unwrap(), [], "the suite needs an empty store");
    names(store);
    bytes(store);
    slices(store);
    truncation(store);
    holes(store);
    gone(store);
    threads(store);
    assert_eq!(store.list().unwrap(), []);
}

/// Bytes without a period of a block, so that a mixed-up offset shows.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| ((i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn find(store: &dyn PackStore, id: PackId) -> PackFile {
    store.list().unwrap().into_iter().find(|pack| pack.id == id).unwrap()
}

fn names(store: &dyn PackStore) {
    let ids = [0, 1, u64::MAX, 0x1234_5678_9ABC_DEF0].map(PackId::new);
    for id in ids {
        store.create(id).unwrap();
    }
    assert_eq!(store.create(ids[1]).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let mut listed: Vec<_> = store.list().unwrap().into_iter().map(|pack| (pack.id, pack.len)).collect();
    listed.sort_unstable();
    assert_eq!(listed, [(ids[0], 0), (ids[1], 0), (ids[3], 0), (ids[2], 0)]);
    for id in ids {
        store.remove(id).unwrap();
        store.remove(id).unwrap();
    }
}

fn bytes(store: &dyn PackStore) {
    let (one, two) = (PackId::new(1), PackId::new(2));
    let (a, b) = (pattern(1, 100_000), pattern(2, 5_000));
    store.create(one).unwrap();
    store.create(two).unwrap();
    store.write_at(one, 0, &a).unwrap();
    store.write_at(two, 0, &b).unwrap();
    store.write_at(one, a.len() as u64, &b).unwrap();
    store.sync(one).unwrap();
    store.sync(two).unwrap();
    assert_eq!(store.read_at(one, 0, a.len()).unwrap(), a);
    assert_eq!(store.read_at(one, 12_345, 54_321).unwrap(), a[12_345..12_345 + 54_321]);
    assert_eq!(store.read_at(one, a.len() as u64, b.len()).unwrap(), b);
    assert_eq!(store.read_once(one, 12_345, 54_321).unwrap(), a[12_345..12_345 + 54_321]);
    assert_eq!(store.read_once(two, 5_000, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(store.read_once(PackId::new(3), 0, 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.read_at(two, 4_999, 1).unwrap(), b[4_999..]);
    assert_eq!(store.read_at(two, 5_000, 0).unwrap(), b""[..]);
    assert_eq!(find(store, one).len, 105_000);

    store.write_at(one, 4_000, &b[..200]).unwrap();
    let expected = [&a[..4_000], &b[..200], &a[4_200..8_000]].concat();
    assert_eq!(store.read_at(one, 0, 8_000).unwrap(), expected, "an overwrite changes its range alone");

    for (offset, len) in [(0, 5_001), (4_999, 2), (5_000, 1), (1 << 40, 1)] {
        let error = store.read_at(two, offset, len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{len} bytes at {offset} of 5000");
    }
    store.write_at(two, 10_000, b"far").unwrap();
    assert_eq!(store.read_at(two, 4_999, 5_001).unwrap()[1..], [0; 5_000], "a gap reads as zeros");
    store.remove(one).unwrap();
    store.remove(two).unwrap();
}

fn slices(store: &dyn PackStore) {
    let id = PackId::new(1);
    let content = pattern(3, 300_000);
    store.create(id).unwrap();
    store.write_vectored_at(id, 0, &mut []).unwrap();
    store.write_vectored_at(id, 0, &mut [IoSlice::new(b""), IoSlice::new(b"")]).unwrap();
    assert_eq!(find(store, id).len, 0);
    // More than a kernel takes at once, of all lengths, none among them.
    let mut left = &content[..];
    let mut slices = Vec::new();
    while !left.is_empty() {
        let (slice, rest) = left.split_at((slices.len() % 200).min(left.len()));
        slices.push(IoSlice::new(slice));
        left = rest;
    }
    assert!(slices.len() > 2048);
    store.write_vectored_at(id, 777, &mut slices).unwrap();
    store.sync(id).unwrap();
    assert_eq!(store.read_at(id, 777, content.len()).unwrap(), content);
    assert_eq!(find(store, id).len, 777 + content.len() as u64);
    store
        .write_vectored_at(id, 0, &mut [IoSlice::new(b"front"), IoSlice::new(&[]), IoSlice::new(b"s")])
        .unwrap();
    assert_eq!(store.read_at(id, 0, 6).unwrap(), b"fronts"[..]);
    assert_eq!(store.read_at(id, 777, content.len()).unwrap(), content, "what stands behind was changed");
    store.remove(id).unwrap();
}

fn truncation(store: &dyn PackStore) {
    let id = PackId::new(3);
    let data = pattern(3, 20_000);
    store.create(id).unwrap();
    store.write_at(id, 0, &data).unwrap();
    store.truncate(id, 9_000).unwrap();
    assert_eq!(find(store, id).len, 9_000);
    assert_eq!(store.read_at(id, 0, 9_000).unwrap(), data[..9_000]);
    assert_eq!(store.read_at(id, 8_999, 2).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    store.write_at(id, 15_000, b"again").unwrap();
    assert_eq!(store.read_at(id, 9_000, 6_000).unwrap(), [0; 6_000][..], "cut bytes do not come back");
    store.truncate(id, 0).unwrap();
    assert_eq!(find(store, id).len, 0);
    store.sync(id).unwrap();
    store.remove(id).unwrap();
}

fn holes(store: &dyn PackStore) {
    let id = PackId::new(4);
    let data = pattern(4, 64 * BLOCK_BYTES as usize);
    store.create(id).unwrap();
    store.write_at(id, 0, &data).unwrap();
    store.sync(id).unwrap();
    let before = find(store, id);
    let (start, end) = (BLOCK_BYTES + 100, 40 * BLOCK_BYTES + 7);
    let punched = store.punch(id, start, end - start).unwrap();
    store.sync(id).unwrap();
    let after = find(store, id);
    assert_eq!(after.len, before.len);
    let (start, end) = (start as usize, end as usize);
    assert_eq!(store.read_at(id, 0, start).unwrap(), data[..start]);
    assert_eq!(store.read_at(id, end as u64, data.len() - end).unwrap(), data[end..]);
    let inside = store.read_at(id, start as u64, end - start).unwrap();
    if punched {
        assert!(inside.iter().all(|byte| *byte == 0));
        assert!(after.allocated + 38 * BLOCK_BYTES <= before.allocated, "{before:?} {after:?}");
    } else {
        assert_eq!(inside, data[start..end]);
    }
    assert!(store.punch(id, 0, 0).is_ok(), "an empty range is no error");
    assert_eq!(store.read_at(id, 0, start).unwrap(), data[..start]);
    store.remove(id).unwrap();
}

fn gone(store: &dyn PackStore) {
    let id = PackId::new(5);
    let not_found = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    for removed in [false, true] {
        if removed {
            store.create(id).unwrap();
            store.write_at(id, 0, b"bytes").unwrap();
            store.read_at(id, 0, 5).unwrap();
            store.remove(id).unwrap();
        }
        not_found(store.read_at(id, 0, 1).map(drop));
        not_found(store.write_at(id, 0, b"x"));
        not_found(store.sync(id));
        not_found(store.truncate(id, 0));
        not_found(store.punch(id, 0, 1).map(drop));
        assert_eq!(store.list().unwrap(), []);
    }
}

/// Appends and reads from several threads meet in one pack and lose nothing.
fn threads(store: &dyn PackStore) {
    const WRITERS: u64 = 4;
    const RECORD: usize = 1_000;
    const RECORDS: u64 = 50;
    let id = PackId::new(6);
    store.create(id).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for record in 0..RECORDS {
                    let seed = writer * RECORDS + record;
                    let data = pattern(seed, RECORD);
                    store.write_at(id, seed * RECORD as u64, &data).unwrap();
                    assert_eq!(store.read_at(id, seed * RECORD as u64, RECORD).unwrap(), data);
                    if record % 10 == 0 {
                        store.sync(id).unwrap();
                    }
                }
            });
        }
    });
    for seed in 0..WRITERS * RECORDS {
        assert_eq!(store.read_at(id, seed * RECORD as u64, RECORD).unwrap(), pattern(seed, RECORD));
    }
    store.remove(id).unwrap();
}
