//! What a run would do, does and did: for people, for JSON, for metrics.

use super::UNCOUNTED;
use crate::storage::PackId;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// What is to happen to one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GcAction {
    /// Nothing in it is in use: the file goes.
    Remove,
    /// Little of it is in use: that moves, the file goes.
    Rewrite,
    /// Holes are punched where nothing is in use.
    Punch,
}

/// One pack of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackPlan {
    #[serde(serialize_with = "as_text")]
    pub pack: PackId,
    pub action: GcAction,
    /// Bytes on the device now.
    pub allocated_bytes: u64,
    /// Of them, in use once the candidates are gone.
    pub live_bytes: u64,
    /// Chunks and nodes of it that would be collected.
    pub candidates: u64,
    pub candidate_bytes: u64,
}

impl PackPlan {
    /// About what the file system gets back. Holes give whole blocks only.
    #[must_use]
    pub const fn freed_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.live_bytes)
    }
}

/// What a run would do at this moment. Making one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct GcPlan {
    /// Chunks and nodes that nothing refers to and no request under way may need.
    pub candidates: u64,
    pub candidate_bytes: u64,
    /// Of all packs.
    pub allocated_bytes: u64,
    /// Plain files that no version names, and their bytes. A run spares those that a write under way may own.
    pub plain_files: u64,
    pub plain_bytes: u64,
    /// While there are any, a run collects nothing: what these manifest nodes need could not be read.
    pub uncounted_nodes: u64,
    /// Only packs with something to do, in order of id.
    pub packs: Vec<PackPlan>,
}

impl GcPlan {
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        self.packs.iter().map(PackPlan::freed_bytes).sum::<u64>() + self.plain_bytes
    }
}

impl fmt::Display for GcPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.packs.is_empty() {
            writeln!(
                f,
                "{:<16}  {:<8} {:>12} {:>12} {:>12}",
                "pack", "action", "on disk", "in use", "frees"
            )?;
        }
        for pack in &self.packs {
            let action = match pack.action {
                GcAction::Remove => "remove",
                GcAction::Rewrite => "rewrite",
                GcAction::Punch => "punch",
            };
            writeln!(
                f,
                "{:<16}  {action:<8} {:>12} {:>12} {:>12}",
                pack.pack.to_string(),
                pack.allocated_bytes,
                pack.live_bytes,
                pack.freed_bytes()
            )?;
        }
        if self.uncounted_nodes > 0 {
            writeln!(f, "{} {UNCOUNTED}", self.uncounted_nodes)?;
        }
        if self.plain_files > 0 {
            writeln!(f, "{} unused plain files of {} bytes", self.plain_files, self.plain_bytes)?;
        }
        write!(
            f,
            "{} unused chunks of {} bytes; about {} of {} bytes on disk would be freed",
            self.candidates,
            self.candidate_bytes,
            self.freed_bytes(),
            self.allocated_bytes
        )
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GcReport {
    /// Chunks and nodes taken out of the index, and their bytes in packs.
    pub collected: u64,
    pub collected_bytes: u64,
    /// Records found in packs that nothing names, left by crashes and by racing writers.
    pub strays: u64,
    pub packs_removed: u64,
    pub packs_rewritten: u64,
    pub packs_punched: u64,
    pub moved_records: u64,
    pub moved_bytes: u64,
    /// Packs kept because a record in use could not be read or moved, or because more was in use than was counted.
    pub packs_kept: u64,
    pub plain_removed: u64,
    pub plain_bytes: u64,
    /// Bytes that packs and plain files occupy less than before. Writers at work meanwhile are not counted.
    pub freed_bytes: u64,
    /// Manifest nodes in use that could not be read: for them, nothing was collected.
    pub uncounted_nodes: u64,
    pub seconds: f64,
    /// Stopped before everything was done; the next run goes on.
    pub stopped: bool,
}

impl fmt::Display for GcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("chunks collected", self.collected),
            ("bytes collected", self.collected_bytes),
            ("stray records", self.strays),
            ("packs removed", self.packs_removed),
            ("packs rewritten", self.packs_rewritten),
            ("packs punched", self.packs_punched),
            ("packs kept", self.packs_kept),
            ("bytes moved", self.moved_bytes),
            ("plain files removed", self.plain_removed),
            ("bytes freed", self.freed_bytes),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<20} {value:>16}")?;
        }
        if self.uncounted_nodes > 0 {
            writeln!(f, "{} {UNCOUNTED}", self.uncounted_nodes)?;
        }
        let end = if self.stopped { "stopped early" } else { "done" };
        write!(f, "{end} after {:.1} s", self.seconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GcPhase {
    /// Waiting for the index and for what is under way.
    Waiting,
    Collecting,
    Reclaiming,
    Plain,
}

/// How far a run has got. `done` and `total` count chunks while collecting, packs while reclaiming; `total` is 0
/// where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GcProgress {
    pub phase: GcPhase,
    pub done: u64,
    pub total: u64,
}

/// Called often, from any thread; must not block.
pub type OnProgress = Arc<dyn Fn(GcProgress) + Send + Sync>;

fn as_text<S: Serializer>(pack: &PackId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(pack)
}
