//! What a drill showed.

use crate::types::{CommitSeq, UnixMillis};
use serde::{Deserialize, Serialize};

/// Problems that are told one by one.
const MOST_PROBLEMS: usize = 100;

/// One moment, restored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillReport {
    pub at: UnixMillis,
    /// Everything that was proven was right.
    pub passed: bool,
    /// Which record was restored, and when that was made.
    pub seq: CommitSeq,
    pub seq_at: UnixMillis,
    /// The snapshot that it was restored from.
    pub snapshot: String,
    /// It is the last one in the bucket, not one that chance picked.
    pub is_latest: bool,
    /// Recovery time: until requests could be answered whose bodies are there, and until all bytes were.
    pub seconds_to_rows: f64,
    pub seconds_to_bytes: f64,
    /// Of files.
    pub bytes: u64,
    pub bytes_per_second: f64,
    /// Records of the log that were replayed.
    pub replayed: u64,
    /// Recovery point: seconds of what the store had then and the bucket had not. `None` for an earlier moment, or without the store.
    pub lost_seconds: Option<f64>,
    /// Packs that were restored, and those that there were: fewer when the scratch directory may not be so large.
    pub packs: u64,
    pub packs_in_all: u64,
    pub manifests: u64,
    /// Records whose content was proven by its hash.
    pub records: u64,
    /// Bodies that were read whole and compared with their ETag.
    pub bodies: u64,
    /// Records of the log, and manifests, that were compared with the store's.
    pub compared: u64,
    pub problem_count: u64,
    /// The first hundred.
    pub problems: Vec<String>,
}

impl DrillReport {
    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problem_count += 1;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem.into());
        }
    }
}

/// Both moments.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DrillOutcome {
    pub moments: Vec<DrillReport>,
}

impl DrillOutcome {
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.moments.is_empty() && self.moments.iter().all(|moment| moment.passed)
    }
}
