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
    let confirmed =
        |date: &str| LockClockSettings { clock_confirmed: Some(date.into()), ..LockClockSettings::default() };
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
