//! What a keeper says of itself.

use super::{DrillDone, Keeper, PruneOutcome, Shared, State, VerifyOutcome};
use crate::backup::alerts::shown;
use crate::backup::{BackupError, RestoreProgress, ShipProgress, VerifyProgress};
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeeperState {
    #[default]
    Starting,
    /// Another gateway has the lease.
    Waiting,
    /// Sends what is new.
    Shipping,
    Snapshot,
    /// Everything is in the bucket.
    Idle,
    /// The last attempt failed; it is tried again.
    Failing,
    Stopped,
}

/// The last failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub at: UnixMillis,
    pub why: String,
    /// What helps.
    pub advice: Option<String>,
}

/// How a snapshot that was asked for ended: the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    pub number: u64,
    /// Its name.
    pub snapshot: Option<String>,
    pub is_full: bool,
    pub seq: u64,
    /// In the bucket, since the snapshot before it.
    pub sent_bytes: u64,
    /// Of all objects that it needs.
    pub remote_bytes: u64,
    pub logical_bytes: u64,
    pub seconds: f64,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupStatus {
    pub state: KeeperState,
    pub repository: Option<String>,
    pub epoch: Option<u32>,
    /// Who has the lease, if somebody else has it.
    pub held_by: Option<String>,
    /// Everything that was committed so many seconds ago, or earlier, can be restored. `None`: nothing can be yet, as far as this process
    /// knows.
    pub rpo_seconds: Option<f64>,
    /// Records that are not in the bucket yet.
    pub lag_records: u64,
    pub shipped_seq: Option<u64>,
    pub shipped_at: Option<UnixMillis>,
    pub last_snapshot: Option<String>,
    pub last_snapshot_at: Option<UnixMillis>,
    pub snapshot_age_seconds: Option<f64>,
    pub next_snapshot_at: Option<UnixMillis>,
    pub last_failure: Option<Failure>,
    pub failures_in_a_row: u32,
    pub phase: String,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// Into the bucket, since the process began.
    pub sent_bytes: u64,
    pub sent_objects: u64,
    /// The last snapshot that was asked for and is done.
    pub run: Option<RunOutcome>,
    /// The last time that old backups were deleted.
    pub prune: Option<PruneOutcome>,
    /// The store has let go of the backup, and there has been no snapshot since.
    pub given_up: bool,
    pub care: CareStatus,
}

/// How what is in the bucket was looked at, and when that is next.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CareStatus {
    /// What is under way; empty: nothing.
    pub phase: String,
    pub done: u64,
    pub total: u64,
    /// The last verification by this process.
    pub verify: Option<VerifyOutcome>,
    /// The last of all snapshots by any process, of what is read on schedule or more. What is wrong since stands in `alerts`.
    pub verified_at: Option<UnixMillis>,
    pub verified_seconds_ago: Option<f64>,
    pub next_verify_at: Option<UnixMillis>,
    /// Snapshots that cannot be restored.
    pub corrupt_snapshots: u64,
    /// The last drill by this process.
    pub drill: Option<DrillDone>,
    /// The last by any process.
    pub drilled_at: Option<UnixMillis>,
    pub drilled_seconds_ago: Option<f64>,
    pub drill_passed: Option<bool>,
    pub next_drill_at: Option<UnixMillis>,
    /// What is raised, by its name.
    pub alerts: Vec<(String, String)>,
}

impl Keeper {
    /// How things stand.
    pub async fn status(&self) -> BackupStatus {
        let parts = &self.0.parts;
        let last_seq = parts.source.log.last_seq().await.map_or(0, crate::types::CommitSeq::get);
        let now = parts.world.clock.now();
        let progress: ShipProgress = *self.0.progress.lock();
        let state = self.0.state.lock();
        let since = |at: UnixMillis| now.get().saturating_sub(at.get()).max(0) as f64 / 1000.0;
        let is_restorable = state.last_snapshot.is_some();
        let interval = i64::try_from(parts.snapshot_interval.as_millis()).unwrap_or(i64::MAX);
        let next = |at: UnixMillis| UnixMillis::new(at.get().saturating_add(interval));
        BackupStatus {
            state: state.shown,
            repository: state.repository.as_ref().map(|found| found.description().id.to_string()),
            epoch: state.epoch,
            held_by: state.held_by.clone(),
            rpo_seconds: state.covered.filter(|_| is_restorable).map(since),
            lag_records: state.shipped.map_or(last_seq, |(seq, _)| last_seq.saturating_sub(seq)),
            shipped_seq: state.shipped.map(|(seq, _)| seq),
            shipped_at: state.shipped.map(|(_, at)| at),
            last_snapshot: state.last_snapshot.map(|(name, _)| name.to_string()),
            last_snapshot_at: state.last_snapshot.map(|(_, at)| at),
            snapshot_age_seconds: state.last_snapshot.map(|(_, at)| since(at)),
            next_snapshot_at: state.last_snapshot.map(|(_, at)| next(at)),
            last_failure: state.failure.clone(),
            failures_in_a_row: state.failures_in_a_row,
            phase: progress.phase.to_owned(),
            done_bytes: progress.done_bytes,
            total_bytes: progress.total_bytes,
            sent_bytes: progress.sent_bytes,
            sent_objects: progress.sent_objects,
            run: state.done.clone(),
            prune: state.pruned.clone(),
            given_up: state.given_up,
            care: self.0.care_status(&state, now),
        }
    }
}

impl Shared {
    fn care_status(&self, state: &State, now: UnixMillis) -> CareStatus {
        let (care, parts) = (&state.care, &self.parts.care);
        let created = state.repository.as_ref().map(|repository| repository.description().created);
        let since = |at: UnixMillis| now.get().saturating_sub(at.get()).max(0) as f64 / 1000.0;
        let (phase, done, total) = self.look_under_way();
        let raised = self.parts.alerts.raised().into_iter();
        CareStatus {
            phase,
            done,
            total,
            verify: care.verified.clone(),
            verified_at: care.verify.last,
            verified_seconds_ago: care.verify.last.map(since),
            next_verify_at: created.and_then(|created| care.verify.next(parts.verify_interval, created)),
            corrupt_snapshots: care.corrupt,
            drill: care.drilled.clone(),
            drilled_at: care.drill.last,
            drilled_seconds_ago: care.drill.last.map(since),
            drill_passed: care.drill_passed,
            next_drill_at: created.and_then(|created| care.drill.next(parts.drill_interval, created)),
            alerts: raised.map(|(condition, why)| (condition.to_string(), why)).collect(),
        }
    }

    fn look_under_way(&self) -> (String, u64, u64) {
        let (verify, drill): (VerifyProgress, RestoreProgress) =
            (*self.verifying.lock(), *self.drilling.lock());
        if !verify.phase.is_empty() {
            return (format!("verify: {}", verify.phase), verify.done, verify.total);
        }
        if !drill.phase.is_empty() {
            return (format!("drill: {}", drill.phase), drill.done, drill.total);
        }
        (String::new(), 0, 0)
    }
}

impl State {
    pub(super) fn failed(&mut self, at: UnixMillis, error: &BackupError) {
        self.shown = KeeperState::Failing;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let advice = error.advice().map(str::to_owned);
        self.failure = Some(Failure { at, why: error.to_string(), advice });
    }
}

impl fmt::Display for BackupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            KeeperState::Starting => "starting",
            KeeperState::Waiting => "waiting for the lease",
            KeeperState::Shipping => "shipping",
            KeeperState::Snapshot => "making a snapshot",
            KeeperState::Idle => "everything is in the bucket",
            KeeperState::Failing => "failing, tried again",
            KeeperState::Stopped => "stopped",
        };
        write!(f, "state            {state}")?;
        if let Some(holder) = &self.held_by {
            write!(f, "\nlease            held by {holder}")?;
        }
        if let Some(repository) = &self.repository {
            write!(f, "\nrepository       {repository}")?;
        }
        match self.rpo_seconds {
            Some(seconds) => write!(f, "\nrestorable       all but the last {seconds:.1} seconds")?,
            None => write!(f, "\nrestorable       nothing yet: there is no snapshot")?,
        }
        write!(f, "\nnot shipped      {} records", self.lag_records)?;
        if self.total_bytes > 0 {
            write!(
                f,
                "\nat work          {}: {} of {} bytes",
                self.phase, self.done_bytes, self.total_bytes
            )?;
        }
        if let Some(name) = &self.last_snapshot {
            write!(f, "\nlast snapshot    {name}")?;
        }
        write!(
            f,
            "\nsent             {} bytes in {} objects since the start",
            self.sent_bytes, self.sent_objects
        )?;
        if let Some(Failure { why, advice, .. }) = &self.last_failure {
            write!(f, "\nlast failure     {why}")?;
            if let Some(advice) = advice {
                write!(f, " ({advice})")?;
            }
        }
        write!(f, "{}", self.care)
    }
}

/// Lines behind those of the backup itself.
impl fmt::Display for CareStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.phase.is_empty() {
            write!(f, "\nlooking at it    {}: {} of {} bytes", self.phase, self.done, self.total)?;
        }
        match self.verified_at {
            Some(at) => write!(f, "\nverified         {}", shown(at))?,
            None => write!(f, "\nverified         never")?,
        }
        if let Some(why) = self.verify.as_ref().and_then(VerifyOutcome::trouble) {
            write!(f, "; since then {why}")?;
        }
        if self.corrupt_snapshots > 0 {
            write!(f, "; {} snapshots are corrupt", self.corrupt_snapshots)?;
        }
        if let Some(next) = self.next_verify_at {
            write!(f, "; next {}", shown(next))?;
        }
        match (self.drilled_at, self.drill_passed) {
            (Some(at), Some(true)) => write!(f, "\nrestored         for practice {}: passed", shown(at))?,
            (Some(at), _) => write!(f, "\nrestored         for practice {}: FAILED", shown(at))?,
            (None, _) => write!(f, "\nrestored         never for practice")?,
        }
        if let Some(latest) = self.drill.as_ref().and_then(|drill| drill.moments.first()) {
            write!(f, ", {}", latest.in_short())?;
        }
        if let Some(why) = self.drill.as_ref().and_then(|drill| drill.error.as_ref()) {
            write!(f, "; the last drill could not be done: {why}")?;
        }
        if let Some(next) = self.next_drill_at {
            write!(f, "; next {}", shown(next))?;
        }
        for (name, why) in &self.alerts {
            write!(f, "\nALERT            {name}: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = if self.is_full { "full snapshot" } else { "snapshot" };
        let name = self.snapshot.as_deref().unwrap_or("-");
        write!(
            f,
            "{full} {name} of record {}: {} bytes sent in {:.1} s; it needs {} bytes in the bucket for {} bytes of objects",
            self.seq, self.sent_bytes, self.seconds, self.remote_bytes, self.logical_bytes
        )
    }
}
