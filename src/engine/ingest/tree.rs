//! From a body's entries to its manifest.
//!
//! Nodes end where an entry's id says so, not after a fixed number: behind a change the cuts fall into step again,
//! and similar bodies share their nodes. Open nodes are all that is kept in memory, whatever the body's length.

use crate::types::{
    ChunkId, Entry, EntryKind, MAX_NODE_ENTRIES, MAX_ROOT_ENTRIES, Manifest, ManifestError, Node,
};
use bytes::Bytes;

/// No node ends before so many entries, but the last ones of a body.
const MIN_NODE_ENTRIES: usize = 64;

/// A node to be packed: its id and its bytes.
pub(super) type NewNode = (ChunkId, Bytes);

#[derive(Debug)]
pub(super) struct TreeBuilder {
    /// The first entries, as long as they may be the root.
    first: Vec<Entry>,
    /// The open node of each level; level 0 holds entries as pushed. Empty while `first` is not full.
    levels: Vec<Vec<Entry>>,
}

impl TreeBuilder {
    pub(super) const fn new() -> Self {
        Self { first: Vec::new(), levels: Vec::new() }
    }

    /// Adds the next entry; nodes that are complete go to `nodes`.
    pub(super) fn push(&mut self, entry: Entry, nodes: &mut Vec<NewNode>) -> Result<(), ManifestError> {
        if !self.levels.is_empty() {
            return self.push_at(0, entry, nodes);
        }
        self.first.push(entry);
        if self.first.len() > MAX_ROOT_ENTRIES {
            for entry in std::mem::take(&mut self.first) {
                self.push_at(0, entry, nodes)?;
            }
        }
        Ok(())
    }

    /// The root. The nodes that are still missing go to `nodes`.
    pub(super) fn finish(mut self, nodes: &mut Vec<NewNode>) -> Result<Manifest, ManifestError> {
        if self.levels.is_empty() {
            return Manifest::new(self.first);
        }
        // Open nodes of all levels may stand in the root side by side, the highest first: it has the earliest bytes.
        while self.levels.iter().map(Vec::len).sum::<usize>() > MAX_ROOT_ENTRIES {
            let Some(lowest) = self.levels.iter().position(|level| !level.is_empty()) else { break };
            let entries = std::mem::take(&mut self.levels[lowest]);
            let entry = match entries[..] {
                [only] => only,
                _ => node_of(entries, nodes)?,
            };
            self.push_at(lowest + 1, entry, nodes)?;
        }
        Manifest::new(self.levels.into_iter().rev().flatten().collect())
    }

    fn push_at(&mut self, level: usize, entry: Entry, nodes: &mut Vec<NewNode>) -> Result<(), ManifestError> {
        let (mut level, mut entry) = (level, entry);
        loop {
            if self.levels.len() <= level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            let open = &mut self.levels[level];
            open.push(entry);
            if !is_end(open.len(), entry.id) {
                return Ok(());
            }
            entry = node_of(std::mem::take(open), nodes)?;
            level += 1;
        }
    }
}

/// Whether a node of so many entries ends with this one: one in 256 does.
fn is_end(entries: usize, last: ChunkId) -> bool {
    entries >= MAX_NODE_ENTRIES || entries >= MIN_NODE_ENTRIES && last.as_bytes()[31] == 0
}

fn node_of(entries: Vec<Entry>, nodes: &mut Vec<NewNode>) -> Result<Entry, ManifestError> {
    let node = Node::new(entries)?;
    let encoded = Bytes::from(node.encode());
    let id = Node::id_of(&encoded);
    nodes.push((id, encoded));
    Ok(Entry { kind: EntryKind::Node, id, len: node.size() })
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
