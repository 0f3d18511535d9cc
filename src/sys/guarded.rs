//! The clock that locks and lifecycle go by: it never believes a jump of the wall clock that would end them early.
//! The reasons stand in `docs/decisions/006-a-clock-for-locks.md`.

use super::clock::{Clock, ManualClock};
use crate::types::UnixMillis;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// A machine that just came up may have to be told the time first.
const SETTLE_MILLIS: i64 = 10 * 60 * 1000;
/// After more sleep than this the wall clock is what a machine that just came up shows: a battery's word.
const NAP_MILLIS: i64 = 2 * 60 * 1000;

/// Time that nobody can set.
pub trait Steady: Send + Sync + std::fmt::Debug {
    /// Milliseconds that the machine was awake since some moment; a time server moves them neither at once nor slowly.
    fn millis(&self) -> i64;

    /// Milliseconds that it slept since then, as its battery's clock tells: for noticing that it did, not for counting.
    fn asleep_millis(&self) -> i64;

    /// Names the run of the machine that it counts in; `None` when that is not known.
    fn boot(&self) -> Option<String>;
}

/// Since the machine was started, by its quartz alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSteady;

/// A quartz may be slow by so many parts: counted as running faster by one in these, it keeps up with a wall clock that is
/// right, and a lying one gains nine minutes in a month.
const QUARTZ_PARTS: i64 = 5_000;

impl SystemSteady {
    fn read(clock: ClockId) -> i64 {
        let since = clock_gettime(clock);
        since.tv_sec.saturating_mul(1000).saturating_add(since.tv_nsec / 1_000_000)
    }
}

impl Steady for SystemSteady {
    fn millis(&self) -> i64 {
        let millis = Self::read(ClockId::MonotonicRaw);
        millis.saturating_add(millis / QUARTZ_PARTS)
    }

    fn asleep_millis(&self) -> i64 {
        let awake = Self::read(ClockId::Monotonic);
        Self::read(ClockId::Boottime).saturating_sub(awake)
    }

    fn boot(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }
}

/// For tests: as if the machine never slept.
impl Steady for ManualClock {
    fn millis(&self) -> i64 {
        self.now().get()
    }

    fn asleep_millis(&self) -> i64 {
        0
    }

    fn boot(&self) -> Option<String> {
        None
    }
}

/// The `lock` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LockClockSettings {
    /// At the first start since the machine came up, a system clock further ahead of the newest time that the store has
    /// seen is not believed: locks last longer, and lifecycle waits, until `clock_confirmed` says otherwise.
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

/// A clock that is told which of its times were recorded for good.
pub trait RecordedClock: Clock {
    /// It shows no less from now on.
    fn recorded(&self, time: UnixMillis);
}

/// One that is moved by hand is held to nothing.
impl RecordedClock for ManualClock {
    fn recorded(&self, _: UnixMillis) {}
}

/// Where a clock stands beside the steady one, for the next start on the same run of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptClock {
    pub boot: String,
    /// What it shows when the steady clock shows 0, in milliseconds.
    pub offset: i64,
    /// How long the machine had slept by then, in milliseconds.
    pub asleep: i64,
}

/// Shows no more than the wall clock, nor than the steady clock allows since it was last asked; and no less than what was
/// recorded. Being asked alone holds it to nothing: a wall clock that is set right is followed back.
#[derive(Debug)]
pub struct GuardedClock {
    wall: Arc<dyn Clock>,
    steady: Arc<dyn Steady>,
    boot: Option<String>,
    maximum: i64,
    confirmed: Option<UnixMillis>,
    line: Mutex<Line>,
}

/// What bounds the clock beside the wall clock.
#[derive(Debug)]
struct Line {
    /// What may be shown when the steady clock shows 0.
    offset: i64,
    /// What was recorded.
    floor: Option<i64>,
    trust: Trust,
    /// When it was started, or the machine woke, by the steady clock.
    began: i64,
    /// How long the machine had slept when that was last looked at, in milliseconds.
    asleep: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing was ever recorded: the wall clock is all that there is.
    New,
    /// It goes on from what was recorded until the wall clock can be believed.
    Waiting,
    /// The wall clock was believed: from then on only time that passes counts.
    Running,
}

impl GuardedClock {
    /// `reached`: the newest time that the store has recorded, `None` for one that is new. `kept`: what [`Self::kept`]
    /// gave when the store was last open.
    #[must_use]
    pub fn start(
        wall: Arc<dyn Clock>,
        steady: Arc<dyn Steady>,
        reached: Option<UnixMillis>,
        kept: Option<KeptClock>,
        settings: &LockClockSettings,
    ) -> Self {
        let (began, asleep, boot) = (steady.millis(), steady.asleep_millis(), steady.boot());
        let now = wall.now();
        let confirmed = settings.confirmed();
        // What has come by now for certain, and by the operator's word.
        let same_run = kept.filter(|kept| Some(&kept.boot) == boot.as_ref());
        let trust = match (reached, &same_run) {
            (None, _) => Trust::New,
            (Some(_), Some(kept)) if asleep.saturating_sub(kept.asleep) <= NAP_MILLIS => Trust::Running,
            (Some(_), _) => Trust::Waiting,
        };
        let known = [
            reached.map(UnixMillis::get),
            same_run.map(|kept| kept.offset.saturating_add(began)),
            confirmed.map(|confirmed| confirmed.min(now).get()),
        ];
        let start = known.into_iter().flatten().max().unwrap_or(now.get());
        let floor = reached.map(UnixMillis::get);
        let line = Line { offset: start.saturating_sub(began), floor, trust, began, asleep };
        let (maximum, line) = (settings.maximum_millis(), Mutex::new(line));
        Self { wall, steady, boot, maximum, confirmed, line }
    }

    /// Whether the wall clock is too far ahead to be believed, as long as it is.
    #[must_use]
    pub fn doubts(&self) -> bool {
        let now = self.now();
        self.line.lock().trust == Trust::Waiting && self.is_too_far(self.wall.now(), now)
    }

    /// Whether a wall clock was believed, and only time that passes counts since.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.line.lock().trust == Trust::Running
    }

    /// How far the wall clock is ahead of this one, in milliseconds; negative when it is behind.
    #[must_use]
    pub fn lag_millis(&self) -> i64 {
        self.wall.now().get().saturating_sub(self.now().get())
    }

    /// The lesser of this clock and the wall clock: for what must not be early by either.
    #[must_use]
    pub fn lesser(&self) -> UnixMillis {
        self.now().min(self.wall.now())
    }

    /// What the next start needs to know; `None` while there is nothing to go by.
    #[must_use]
    pub fn kept(&self) -> Option<KeptClock> {
        let boot = self.boot.clone()?;
        let line = self.line.lock();
        let kept = KeptClock { boot, offset: line.offset, asleep: line.asleep };
        (line.trust == Trust::Running).then_some(kept)
    }

    fn is_too_far(&self, wall: UnixMillis, now: UnixMillis) -> bool {
        let seen = self.confirmed.map_or(now, |confirmed| confirmed.max(now));
        wall.get().saturating_sub(seen.get()) > self.maximum
    }

    /// Whether a wall clock that is ahead, or level, may be followed: of a machine that was `up` for so long.
    fn may_believe(&self, up: i64, wall: UnixMillis, now: UnixMillis) -> bool {
        up >= SETTLE_MILLIS && wall >= now && !self.is_too_far(wall, now)
    }
}

impl Line {
    /// What it shows; from there it goes on.
    fn advance(&mut self, steady: i64, wall: UnixMillis) -> UnixMillis {
        let allowed = self.offset.saturating_add(steady).min(wall.get());
        let now = self.floor.map_or(allowed, |floor| floor.max(allowed));
        self.offset = now.saturating_sub(steady);
        UnixMillis::new(now)
    }

    /// Notices that the machine slept: its wall clock has to be believed anew.
    fn wake(&mut self, steady: i64, asleep: i64) {
        if self.trust != Trust::New && asleep.saturating_sub(self.asleep) > NAP_MILLIS {
            (self.trust, self.began) = (Trust::Waiting, steady);
            self.asleep = asleep;
        }
    }
}

impl Clock for GuardedClock {
    fn now(&self) -> UnixMillis {
        let mut line = self.line.lock();
        // In this order: a pause between the two must not look like a wall clock set back.
        let steady = self.steady.millis();
        let wall = self.wall.now();
        line.wake(steady, self.steady.asleep_millis());
        if line.trust == Trust::New {
            line.offset = wall.get().saturating_sub(steady);
        }
        let now = line.advance(steady, wall);
        if line.trust == Trust::Waiting && self.may_believe(steady.saturating_sub(line.began), wall, now) {
            line.trust = Trust::Running;
            line.offset = wall.get().saturating_sub(steady);
            return line.advance(steady, wall);
        }
        now
    }
}

impl RecordedClock for GuardedClock {
    fn recorded(&self, time: UnixMillis) {
        let mut line = self.line.lock();
        line.floor = line.floor.max(Some(time.get()));
        if line.trust == Trust::New {
            line.trust = Trust::Running;
        }
    }
}

/// Stands still until a test moves it.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ManualSteady {
    pub(crate) clock: ManualClock,
    pub(crate) asleep: ManualClock,
    pub(crate) boot: &'static str,
}

#[cfg(test)]
impl Steady for ManualSteady {
    fn millis(&self) -> i64 {
        self.clock.now().get()
    }

    fn asleep_millis(&self) -> i64 {
        self.asleep.now().get()
    }

    fn boot(&self) -> Option<String> {
        Some(self.boot.to_owned())
    }
}

#[cfg(test)]
#[path = "guarded_tests.rs"]
mod tests;
