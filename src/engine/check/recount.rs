//! Counting all references afresh, a range of ids at a time.

use super::report::{CheckPhase, Finding};
use super::{Manifests, Pass};
use crate::engine::EngineError;
use crate::engine::codec::decode_record;
use crate::engine::pack::Record;
use crate::meta::AuditedManifest;
use crate::types::{ChunkId, Entry, EntryKind, Node};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use tokio::runtime::Handle;

/// Nodes read at a time; each has at most 42 KiB.
const NODES_AT_ONCE: usize = 64;
const PAGE: usize = 4096;

/// The references of the ids whose first byte is in `range`.
#[derive(Debug)]
struct Counts {
    range: RangeInclusive<u8>,
    references: HashMap<ChunkId, u64>,
    /// Nodes met so far, each walked once: a node counts as one parent however often it is referenced.
    nodes: HashSet<ChunkId>,
    to_walk: Vec<ChunkId>,
}

impl Counts {
    fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            if self.range.contains(&entry.id.as_bytes()[0]) {
                *self.references.entry(entry.id).or_default() += 1;
            }
            if entry.kind == EntryKind::Node && self.nodes.insert(entry.id) {
                self.to_walk.push(entry.id);
            }
        }
    }
}

impl Pass<'_> {
    pub(super) fn recount(&mut self, handle: &Handle) -> Result<(), EngineError> {
        let counts = self.checker.index.counts()?;
        let ids = (counts.chunks + counts.nodes).div_ceil(self.checker.ids_per_pass.max(1));
        let passes = ids.clamp(1, 256).next_power_of_two();
        let width = 256 / passes;
        for pass in 0..passes {
            self.progress(CheckPhase::Counting, pass, passes);
            let byte = |at: u64| u8::try_from(at.min(255)).unwrap_or(u8::MAX);
            let range = byte(pass * width)..=byte((pass + 1) * width - 1);
            let Some(counted) = self.count(range, handle, pass == 0)? else { return Ok(()) };
            self.compare(counted)?;
        }
        self.progress(CheckPhase::Counting, passes, passes);
        Ok(())
    }

    /// `None` when stopped.
    fn count(
        &mut self,
        range: RangeInclusive<u8>,
        handle: &Handle,
        is_first: bool,
    ) -> Result<Option<Counts>, EngineError> {
        let (references, nodes, to_walk) = (HashMap::new(), HashSet::new(), Vec::new());
        let mut counts = Counts { range, references, nodes, to_walk };
        for row in Manifests::new(self.checker, handle.clone()) {
            let AuditedManifest { id, manifest } = row?;
            match manifest {
                Ok(row) => counts.add(row.root.entries()),
                Err(why) => {
                    self.report.incomplete = true;
                    if is_first {
                        self.found(Finding::DamagedManifest { id: hex::encode(id), why });
                    }
                }
            }
            self.report.manifests += u64::from(is_first);
            while !counts.to_walk.is_empty() {
                self.walk(&mut counts, is_first)?;
            }
            if self.stop.is_cancelled() {
                return Ok(None);
            }
        }
        if is_first {
            self.report.nodes = counts.nodes.len() as u64;
        }
        Ok(Some(counts))
    }

    fn walk(&mut self, counts: &mut Counts, is_first: bool) -> Result<(), EngineError> {
        let from = counts.to_walk.len().saturating_sub(NODES_AT_ONCE);
        let ids = counts.to_walk.split_off(from);
        let locations = self.checker.index.get(&ids)?;
        let found: Vec<_> = ids.iter().zip(locations).filter_map(|(id, at)| Some((*id, at?))).collect();
        // The comparison tells of those that are missing.
        self.report.incomplete |= found.len() < ids.len();
        for ((id, _), read) in found.iter().zip(self.checker.packs.read(&found)) {
            match read.and_then(|record| node_of(&record)) {
                Ok(node) => counts.add(node.entries()),
                Err(error) => {
                    self.report.incomplete = true;
                    if is_first && self.lost.unreadable(*id) {
                        self.found(Finding::Damaged { id: *id, why: error.to_string() });
                    }
                }
            }
        }
        Ok(())
    }

    fn compare(&mut self, mut counts: Counts) -> Result<(), EngineError> {
        let mut after = counts.range.start().checked_sub(1).map(last_id_of);
        'range: loop {
            let page = self.checker.index.entries(after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, entry) in page {
                if !counts.range.contains(&id.as_bytes()[0]) {
                    break 'range;
                }
                let counted = counts.references.remove(&id).unwrap_or(0);
                self.report.entries += 1;
                if counted > 0 && !self.checker.packs.is_valid(&entry.location) && self.lost.gone(id) {
                    self.found(Finding::Missing { id });
                }
                let excused = self.report.incomplete && counted < entry.references;
                if counted != entry.references && !excused {
                    self.found(Finding::WrongCount { id, indexed: entry.references, counted });
                }
            }
        }
        let mut missing: Vec<_> = counts.references.into_keys().collect();
        missing.sort_unstable();
        for id in missing {
            if self.lost.gone(id) {
                self.found(Finding::Missing { id });
            }
        }
        Ok(())
    }
}

fn last_id_of(first_byte: u8) -> ChunkId {
    let mut id = [0xFF; 32];
    id[0] = first_byte;
    ChunkId::new(id)
}

fn node_of(record: &Record) -> Result<Node, EngineError> {
    let raw = decode_record(record)?;
    if Node::id_of(&raw) != record.id {
        return Err(EngineError::Corrupt { id: record.id, why: "its content is not what its id says" });
    }
    Ok(Node::decode(&raw)?)
}
