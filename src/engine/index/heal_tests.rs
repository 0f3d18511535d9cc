use super::super::tests::{World, manifest};
use super::super::{ChunkIndex, IndexSettings};
use crate::engine::EngineError;
use crate::engine::pack::testing::{Beside, TestPacks};
use crate::engine::pack::{Codec, NewRecord, PackSet, PackSettings, RecordKind};
use crate::storage::PackStore;
use crate::sys::{ManualClock, SeededRandom};
use crate::types::{ChunkId, CommitSeq, UnixMillis};
use bytes::Bytes;
use fjall::AbstractTree;
use std::sync::Arc;

#[test]
fn i3_an_index_opened_anew_knows_all_and_collects_nothing_of_those_at_work() {
    let world = World::new();
    let (a, b) = (world.chunk(b"a"), world.chunk(b"b"));
    let garbage = world.chunk(b"garbage").id;
    world.log(vec![manifest(vec![a, b])], vec![]);
    let writer = world.index.hold();
    assert!(world.index.hit(&writer, &[garbage]).unwrap()[0].is_some());
    let (new, location) = world.append(RecordKind::Chunk, b"new");
    world.index.insert(&writer, &[(new, RecordKind::Chunk, location)]).unwrap();
    let (late, _) = world.append(RecordKind::Chunk, b"appended, not yet added");
    let before = world.index.applied();
    world.index.fail("no space");
    world.index.heal().unwrap();
    assert!(world.index.failure().borrow().is_none());
    assert_eq!(world.index.applied(), before);
    assert!(world.index.get(&[a.id, b.id, garbage, new, late]).unwrap().iter().all(Option::is_some));
    assert_eq!([a, b].map(|e| world.references(&e.id)), [1, 1]);
    assert_eq!(world.index.oldest_hold(), Some(CommitSeq::ZERO));
    let refused = world.index.collect(&[garbage], CommitSeq::MAX);
    assert!(matches!(refused, Err(EngineError::Busy(_))), "{refused:?}");
    drop(writer);
    assert_eq!(world.collect().len(), 3, "everybody from before is gone");
    assert_eq!(world.references(&a.id), 1);
}

/// A pack cannot be read when the index is opened anew: what it knows then is not all, and would pass for all.
#[test]
fn i1_an_index_opened_anew_by_half_answers_nothing_until_it_is_whole() {
    let world = World::new();
    let a = world.chunk(b"a");
    world.log(vec![manifest(vec![a])], vec![]);
    let pack = world.store.list().unwrap()[0];
    let bytes = world.store.read_at(pack.id, 0, usize::try_from(pack.len).unwrap()).unwrap();
    world.store.remove(pack.id).unwrap();
    world.index.fail("no space");
    assert!(matches!(world.index.heal(), Err(EngineError::Io(_))));
    assert!(matches!(world.index.get(&[a.id]), Err(EngineError::Busy(_))), "half of it is not read");
    assert!(world.index.failure().borrow().is_some(), "it is tried again");
    world.store.create(pack.id).unwrap();
    world.store.write_at(pack.id, 0, &bytes).unwrap();
    world.index.heal().unwrap();
    assert!(world.index.get(&[a.id]).unwrap()[0].is_some());
    assert_eq!(world.references(&a.id), 1);
}

/// What is appended behind the scan's end, and seals the pack meanwhile, the scan has not seen.
#[test]
fn i1_a_pack_sealed_while_it_is_scanned_is_scanned_again() {
    let store = Arc::new(TestPacks::default());
    let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
    let random = Arc::new(SeededRandom::new(1));
    let opened = PackSet::open(Arc::<TestPacks>::clone(&store), clock, random, &PackSettings::default());
    let world = World::new();
    let (packs, path) = (opened.unwrap().0, world.dir.path().join("other"));
    let index = ChunkIndex::open(&path, packs.clone(), &IndexSettings::default()).unwrap();
    let world = World { packs, index, ..world };
    let first = world.put(RecordKind::Chunk, b"first");
    let (late, meanwhile) = (ChunkId::new([7; 32]), world.packs.clone());
    *store.beside_read.lock() = Some(Beside(Box::new(move || {
        let payload = Bytes::from_static(b"late");
        let record = NewRecord { id: late, kind: RecordKind::Chunk, codec: Codec::Raw, raw_len: 4, payload };
        meanwhile.append(&[record]).unwrap();
        meanwhile.seal().unwrap();
    })));
    for _ in 0..2 {
        world.index.fail("no space");
        world.index.heal().unwrap();
    }
    assert!(store.beside_read.lock().is_none(), "the pack was scanned");
    assert!(world.index.get(&[first, late]).unwrap().iter().all(Option::is_some));
}

/// Fjall's own wait for its thread does not end when the thread does.
#[test]
fn i5_a_batch_that_waits_for_room_fails_once_the_tree_takes_no_more_writes() {
    let world = World::new();
    world.chunk(b"a");
    let handles = world.index.0.store.handles().unwrap();
    for n in 0..4u8 {
        handles.entries.insert([n; 32], [0u8]).unwrap();
        // So many that fjall waits, and nothing tells its thread of them.
        assert!(handles.entries.tree.rotate_memtable().is_some());
    }
    handles.zero.insert([0u8; 40], [0u8]).unwrap();
    for keyspace in std::fs::read_dir(world.dir.path().join("index/keyspaces")).unwrap() {
        std::fs::remove_dir_all(keyspace.unwrap().path().join("tables")).unwrap();
    }
    std::thread::scope(|scope| {
        let batch = scope.spawn(|| world.index.checkpoint());
        while world.index.0.totals.try_lock().is_some() {
            std::thread::yield_now();
        }
        // The thread cannot write this one to disk, and ends.
        handles.zero.rotate_memtable().unwrap();
        let refused = batch.join().unwrap();
        assert!(matches!(refused, Err(EngineError::Busy(_))), "{refused:?}");
    });
    assert!(world.index.failure().borrow().is_some(), "it is opened anew");
}

/// A device that holds next to nothing, where this user may mount one; `/dev/full` cannot stand for a directory.
#[test]
fn i5_an_index_whose_device_was_full_goes_on_when_it_has_space() {
    let dir = tempfile::tempdir().unwrap();
    let mount =
        |args: &[&str]| std::process::Command::new("mount").args(args).status().is_ok_and(|s| s.success());
    if !mount(&["-t", "tmpfs", "-o", "size=40m", "none", dir.path().to_str().unwrap()]) {
        // Only root may; CI is.
        assert!(!rustix::process::geteuid().is_root(), "root could not mount a tmpfs");
        eprintln!("not run: this user may not mount a tmpfs");
        return;
    }
    let done = std::panic::catch_unwind(|| fill_and_free(dir.path()));
    let _ = std::process::Command::new("umount").arg("-l").arg(dir.path()).status();
    done.unwrap();
}

fn fill_and_free(path: &std::path::Path) {
    let world = World::new();
    let settings = IndexSettings::default();
    let index = ChunkIndex::open(&path.join("index"), world.packs.clone(), &settings).unwrap();
    let insert = |n: u64| {
        let (id, location) = world.append(RecordKind::Chunk, &n.to_be_bytes());
        index
            .insert(&index.hold(), &[(id, RecordKind::Chunk, location)])
            .and_then(|()| index.checkpoint())
            .map(|_| id)
    };
    let first = insert(0).unwrap();
    let filler = path.join("filler");
    {
        let mut filled = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut filled, &[1; 4096]).is_ok() {}
    }
    let failed = (1..100_000).find(|n| insert(*n).is_err()).expect("the device is full");
    assert!(index.failure().borrow().is_some(), "after {failed}");
    assert!(insert(failed).is_err(), "there is no space");
    assert!(matches!(index.heal(), Err(EngineError::Full)), "there is still no space");
    assert!(index.get(&[first]).unwrap()[0].is_some(), "reading goes on");
    std::fs::remove_file(&filler).unwrap();
    assert!(insert(failed).is_err(), "space alone does not help");
    index.heal().unwrap();
    let again = insert(failed).unwrap();
    assert!(index.get(&[first, again]).unwrap().iter().all(Option::is_some));
}
