//! The clock that locks and lifecycle go by: it never believes a jump of the wall clock that would end them early.
//! The reasons stand in `docs/decisions/006-a-clock-for-locks.md`.

use super::clock::Clock;
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Time that nobody can set: milliseconds since some moment, sleep included.
pub trait Steady: Send + Sync + std::fmt::Debug {
    fn millis(&self) -> i64;
}

/// Since the machine was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSteady;

impl Steady for SystemSteady {
    fn millis(&self) -> i64 {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        since.tv_sec.saturating_mul(1000).saturating_add(since.tv_nsec / 1_000_000)
    }
}

/// The `lock` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LockClockSettings {
    /// At a start, a system clock further ahead of the newest time that the store has seen is not believed: locks last
    /// longer, and lifecycle waits, until `clock_confirmed` says otherwise.
    pub maximum_downtime_seconds: u64,
    /// A date that has come for certain, UTC: the store counts it as seen.
    pub clock_confirmed: Option<String>,
}

impl Default for LockClockSettings {
    fn default() -> Self {
        Self { maximum_downtime_seconds: 45 * 24 * 60 * 60, clock_confirmed: None }
    }
}

impl LockClockSettings {
    /// # Errors
    /// With the setting that cannot work, and what would.
    pub fn validate(&self) -> Result<(), String> {
        if !(3600..=100 * 365 * 86_400).contains(&self.maximum_downtime_seconds) {
            return Err("maximum_downtime_seconds must be an hour to 100 years".to_owned());
        }
        match &self.clock_confirmed {
            Some(text) if day(text).is_none() => {
                Err(format!("clock_confirmed must be a date, as 2027-03-31; not `{text}`"))
            }
            _ => Ok(()),
        }
    }

    fn maximum_millis(&self) -> i64 {
        i64::try_from(self.maximum_downtime_seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
    }

    /// The end of the day that was confirmed.
    fn confirmed(&self) -> Option<UnixMillis> {
        day(self.clock_confirmed.as_deref()?)
    }
}

/// The end of a day.
fn day(text: &str) -> Option<UnixMillis> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(text, format).ok()?;
    let start = date.midnight().assume_utc().unix_timestamp();
    Some(UnixMillis::new(start.saturating_mul(1000).saturating_add(DAY_MILLIS)))
}

/// Runs with the steady clock from a start that the wall clock gives if it can be believed; waits for a wall clock that
/// is behind; never goes back.
#[derive(Debug)]
pub struct GuardedClock {
    wall: Arc<dyn Clock>,
    steady: Arc<dyn Steady>,
    /// What this clock would show when the steady one shows 0.
    offset: i64,
    /// The latest time that it has shown.
    shown: AtomicI64,
    doubts: bool,
}

impl GuardedClock {
    /// `reached`: the newest time that the store has seen; `None` for one that is new.
    #[must_use]
    pub fn start(
        wall: Arc<dyn Clock>,
        steady: Arc<dyn Steady>,
        reached: Option<UnixMillis>,
        settings: &LockClockSettings,
    ) -> Self {
        let (now, began) = (wall.now(), steady.millis());
        let seen = reached.map_or(now, |reached| reached.max(settings.confirmed().unwrap_or(reached)));
        let doubts = now.get().saturating_sub(seen.get()) > settings.maximum_millis();
        let reached = reached.unwrap_or(now);
        let start = if doubts { reached } else { now.max(reached) };
        let shown = AtomicI64::new(reached.get());
        Self { wall, steady, offset: start.get().saturating_sub(began), shown, doubts }
    }

    /// Whether the wall clock was not believed at the start.
    #[must_use]
    pub const fn doubts(&self) -> bool {
        self.doubts
    }

    /// How far the wall clock is ahead of this one, in milliseconds; negative when it is behind.
    #[must_use]
    pub fn lag_millis(&self) -> i64 {
        self.wall.now().get().saturating_sub(self.now().get())
    }
}

impl Clock for GuardedClock {
    fn now(&self) -> UnixMillis {
        let steady = self.offset.saturating_add(self.steady.millis());
        let believed = steady.min(self.wall.now().get());
        UnixMillis::new(self.shown.fetch_max(believed, Ordering::AcqRel).max(believed))
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY_MILLIS, GuardedClock, LockClockSettings, Steady, SystemSteady};
    use crate::sys::{Clock, ManualClock};
    use crate::types::UnixMillis;
    use std::sync::Arc;

    impl Steady for ManualClock {
        fn millis(&self) -> i64 {
            self.now().get()
        }
    }

    struct World {
        wall: Arc<ManualClock>,
        steady: Arc<ManualClock>,
    }

    const START: i64 = 1_000 * DAY_MILLIS;

    impl World {
        fn at(wall: i64) -> Self {
            let wall = Arc::new(ManualClock::at(UnixMillis::new(wall)));
            Self { wall, steady: Arc::new(ManualClock::at(UnixMillis::new(77))) }
        }

        fn start(&self, reached: Option<i64>, settings: &LockClockSettings) -> GuardedClock {
            let reached = reached.map(UnixMillis::new);
            GuardedClock::start(self.wall.clone(), self.steady.clone(), reached, settings)
        }

        fn pass(&self, millis: i64) {
            self.wall.advance_millis(millis);
            self.steady.advance_millis(millis);
        }
    }

    fn guarded(world: &World, reached: Option<i64>) -> GuardedClock {
        world.start(reached, &LockClockSettings::default())
    }

    #[test]
    fn it_goes_with_a_wall_clock_that_does_not_jump() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        assert_eq!(clock.now().get(), START);
        world.pass(5_000);
        assert_eq!((clock.now().get(), clock.lag_millis(), clock.doubts()), (START + 5_000, 0, false));
        let clock = guarded(&world, Some(START - 20 * DAY_MILLIS));
        assert_eq!((clock.now().get(), clock.doubts()), (START + 5_000, false), "it was off for twenty days");
    }

    #[test]
    fn i6_a_wall_clock_set_forward_ends_no_lock() {
        let world = World::at(START);
        let clock = guarded(&world, Some(START));
        for jump in [1_000, DAY_MILLIS, 10_000 * DAY_MILLIS] {
            world.wall.advance_millis(jump);
            assert_eq!(clock.now().get(), START);
        }
        world.steady.advance_millis(60_000);
        assert_eq!(clock.now().get(), START + 60_000, "time still passes");
        // Not by a restart either.
        let again = guarded(&world, Some(START + 60_000));
        assert!(again.doubts() && again.lag_millis() > 10_000 * DAY_MILLIS);
        world.pass(1_000);
        assert_eq!(again.now().get(), START + 61_000);
    }

    #[test]
    fn i6_a_wall_clock_set_back_is_waited_for() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        world.pass(1_000);
        assert_eq!(clock.now().get(), START + 1_000);
        world.wall.advance_millis(-DAY_MILLIS);
        world.pass(1_000);
        assert_eq!((clock.now().get(), clock.doubts()), (START + 1_000, false));
        world.pass(DAY_MILLIS);
        assert_eq!(clock.now().get(), START + DAY_MILLIS.min(2_000));
        let again = guarded(&World::at(0), Some(START));
        assert_eq!((again.now().get(), again.lag_millis()), (START, -START), "a machine without a battery");
    }

    #[test]
    fn a_clock_wrong_at_the_start_and_set_right_gains_nothing() {
        let world = World::at(START + 20 * DAY_MILLIS);
        let clock = guarded(&world, Some(START));
        assert!(!clock.doubts());
        world.wall.advance_millis(-20 * DAY_MILLIS);
        assert_eq!(clock.now().get(), START, "nobody had asked it yet");
        world.pass(60_000);
        assert_eq!(clock.now().get(), START + 60_000);
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let world = World::at(START);
        let reached = Some(START - 400 * DAY_MILLIS);
        assert!(guarded(&world, reached).doubts());
        let confirmed = |date: &str| LockClockSettings {
            clock_confirmed: Some(date.into()),
            ..LockClockSettings::default()
        };
        // Day 1,000 is 1972-09-27.
        let clock = world.start(reached, &confirmed("1972-09-20"));
        assert_eq!((clock.now().get(), clock.doubts()), (START, false));
        assert!(world.start(reached, &confirmed("1972-07-01")).doubts(), "it has expired itself");
        // A date that lies ahead moves nothing ahead.
        assert_eq!(world.start(reached, &confirmed("2099-01-01")).now().get(), START);
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let with = |maximum_downtime_seconds, confirmed: Option<&str>| {
            let clock_confirmed = confirmed.map(str::to_owned);
            LockClockSettings { maximum_downtime_seconds, clock_confirmed }.validate()
        };
        assert!(with(3600, Some("2027-02-28")).is_ok() && LockClockSettings::default().validate().is_ok());
        assert!(with(3599, None).is_err() && with(u64::MAX, None).is_err());
        assert!(with(3600, Some("2027-02-29")).is_err() && with(3600, Some("today")).is_err());
        let (first, second) = (SystemSteady.millis(), SystemSteady.millis());
        assert!(first > 0 && second >= first);
    }
}
