//! How long the disk takes for a sync, whatever else the processors do.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many are remembered.
const SYNCS: usize = 64;
/// That part of them took no longer: not the least, for a disk may have nothing to do for once; but less than most, for what a busy processor
/// adds is not the disk's.
const PART: usize = 8;
const UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
pub struct SyncPace {
    last: Mutex<Last>,
    microseconds: AtomicU64,
}

#[derive(Debug)]
struct Last {
    microseconds: [u64; SYNCS],
    count: usize,
}

impl Default for SyncPace {
    fn default() -> Self {
        let last = Last { microseconds: [UNKNOWN; SYNCS], count: 0 };
        Self { last: Mutex::new(last), microseconds: AtomicU64::new(UNKNOWN) }
    }
}

impl SyncPace {
    /// One that few waited for: what many write is more than a sync.
    pub fn took(&self, time: Duration) {
        let mut last = self.last.lock();
        let at = last.count % SYNCS;
        last.microseconds[at] = u64::try_from(time.as_micros()).unwrap_or(UNKNOWN);
        last.count += 1;
        let mut known = last.microseconds;
        let known = &mut known[..last.count.min(SYNCS)];
        let nth = (known.len() - 1) / PART;
        let (_, quick, _) = known.select_nth_unstable(nth);
        self.microseconds.store(*quick, Ordering::Relaxed);
    }

    /// An eighth of the last 64 took no longer. `None` before the first one. Does not block.
    #[must_use]
    pub fn quick(&self) -> Option<Duration> {
        let quick = self.microseconds.load(Ordering::Relaxed);
        (quick != UNKNOWN).then(|| Duration::from_micros(quick))
    }
}

#[cfg(test)]
mod tests {
    use super::{SYNCS, SyncPace};
    use std::time::Duration;

    const FAST: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(9);

    fn after(times: &[Duration]) -> Option<Duration> {
        let pace = SyncPace::default();
        times.iter().for_each(|time| pace.took(*time));
        pace.quick()
    }

    #[test]
    fn it_is_known_from_the_first_one_on() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[SLOW]), Some(SLOW));
    }

    #[test]
    fn what_a_busy_processor_adds_to_most_says_nothing() {
        let mostly_slow: Vec<_> = (0..10 * SYNCS).map(|n| if n % 5 == 0 { FAST } else { SLOW }).collect();
        assert_eq!(after(&mostly_slow), Some(FAST));
    }

    #[test]
    fn a_slow_disk_is_not_taken_for_a_fast_one_that_had_nothing_to_do_for_once() {
        let now_and_then: Vec<_> = (0..10 * SYNCS).map(|n| if n % 20 == 0 { FAST } else { SLOW }).collect();
        assert_eq!(after(&now_and_then), Some(SLOW));
    }

    #[test]
    fn a_disk_that_has_changed_is_believed_after_some_syncs() {
        let pace = SyncPace::default();
        let until = |time| {
            (0..2 * SYNCS).position(|_| {
                pace.took(time);
                pace.quick() == Some(time)
            })
        };
        assert_eq!(until(FAST), Some(0));
        assert!(until(SLOW).is_some_and(|syncs| syncs < SYNCS));
        assert!(until(FAST).is_some_and(|syncs| syncs < SYNCS / 2));
    }
}
