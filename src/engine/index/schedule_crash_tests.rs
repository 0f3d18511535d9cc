//! A power cut in the model: what is left is opened again, as the index does, and must be whole.

use super::model::{Entry, Model, Tree, counted, verify};
use crate::types::CommitSeq;
use shuttle::rand::{Rng, thread_rng};

/// Keeps what stood at one moment, with a journal cut anywhere behind its durable part, and opens it.
pub(super) fn power_cut(model: &Model) {
    let (tree, log, packs) = {
        let (tree, log, packs) = (model.tree.lock(), model.log.lock(), model.packs.lock());
        (tree.clone(), log.clone(), packs.clone())
    };
    let mut tree: Tree = tree.as_of(thread_rng().gen_range(tree.batches()));
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
    verify(&tree, &log, &packs, "after a power cut");
}
