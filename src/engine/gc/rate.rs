//! How long to wait so that work stays below a rate, and below a share of the time.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The rest after a step that took so long. A step that hung, on a device or a lock, is no reason to stand still.
pub(super) fn rest(worked: Duration) -> Duration {
    const LONGEST: Duration = Duration::from_secs(1);
    worked.min(LONGEST)
}

/// So many bytes are given back to the file system at once.
pub(super) const FREED_AT_ONCE: u64 = 4 << 20;
/// The rest after that. The next sync of any file may wait until the file system has noted, and the device dropped, what
/// was given back.
pub(super) const FREEING_PAUSE: Duration = Duration::from_millis(10);

/// A hole in pieces that end at whole steps, and so at whole blocks.
pub(super) fn pieces(hole: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let first = hole.start / FREED_AT_ONCE;
    let piece = move |step: u64| {
        let start = (step * FREED_AT_ONCE).max(hole.start);
        (start < hole.end).then(|| start..((step + 1) * FREED_AT_ONCE).min(hole.end))
    };
    (first..).map_while(piece)
}

/// A token bucket: lets a twentieth of a second's worth through at once, then holds the rate. Work larger than that is let through and paid
/// for afterwards.
#[derive(Debug)]
pub(in crate::engine) struct Rate {
    bytes_per_second: u64,
    /// When everything taken so far is paid for.
    paid: Instant,
}

impl Rate {
    pub(in crate::engine) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second, paid: now }
    }

    /// Takes `bytes` and says how long to wait before the next.
    pub(in crate::engine) fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        const BURST: Duration = Duration::from_millis(50);
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        // An hour is longer than any one batch needs, and keeps a tiny rate from overflowing.
        let cost = (bytes as f64 / self.bytes_per_second as f64).min(3600.0);
        self.paid = self.paid.max(now) + Duration::from_secs_f64(cost);
        self.paid.saturating_duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::{FREED_AT_ONCE, Rate, pieces, rest};
    use std::time::{Duration, Instant};

    #[test]
    fn a_long_run_keeps_the_rate() {
        let begin = Instant::now();
        let mut rate = Rate::new(1000, begin);
        let mut now = begin;
        for _ in 0..100 {
            now += rate.take(500, now);
        }
        let took = now - begin;
        assert!(took >= Duration::from_millis(49_900) && took <= Duration::from_secs(50), "{took:?}");
    }

    #[test]
    fn idle_time_saves_no_more_than_the_burst_and_zero_is_no_limit() {
        let begin = Instant::now();
        let mut rate = Rate::new(1000, begin);
        let later = begin + Duration::from_secs(60);
        assert_eq!(rate.take(50, later), Duration::ZERO);
        assert_eq!(rate.take(1000, later), Duration::from_secs(1));
        assert_eq!(Rate::new(0, begin).take(u64::MAX, begin), Duration::ZERO);
    }

    #[test]
    fn a_hole_is_given_back_in_pieces_that_are_the_hole() {
        let step = FREED_AT_ONCE;
        let all = |hole| pieces(hole).collect::<Vec<_>>();
        assert!(all(100..200).into_iter().eq(std::iter::once(100..200)));
        assert_eq!(all(5..2 * step + 7), [5..step, step..2 * step, 2 * step..2 * step + 7]);
        assert!(all(step..2 * step).into_iter().eq(std::iter::once(step..2 * step)));
        assert!(all(9..9).is_empty());
    }

    #[test]
    fn half_of_the_time_is_rest_unless_a_step_hung() {
        assert_eq!(rest(Duration::from_millis(7)), Duration::from_millis(7));
        assert_eq!(rest(Duration::from_secs(3600)), Duration::from_secs(1));
    }
}
