//! Drills beside the rounds.

use super::care::{AGAIN, AGAIN_DRILL};
use super::outcomes::DrillDone;
use super::{Shared, room};
use crate::backup::{
    BackupError, Condition, Drill, DrillOutcome, DrillParts, DrillSettings, Repository, RestoreProgress,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The most that a drill reads as a client would.
const READ_BYTES: u64 = 1 << 30;
const FILES_AT_ONCE: usize = 2;

/// # Errors
/// `Stopped`. What else keeps it from being done is told.
pub(super) async fn run(
    this: &Shared,
    repository: &Arc<Repository>,
    number: u64,
    stop: &CancellationToken,
) -> Result<(), BackupError> {
    let (clock, steady) = (&this.parts.world.clock, &this.parts.world.steady);
    let (at, began) = (clock.now(), steady.millis());
    let done = room::room(&this.parts).within(stop, |stop| drill(this, repository, stop)).await;
    *this.drilling.lock() = RestoreProgress::default();
    let seconds = steady.millis().saturating_sub(began).max(0) as f64 / 1000.0;
    let done = match done {
        Ok(outcome) => DrillDone::of(number, at, seconds, outcome.moments),
        Err(BackupError::Stopped) => return Err(BackupError::Stopped),
        Err(error) => DrillDone::failed(number, at, error.to_string()),
    };
    match done.trouble() {
        None => tracing::info!(seconds, "the restore drill passed"),
        Some(why) => tracing::error!(%why, "the backup may not be restorable"),
    }
    this.parts.alerts.set(Condition::Drill, done.trouble());
    let now = clock.now();
    let mut state = this.state.lock();
    let care = &mut state.care;
    match &done.error {
        None => {
            care.drill.done(now);
            care.drill_passed = Some(done.passed);
            if !done.passed {
                care.drill.failed(now, AGAIN_DRILL);
            }
        }
        Some(_) => care.drill.failed(now, AGAIN),
    }
    care.drilled = Some(done);
    Ok(())
}

async fn drill(
    this: &Shared,
    repository: &Arc<Repository>,
    stop: CancellationToken,
) -> Result<DrillOutcome, BackupError> {
    let parts = &this.parts;
    // Not all of what is free: the chunk index and the log are written beside what is counted.
    let spare = room::room(parts).spare_bytes().await? / 10 * 9;
    let settings = DrillSettings {
        scratch: parts.source.scratch.clone(),
        scratch_bytes: parts.care.drill_bytes.min(spare),
        read_bytes: READ_BYTES,
        files_at_once: FILES_AT_ONCE,
    };
    let drill = DrillParts {
        repository: Arc::clone(repository),
        store: Some(Arc::clone(&parts.source.log)),
        fs: Arc::clone(&parts.source.fs),
        clock: Arc::clone(&parts.world.clock),
        steady: Arc::clone(&parts.world.steady),
        random: Arc::clone(&parts.world.random),
        rehearsal: parts.care.rehearsal.clone(),
    };
    Drill::new(drill, settings, Arc::clone(&this.drilling), stop).run().await
}
