//! What a check found.

use crate::types::ChunkId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// Findings told one by one; the others are only counted.
const MAX_FINDINGS: usize = 1000;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Finding {
    /// A body needs it, and it is nowhere.
    Missing {
        #[serde(with = "text")]
        id: ChunkId,
    },
    /// The index counts other references than the manifests hold.
    WrongCount {
        #[serde(with = "text")]
        id: ChunkId,
        indexed: u64,
        counted: u64,
    },
    /// It is there, but cannot be read, or is not what its id says.
    Damaged {
        #[serde(with = "text")]
        id: ChunkId,
        why: String,
    },
    /// What of a pack is not records: nothing is lost with it.
    DamagedFrame { pack: String, frame: String },
    /// A body stored whole.
    DamagedPlain { id: String, why: String },
    /// A row that says which chunks a body has.
    DamagedManifest { id: String, why: String },
    /// The metadata database itself.
    DamagedDatabase { why: String },
    /// The metadata's row of a version or part cannot be read, or is not its own.
    DamagedObject {
        #[serde(flatten)]
        object: Named,
        why: String,
    },
    /// A version or part of which something else is damaged or missing.
    Lost {
        #[serde(flatten)]
        object: Named,
        why: String,
    },
}

/// A version, or a part of an open upload. `bucket` is empty for a value of the library's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Named {
    pub bucket: String,
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<i64>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)?;
        match (&self.version, &self.upload, self.part) {
            (Some(version), _, _) => write!(f, " (version {version})"),
            (None, Some(upload), Some(part)) => write!(f, " (upload {upload}, part {part})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { id } => write!(f, "missing      {id}"),
            Self::WrongCount { id, indexed, counted } => {
                write!(f, "wrong count  {id}: the index says {indexed}, the manifests {counted}")
            }
            Self::Damaged { id, why } => write!(f, "damaged      {id}: {why}"),
            Self::DamagedFrame { pack, frame } => {
                write!(f, "frame        pack {pack}: {frame} is damaged; nothing is lost by it")
            }
            Self::DamagedPlain { id, why } => write!(f, "damaged      plain body {id}: {why}"),
            Self::DamagedManifest { id, why } => write!(f, "damaged      manifest {id}: {why}"),
            Self::DamagedDatabase { why } => write!(f, "damaged      metadata database: {why}"),
            Self::DamagedObject { object, why } => write!(f, "damaged row  {object}: {why}"),
            Self::Lost { object, why } => write!(f, "lost         {object}: {why}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    pub manifests: u64,
    pub nodes: u64,
    /// Chunks and nodes in the index.
    pub entries: u64,
    /// Read and hashed by a deep check.
    pub records_read: u64,
    pub bytes_read: u64,
    /// Bodies stored whole that were read.
    pub plain_read: u64,
    /// Entries of the index that were compared with the packs.
    pub entries_read: u64,
    /// Versions and parts whose row was read by a deep check.
    pub rows: u64,
    /// Records in packs that nothing names: garbage, no fault. Counted by a deep check.
    pub strays: u64,
    pub missing: u64,
    pub wrong_counts: u64,
    pub damaged: u64,
    /// Versions and parts that cannot be read whole, each of them named.
    pub lost_objects: u64,
    /// Records that were found damaged and are whole again: from what was left of them, or from a copy.
    pub healed: u64,
    /// Copies that were whole in the backup, and were brought from there.
    pub from_backup: u64,
    /// Headers, footers and trailers of packs that are damaged: by a power cut, or since. Nothing is lost by it.
    pub frames: u64,
    /// Packs whose header or footer was written anew.
    pub mended: u64,
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
        self.is_clean_so_far() && !self.stopped
    }

    /// As [`Self::is_clean`], of what was looked at.
    #[must_use]
    pub const fn is_clean_so_far(&self) -> bool {
        let is_whole = self.missing == 0 && self.damaged == 0 && self.lost_objects == 0;
        is_whole && self.wrong_counts == 0 && !self.incomplete
    }

    /// What was found beside the check.
    pub fn add(&mut self, finding: Finding) {
        self.found(finding);
    }

    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Missing { .. } => self.missing += 1,
            Finding::WrongCount { .. } => self.wrong_counts += 1,
            Finding::Lost { .. } => self.lost_objects += 1,
            Finding::DamagedObject { .. } => {
                self.damaged += 1;
                self.lost_objects += 1;
            }
            Finding::DamagedFrame { .. } => self.frames += 1,
            Finding::Damaged { .. }
            | Finding::DamagedPlain { .. }
            | Finding::DamagedManifest { .. }
            | Finding::DamagedDatabase { .. } => self.damaged += 1,
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    pub(super) fn is_told_missing(&self, chunk: &ChunkId) -> bool {
        self.findings.iter().any(|finding| matches!(finding, Finding::Missing { id } if id == chunk))
    }

    /// What was told of a chunk is true no more.
    pub(super) fn saved(&mut self, chunk: &ChunkId) {
        let told = self.findings.iter().position(|finding| finding.chunk() == Some(chunk));
        match told.map(|at| self.findings.remove(at)) {
            Some(Finding::Damaged { .. }) => self.damaged = self.damaged.saturating_sub(1),
            // Beyond those that are told one by one it is not known which it was counted as.
            None if self.missing == 0 => self.damaged = self.damaged.saturating_sub(1),
            _ => self.missing = self.missing.saturating_sub(1),
        }
        self.healed += 1;
    }
}

impl Finding {
    const fn chunk(&self) -> Option<&ChunkId> {
        match self {
            Self::Missing { id } | Self::Damaged { id, .. } => Some(id),
            _ => None,
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
            ("plain read", self.plain_read),
            ("rows read", self.rows),
            ("missing", self.missing),
            ("wrong counts", self.wrong_counts),
            ("damaged", self.damaged),
            ("healed", self.healed),
            ("from the backup", self.from_backup),
            ("frames damaged", self.frames),
            ("frames mended", self.mended),
            ("objects lost", self.lost_objects),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<15} {value:>13}")?;
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
    /// Reading rows, done so far.
    Rows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CheckProgress {
    pub phase: CheckPhase,
    pub done: u64,
    pub total: u64,
}

/// Called often, from any thread; must not block.
pub type OnCheckProgress = Arc<dyn Fn(CheckProgress) + Send + Sync>;

/// Called with each finding, also with those beyond the first thousand.
pub type OnFinding = Arc<dyn Fn(&Finding) + Send + Sync>;

mod text {
    use super::{ChunkId, Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(id: &ChunkId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChunkId, D::Error> {
        ChunkId::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
