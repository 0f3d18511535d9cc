//! What a check found.

use crate::types::ChunkId;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Findings told one by one; the others are only counted.
const MAX_FINDINGS: usize = 1000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Finding {
    /// A body needs it, and it is nowhere.
    Missing {
        #[serde(serialize_with = "as_text")]
        id: ChunkId,
    },
    /// The index counts other references than the manifests hold.
    WrongCount {
        #[serde(serialize_with = "as_text")]
        id: ChunkId,
        indexed: u64,
        counted: u64,
    },
    /// It is there, but cannot be read, or is not what its id says.
    Damaged {
        #[serde(serialize_with = "as_text")]
        id: ChunkId,
        why: String,
    },
    /// The metadata's row of a version cannot be read. `bucket` is empty for a value of the library's.
    DamagedObject { bucket: String, key: String, version: String, why: String },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { id } => write!(f, "missing      {id}"),
            Self::WrongCount { id, indexed, counted } => {
                write!(f, "wrong count  {id}: the index says {indexed}, the manifests {counted}")
            }
            Self::Damaged { id, why } => write!(f, "damaged      {id}: {why}"),
            Self::DamagedObject { bucket, key, version, why } => {
                write!(f, "damaged      {bucket}/{key} (version {version}): {why}")
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CheckReport {
    pub manifests: u64,
    pub nodes: u64,
    /// Chunks and nodes in the index.
    pub entries: u64,
    /// Read and hashed by a deep check.
    pub records_read: u64,
    pub bytes_read: u64,
    /// Versions whose row was read by a deep check.
    pub rows: u64,
    /// Records in packs that nothing names: garbage, no fault. Counted by a deep check.
    pub strays: u64,
    pub missing: u64,
    pub wrong_counts: u64,
    pub damaged: u64,
    /// A node could not be read: what stands below it was not counted, and too high counts are not told.
    pub incomplete: bool,
    pub stopped: bool,
    pub seconds: f64,
    /// The first thousand.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Nothing is wrong, and everything was looked at.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.missing == 0 && self.wrong_counts == 0 && self.damaged == 0 && !self.incomplete && !self.stopped
    }

    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Missing { .. } => self.missing += 1,
            Finding::WrongCount { .. } => self.wrong_counts += 1,
            Finding::Damaged { .. } | Finding::DamagedObject { .. } => self.damaged += 1,
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let rows = [
            ("manifests", self.manifests),
            ("nodes", self.nodes),
            ("index entries", self.entries),
            ("records read", self.records_read),
            ("stray records", self.strays),
            ("versions read", self.rows),
            ("missing", self.missing),
            ("wrong counts", self.wrong_counts),
            ("damaged", self.damaged),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<14} {value:>14}")?;
        }
        let verdict = match (self.is_clean(), self.stopped) {
            (true, _) => "nothing is wrong",
            (_, true) => "stopped before the end",
            (false, false) => "the store is damaged",
        };
        write!(f, "{verdict}; {:.1} s", self.seconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPhase {
    /// Counting references: passes done, of all.
    Counting,
    /// Reading records: packs done, of all.
    Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CheckProgress {
    pub phase: CheckPhase,
    pub done: u64,
    pub total: u64,
}

/// Called often, from any thread; must not block.
pub type OnCheckProgress = Arc<dyn Fn(CheckProgress) + Send + Sync>;

fn as_text<S: Serializer>(id: &ChunkId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
