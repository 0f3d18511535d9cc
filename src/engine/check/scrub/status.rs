//! What a scrub tells of itself.

use super::cursor::{Cursor, Finished};
use crate::engine::check::CheckReport;
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a pass found so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ScrubReport {
    /// It got to the end of everything.
    pub complete: bool,
    /// Of all processes that had a part in the pass.
    #[serde(flatten)]
    pub found: CheckReport,
}

impl ScrubReport {
    /// Everything was read, and nothing is damaged.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.complete && self.found.is_clean()
    }
}

impl fmt::Display for ScrubReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.found.findings {
            writeln!(f, "{finding}")?;
        }
        let rows = [
            ("records read", self.found.records_read),
            ("bytes read", self.found.bytes_read),
            ("plain read", self.found.plain_read),
            ("index entries", self.found.entries_read),
            ("rows read", self.found.rows),
            ("missing", self.found.missing),
            ("damaged", self.found.damaged),
            ("healed", self.found.healed),
            ("from the backup", self.found.from_backup),
            ("frames damaged", self.found.frames),
            ("objects lost", self.found.lost_objects),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<15} {value:>13}")?;
        }
        let verdict = match (self.complete, self.is_clean()) {
            (false, _) => "stopped before the end; the next scrub goes on there",
            (true, true) => "nothing is damaged",
            (true, false) => "the store is damaged",
        };
        write!(f, "{verdict}; {:.1} s", self.found.seconds)
    }
}

/// Called after each step, from any thread; must not block.
pub type OnScrubProgress = Arc<dyn Fn(&ScrubStatus) + Send + Sync>;

/// Where scrubbing stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ScrubStatus {
    pub running: bool,
    /// `packs`, `plain`, `rows`; empty between passes.
    pub phase: String,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// Why the last one ended before its end, if not because it was told to.
    pub error: Option<String>,
    /// Of the pass under way, or the last one.
    pub report: ScrubReport,
    /// The last pass that got to its end.
    pub last: Option<Finished>,
    /// When the store was first scrubbed, or else when this process began.
    pub since: UnixMillis,
}

impl ScrubStatus {
    pub(super) fn new(cursor: &Cursor, now: UnixMillis) -> Self {
        let since = cursor.since.unwrap_or(now);
        let mut this = Self { last: cursor.last.clone(), since, ..Self::default() };
        if let Some(at) = &cursor.pass {
            this.phase = at.phase().to_owned();
            (this.done_bytes, this.total_bytes) = (at.report.bytes_read, at.total_bytes);
            this.report = ScrubReport { complete: false, found: at.report.clone() };
        } else if let Some(last) = &cursor.last {
            this.report = ScrubReport { complete: true, found: last.report.clone() };
        }
        this
    }

    pub(super) fn begin(&mut self) {
        (self.running, self.error) = (true, None);
    }

    pub(super) fn end(&mut self, error: Option<String>) {
        (self.running, self.error) = (false, error);
    }

    /// Of the pass under way, or of the last one where that found more.
    #[must_use]
    pub fn lost_objects(&self) -> u64 {
        let last = self.last.as_ref().map_or(0, |last| last.report.lost_objects);
        if self.report.complete {
            self.report.found.lost_objects
        } else {
            last.max(self.report.found.lost_objects)
        }
    }
}
