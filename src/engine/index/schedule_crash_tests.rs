//! A power cut in the model: what is left is opened again, as the index does, and must be whole.

use super::model::{Entry, Log, Model, Packs, Tree, counted, verify};
use crate::types::CommitSeq;

/// What stands at one moment, with every beginning of the journal that holds its durable part, is opened.
pub(super) fn power_cut(model: &Model) {
    let (tree, log, packs) = {
        let (tree, log, packs) = (model.tree.lock(), model.log.lock(), model.packs.lock());
        (tree.clone(), log.clone(), packs.clone())
    };
    for batches in tree.batches() {
        open(tree.as_of(batches), &log, &packs);
    }
}

fn open(mut tree: Tree, log: &Log, packs: &Packs) {
    for (id, entry) in &tree.entries {
        assert_eq!(packs.read(entry.place), Some(*id), "after a power cut, chunk {id} is not at its place");
    }
    for (id, place) in packs.scan() {
        if !tree.known.contains(&place.pack) {
            let new = Entry { place, references: 0, zero_since: tree.applied };
            tree.entries.entry(id).or_insert(new);
        }
    }
    while tree.applied < log.last() {
        let seq: CommitSeq = tree.applied.next();
        let at = usize::try_from(tree.applied.get()).unwrap();
        let find = |id| tree.entries.get(&id).map(|entry| (*entry, false));
        let changed = counted(&log.records[at], seq, find);
        tree.entries.extend(changed.into_iter().map(|(id, (entry, _))| (id, entry)));
        tree.applied = seq;
    }
    verify(&tree, log, packs, "after a power cut");
}
