use super::{NewNode, TreeBuilder};
use crate::types::{ChunkId, Entry, EntryKind, MAX_ROOT_ENTRIES, Manifest, Node};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

fn chunk(n: u64) -> Entry {
    let id = ChunkId::new(Sha256::digest(n.to_le_bytes()).into());
    Entry { kind: EntryKind::Chunk, id, len: 1 + n % 7 }
}

fn build(entries: impl IntoIterator<Item = Entry>) -> (Manifest, Vec<NewNode>) {
    let (mut tree, mut nodes) = (TreeBuilder::new(), Vec::new());
    for entry in entries {
        tree.push(entry, &mut nodes).unwrap();
    }
    let root = tree.finish(&mut nodes).unwrap();
    (root, nodes)
}

/// The chunks below a root, and its depth.
fn flatten(root: &Manifest, nodes: &[NewNode]) -> (Vec<Entry>, usize) {
    let nodes: HashMap<_, _> = nodes.iter().cloned().collect();
    let (mut entries, mut depth) = (root.entries().to_vec(), 0);
    while entries.iter().any(|e| e.kind == EntryKind::Node) {
        depth += 1;
        let below = |entry: Entry| match entry.kind {
            EntryKind::Chunk => vec![entry],
            EntryKind::Node => {
                let node = Node::decode(&nodes[&entry.id]).unwrap();
                assert_eq!(node.size(), entry.len);
                node.entries().to_vec()
            }
        };
        entries = entries.into_iter().flat_map(below).collect();
    }
    (entries, depth)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn i1_a_tree_holds_its_entries_in_order(count in 0..5_000u64, seed in any::<u32>()) {
        let entries: Vec<_> = (0..count).map(|n| chunk(n + u64::from(seed))).collect();
        let (root, nodes) = build(entries.clone());
        prop_assert!(root.entries().len() <= MAX_ROOT_ENTRIES);
        prop_assert_eq!(root.size(), entries.iter().map(|e| e.len).sum::<u64>());
        let (flat, depth) = flatten(&root, &nodes);
        prop_assert_eq!(flat, entries);
        prop_assert_eq!(depth == 0, count <= MAX_ROOT_ENTRIES as u64);
    }
}

#[test]
fn a_body_of_many_levels_stays_small_in_memory_and_whole() {
    // Levels as deep as 5 TiB needs: joined bodies begin with nodes, so entries of any size can be pushed.
    let entries: Vec<_> = (0..400_000).map(chunk).collect();
    let (root, nodes) = build(entries.clone());
    let (flat, depth) = flatten(&root, &nodes);
    assert!(flat == entries);
    assert!(depth >= 2, "{depth}");
    let mut tree = TreeBuilder::new();
    for entry in entries {
        tree.push(entry, &mut Vec::new()).unwrap();
        assert!(
            tree.levels.iter().all(|l| l.len() < 1024) && tree.levels.len() < 5 && tree.first.len() < 257
        );
    }
}

#[test]
fn the_same_chunk_again_and_again_makes_a_tree_too() {
    for n in [0, 1, 2, 3] {
        let mut entry = chunk(n);
        let mut id = *entry.id.as_bytes();
        id[31] = u8::from(n % 2 == 0); // on one side every place is an end, on the other none
        entry.id = ChunkId::new(id);
        let entries = vec![entry; 300_000];
        let (root, nodes) = build(entries.clone());
        assert!(flatten(&root, &nodes).0 == entries);
        assert!(nodes.iter().map(|n| n.0).collect::<HashSet<_>>().len() < 2_000);
    }
}

#[test]
fn similar_bodies_share_their_nodes() {
    let entries: Vec<_> = (0..20_000).map(chunk).collect();
    let mut changed = entries.clone();
    changed.splice(5_000..5_003, [chunk(1_000_000)]);
    changed.insert(0, chunk(1_000_001));
    let (_, before) = build(entries);
    let (_, after) = build(changed);
    let known: HashSet<_> = before.iter().map(|n| n.0).collect();
    let new = after.iter().filter(|n| !known.contains(&n.0)).count();
    assert!(before.len() > 40 && new <= 8, "{new} of {} nodes are new", after.len());
}
