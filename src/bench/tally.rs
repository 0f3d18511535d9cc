//! What happened: counts, bytes, and how long operations took, in memory that does not grow with them.

use super::failure::Failure;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Put,
    Get,
    Head,
    List,
    Delete,
    Multipart,
}

/// Of microseconds, each kept to one percent.
#[derive(Debug, Clone)]
pub(super) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        const HOUR: u64 = 3_600_000_000;
        #[expect(clippy::expect_used, reason = "stated invariant: these bounds are valid")]
        Self(Histogram::new_with_bounds(1, HOUR, 2).expect("valid bounds"))
    }
}

impl Latency {
    fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: &Self) {
        // Cannot fail: the bounds are the same.
        let _ = self.0.add(&other.0);
    }

    /// Milliseconds that the share of operations (0 to 1) did not exceed.
    pub(super) fn millis(&self, share: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        // The bucket's end may lie above all that was measured.
        self.0.value_at_quantile(share).min(self.0.max()) as f64 / 1_000.0
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) kinds: BTreeMap<Kind, (u64, Latency)>,
    /// Of bodies, both ways.
    pub(super) bytes: u64,
    pub(super) errors: BTreeMap<String, u64>,
}

impl Tally {
    /// A server that makes up codes must not fill the memory.
    const MAX_CODES: usize = 64;

    pub(super) fn done(&mut self, kind: Kind, took: Duration, bytes: u64) {
        let (count, latency) = self.kinds.entry(kind).or_default();
        *count += 1;
        latency.record(took);
        self.bytes += bytes;
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.count_error(failure.code(), 1);
    }

    fn count_error(&mut self, code: String, times: u64) {
        let is_known = self.errors.contains_key(&code) || self.errors.len() < Self::MAX_CODES;
        *self.errors.entry(if is_known { code } else { "others".to_owned() }).or_default() += times;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (kind, (count, latency)) in &other.kinds {
            let sum = self.kinds.entry(*kind).or_default();
            sum.0 += count;
            sum.1.add(latency);
        }
        self.bytes += other.bytes;
        for (code, times) in &other.errors {
            self.count_error(code.clone(), *times);
        }
    }

    pub(super) fn operations(&self) -> u64 {
        self.kinds.values().map(|(count, _)| count).sum()
    }

    /// Of all kinds together.
    pub(super) fn latency(&self) -> Latency {
        let mut all = Latency::default();
        for (_, latency) in self.kinds.values() {
            all.add(latency);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::Failure;
    use super::{Kind, Tally};
    use std::time::Duration;

    #[test]
    fn percentiles_are_right_to_one_percent_over_all_workers() {
        let mut all = Tally::default();
        for worker in 0..4 {
            let mut tally = Tally::default();
            for number in 0..2_500_u64 {
                tally.done(Kind::Put, Duration::from_micros(4 * number + worker + 1), 10);
            }
            all.add(&tally);
        }
        assert_eq!((all.operations(), all.bytes), (10_000, 100_000));
        for (share, millis) in [(0.5, 5.0), (0.9, 9.0), (0.99, 9.9), (1.0, 10.0)] {
            let got = all.latency().millis(share);
            assert!((got - millis).abs() <= millis * 0.01, "{share}: {got}");
        }
    }

    #[test]
    fn nothing_and_extremes_are_fine() {
        let mut tally = Tally::default();
        assert!(tally.latency().millis(0.5).abs() < f64::EPSILON);
        tally.done(Kind::Get, Duration::ZERO, 0);
        tally.done(Kind::Get, Duration::from_secs(100_000), 0);
        assert!(tally.latency().millis(1.0) >= 3_600_000.0 * 0.99);
    }

    #[test]
    fn i5_codes_are_counted_in_bounded_memory() {
        let mut tally = Tally::default();
        for number in 0..1_000 {
            let code = Some(format!("Made{number}"));
            tally.failed(&Failure::Refused { status: http::StatusCode::BAD_REQUEST, code });
        }
        assert!(tally.errors.len() <= Tally::MAX_CODES + 1);
        assert_eq!(tally.errors.values().sum::<u64>(), 1_000);
        tally.failed(&Failure::Timeout);
        assert_eq!(tally.errors.values().sum::<u64>(), 1_001);
    }
}
