//! What is lost, and which bodies need it: chunk → nodes → manifest → version or part.
//!
//! Memory: 32 bytes for each lost chunk, at most [`MOST`] of them, and for each manifest node looked into, of which
//! there is one for about a thousand chunks. Nodes are looked into only if anything is lost at all.

use super::report::{CheckReport, Finding};
use crate::engine::codec::decode_node;
use crate::engine::index::ChunkIndex;
use crate::engine::pack::PackSet;
use crate::types::{ChunkId, Entry, EntryKind, Node, PlainId};
use std::collections::{HashMap, HashSet};

/// Beyond, what is lost is counted, and objects that only it belongs to are not named.
const MOST: usize = 1 << 20;
/// Collection moves a record once in a run.
const MOST_MOVES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Referenced, and in no pack.
    gone: HashSet<ChunkId>,
    /// There, but not readable now.
    unreadable: HashSet<ChunkId>,
    plain: HashMap<PlainId, String>,
    /// What of it is lost below each node.
    nodes: HashMap<ChunkId, Option<ChunkId>>,
}

impl Lost {
    /// What an earlier process found. What is gone the index tells.
    pub(super) fn of(report: &CheckReport) -> Self {
        let mut lost = Self::default();
        for finding in &report.findings {
            match finding {
                Finding::Damaged { id, .. } => {
                    lost.unreadable.insert(*id);
                }
                Finding::DamagedPlain { id, why } => {
                    let id = hex::decode(id).ok().and_then(|id| id.try_into().ok());
                    if let Some(id) = id {
                        lost.plain.insert(PlainId::new(id), why.clone());
                    }
                }
                _ => {}
            }
        }
        lost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.unreadable.is_empty()
    }

    pub(super) fn has(&self, id: &ChunkId) -> bool {
        self.gone.contains(id) || self.unreadable.contains(id)
    }

    /// Whether it was not known yet.
    pub(super) fn gone(&mut self, id: ChunkId) -> bool {
        let was_known = self.unreadable.remove(&id);
        self.gone.len() < MOST && self.gone.insert(id) && !was_known
    }

    /// As [`Self::gone`].
    pub(super) fn unreadable(&mut self, id: ChunkId) -> bool {
        self.unreadable.len() < MOST && !self.gone.contains(&id) && self.unreadable.insert(id)
    }

    pub(super) fn all_unreadable(&self) -> Vec<ChunkId> {
        self.unreadable.iter().copied().collect()
    }

    pub(super) fn all_gone(&self) -> Vec<ChunkId> {
        self.gone.iter().copied().collect()
    }

    pub(super) fn saved(&mut self, id: &ChunkId) {
        self.gone.remove(id);
        self.unreadable.remove(id);
    }

    pub(super) fn plain(&mut self, id: PlainId, why: String) {
        if self.plain.len() < MOST {
            self.plain.insert(id, why);
        }
    }

    pub(super) fn why_plain(&self, id: PlainId) -> Option<&str> {
        self.plain.get(&id).map(String::as_str)
    }

    /// The first thing that is lost of what these entries lead to.
    pub(super) fn first_below(
        &mut self,
        entries: &[Entry],
        packs: &PackSet,
        index: &ChunkIndex,
    ) -> Option<ChunkId> {
        if self.is_empty() {
            return None;
        }
        // Depth first; a node is noted when all below it is known.
        let mut ahead: Vec<(Option<ChunkId>, Vec<Entry>)> = vec![(None, entries.to_vec())];
        let mut found = None;
        while let Some((node, rest)) = ahead.last_mut() {
            let next = if found.is_none() { rest.pop() } else { None };
            let Some(entry) = next else {
                if let Some(node) = node {
                    self.nodes.insert(*node, found);
                }
                ahead.pop();
                continue;
            };
            if self.has(&entry.id) {
                found = Some(entry.id);
            } else if entry.kind == EntryKind::Node {
                match self.nodes.get(&entry.id) {
                    Some(known) => found = *known,
                    None => match node_at(entry.id, packs, index) {
                        Some(node) => ahead.push((Some(entry.id), node.entries().to_vec())),
                        None => found = Some(entry.id),
                    },
                }
            }
        }
        found
    }
}

/// Looks again where the node moved while it was read.
fn node_at(id: ChunkId, packs: &PackSet, index: &ChunkIndex) -> Option<Node> {
    let mut before = None;
    for _ in 0..MOST_MOVES {
        let place = index.get(&[id]).ok()?.pop()??;
        if before == Some(place) {
            return None;
        }
        let record = packs.read(&[(id, place)]).pop()?;
        if let Some(node) = record.ok().and_then(|record| decode_node(&record).ok()) {
            return Some(node);
        }
        before = Some(place);
    }
    None
}
