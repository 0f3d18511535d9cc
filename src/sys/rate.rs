//! How long to wait so that work stays below a rate.

use std::time::{Duration, Instant};

/// A token bucket, of bytes or requests: lets a twentieth of a second's worth through at once, then holds the rate. Work larger than
/// that is let through and paid for afterwards.
#[derive(Debug)]
pub struct Rate {
    per_second: u64,
    /// When everything taken so far is paid for.
    paid: Instant,
}

impl Rate {
    /// Zero is no limit.
    #[must_use]
    pub fn new(per_second: u64, now: Instant) -> Self {
        Self { per_second, paid: now }
    }

    /// Takes so many and says how long to wait before the next.
    pub fn take(&mut self, units: u64, now: Instant) -> Duration {
        const BURST: Duration = Duration::from_millis(50);
        if self.per_second == 0 {
            return Duration::ZERO;
        }
        // An hour is longer than any one batch needs, and keeps a tiny rate from overflowing.
        let cost = (units as f64 / self.per_second as f64).min(3600.0);
        self.paid = self.paid.max(now) + Duration::from_secs_f64(cost);
        self.paid.saturating_duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;
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
}
