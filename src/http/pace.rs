//! How slow a client may be.

use std::time::Duration;

/// An average that bodies must keep, once they have had their grace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) grace: Duration,
    /// Zero: any.
    pub(super) bytes_per_second: u64,
}

impl Pace {
    /// How long a body may have taken for so many bytes.
    pub(super) fn allows(self, bytes: u64) -> Duration {
        match self.bytes_per_second {
            0 => Duration::MAX,
            rate => self.grace.saturating_add(Duration::from_secs(bytes / rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn a_trickle_runs_out_of_time_and_a_slow_line_does_not() {
        let pace = Pace { grace: Duration::from_secs(60), bytes_per_second: 1024 };
        assert_eq!(pace.allows(100), Duration::from_secs(60));
        assert!(pace.allows(10 << 20) > Duration::from_secs(10_000), "10 MiB at 1 KiB/s");
        assert_eq!(Pace { bytes_per_second: 0, ..pace }.allows(0), Duration::MAX);
    }
}
