//! How looks at a backup end.

use crate::backup::{DrillReport, ObjectFault, VerifiedState, VerifyReport};
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Faults and problems that are told one by one; `verified/…` has more.
const MOST_TOLD: usize = 20;

/// A verification that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyAsk {
    /// 0: nobody has asked for it.
    pub number: u64,
    /// How much of the bytes is read back.
    pub percent: u8,
    /// Every snapshot, not the newest alone.
    pub all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFound {
    pub name: String,
    pub state: VerifiedState,
    pub faults: u64,
}

/// How the last verification ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerifyOutcome {
    pub number: u64,
    pub at: UnixMillis,
    pub percent: u8,
    /// Oldest first, as they were found at last.
    pub snapshots: Vec<SnapshotFound>,
    /// The newest snapshot, the log behind it and what all share are whole, as far as was looked.
    pub is_newest_whole: bool,
    /// Objects that were found damaged or missing, the first few of them, and of the newest snapshot those that were sent again.
    pub damaged: u64,
    pub faults: Vec<ObjectFault>,
    pub repaired: u64,
    /// The snapshot that was made in place of the damaged one.
    pub repaired_by: Option<String>,
    /// Why what is damaged could not be sent again.
    pub repair_error: Option<String>,
    pub read_objects: u64,
    pub read_bytes: u64,
    /// It could not be done.
    pub error: Option<String>,
}

impl VerifyOutcome {
    pub(super) fn of(ask: VerifyAsk, at: UnixMillis, report: &VerifyReport) -> Self {
        let mut outcome = Self { number: ask.number, at, percent: ask.percent, ..Self::default() };
        outcome.damaged = report.damaged().len() as u64;
        let of_snapshots = report.snapshots.iter().flat_map(|(_, one)| {
            one.faults.iter().chain(one.behind.iter().flat_map(|behind| &behind.faults))
        });
        let mut faults: Vec<_> = of_snapshots.chain(&report.repository).cloned().collect();
        faults.sort();
        faults.dedup();
        outcome.damaged = outcome.damaged.max(faults.len() as u64);
        faults.truncate(MOST_TOLD);
        outcome.faults = faults;
        outcome.look(report);
        outcome
    }

    pub(super) fn failed(number: u64, at: UnixMillis, why: String) -> Self {
        Self { number, at, error: Some(why), ..Self::default() }
    }

    /// What a look found, the first or one after a repair.
    pub(super) fn look(&mut self, report: &VerifyReport) {
        for (name, found) in &report.snapshots {
            let found = SnapshotFound { name: name.clone(), state: found.state, faults: found.fault_count };
            match self.snapshots.iter_mut().find(|before| before.name == *name) {
                Some(before) => *before = found,
                None => self.snapshots.push(found),
            }
        }
        self.is_newest_whole = report.is_newest_whole();
        self.read_objects += report.read_objects;
        self.read_bytes += report.read_bytes;
    }

    /// Nothing was found, and everything was looked at.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.faults.is_empty()
    }

    /// What somebody should know; what was mended is over.
    pub(super) fn trouble(&self) -> Option<String> {
        match (&self.error, &self.repair_error) {
            (Some(why), _) => Some(format!("the backup could not be verified: {why}")),
            _ if self.is_newest_whole => None,
            (None, Some(why)) => Some(format!("{}; it could not be sent again: {why}", self.told())),
            (None, None) => Some(self.told()),
        }
    }

    pub(super) fn told(&self) -> String {
        let Some(first) = self.faults.first() else {
            return "there is no snapshot that can be restored".to_owned();
        };
        format!("{} objects of the backup are damaged or missing, such as {first}", self.damaged)
    }
}

impl fmt::Display for VerifyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SnapshotFound { name, state, .. } in &self.snapshots {
            writeln!(f, "{:<9} {name}", state.to_string())?;
        }
        for fault in &self.faults {
            writeln!(f, "          {fault}")?;
        }
        write!(f, "{} objects were read back, {} bytes", self.read_objects, self.read_bytes)?;
        match (&self.repaired_by, &self.repair_error) {
            (Some(by), _) => write!(f, "; {} were sent again, snapshot {by} is whole", self.repaired),
            (None, Some(why)) => write!(f, "; what is damaged could not be sent again: {why}"),
            (None, None) => Ok(()),
        }
    }
}

/// How the last drill ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DrillDone {
    pub number: u64,
    pub at: UnixMillis,
    pub passed: bool,
    pub seconds: f64,
    pub moments: Vec<DrillReport>,
    /// It could not be done.
    pub error: Option<String>,
}

impl DrillDone {
    /// With the first few problems of each moment.
    #[must_use]
    pub fn of(number: u64, at: UnixMillis, seconds: f64, mut moments: Vec<DrillReport>) -> Self {
        for moment in &mut moments {
            moment.problems.truncate(MOST_TOLD);
        }
        let passed = !moments.is_empty() && moments.iter().all(|moment| moment.passed);
        Self { number, at, passed, seconds, moments, error: None }
    }

    pub(super) fn failed(number: u64, at: UnixMillis, why: String) -> Self {
        Self { number, at, error: Some(why), ..Self::default() }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(why) = &self.error {
            return Some(format!("the restore drill could not be done: {why}"));
        }
        let first = self.moments.iter().flat_map(|moment| &moment.problems).next();
        (!self.passed).then(|| format!("a restore drill failed: {}", first.map_or("", String::as_str)))
    }
}

impl fmt::Display for DrillDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for moment in &self.moments {
            writeln!(f, "{moment}")?;
        }
        let verdict = if self.passed { "the drill passed" } else { "THE DRILL FAILED" };
        write!(f, "{verdict}; {:.1} s", self.seconds)
    }
}
