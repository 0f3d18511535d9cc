//! Verifying beside the rounds, and having what is damaged sent again.

use super::care::{AGAIN, Repair};
use super::outcomes::{VerifyAsk, VerifyOutcome};
use super::{Shared, room};
use crate::backup::{
    BackupError, Catalogue, Condition, ObjectFault, ObjectName, Repository, Scratch, Snapshot, SnapshotName,
    Verification, Verified, VerifiedState, VerifyReport, VerifySettings,
};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Looks that find the newest snapshot damaged, before it is left to the next verification.
const MOST_REPAIRS: u32 = 3;

/// # Errors
/// `Stopped`. What else keeps it from being done is told.
pub(super) async fn run(
    this: &Shared,
    repository: &Arc<Repository>,
    ask: VerifyAsk,
    stop: &CancellationToken,
) -> Result<(), BackupError> {
    // Images of the metadata are written where they are looked at; what was found damaged is looked at whatever is asked for.
    let done = room::room(&this.parts).within(stop, |stop| verify(this, repository, ask, stop)).await;
    *this.verifying.lock() = crate::backup::VerifyProgress::default();
    let now = this.parts.world.clock.now();
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(BackupError::Stopped) => return Err(BackupError::Stopped),
        Err(error) => VerifyOutcome::failed(ask.number, now, error.to_string()),
    };
    let corrupt = match &outcome.error {
        None => corrupt(repository).await.ok(),
        Some(_) => None,
    };
    this.parts.alerts.set(Condition::Verify, outcome.trouble());
    let mut state = this.state.lock();
    let care = &mut state.care;
    match &outcome.error {
        None if outcome.is_newest_whole => {
            // A narrower look is none of those that are due.
            if ask.all && ask.percent >= this.parts.care.verify_percent {
                care.verify.done(now);
            }
        }
        _ => care.verify.failed(now, AGAIN),
    }
    care.corrupt = corrupt.unwrap_or(care.corrupt);
    care.verified = Some(outcome);
    Ok(())
}

async fn corrupt(repository: &Repository) -> Result<u64, BackupError> {
    let catalogue = Catalogue::load(repository).await?;
    let (known, _) = Verified::all(repository, &catalogue).await?;
    Ok(known.values().filter(|known| known.state == VerifiedState::Corrupt).count() as u64)
}

async fn verify(
    this: &Shared,
    repository: &Arc<Repository>,
    ask: VerifyAsk,
    stop: CancellationToken,
) -> Result<VerifyOutcome, BackupError> {
    let which = if ask.all { Verification::All } else { Verification::Newest };
    let mut report = look(this, repository, which, ask.percent, &stop).await?;
    let mut outcome = VerifyOutcome::of(ask, this.parts.world.clock.now(), &report);
    for _ in 0..MOST_REPAIRS {
        let damaged = report.damaged_newest();
        if damaged.is_empty() {
            break;
        }
        this.parts.alerts.set(Condition::Verify, Some(outcome.told()));
        let objects = damaged.len() as u64;
        tracing::error!(
            objects,
            "the newest snapshot of the backup is damaged; what is damaged is sent again"
        );
        match repaired(this, damaged, &stop).await? {
            Ok(snapshot) => {
                metrics::counter!("sediment_backup_repaired_objects_total").increment(objects);
                outcome.repaired += objects;
                outcome.repaired_by = Some(snapshot.name().to_string());
                outcome.repair_error = None;
            }
            // A writer that has taken the repository anew compares what is there: so it is looked at again.
            Err(why) => outcome.repair_error = Some(why),
        }
        report = look(this, repository, Verification::Newest, ask.percent, &stop).await?;
        outcome.look(&report);
    }
    Ok(outcome)
}

async fn look(
    this: &Shared,
    repository: &Arc<Repository>,
    which: Verification,
    percent: u8,
    stop: &CancellationToken,
) -> Result<VerifyReport, BackupError> {
    let source = &this.parts.source;
    let scratch = Scratch {
        dir: source.scratch.clone(),
        fs: Arc::clone(&source.fs),
        clock: Arc::clone(&this.parts.world.clock),
        random: Arc::clone(&this.parts.world.random),
    };
    let settings = VerifySettings { which, percent, at_once: 1 };
    let before = this.own_newest();
    let mut report = Verification::run(repository, settings, scratch, &this.verifying, stop).await?;
    // No prune is at work meanwhile.
    if let Some((_, name)) =
        before.filter(|before| this.own_newest().map(|(epoch, _)| epoch) == Some(before.0))
    {
        report.repository.extend(not_reached(&report, name));
    }
    if report.stopped { Err(BackupError::Stopped) } else { Ok(report) }
}

/// The newest snapshot that this writer knows of, if the way to the newest that was found ends before it.
fn not_reached(report: &VerifyReport, known: SnapshotName) -> Option<ObjectFault> {
    let newest =
        report.newest.as_ref().and_then(|name| ObjectName::parse(&format!("snapshots/{name}.json")).ok());
    if let Some(ObjectName::Snapshot(newest)) = newest
        && (newest.seq, newest.epoch) >= (known.seq, known.epoch)
    {
        return None;
    }
    let why = "it was made, and is not in the bucket, or nothing there leads to it".to_owned();
    Some(ObjectFault { object: ObjectName::Snapshot(known).to_string(), why })
}

impl Shared {
    /// While it is the writer: its epoch, and the last snapshot.
    fn own_newest(&self) -> Option<(u32, SnapshotName)> {
        let state = self.state.lock();
        let epoch = state.epoch.filter(|_| state.held_by.is_none())?;
        state.last_snapshot.map(|(name, _)| (epoch, name))
    }

    /// Whoever waits for it is told why there is no writer.
    pub(super) fn cannot_repair(&self, why: &str) {
        let wanted = self.state.lock().care.repair.take();
        if let Some(Repair { tell, .. }) = wanted {
            let _ = tell.send(Err(why.to_owned()));
        }
    }
}

/// By the writer, between two rounds; as soon as there is one.
async fn repaired(
    this: &Shared,
    damaged: Vec<ObjectName>,
    stop: &CancellationToken,
) -> Result<Result<Snapshot, String>, BackupError> {
    let (tell, told) = oneshot::channel();
    {
        let mut state = this.state.lock();
        if let Some(holder) = &state.held_by {
            return Ok(Err(format!("the repository is written by {holder}")));
        }
        state.care.repair = Some(Repair { damaged, tell });
    }
    this.poked.notify_one();
    match stop.run_until_cancelled(told).await {
        Some(Ok(made)) => Ok(made),
        Some(Err(_)) => Ok(Err("the writer has ended".to_owned())),
        None => {
            this.state.lock().care.repair = None;
            Err(BackupError::Stopped)
        }
    }
}
