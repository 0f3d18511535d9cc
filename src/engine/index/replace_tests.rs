use super::super::tests::{World, manifest};
use crate::engine::index::Progress;
use crate::engine::pack::{Location, RecordKind};
use crate::types::ChunkId;

/// A chunk that is there, and a second record of it that is durable.
fn twice(world: &World, raw: &[u8]) -> (ChunkId, Location, Location) {
    let (id, to) = world.append(RecordKind::Chunk, raw);
    world.packs.sync().unwrap();
    (id, world.index.get(&[id]).unwrap()[0].unwrap(), to)
}

#[test]
fn i3_a_chunk_stored_again_keeps_its_references_and_the_sums_follow() {
    let world = World::new();
    let (a, b) = (world.chunk(b"a"), world.chunk(b"b"));
    world.log(vec![manifest(vec![a, a, b])], vec![]);
    world.packs.seal().unwrap();
    let counts = world.index.counts().unwrap();
    let hold = world.index.hold();
    let moved = twice(&world, b"a");
    world.index.replace(&hold, &[moved]).unwrap();
    assert_eq!(world.index.get(&[a.id]).unwrap(), [Some(moved.2)]);
    assert_eq!([a, b].map(|entry| world.references(&entry.id)), [2, 1]);
    assert_eq!(world.index.counts().unwrap(), counts);
    let usage: Vec<_> = world.index.pack_usage().unwrap().iter().map(|usage| usage.live_records).collect();
    assert_eq!(usage, [1, 1]);
}

#[test]
fn i3_whoever_moves_a_chunk_first_has_moved_it() {
    let world = World::new();
    let id = world.chunk(b"chunk").id;
    let (one, other) = (world.index.hold(), world.index.hold());
    let (first, second) = (twice(&world, b"chunk"), twice(&world, b"chunk"));
    world.index.replace(&one, &[first]).unwrap();
    world.index.replace(&other, &[second]).unwrap();
    assert_eq!(world.index.get(&[id]).unwrap(), [Some(first.2)]);
    // Compaction, which saw it where it was, comes too late as well, and so does a writer behind compaction.
    let (_, compacted) = world.append(RecordKind::Chunk, b"chunk");
    assert_eq!(world.index.relocate(&[(id, first.1, compacted)]).unwrap(), 0);
    assert_eq!(world.index.relocate(&[(id, first.2, compacted)]).unwrap(), 1);
    world.index.replace(&other, &[(id, first.2, second.2)]).unwrap();
    assert_eq!(world.index.get(&[id]).unwrap(), [Some(compacted)]);
}

#[test]
fn i3_a_chunk_whose_last_reference_went_meanwhile_moves_and_is_collected_behind_its_writer() {
    let world = World::new();
    let chunk = world.chunk(b"chunk");
    let row = manifest(vec![chunk]);
    world.log(vec![row.clone()], vec![]);
    let writer = world.index.hold();
    assert!(world.index.hit(&writer, &[chunk.id]).unwrap()[0].is_some());
    let moved = twice(&world, b"chunk");
    world.log(vec![], vec![row]);
    assert_eq!(world.collect(), [], "its writer is at work");
    world.index.replace(&writer, &[moved]).unwrap();
    assert_eq!(world.index.get(&[chunk.id]).unwrap(), [Some(moved.2)]);
    drop(writer);
    assert_eq!(world.collect(), [chunk.id]);
    assert_eq!(world.index.counts().unwrap(), super::super::IndexCounts::default());
}

#[test]
fn i4_a_chunk_condemned_meanwhile_has_the_sound_record() {
    let world = World::new();
    let chunk = world.chunk(b"chunk");
    world.log(vec![manifest(vec![chunk])], vec![]);
    let hold = world.index.hold();
    let moved = twice(&world, b"chunk");
    assert!(world.index.condemn(&chunk.id, moved.1).unwrap());
    assert_eq!(world.index.get(&[chunk.id]).unwrap(), [None]);
    world.index.replace(&hold, &[moved]).unwrap();
    assert_eq!(world.index.get(&[chunk.id]).unwrap(), [Some(moved.2)]);
    assert_eq!(world.references(&chunk.id), 1);
}

#[test]
fn an_index_built_anew_names_the_records_that_were_stored_last() {
    let world = World::new();
    let (a, b) = (world.chunk(b"a"), world.chunk(b"b"));
    let rows = [manifest(vec![a, b])];
    let seq = world.log(rows.to_vec(), vec![]);
    let hold = world.index.hold();
    let in_one_pack = twice(&world, b"a");
    world.packs.seal().unwrap();
    let in_another = twice(&world, b"b");
    world.index.replace(&hold, &[in_one_pack, in_another]).unwrap();
    drop(hold);
    let counts = world.index.counts().unwrap();
    let usage = world.index.pack_usage().unwrap();
    let expected = [Some(in_one_pack.2), Some(in_another.2)];
    world.index.rebuild(&mut rows.clone().into_iter().map(Ok), seq, Progress::SILENT).unwrap();
    assert_eq!(world.index.get(&[a.id, b.id]).unwrap(), expected);
    assert_eq!((world.index.counts().unwrap(), world.index.pack_usage().unwrap()), (counts, usage));
    // And where the index was lost.
    std::fs::remove_dir_all(world.dir.path().join("index")).unwrap();
    let world = world.reopen();
    world.index.rebuild(&mut rows.into_iter().map(Ok), seq, Progress::SILENT).unwrap();
    assert_eq!(world.index.get(&[a.id, b.id]).unwrap(), expected);
    assert_eq!(world.index.counts().unwrap(), counts);
}
