//! Does what the plan says.

use super::super::{BackupError, ObjectName};
use super::plan::rank;
use super::{Amount, Guard, Plan, Pruner, locks};
use crate::remote::{Class, RemoteKey};
use crate::types::UnixMillis;
use serde::Serialize;

/// Is shown each step, and says whether to go on.
pub type Watch<'a> = &'a (dyn Fn(&Pruned) -> bool + Send + Sync);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    pub deleted: Amount,
    /// It is garbage, and object lock keeps it: a later run deletes it.
    pub locked: Amount,
    /// When the last of those locks ends.
    pub locked_until: Option<UnixMillis>,
    /// Objects that stay and whose lock was lengthened.
    pub extended: u64,
}

/// One execution.
pub(super) struct Run<'a> {
    guard: &'a dyn Guard,
    watch: Watch<'a>,
    pub(super) now: UnixMillis,
    pub(super) pruned: Pruned,
}

impl Run<'_> {
    /// Before each step: whether it may be done.
    pub(super) async fn check(&self, plan: &Plan) -> Result<(), BackupError> {
        if !(self.watch)(&self.pruned) {
            return Err(BackupError::Stopped);
        }
        let epoch = self.guard.held().await?;
        if plan.writer == Some(epoch) {
            return Ok(());
        }
        Err(BackupError::Unfit("the plan was made under another lease than the one that is held".to_owned()))
    }

    fn skip(&mut self, bytes: u64, until: UnixMillis) {
        self.pruned.locked.add(bytes);
        self.pruned.locked_until = self.pruned.locked_until.max(Some(until));
    }
}

impl Pruner {
    /// Lengthens locks, if so set, and deletes. What a failure leaves is garbage that the next run finds. `now`: by the remote's clock.
    ///
    /// # Errors
    /// When something is missing that stays, the lease is not held any more, the watcher says stop, or the remote fails.
    pub async fn execute(
        &self,
        plan: &Plan,
        now: UnixMillis,
        guard: &dyn Guard,
        watch: Watch<'_>,
    ) -> Result<Pruned, BackupError> {
        if let Some(first) = plan.missing.first() {
            let why = format!(
                "nothing is deleted: snapshots that stay need `{first}`, which is not in the bucket or of another length; \
                 verify the backup, that puts it there again or tells which snapshots are lost"
            );
            return Err(BackupError::Unfit(why));
        }
        let mut run = Run { guard, watch, now, pruned: Pruned::default() };
        if let Some(lock) = self.lock {
            self.extend(plan, &mut run, lock).await?;
        }
        for of_rank in plan.delete.chunk_by(|(one, _), (two, _)| rank(one) == rank(two)) {
            for batch in of_rank.chunks(self.batch) {
                run.check(plan).await?;
                self.delete(batch, &mut run).await?;
            }
        }
        // The last step is shown too; to stop now is too late.
        (run.watch)(&run.pruned);
        Ok(run.pruned)
    }

    async fn delete(&self, batch: &[(ObjectName, u64)], run: &mut Run<'_>) -> Result<(), BackupError> {
        if self.lock.is_some() {
            let batch = self.unlocked(batch, run).await?;
            return self.send(&batch, run).await;
        }
        match self.send(batch, run).await {
            Err(error) if error.class() == Some(Class::Denied) => {
                let rest = self.unlocked(batch, run).await?;
                if rest.len() == batch.len() { Err(error) } else { self.send(&rest, run).await }
            }
            sent => sent,
        }
    }

    /// Those that no lock keeps. Manifests with one are no garbage: there the plan does not hold any more.
    async fn unlocked(
        &self,
        batch: &[(ObjectName, u64)],
        run: &mut Run<'_>,
    ) -> Result<Vec<(ObjectName, u64)>, BackupError> {
        let ends = locks::all_locked(&**self.repository.remote(), batch, run.now).await?;
        let mut rest = Vec::new();
        for ((name, bytes), end) in batch.iter().zip(ends) {
            match (name, end) {
                (_, None) => rest.push((*name, *bytes)),
                (ObjectName::Snapshot(_), Some(_)) => {
                    return Err(BackupError::Unfit(format!("`{name}` was locked meanwhile: prune again")));
                }
                (_, Some(end)) => run.skip(*bytes, end),
            }
        }
        Ok(rest)
    }

    async fn send(&self, batch: &[(ObjectName, u64)], run: &mut Run<'_>) -> Result<(), BackupError> {
        if batch.is_empty() {
            return Ok(());
        }
        let keys: Vec<RemoteKey> = batch.iter().map(|(name, _)| name.key()).collect();
        self.deleter.delete(&keys).await?;
        for (_, bytes) in batch {
            run.pruned.deleted.add(*bytes);
        }
        Ok(())
    }
}
