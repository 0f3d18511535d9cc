//! What crashes, lost packs and other versions leave behind.

use super::tests::{World, manifest, packs_of};
use super::{ChunkIndex, IndexSettings};
use crate::engine::EngineError;
use crate::engine::pack::RecordKind;
use crate::meta::{Change, LogRecord, ManifestRow};
use crate::storage::PackStore;
use crate::types::{BucketId, CommitSeq, UnixMillis};
use std::path::Path;

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn record(seq: u64, added: Vec<ManifestRow>, dropped: Vec<ManifestRow>) -> LogRecord {
    let change = Change::BucketDeleted { bucket: BucketId::new(1) };
    LogRecord { seq: CommitSeq::new(seq), at: UnixMillis::new(0), change, added, dropped }
}

#[test]
fn i3_an_insert_of_what_is_there_protects_it_as_a_hit_does() {
    let world = World::new();
    let id = world.chunk(b"chunk").id;
    world.log(vec![], vec![]);
    let writer = world.index.hold();
    let (_, again) = world.append(RecordKind::Chunk, b"chunk");
    world.index.insert(&writer, &[(id, RecordKind::Chunk, again)]).unwrap();
    assert_eq!(world.collect(), []);
    drop(writer);
    assert_eq!(world.collect(), [id]);
}

#[test]
fn i3_a_commit_between_mark_and_collection_keeps_its_chunks() {
    let world = World::new();
    let chunk = world.chunk(b"chunk");
    let mark = world.log(vec![], vec![]);
    world.log(vec![manifest(vec![chunk])], vec![]);
    assert_eq!(world.index.collect(&[chunk.id], mark.next().next()).unwrap(), []);
    assert_eq!(world.references(&chunk.id), 1);
}

#[test]
fn i3_a_writer_that_began_before_the_mark_keeps_what_is_dropped_under_it() {
    let world = World::new();
    let chunk = world.chunk(b"chunk");
    let row = manifest(vec![chunk]);
    world.log(vec![row.clone()], vec![]);
    let writer = world.index.hold();
    assert!(world.index.hit(&writer, &[chunk.id]).unwrap()[0].is_some());
    world.log(vec![], vec![row]);
    assert_eq!(world.collect(), []);
    drop(writer);
    assert_eq!(world.collect(), [chunk.id]);
}

#[test]
fn only_what_is_older_than_the_bound_is_collected() {
    let world = World::new();
    let old = world.chunk(b"old").id;
    let bound = world.log(vec![], vec![]);
    let young = world.chunk(b"young").id;
    let found = world.index.candidates(bound, None, 10).unwrap();
    assert_eq!(found.iter().map(|c| c.1).collect::<Vec<_>>(), [old]);
    let gone = world.index.collect(&[old, young], bound).unwrap();
    assert_eq!(gone.iter().map(|c| c.0).collect::<Vec<_>>(), [old]);
    assert!(world.index.get(&[young]).unwrap()[0].is_some());
}

#[test]
fn i3_a_chunk_whose_pack_was_lost_is_absent_and_keeps_its_references_for_its_return() {
    let world = World::new();
    let (used, unused) = (world.chunk(b"used"), world.chunk(b"unused"));
    world.log(vec![manifest(vec![used, used])], vec![]);
    world.packs.seal().unwrap();
    for pack in world.packs.ids() {
        world.store.remove(pack).unwrap();
    }
    let world = world.reopen();
    assert_eq!(world.index.get(&[used.id, unused.id]).unwrap(), [None, None]);
    assert!(world.index.pack_usage().unwrap().is_empty());
    let hold = world.index.hold();
    assert_eq!(world.index.hit(&hold, &[used.id]).unwrap(), [None]);
    assert_eq!(world.chunk(b"used").id, used.id);
    assert!(world.index.get(&[used.id]).unwrap()[0].is_some());
    assert_eq!(world.references(&used.id), 2);
    drop(hold);
    assert_eq!(world.collect(), [], "nothing in a pack is to be given back for the other one");
    assert_eq!(world.index.counts().unwrap().unreferenced, 0);
}

#[test]
fn i3_after_power_loss_the_log_is_replayed_onto_the_last_checkpoint() {
    let world = World::new();
    let (a, b) = (world.chunk(b"a"), world.chunk(b"b"));
    let node = world.node(vec![a, b, a]);
    let (one, two) = (manifest(vec![node]), manifest(vec![node, b]));
    world.log(vec![one.clone()], vec![]);
    let through = world.index.checkpoint().unwrap();
    let saved = world.dir.path().join("saved");
    copy(&world.dir.path().join("index"), &saved);
    let late = world.chunk(b"late");
    let rest = [
        record(2, vec![two.clone()], vec![one]),
        record(3, vec![manifest(vec![late])], vec![]),
        record(4, vec![], vec![two]),
    ];
    world.index.apply(&rest).unwrap();
    let before = world.index.entries(None, 100).unwrap();
    let packs = packs_of(&world.store);
    let fallen = ChunkIndex::open(&saved, packs, &IndexSettings::default()).unwrap();
    assert_eq!((fallen.applied(), through), (CommitSeq::new(1), CommitSeq::new(1)));
    fallen.apply(&rest).unwrap();
    let shape = |entries: Vec<(_, super::IndexEntry)>| -> Vec<_> {
        entries.into_iter().map(|(id, e)| (id, e.references, e.location)).collect()
    };
    assert_eq!(shape(fallen.entries(None, 100).unwrap()), shape(before));
}

#[test]
fn i3_a_body_of_many_batches_is_counted_whole_across_a_reopen() {
    let world = World::new();
    let chunks: Vec<_> = (0..6000u32).map(|n| world.chunk(&n.to_be_bytes())).collect();
    let nodes: Vec<_> = chunks.chunks(1000).map(|some| world.node(some.to_vec())).collect();
    let row = manifest(vec![world.node(nodes)]);
    world.log(vec![row.clone()], vec![]);
    let world = world.reopen();
    assert_eq!(world.index.counts().unwrap().unreferenced, 0);
    world.log(vec![], vec![row]);
    let counts = world.index.counts().unwrap();
    assert_eq!((counts.unreferenced, counts.chunks, counts.nodes), (6007, 6000, 7));
}

#[test]
fn an_index_begun_anew_says_so_until_it_has_counted_something() {
    let world = World::new();
    world.chunk(b"chunk");
    let world = world.reopen();
    assert!(world.index.is_new(), "a stop before the first record must not hide that it was begun anew");
    world.log(vec![], vec![]);
    assert!(!world.reopen().index.is_new());
}

#[test]
fn an_index_of_a_newer_version_is_refused_and_left_alone() {
    let World { dir, store, packs, index } = World::new();
    drop((index, packs));
    let path = dir.path().join("index");
    {
        let db = fjall::Database::builder(&path).open().unwrap();
        let meta = db.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("format", (super::store::FORMAT + 1).to_le_bytes()).unwrap();
    }
    for _ in 0..2 {
        let refused = ChunkIndex::open(&path, packs_of(&store), &IndexSettings::default());
        assert!(matches!(refused, Err(EngineError::Incompatible(_))), "{refused:?}");
    }
    assert!(!dir.path().join("index.unusable").exists());
}
