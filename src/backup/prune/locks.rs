//! Object lock: what may not be deleted yet, and what has to stay longer.

use super::super::{BackupError, ObjectName};
use super::delete::Run;
use super::{Plan, Pruner};
use crate::remote::Remote;
use crate::types::UnixMillis;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::time::Duration;

/// Objects that are looked at at the same time.
const LOOK_AT_ONCE: usize = 8;
/// Between two looks at the lease.
const BATCH: usize = 200;

/// Until when an object is locked, if it is.
pub(super) async fn locked(
    remote: &dyn Remote,
    name: ObjectName,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, BackupError> {
    let stat = remote.head(&name.key()).await?;
    Ok(stat.and_then(|stat| stat.retain_until).filter(|until| *until > now))
}

/// Each object with the end of its lock, if it has one, in the same order.
pub(super) async fn all_locked(
    remote: &dyn Remote,
    names: &[(ObjectName, u64)],
    now: UnixMillis,
) -> Result<Vec<Option<UnixMillis>>, BackupError> {
    let names: Vec<ObjectName> = names.iter().map(|(name, _)| *name).collect();
    let looks = stream::iter(names).map(|name| locked(remote, name, now)).buffered(LOOK_AT_ONCE);
    looks.try_collect().await
}

impl Pruner {
    /// Locks what stays. A lock that has enough left is not touched: it is lengthened by a quarter more than needed, so that a daily run does not
    /// write every object's lock each time.
    pub(super) async fn extend(
        &self,
        plan: &Plan,
        run: &mut Run<'_>,
        lock: Duration,
    ) -> Result<(), BackupError> {
        let after = |time: Duration| {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            UnixMillis::new(run.now.get().saturating_add(millis))
        };
        let (least, until) = (after(lock), after(lock.saturating_add(lock / 4)));
        let remote = &**self.repository.remote();
        // What is overwritten now and then cannot be locked.
        let names: Vec<_> =
            plan.keep.iter().filter(|name| !matches!(name, ObjectName::Verified(_))).copied().collect();
        for batch in names.chunks(BATCH) {
            run.check(plan).await?;
            let lengthen = |name: ObjectName| async move {
                let Some(stat) = remote.head(&name.key()).await? else { return Ok(0) };
                if stat.retain_until.is_some_and(|end| end >= least) {
                    return Ok(0);
                }
                remote.retain(&name.key(), until).await?;
                Ok::<u64, BackupError>(1)
            };
            let each = stream::iter(batch.to_vec()).map(lengthen).buffered(LOOK_AT_ONCE);
            run.pruned.extended += each.try_fold(0, |sum, one| async move { Ok(sum + one) }).await?;
        }
        Ok(())
    }
}
