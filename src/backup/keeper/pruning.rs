//! Deleting what no rule keeps, between two rounds.

use super::{KeeperParts, Shared};
use crate::backup::prune::{Local, Plan, Pruned, Pruner, remote_time};
use crate::backup::{BackupError, LeaseError, Repository, Session, Shipper};
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How the last one ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneOutcome {
    /// 0: nobody asked for it.
    pub number: u64,
    pub at: UnixMillis,
    pub snapshots_kept: u64,
    pub snapshots_deleted: u64,
    pub deleted_objects: u64,
    pub deleted_bytes: u64,
    pub locked_objects: u64,
    pub error: Option<String>,
}

impl PruneOutcome {
    /// Of a prune that was done.
    #[must_use]
    pub fn of(number: u64, at: UnixMillis, plan: &Plan, pruned: &Pruned) -> Self {
        let kept = plan.snapshots.iter().filter(|verdict| verdict.is_kept()).count() as u64;
        Self {
            number,
            at,
            snapshots_kept: kept,
            snapshots_deleted: plan.snapshots.len() as u64 - kept,
            deleted_objects: pruned.deleted.objects,
            deleted_bytes: pruned.deleted.bytes,
            locked_objects: pruned.locked.objects,
            error: None,
        }
    }

    fn failed(number: u64, at: UnixMillis, why: String) -> Self {
        Self {
            number,
            at,
            snapshots_kept: 0,
            snapshots_deleted: 0,
            deleted_objects: 0,
            deleted_bytes: 0,
            locked_objects: 0,
            error: Some(why),
        }
    }
}

impl fmt::Display for PruneOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} snapshots deleted, {} kept; {} objects deleted, {} bytes",
            self.snapshots_deleted, self.snapshots_kept, self.deleted_objects, self.deleted_bytes
        )?;
        match self.locked_objects {
            0 => Ok(()),
            locked => write!(f, "; {locked} more are locked and go later"),
        }
    }
}

/// If one is due, or wanted. That it fails is told, and is no reason not to ship.
pub(super) async fn prune_if_due(
    this: &Shared,
    (session, shipper): (&Arc<Session>, &Shipper),
    stop: &CancellationToken,
) -> Result<(), BackupError> {
    let now = this.parts.world.clock.now();
    let Some(number) = this.wanted_prune(now) else { return Ok(()) };
    // What is being looked at stays until that is done.
    let Ok(_alone) = this.looking.try_lock() else { return Ok(()) };
    // A task of its own: it ends between two requests, whatever becomes of this one.
    let writer = (Arc::clone(session), shipper.local());
    let pruning = tokio::spawn(prune(this.parts.clone(), writer, number, stop.clone()));
    let outcome = match pruning.await? {
        Ok(outcome) => outcome,
        Err(error @ (BackupError::Stopped | BackupError::Lease(LeaseError::Lost(_)))) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "old backups could not be deleted");
            PruneOutcome::failed(number, now, error.to_string())
        }
    };
    if outcome.error.is_none() {
        tracing::info!(
            snapshots = outcome.snapshots_deleted,
            bytes = outcome.deleted_bytes,
            "old backups deleted"
        );
    }
    this.state.lock().pruned = Some(outcome);
    Ok(())
}

async fn prune(
    parts: KeeperParts,
    (session, local): (Arc<Session>, Arc<dyn Local>),
    number: u64,
    stop: CancellationToken,
) -> Result<PruneOutcome, BackupError> {
    let repository: &Arc<Repository> = session.repository();
    let pruner =
        Pruner::new(Arc::clone(repository), Some(local), parts.prune.retention).locking(parts.prune.lock);
    let now = remote_time(&**repository.remote(), &*parts.world.random).await?;
    let plan = pruner.plan(Some(session.epoch()), now).await?;
    let watch = move |_: &Pruned| !stop.is_cancelled();
    let pruned = session.lingering(pruner.execute(&plan, now, &*session, &watch)).await?;
    Ok(PruneOutcome::of(number, parts.world.clock.now(), &plan, &pruned))
}

impl Shared {
    /// Its number; `None`: none is due. The first that nobody asks for is an interval after the start.
    fn wanted_prune(&self, now: UnixMillis) -> Option<u64> {
        let mut state = self.state.lock();
        let last = state.pruned.as_ref();
        if state.prunes_wanted > last.map_or(0, |last| last.number) {
            return Some(state.prunes_wanted);
        }
        let interval = self.parts.prune.interval;
        if interval.is_zero() {
            return None;
        }
        let since = last.map(|last| last.at).or(state.began);
        let Some(since) = since else {
            state.began = Some(now);
            return None;
        };
        let age = u128::try_from(now.get().saturating_sub(since.get())).unwrap_or(0);
        (age >= interval.as_millis()).then_some(state.prunes_wanted)
    }
}
