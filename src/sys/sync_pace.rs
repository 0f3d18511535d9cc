//! How long the disk takes for a sync at its best.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The least of so many syncs is looked for; and of as many before them, so that there is always one.
const SYNCS: u64 = 64;
const NEVER: u64 = u64::MAX;

/// The least time of the last 64 to 128 syncs. What a busy processor adds to most of them is not the disk's. Written by one thread, read by any.
#[derive(Debug)]
pub struct SyncPace {
    syncs: AtomicU64,
    now_microseconds: AtomicU64,
    before_microseconds: AtomicU64,
}

impl Default for SyncPace {
    fn default() -> Self {
        let never = || AtomicU64::new(NEVER);
        Self { syncs: AtomicU64::new(0), now_microseconds: never(), before_microseconds: never() }
    }
}

impl SyncPace {
    pub fn took(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(NEVER);
        let least = self.now_microseconds.fetch_min(microseconds, Ordering::Relaxed).min(microseconds);
        if self.syncs.fetch_add(1, Ordering::Relaxed) % SYNCS == SYNCS - 1 {
            self.before_microseconds.store(least, Ordering::Relaxed);
            self.now_microseconds.store(NEVER, Ordering::Relaxed);
        }
    }

    /// `None` before the first one.
    #[must_use]
    pub fn least(&self) -> Option<Duration> {
        let (now, before) = (&self.now_microseconds, &self.before_microseconds);
        let least = now.load(Ordering::Relaxed).min(before.load(Ordering::Relaxed));
        (least != NEVER).then(|| Duration::from_micros(least))
    }
}

#[cfg(test)]
mod tests {
    use super::{SYNCS, SyncPace};
    use std::time::Duration;

    const FAST: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(9);

    #[test]
    fn a_slow_sync_among_fast_ones_says_nothing() {
        let pace = SyncPace::default();
        assert_eq!(pace.least(), None);
        for _ in 0..10 * SYNCS {
            pace.took(SLOW);
            pace.took(FAST);
            assert_eq!(pace.least(), Some(FAST));
        }
    }

    #[test]
    fn a_disk_that_has_become_slow_is_believed_after_some_syncs() {
        let pace = SyncPace::default();
        pace.took(FAST);
        let slow = (0..10 * SYNCS).position(|_| {
            pace.took(SLOW);
            pace.least() == Some(SLOW)
        });
        assert!((SYNCS..=2 * SYNCS).contains(&(slow.unwrap() as u64 + 2)), "{slow:?}");
    }
}
