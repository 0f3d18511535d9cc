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
mod tests {
    use super::{
        DAY_MILLIS, GuardedClock, KeptClock, LockClockSettings, ManualSteady, RecordedClock, SETTLE_MILLIS,
        Steady, SystemSteady,
    };
    use crate::sys::{Clock, ManualClock};
    use crate::types::UnixMillis;
    use std::sync::Arc;

    struct World {
        wall: Arc<ManualClock>,
        steady: Arc<ManualSteady>,
    }

    const START: i64 = 1_000 * DAY_MILLIS;

    impl World {
        fn at(wall: i64) -> Self {
            let wall = Arc::new(ManualClock::at(UnixMillis::new(wall)));
            let clock = ManualClock::at(UnixMillis::new(77));
            let asleep = ManualClock::at(UnixMillis::new(0));
            Self { wall, steady: Arc::new(ManualSteady { clock, asleep, boot: "one" }) }
        }

        fn start(&self, reached: Option<i64>, settings: &LockClockSettings) -> GuardedClock {
            self.start_again(reached, None, settings)
        }

        fn start_again(
            &self,
            reached: Option<i64>,
            kept: Option<KeptClock>,
            settings: &LockClockSettings,
        ) -> GuardedClock {
            let reached = reached.map(UnixMillis::new);
            GuardedClock::start(self.wall.clone(), self.steady.clone(), reached, kept, settings)
        }

        fn pass(&self, millis: i64) {
            self.wall.advance_millis(millis);
            self.steady.clock.advance_millis(millis);
        }
    }

    fn guarded(world: &World, reached: Option<i64>) -> GuardedClock {
        world.start(reached, &LockClockSettings::default())
    }

    /// As a commit does.
    fn record(clock: &GuardedClock) -> i64 {
        let now = clock.now();
        clock.recorded(now);
        now.get()
    }

    #[test]
    fn it_goes_with_a_wall_clock_that_does_not_jump() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        assert_eq!(record(&clock), START);
        world.pass(5_000);
        assert_eq!((clock.now().get(), clock.lag_millis(), clock.doubts()), (START + 5_000, 0, false));
        let clock = guarded(&world, Some(START - 20 * DAY_MILLIS));
        assert_eq!(clock.now().get(), START - 20 * DAY_MILLIS, "the machine may not have been told the time");
        world.pass(SETTLE_MILLIS);
        assert_eq!((clock.lag_millis(), clock.doubts()), (0, false), "it was off for twenty days");
    }

    #[test]
    fn i6_a_wall_clock_set_forward_ends_no_lock() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        record(&clock);
        for jump in [1_000, DAY_MILLIS, 10_000 * DAY_MILLIS] {
            world.wall.advance_millis(jump);
            assert_eq!(clock.now().get(), START);
        }
        world.steady.clock.advance_millis(60_000);
        assert_eq!(record(&clock), START + 60_000, "time still passes");
        // Not when the machine comes up again either.
        let again = guarded(&world, Some(START + 60_000));
        world.pass(SETTLE_MILLIS);
        assert!(again.doubts() && again.lag_millis() > 10_000 * DAY_MILLIS);
        assert_eq!(again.now().get(), START + 60_000 + SETTLE_MILLIS);
        world.wall.set(UnixMillis::new(START + DAY_MILLIS));
        assert_eq!((again.now().get(), again.doubts()), (START + DAY_MILLIS, false), "it was set right");
    }

    #[test]
    fn i6_restarts_gain_nothing_while_the_machine_runs() {
        let world = World::at(START);
        let mut clock = guarded(&world, None);
        record(&clock);
        for n in 1..4 {
            world.wall.advance_millis(30 * DAY_MILLIS);
            world.pass(1_000);
            clock = world.start_again(Some(START), clock.kept(), &LockClockSettings::default());
            assert_eq!(record(&clock), START + n * 1_000);
        }
        assert!(!clock.doubts() && clock.lag_millis() == 90 * DAY_MILLIS);
        // What passed without a record counts as well.
        world.pass(60 * DAY_MILLIS);
        let clock = world.start_again(Some(START), clock.kept(), &LockClockSettings::default());
        assert_eq!(clock.now().get(), START + 3_000 + 60 * DAY_MILLIS);
        let other = KeptClock { boot: "another".into(), offset: 9_000 * DAY_MILLIS, asleep: 0 };
        let clock = world.start_again(Some(START), Some(other), &LockClockSettings::default());
        assert_eq!((clock.now().get(), clock.kept()), (START, None), "of another run of the machine");
    }

    #[test]
    fn i6_what_was_recorded_is_not_undone() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        world.pass(1_000);
        assert_eq!(record(&clock), START + 1_000);
        world.wall.advance_millis(-DAY_MILLIS);
        world.pass(2_000);
        assert_eq!((clock.now().get(), clock.lag_millis()), (START + 1_000, 2_000 - DAY_MILLIS));
        assert_eq!(clock.lesser().get(), START + 3_000 - DAY_MILLIS);
        world.pass(DAY_MILLIS);
        assert_eq!(clock.now().get(), START + 3_000);
        let behind = World::at(0);
        let again = guarded(&behind, Some(START));
        behind.pass(SETTLE_MILLIS);
        assert_eq!(again.now().get(), START, "a machine without a battery");
        behind.wall.set(UnixMillis::new(START + 20 * DAY_MILLIS));
        assert_eq!(again.now().get(), START + 20 * DAY_MILLIS, "that was told the time late");
    }

    #[test]
    fn a_wall_clock_that_is_set_right_is_followed_back() {
        const WRONG: i64 = 3_650 * DAY_MILLIS;
        let world = World::at(START + WRONG);
        let clock = guarded(&world, None);
        assert_eq!((clock.now().get(), clock.lag_millis()), (START + WRONG, 0));
        world.wall.advance_millis(-WRONG);
        assert_eq!(record(&clock), START);
        // And it is no licence for later.
        world.wall.advance_millis(WRONG);
        assert_eq!(clock.now().get(), START);

        let world = World::at(START + 20 * DAY_MILLIS);
        let clock = guarded(&world, Some(START));
        world.pass(10_000);
        assert_eq!(clock.now().get(), START + 10_000, "whatever the wall clock says at first");
        world.pass(SETTLE_MILLIS);
        assert_eq!(clock.lag_millis(), 0);
        world.wall.advance_millis(-20 * DAY_MILLIS);
        assert_eq!(record(&clock), START + 10_000 + SETTLE_MILLIS, "it was wrong for longer");
        world.wall.advance_millis(20 * DAY_MILLIS);
        assert_eq!(clock.now().get(), START + 10_000 + SETTLE_MILLIS);
    }

    #[test]
    fn i6_sleep_is_not_counted_on_the_word_of_a_battery() {
        let world = World::at(START);
        let clock = guarded(&world, None);
        record(&clock);
        // Whatever the battery's clock shows on waking, wall clock and length of sleep agree about it.
        let sleep = |millis| {
            world.wall.advance_millis(millis);
            world.steady.asleep.advance_millis(millis);
        };
        let kept = clock.kept();
        sleep(3_650 * DAY_MILLIS);
        assert_eq!((record(&clock), clock.kept()), (START, None));
        world.pass(SETTLE_MILLIS);
        assert_eq!((clock.now().get(), clock.doubts()), (START + SETTLE_MILLIS, true));
        // Nor by a server that was not running meanwhile.
        let again = world.start_again(Some(START), kept, &LockClockSettings::default());
        world.pass(SETTLE_MILLIS);
        assert_eq!((again.now().get(), again.doubts()), (START + 2 * SETTLE_MILLIS, true));
        // A sleep that can be believed is, once a time server had its chance.
        world.wall.set(UnixMillis::new(START + 2 * SETTLE_MILLIS));
        assert_eq!((again.lag_millis(), again.runs()), (0, true));
        sleep(10 * DAY_MILLIS);
        assert_eq!(again.now().get(), START + 2 * SETTLE_MILLIS);
        world.pass(SETTLE_MILLIS);
        assert_eq!((again.lag_millis(), again.runs()), (0, true));
        sleep(1_000);
        assert_eq!((again.lag_millis(), again.runs()), (1_000, true), "a nap");
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
        let clock = world.start(reached, &confirmed("1972-09-27"));
        assert_eq!((clock.now().get(), clock.doubts()), (START, false));
        let clock = world.start(reached, &confirmed("1972-09-20"));
        world.pass(SETTLE_MILLIS);
        assert_eq!((clock.lag_millis(), clock.doubts()), (0, false));
        assert!(world.start(reached, &confirmed("1972-07-01")).doubts(), "it has expired itself");
        // A date that lies ahead moves nothing ahead.
        assert_eq!(world.start(reached, &confirmed("2099-01-01")).lag_millis(), 0);
        // Also on the same run of the machine.
        let kept = clock.kept();
        world.wall.advance_millis(DAY_MILLIS);
        let clock = world.start_again(reached, kept.clone(), &LockClockSettings::default());
        assert_eq!(clock.lag_millis(), DAY_MILLIS);
        let clock = world.start_again(reached, kept, &confirmed("1972-09-28"));
        assert_eq!(clock.lag_millis(), 0);
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
        assert_eq!(SystemSteady.boot(), SystemSteady.boot());
    }
}
