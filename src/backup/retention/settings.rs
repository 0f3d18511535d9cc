//! Settings of retention.

use super::{Age, Period, Zone};
use serde::{Deserialize, Serialize};

/// The longest that garbage may stay before it is deleted: a year.
const MAX_GRACE_SECONDS: u64 = 366 * 24 * 60 * 60;

/// Which snapshots stay. A snapshot stays while any of these keeps it; ages are counted back from the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// How many of the newest; 0: this rule keeps none.
    pub keep_last: u32,
    /// The newest of each hour, for so many hours that have any; 0: none.
    pub keep_hourly: u32,
    pub keep_daily: u32,
    /// ISO weeks: from Monday on.
    pub keep_weekly: u32,
    pub keep_monthly: u32,
    pub keep_yearly: u32,
    /// All that are younger, as `1y5m7d2h`; empty: this rule keeps none.
    pub keep_within: Age,
    /// All that are younger than so many days; 0: this rule keeps none.
    pub retention_days: u16,
    /// The store can be restored to every second that is younger, as `7d`; empty: to the snapshots that are kept, and since the newest one.
    pub window: Age,
    /// Where hours, days, weeks, months and years begin: `UTC`, or hours and minutes from it as `+02:00`.
    pub time_zone: Zone,
    /// What nothing names is deleted when it is older by the remote's clock, in seconds: it may be of a backup that is being made.
    pub grace_seconds: u64,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            keep_last: 0,
            keep_hourly: 0,
            keep_daily: 0,
            keep_weekly: 0,
            keep_monthly: 0,
            keep_yearly: 0,
            keep_within: Age::ZERO,
            retention_days: 7,
            window: Age::days(7),
            time_zone: Zone::UTC,
            grace_seconds: 24 * 60 * 60,
        }
    }
}

impl RetentionSettings {
    /// # Errors
    /// The setting that cannot work, and why.
    pub fn validate(&self) -> Result<(), String> {
        let counts = Period::ALL.iter().map(|period| self.count(*period));
        let keeps_some = counts.sum::<u64>() > 0 || self.retention_days > 0 || !self.keep_within.is_zero();
        if !keeps_some {
            return Err("keep_last must be at least 1 where no other rule keeps a snapshot".to_owned());
        }
        if self.grace_seconds > MAX_GRACE_SECONDS {
            return Err(format!("grace_seconds must be at most {MAX_GRACE_SECONDS}"));
        }
        Ok(())
    }

    /// For how many periods the newest snapshot stays.
    pub(super) fn count(&self, period: Period) -> u64 {
        u64::from(match period {
            Period::Always => self.keep_last,
            Period::Hour => self.keep_hourly,
            Period::Day => self.keep_daily,
            Period::Week => self.keep_weekly,
            Period::Month => self.keep_monthly,
            Period::Year => self.keep_yearly,
        })
    }
}
