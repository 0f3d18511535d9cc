//! What a drill showed.

use crate::remote::SmokeReport;
use crate::types::{CommitSeq, UnixMillis};
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// All bytes were restored, also those of bodies in files of their own, which are left out where not all fits.
    pub is_whole: bool,
    pub manifests: u64,
    /// Records whose content was proven by its hash.
    pub records: u64,
    /// Bodies that were read whole and compared with their ETag.
    pub bodies: u64,
    /// Records of the log, and manifests, that were compared with the store's.
    pub compared: u64,
    /// What a client did with it; its problems stand below, too.
    pub smoke: Option<SmokeReport>,
    pub problem_count: u64,
    /// The first hundred.
    pub problems: Vec<String>,
}

impl DrillReport {
    /// How fast it was, and what would have been lost.
    #[must_use]
    pub fn in_short(&self) -> String {
        let rate = self.bytes_per_second / 1e6;
        let took = format!(
            "rows after {:.1} s, everything after {:.1} s",
            self.seconds_to_rows, self.seconds_to_bytes
        );
        match self.lost_seconds {
            Some(lost) => format!("{took}, {rate:.1} MB/s, {lost:.1} s lost"),
            None => format!("{took}, {rate:.1} MB/s"),
        }
    }

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

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (which, verdict) = (
            if self.is_latest { "the latest moment" } else { "an earlier moment" },
            if self.passed { "passed" } else { "FAILED" },
        );
        write!(f, "{which}, record {} from snapshot {}: {verdict}", self.seq, self.snapshot)?;
        write!(f, "\n  {}; {} bytes", self.in_short(), self.bytes)?;
        write!(
            f,
            "\n  {} of {} packs, {} records proven, {} bodies read, {} records and manifests compared with the store",
            self.packs, self.packs_in_all, self.records, self.bodies, self.compared
        )?;
        if let Some(smoke) = &self.smoke {
            write!(
                f,
                "\n  served: {} buckets, {} objects listed, {} heads, {} whole, {} ranges, {} written",
                smoke.buckets, smoke.listed, smoke.heads, smoke.whole, smoke.ranges, smoke.written
            )?;
        }
        for problem in &self.problems {
            write!(f, "\n  PROBLEM {problem}")?;
        }
        Ok(())
    }
}
