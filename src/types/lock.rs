//! Object lock: until when a version may not be deleted, and who may say otherwise.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>

use super::{ParseError, UnixMillis};
use serde::{Deserialize, Serialize};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const YEAR_DAYS: u32 = 365;
/// AWS's longest default retention.
const MAX_DAYS: u32 = 100 * YEAR_DAYS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// Whoever is allowed to bypass it may delete the version or shorten its retention.
    Governance,
    /// Nobody may, not even root.
    Compliance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retention {
    pub mode: LockMode,
    pub until: UnixMillis,
}

/// What protects one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectLock {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// `None` until it is set for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

impl ObjectLock {
    #[must_use]
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version must stay. `bypass_governance`: the caller may, and asked to.
    #[must_use]
    pub fn protects(&self, now: UnixMillis, bypass_governance: bool) -> bool {
        self.legal_hold == Some(true)
            || self.retained(now).is_some_and(|mode| !may_pass(mode, bypass_governance))
    }

    /// Whether the retention may become `new`. A running one may be made longer by anybody; made shorter, of another
    /// mode or ended only under governance, and only by a bypass.
    #[must_use]
    pub fn may_become(&self, new: Option<Retention>, now: UnixMillis, bypass_governance: bool) -> bool {
        let Some((mode, old)) = self.retained(now).zip(self.retention) else { return true };
        let keeps = new.is_some_and(|new| new.mode == mode && new.until >= old.until);
        keeps || may_pass(mode, bypass_governance)
    }

    fn retained(&self, now: UnixMillis) -> Option<LockMode> {
        self.retention.filter(|retention| retention.until > now).map(|retention| retention.mode)
    }
}

fn may_pass(mode: LockMode, bypass_governance: bool) -> bool {
    mode == LockMode::Governance && bypass_governance
}

/// How long a bucket retains what is put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetentionPeriod {
    Days(u32),
    /// Of 365 days.
    Years(u32),
}

impl RetentionPeriod {
    /// # Errors
    /// When it is not 1 day to 100 years.
    pub fn days(days: i64) -> Result<Self, ParseError> {
        let days = u32::try_from(days).ok().filter(|days| (1..=MAX_DAYS).contains(days));
        days.map(Self::Days).ok_or(ParseError::new("retention period", "use 1 day to 100 years"))
    }

    /// # Errors
    /// When it is not 1 to 100 years.
    pub fn years(years: i64) -> Result<Self, ParseError> {
        let years = u32::try_from(years).ok().filter(|years| (1..=MAX_DAYS / YEAR_DAYS).contains(years));
        years.map(Self::Years).ok_or(ParseError::new("retention period", "use 1 day to 100 years"))
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        match self {
            Self::Days(days) => days as i64 * DAY_MILLIS,
            Self::Years(years) => (years * YEAR_DAYS) as i64 * DAY_MILLIS,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DefaultRetention {
    pub mode: LockMode,
    pub period: RetentionPeriod,
}

/// A bucket with object lock: once there, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LockSettings {
    pub default_retention: Option<DefaultRetention>,
}

impl LockSettings {
    /// The lock of a version written now that asks for `asked`.
    #[must_use]
    pub fn lock_of_new(&self, asked: ObjectLock, now: UnixMillis) -> ObjectLock {
        let by_default = || {
            let DefaultRetention { mode, period } = self.default_retention?;
            Some(Retention { mode, until: UnixMillis::new(now.get().saturating_add(period.millis())) })
        };
        ObjectLock { retention: asked.retention.or_else(by_default), ..asked }
    }
}

#[cfg(test)]
mod tests {
    use super::{DefaultRetention, LockMode, LockSettings, ObjectLock, Retention, RetentionPeriod};
    use crate::types::UnixMillis;

    const NOW: UnixMillis = UnixMillis::new(1_000);

    fn until(mode: LockMode, millis: i64) -> Retention {
        Retention { mode, until: UnixMillis::new(millis) }
    }

    fn lock(mode: LockMode, millis: i64) -> ObjectLock {
        ObjectLock { retention: Some(until(mode, millis)), legal_hold: None }
    }

    #[test]
    fn i6_a_lock_protects_until_it_ends() {
        use LockMode::{Compliance, Governance};
        assert!(!ObjectLock::default().protects(NOW, false));
        assert!(lock(Governance, 1_001).protects(NOW, false));
        assert!(!lock(Governance, 1_001).protects(NOW, true));
        assert!(lock(Compliance, 1_001).protects(NOW, true));
        assert!(!lock(Compliance, 1_000).protects(NOW, false));
        let held = |on| ObjectLock { retention: None, legal_hold: Some(on) };
        assert!(held(true).protects(NOW, true) && !held(false).protects(NOW, false));
    }

    #[test]
    fn i6_a_running_retention_only_grows() {
        use LockMode::{Compliance, Governance};
        let compliance = lock(Compliance, 2_000);
        assert!(compliance.may_become(Some(until(Compliance, 2_000)), NOW, false));
        assert!(!compliance.may_become(Some(until(Compliance, 1_999)), NOW, true));
        assert!(!compliance.may_become(Some(until(Governance, 9_000)), NOW, true));
        assert!(!compliance.may_become(None, NOW, true));
        assert!(compliance.may_become(None, UnixMillis::new(2_000), false), "it has ended");
        let governance = lock(Governance, 2_000);
        assert!(governance.may_become(Some(until(Governance, 3_000)), NOW, false));
        assert!(!governance.may_become(Some(until(Compliance, 9_000)), NOW, false), "as on AWS");
        assert!(governance.may_become(Some(until(Compliance, 9_000)), NOW, true));
        assert!(!governance.may_become(Some(until(Governance, 1_500)), NOW, false));
        assert!(!governance.may_become(None, NOW, false));
        assert!(governance.may_become(None, NOW, true));
    }

    #[test]
    fn a_bucket_retains_what_asks_for_nothing_else() {
        let (mode, period) = (LockMode::Governance, RetentionPeriod::Days(1));
        let settings = LockSettings { default_retention: Some(DefaultRetention { mode, period }) };
        let lock_of = |asked| settings.lock_of_new(asked, NOW);
        assert_eq!(lock_of(ObjectLock::default()), lock(mode, 86_401_000));
        assert_eq!(lock_of(lock(LockMode::Compliance, 5)), lock(LockMode::Compliance, 5));
        let none = LockSettings::default();
        assert!(none.lock_of_new(ObjectLock::default(), NOW).is_unset());
        assert!(RetentionPeriod::days(0).is_err() && RetentionPeriod::days(36_501).is_err());
        assert!(RetentionPeriod::years(101).is_err());
    }
}
