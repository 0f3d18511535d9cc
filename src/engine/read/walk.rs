//! Which pieces of which chunks a range is made of, found node by node.

use crate::engine::pack::MAX_PAYLOAD_BYTES;
use crate::engine::{EngineError, Wanted};
use crate::types::{ChunkId, Entry, EntryKind, Manifest, ManifestError, Node, ResolvedRange};
use std::ops::Range;
use std::sync::Arc;

/// Far deeper than any body needs: 256 × 1024⁷ chunks.
const MAX_DEPTH: usize = 8;

/// A chunk, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: ChunkId,
    /// The whole chunk's length.
    pub(super) len: u64,
    pub(super) wanted: Range<usize>,
}

impl Piece {
    /// Its length was checked against the longest that there is.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { id: self.id, max_bytes: usize::try_from(self.len).unwrap_or(usize::MAX) }
    }
}

pub(super) enum Step {
    Piece(Piece),
    /// To be given to [`Walk::enter`] before the next step.
    Node(Entry),
    End,
}

/// A place in a manifest's tree.
#[derive(Debug)]
pub(super) struct Walk {
    range: ResolvedRange,
    /// Where in the body the next entry begins.
    at: u64,
    root: Arc<Manifest>,
    /// The next entry of the root, and the nodes below with theirs.
    next: usize,
    nodes: Vec<(Node, usize)>,
}

impl Walk {
    pub(super) const fn new(root: Arc<Manifest>, range: ResolvedRange) -> Self {
        Self { range, at: 0, root, next: 0, nodes: Vec::new() }
    }

    /// Whether the next step is the end.
    pub(super) const fn is_done(&self) -> bool {
        self.at >= self.range.end
    }

    pub(super) fn step(&mut self) -> Result<Step, EngineError> {
        while self.at < self.range.end {
            let (entries, next) = match self.nodes.last_mut() {
                Some((node, next)) => (node.entries(), next),
                None => (self.root.entries(), &mut self.next),
            };
            let Some(&entry) = entries.get(*next) else {
                // Lengths were checked on the way down, so a root that ends early is no root of this body.
                self.nodes.pop().ok_or(ManifestError::Length)?;
                continue;
            };
            let (start, end) = (self.at, self.at.saturating_add(entry.len));
            if entry.kind == EntryKind::Node && end > self.range.start {
                return Ok(Step::Node(entry));
            }
            *next += 1;
            self.at = end;
            if end > self.range.start {
                return self.piece(&entry, start).map(Step::Piece);
            }
        }
        Ok(Step::End)
    }

    /// Goes down into the node that the last step named.
    pub(super) fn enter(&mut self, entry: &Entry, node: Node) -> Result<(), EngineError> {
        let corrupt = |why| EngineError::Corrupt { id: entry.id, why };
        if node.size() != entry.len {
            return Err(corrupt("the node's entries do not add up to its length"));
        }
        if self.nodes.len() >= MAX_DEPTH {
            return Err(corrupt("the manifest is deeper than any can be"));
        }
        match self.nodes.last_mut() {
            Some((_, next)) => *next += 1,
            None => self.next += 1,
        }
        self.nodes.push((node, 0));
        Ok(())
    }

    fn piece(&self, entry: &Entry, start: u64) -> Result<Piece, EngineError> {
        if entry.len > u64::from(MAX_PAYLOAD_BYTES) {
            return Err(EngineError::Corrupt { id: entry.id, why: "it claims to be longer than any chunk" });
        }
        // At most 16 MiB: fits.
        let within = |place: u64| place.saturating_sub(start).min(entry.len) as usize;
        let wanted = within(self.range.start)..within(self.range.end);
        Ok(Piece { id: entry.id, len: entry.len, wanted })
    }
}
