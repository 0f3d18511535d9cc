use super::super::tests::{World, manifest};
use super::{BATCH_ENTRIES, Changes};
use crate::meta::{Change, LogRecord};
use crate::types::{BucketId, CommitSeq, UnixMillis};

/// Stopped after every batch, and opened anew: what is counted is counted once.
#[test]
fn i3_a_record_cut_off_after_any_batch_goes_on_where_it_was() {
    let world = World::new();
    let chunks: Vec<_> = (0..5200u32).map(|n| world.chunk(&n.to_be_bytes())).collect();
    let nodes: Vec<_> = chunks.chunks(520).map(|some| world.node(some.to_vec())).collect();
    let high = world.node(nodes.clone());
    let old = manifest(nodes[..5].to_vec());
    world.log(vec![old.clone()], vec![]);
    let added = vec![manifest(vec![high, chunks[0]]), manifest(chunks[..250].to_vec())];
    let change = Change::BucketDeleted { bucket: BucketId::new(1) };
    let record =
        LogRecord { seq: CommitSeq::new(2), at: UnixMillis::new(0), change, added, dropped: vec![old] };
    let (mut world, mut batches) = (world, 0);
    while world.index.applied() < record.seq {
        {
            let shared = &world.index.0;
            let mut nodes = shared.take_nodes(&mut shared.applying.lock()).unwrap();
            let mut totals = shared.totals.lock();
            let mut changes = Changes::new(&shared.store);
            let mut next = totals.position;
            shared.take_in(std::slice::from_ref(&record), &mut next, &mut nodes, &mut changes).unwrap();
            assert!(changes.steps() <= BATCH_ENTRIES + 1024);
            shared.commit_at(next, &mut totals, changes).unwrap();
        }
        batches += 1;
        world = world.reopen();
        assert_eq!(world.index.begun(), record.seq);
    }
    assert!(batches > 1, "one batch took it all");
    let all = world.index.entries(None, 20_000).unwrap();
    let references = |id| all.iter().find(|(other, _)| *other == id).unwrap().1.references;
    assert_eq!(references(chunks[0].id), 3, "its node, a root, and the other root");
    assert_eq!(references(chunks[249].id), 2);
    assert_eq!(references(chunks[5199].id), 1);
    assert_eq!([high.id, nodes[0].id, nodes[9].id].map(references), [1, 1, 1]);
}
