//! The filter beside the tree: whatever happens while it is built, it denies nothing that the tree has.

use super::filter::Bloom;
use super::filters::{Filters, Next};
use super::tests::{World, manifest};
use crate::types::ChunkId;
use std::sync::atomic::{AtomicBool, Ordering};

fn id(n: u32) -> ChunkId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B9).to_le_bytes());
    bytes[8..12].copy_from_slice(&n.to_le_bytes());
    ChunkId::new(bytes)
}

fn begin(filters: &Filters, rows: u64) {
    let Next::Begin(bytes) = filters.next(rows) else { panic!("one is wanted") };
    filters.begin(Bloom::new(bytes));
}

fn extend(filters: &Filters, ids: &[ChunkId]) {
    let Next::Extend(step) = filters.next(0) else { panic!("one is growing") };
    filters.extend(step, ids);
}

/// Builds it, step by step, and says how many steps it took.
fn build(world: &World, ids: usize) -> usize {
    (0..).take_while(|_| world.index.extend_filter_by(ids).unwrap()).count()
}

fn denied(world: &World) -> usize {
    let rows = world.index.0.store.entries_after(None, usize::MAX).unwrap();
    let filters = world.index.0.store.filters.read();
    rows.iter().filter(|(id, _)| !filters.may_have(id)).count()
}

#[test]
fn i3_none_answers_before_all_rows_are_taken_in() {
    let filters = Filters::new(1 << 20);
    assert!(filters.read().may_have(&id(9)), "none is there");
    begin(&filters, 2);
    extend(&filters, &[id(1)]);
    filters.add(&[id(2)]);
    assert!(filters.read().may_have(&id(9)), "it is not whole");
    extend(&filters, &[id(3)]);
    extend(&filters, &[]);
    let state = filters.read();
    assert!([1, 2, 3].iter().all(|n| state.may_have(&id(*n))));
    assert!(!state.may_have(&id(9)));
    assert_eq!(filters.next(3), Next::Nothing);
}

#[test]
fn i3_steps_of_a_filter_that_was_dropped_are_not_taken_for_those_of_the_next() {
    let filters = Filters::new(1 << 20);
    begin(&filters, 2);
    let Next::Extend(stale) = filters.next(0) else { panic!() };
    filters.forget();
    filters.extend(stale, &[]);
    assert!(filters.read().may_have(&id(9)));
    begin(&filters, 2);
    filters.extend(stale, &[]);
    assert!(filters.read().may_have(&id(9)), "an end that was of another tree");
}

#[test]
fn one_that_is_full_is_replaced_by_one_that_is_large_enough() {
    let filters = Filters::new(1 << 30);
    filters.begin_empty();
    assert_eq!(filters.next(10), Next::Nothing);
    let rows = 1_000_000;
    filters.add(&(0..rows).map(id).collect::<Vec<_>>());
    let Next::Begin(bytes) = filters.next(u64::from(rows)) else { panic!("it is full") };
    assert!(bytes >= Bloom::bytes_for(u64::from(rows)) && bytes <= 2 * Bloom::bytes_for(u64::from(rows)));
    assert_eq!(filters.next(900_000), Next::Begin(2 << 20));
    // Most are gone again: one of the same size is emptier.
    assert_eq!(filters.next(1_000), Next::Begin(1 << 20));
}

#[test]
fn i5_it_takes_no_more_memory_than_it_may_and_none_if_there_is_none() {
    let filters = Filters::new(1 << 20);
    assert_eq!(filters.next(u64::MAX), Next::Begin(1 << 20));
    filters.begin_empty();
    filters.add(&(0..1_000_000).map(id).collect::<Vec<_>>());
    assert_eq!(filters.next(1_000_000), Next::Nothing, "a larger one is not allowed");
    let none = Filters::new(0);
    none.begin_empty();
    assert_eq!(none.next(1_000_000), Next::Nothing);
    assert!(none.read().may_have(&id(1)));
}

#[test]
fn i5_a_full_filter_that_may_not_grow_is_not_built_again_whatever_its_size() {
    let filters = Filters::new(1000);
    begin(&filters, 0);
    extend(&filters, &(0..1000).map(id).collect::<Vec<_>>());
    extend(&filters, &[]);
    assert_eq!(filters.next(1000), Next::Nothing);
    let none = Filters::new(63);
    none.begin_empty();
    assert_eq!(none.next(1000), Next::Nothing);
}

#[test]
fn an_index_that_was_opened_builds_its_filter_step_by_step() {
    let world = World::new();
    let chunks: Vec<_> = (0..50u32).map(|n| world.chunk(&n.to_be_bytes())).collect();
    world.log(vec![manifest(chunks.clone())], vec![]);
    assert_eq!(denied(&world), 0);
    world.index.checkpoint().unwrap();
    let world = world.reopen();
    assert!(world.index.0.store.filters.read().may_have(&id(1)), "none yet");
    assert_eq!(build(&world, 7), 1 + 50 / 7 + 2, "to begin, 8 pages, and one that is empty");
    assert!(!world.index.0.store.filters.read().may_have(&id(1)));
    assert_eq!(denied(&world), 0);
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    assert!(world.index.get(&ids).unwrap().iter().all(Option::is_some));
    assert_eq!(world.index.get(&[id(1)]).unwrap(), [None]);
}

#[test]
fn i1_chunks_that_are_added_while_the_filter_is_built_are_found() {
    let world = World::new();
    world.log(vec![manifest((0..99u32).map(|n| world.chunk(&n.to_be_bytes())).collect())], vec![]);
    world.index.checkpoint().unwrap();
    let world = world.reopen();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let builder = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // Over and over, from the beginning.
                world.index.0.store.filters.forget();
                build(&world, 5);
            }
        });
        for n in 100..400u32 {
            let chunk = world.chunk(&n.to_be_bytes());
            world.log(vec![manifest(vec![chunk])], vec![]);
            assert!(world.index.get(&[chunk.id]).unwrap()[0].is_some());
            assert_eq!(denied(&world), 0);
        }
        done.store(true, Ordering::Release);
        builder.join().unwrap();
    });
}

#[test]
fn i3_an_index_opened_anew_after_a_failure_denies_nothing_that_came_back() {
    let world = World::new();
    let kept = world.chunk(b"kept");
    world.log(vec![manifest(vec![kept])], vec![]);
    world.index.checkpoint().unwrap();
    assert!(build(&world, 10) == 0);
    world.index.fail("no space");
    world.index.heal().unwrap();
    assert!(world.index.0.store.filters.read().may_have(&id(1)), "what is there now was not looked at yet");
    build(&world, 10);
    assert_eq!(denied(&world), 0);
    assert!(!world.index.0.store.filters.read().may_have(&id(1)));
}
