//! The clock that locks and lifecycle go by: started, watched, and what it has reached kept.

use super::store::Store;
use crate::meta::{Commit, MetaStore, SqliteStore};
use crate::sys::{Clock, GuardedClock, LockClockSettings, SystemSteady};
use std::sync::Arc;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// A system clock this far behind is worth a note.
const BEHIND_MILLIS: i64 = 60 * 60 * 1000;

pub(super) fn start(
    meta: &SqliteStore,
    wall: Arc<dyn Clock>,
    settings: &LockClockSettings,
) -> Arc<GuardedClock> {
    let clock = Arc::new(GuardedClock::start(wall, Arc::new(SystemSteady), meta.reached(), settings));
    meta.set_lock_clock(Arc::clone(&clock) as _);
    if let Some(note) = note(&clock) {
        tracing::warn!(lag_seconds = clock.lag_millis() / 1000, "{note}");
    }
    clock
}

/// What is wrong with the clocks, if anything.
pub(super) fn note(clock: &GuardedClock) -> Option<String> {
    let lag = clock.lag_millis();
    if clock.doubts() {
        return Some(format!(
            "the system's clock is {} days ahead of the newest time that this store has seen, and is not believed: \
             object locks last longer and lifecycle waits. If the clock is right, set lock.clock_confirmed to today's \
             date and restart",
            lag / DAY_MILLIS
        ));
    }
    if lag >= DAY_MILLIS {
        return Some(format!(
            "the system's clock has jumped ahead by {} days in all since the start: object locks last longer and \
             lifecycle waits until a restart",
            lag / DAY_MILLIS
        ));
    }
    (lag <= -BEHIND_MILLIS).then(|| {
        format!(
            "the system's clock is {} hours behind the newest time that this store has seen: object locks and \
             lifecycle wait for it",
            -lag / BEHIND_MILLIS
        )
    })
}

/// Publishes the lag; and lets a store to which nobody writes keep once a day how far its clock has got, so that the
/// next start can tell a pause from a clock that was set forward.
pub(super) async fn tend(store: &Store) {
    let clock = &store.lock_clock;
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("sediment_lock_clock_lag_seconds").set(clock.lag_millis() as f64 / 1000.0);
    let Some(reached) = store.meta.reached() else { return };
    if clock.now().get().saturating_sub(reached.get()) > DAY_MILLIS
        && let Err(error) = store.meta.commit(Commit::Mark).await
    {
        tracing::debug!(%error, "cannot keep how far the clock of locks has got");
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MILLIS, note};
    use crate::sys::{GuardedClock, LockClockSettings, ManualClock, SystemSteady};
    use crate::types::UnixMillis;
    use std::sync::Arc;

    #[test]
    fn what_is_wrong_with_a_clock_is_said() {
        const NOW: i64 = 20_000 * DAY_MILLIS;
        let wall = Arc::new(ManualClock::at(UnixMillis::new(NOW)));
        let start = |reached: i64| {
            let (reached, settings) = (Some(UnixMillis::new(reached)), LockClockSettings::default());
            GuardedClock::start(wall.clone(), Arc::new(SystemSteady), reached, &settings)
        };
        let clock = start(NOW - DAY_MILLIS);
        assert_eq!(note(&clock), None);
        assert!(note(&start(NOW - 100 * DAY_MILLIS + DAY_MILLIS / 2)).unwrap().contains("99 days ahead"));
        assert!(note(&start(NOW + DAY_MILLIS)).unwrap().contains("24 hours behind"));
        wall.advance_millis(3 * DAY_MILLIS);
        assert!(note(&clock).unwrap().contains("jumped ahead"));
    }
}
