use super::{MIB, MOST_READS, Placed, Rewrite};
use crate::engine::EngineSettings;
use crate::engine::codec::decode_node;
use crate::engine::ingest::testing::{TestStore, noise};
use crate::engine::pack::{Location, PackSet, PackSettings, read_together};
use crate::meta::NewBody;
use crate::storage::PackId;
use crate::sys::{ManualClock, Random, SeededRandom};
use crate::types::{ChunkId, Entry, EntryKind, UnixMillis};
use bytes::Bytes;
use std::sync::Arc;

const BODY_BYTES: usize = 12 << 20;
const EDIT_BYTES: usize = 16 << 10;
const PERCENT: u32 = 5;

fn store(rewrite_percent: u32) -> TestStore {
    TestStore::new(EngineSettings { rewrite_percent, ..EngineSettings::default() })
}

/// The next day's file: one percent is other, at random places.
fn edited(body: &Bytes, day: u64) -> Bytes {
    let (mut body, random) = (body.to_vec(), SeededRandom::new(day));
    for _ in 0..BODY_BYTES / 100 / EDIT_BYTES {
        let at = usize::try_from(random.u64() % (BODY_BYTES - EDIT_BYTES) as u64).unwrap();
        random.fill(&mut body[at..at + EDIT_BYTES]);
    }
    body.into()
}

/// A body's chunks in order: where they are, and how long.
fn chunks(store: &TestStore, entries: &[Entry]) -> Vec<(Location, u64)> {
    let below = |entry: &Entry| {
        let (_, at) = store.catalog.get(entry.id).unwrap();
        match entry.kind {
            EntryKind::Chunk => vec![(at, entry.len)],
            EntryKind::Node => {
                let node = store.packs.read(&[(entry.id, at)]).remove(0).unwrap();
                chunks(store, decode_node(&node).unwrap().entries())
            }
        }
    };
    entries.iter().flat_map(below).collect()
}

/// Reads for each MiB, in windows as a reader takes them.
fn reads(store: &TestStore, body: &NewBody) -> f64 {
    let NewBody::Manifest(root) = body else { panic!("not chunked") };
    let (mut reads, mut bytes, mut window) = (0, 0, Vec::new());
    for (at, len) in chunks(store, root.entries()) {
        if bytes + len > MIB {
            reads += read_together(&window).len();
            (bytes, window) = (0, Vec::new());
        }
        bytes += len;
        window.push(at);
    }
    reads += read_together(&window).len();
    reads as f64 / (root.size() / MIB) as f64
}

/// The last of so many generations, between which others store something too.
async fn generations(store: &TestStore, days: u64) -> (Bytes, NewBody) {
    let mut body = noise(BODY_BYTES, 99);
    let mut staged = store.put(&body).await;
    for day in 1..days {
        drop(store.put(&noise(1 << 20, 1000 + day)).await);
        body = edited(&body, day);
        staged = store.put(&body).await;
    }
    (body, staged.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tenth_generation_is_read_from_few_places_for_a_bounded_price() {
    let (left, guarded) = (store(0), store(PERCENT));
    let (_, body) = generations(&left, 10).await;
    let scattered = reads(&left, &body);
    let (bytes, body) = generations(&guarded, 10).await;
    let ordered = reads(&guarded, &body);
    assert!(scattered > MOST_READS as f64 + 2.0, "{scattered} reads without: this shows nothing");
    // A reader's windows lie across the blocks that were counted.
    assert!(ordered < MOST_READS as f64 + 1.5, "{ordered} reads for each MiB, {scattered} without");
    assert!(guarded.get(&body) == bytes);
    let more = guarded.pack_bytes() - left.pack_bytes();
    let most = 9 * BODY_BYTES as u64 * u64::from(PERCENT) / 100;
    assert!(more <= most, "{more} bytes stored again, {most} at most");
    assert!(guarded.ingest.stages.snapshot().rewritten_bytes <= most);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_in_order_costs_nothing_when_it_comes_again() {
    let store = store(PERCENT);
    let first = noise(BODY_BYTES, 99);
    drop(store.put(&first).await);
    let stored = store.pack_bytes();
    drop(store.put(&first).await);
    assert_eq!(store.pack_bytes(), stored);
    let (last, _) = generations(&store, 10).await;
    for _ in 0..3 {
        // The share may have been spent before all was in order.
        drop(store.put(&last).await);
    }
    let stored = store.pack_bytes();
    drop(store.put(&last).await);
    assert_eq!(store.pack_bytes(), stored);
}

/// Nothing syncs the packs here but what tells the catalogue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_the_index_is_told_of_a_new_place_only_when_its_record_is_durable() {
    let store = store(PERCENT);
    generations(&store, 10).await;
    let moved = store.catalog.moved.lock().clone();
    assert!(!moved.is_empty(), "nothing was stored again");
    let left = Arc::new(store.files.after_power_cut());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1)));
    let (packs, _) =
        PackSet::open(left, clock, Arc::new(SeededRandom::new(1)), &PackSettings::default()).unwrap();
    for moved in moved {
        assert!(packs.is_valid(&moved.to), "{moved:?} did not survive");
        packs.read(&[(moved.id, moved.to)]).remove(0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_body_is_whole_though_the_index_takes_no_new_place() {
    let store = store(PERCENT);
    *store.catalog.refuses_moves.lock() = true;
    let (bytes, body) = generations(&store, 10).await;
    assert!(store.ingest.stages.snapshot().rewritten_bytes > 0);
    assert!(store.catalog.moved.lock().is_empty());
    assert!(store.get(&body) == bytes);
}

fn place(pack: u64, offset: u32, bytes: u64) -> Location {
    let len = u32::try_from(bytes).unwrap();
    Location { pack: PackId::new(pack), offset, stored_len: len, raw_len: len }
}

fn placed(id: u8, bytes: u64, at: Option<Location>) -> Placed {
    Placed { id: ChunkId::new([id; 32]), bytes, at }
}

/// A large piece, and so many of 1,000 bytes that are nowhere near it or each other.
fn scattered(pieces: u8) -> Vec<Placed> {
    let large = placed(0, 1 << 20, Some(place(1, 0, 1 << 20)));
    let small = (1..=pieces).map(|n| placed(n, 1000, Some(place(u64::from(n) + 1, 0, 1000))));
    [large].into_iter().chain(small).collect()
}

#[test]
fn the_smallest_pieces_are_stored_again_as_far_as_the_share_goes() {
    let mut rewrite = Rewrite::new(100);
    assert_eq!(rewrite.choose(&scattered(2)), [false; 3], "three reads are few enough");
    let again = Rewrite::new(100).choose(&scattered(5));
    assert_eq!(again.iter().filter(|again| **again).count(), 4, "and are read at once: three reads");
    assert!(!again[0], "the largest stays");
    assert_eq!(Rewrite::new(0).choose(&scattered(5)), [false; 6]);
    let mut poor = Rewrite::new(1);
    poor.credit = 0;
    let again: Vec<_> =
        scattered(5).iter().map(|chunk| Placed { bytes: chunk.bytes * 100, ..*chunk }).collect();
    let spent: u64 = again.iter().zip(poor.choose(&again)).filter(|(_, a)| *a).map(|(c, _)| c.bytes).sum();
    assert!(spent <= again.iter().map(|chunk| chunk.bytes).sum::<u64>() / 100, "{spent}");
}

#[test]
fn what_a_body_repeats_is_stored_again_once() {
    let mut rewrite = Rewrite::new(100);
    let chunks = scattered(5);
    let again = rewrite.choose(&chunks);
    for (chunk, _) in chunks.iter().zip(&again).filter(|(_, again)| **again) {
        rewrite.appended(chunk.id, chunk.at, place(100, u32::from(chunk.id.as_bytes()[0]) * 2000, 1000));
    }
    let twice = rewrite.choose(&chunks);
    assert!(again.iter().zip(&twice).all(|(once, twice)| !(*once && *twice)), "{again:?} {twice:?}");
    let moves = rewrite.take_moves(true);
    assert_eq!(moves.len(), 4);
    let now = |chunk: &Placed| {
        let moved = moves.iter().find(|moved| moved.id == chunk.id);
        Placed { at: moved.map(|moved| moved.to).or(chunk.at), ..*chunk }
    };
    let apart: Vec<_> = chunks.iter().map(now).collect();
    let thrice = rewrite.choose(&apart);
    assert!(again.iter().zip(&thrice).all(|(once, thrice)| !(*once && *thrice)), "{again:?} {thrice:?}");
}
