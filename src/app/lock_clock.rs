//! The clock that locks and lifecycle go by: started, watched, and what it has reached kept.

use super::private_file;
use crate::meta::SqliteStore;
use crate::sys::{Clock, GuardedClock, KeptClock, LockClockSettings, Steady};
use crate::types::UnixMillis;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Where the clock stands, for the next start. Without it that start goes on from what the metadata has recorded.
pub(super) const NAME: &str = "lock-clock.json";
pub(super) const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// A system clock this far behind is worth a note.
const BEHIND_MILLIS: i64 = 60 * 60 * 1000;
/// The clock may be written this much ahead of where it stands.
const KEPT_MILLIS: u64 = 1000;

/// `kept`: the file of that name.
pub(super) fn start(
    meta: &SqliteStore,
    kept: &Path,
    wall: Arc<dyn Clock>,
    steady: Arc<dyn Steady>,
    settings: &LockClockSettings,
) -> Arc<GuardedClock> {
    let clock = Arc::new(GuardedClock::start(wall, steady, meta.reached(), read(kept), settings));
    meta.set_lock_clock(Arc::clone(&clock) as _);
    if let Some(note) = note(&clock) {
        tracing::warn!(lag_seconds = clock.lag_millis() / 1000, "{note}");
    }
    clock
}

/// What is wrong with the clocks, if anything.
pub(super) fn note(clock: &GuardedClock) -> Option<String> {
    let lag = clock.lag_millis();
    if clock.doubts() {
        return Some(format!(
            "the system's clock is {} days ahead of the newest time that this store has seen, and is not believed: \
             object locks last longer and lifecycle waits. If the clock is right, set lock.clock_confirmed to today's \
             date and restart",
            lag / DAY_MILLIS
        ));
    }
    if lag >= DAY_MILLIS && clock.runs() {
        return Some(format!(
            "the system's clock has jumped ahead by {} days in all since the machine came up: object locks last \
             longer and lifecycle waits. If the clock is right, set lock.clock_confirmed to today's date and restart",
            lag / DAY_MILLIS
        ));
    }
    (lag <= -BEHIND_MILLIS).then(|| {
        format!(
            "the system's clock is {} hours behind the newest time that this store has seen: object locks and \
             lifecycle wait for it",
            -lag / BEHIND_MILLIS
        )
    })
}

/// Blocks. Without it the next start is only more careful.
pub(super) fn save(path: &Path, clock: &GuardedClock) {
    if let Err(error) = write(path, clock) {
        tracing::debug!(%error, "cannot keep where the clock of locks stands");
    }
}

fn write(path: &Path, clock: &GuardedClock) -> io::Result<()> {
    let Some(now) = clock.kept() else { return Ok(()) };
    let is_near = |old: KeptClock| old.boot == now.boot && old.offset.abs_diff(now.offset) < KEPT_MILLIS;
    if read(path).is_some_and(is_near) {
        return Ok(());
    }
    private_file::write(path, (serde_json::json!(now).to_string() + "\n").as_bytes())
}

/// A damaged file counts as none.
fn read(path: &Path) -> Option<KeptClock> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// What lifecycle goes by: rules, like locks, are not hurried by a clock set ahead, and they wait for one set back.
#[derive(Debug)]
pub(super) struct LifecycleClock(pub(super) Arc<GuardedClock>);

impl Clock for LifecycleClock {
    fn now(&self) -> UnixMillis {
        self.0.lesser()
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, DAY_MILLIS, LifecycleClock, NAME, note, save, start};
    use crate::meta::{Commit, MetaStore, OpenMode, SqliteSettings, SqliteStore};
    use crate::sys::{GuardedClock, LockClockSettings, ManualClock, ManualSteady, NoBarrier, SeededRandom};
    use crate::types::UnixMillis;
    use std::path::PathBuf;
    use std::sync::Arc;

    const NOW: i64 = 20_000 * DAY_MILLIS;
    const YEARS: i64 = 3_650 * DAY_MILLIS;
    const MINUTE: i64 = 60_000;

    /// A machine and its store.
    struct Machine {
        wall: Arc<ManualClock>,
        steady: Arc<ManualSteady>,
        dir: tempfile::TempDir,
    }

    impl Machine {
        fn at(wall: i64) -> Self {
            let wall = Arc::new(ManualClock::at(UnixMillis::new(wall)));
            Self { wall, steady: Self::boot("one"), dir: tempfile::tempdir().unwrap() }
        }

        fn boot(boot: &'static str) -> Arc<ManualSteady> {
            let (clock, asleep) = (ManualClock::at(UnixMillis::new(5)), ManualClock::at(UnixMillis::new(0)));
            Arc::new(ManualSteady { clock, asleep, boot })
        }

        fn kept(&self) -> PathBuf {
            self.dir.path().join(NAME)
        }

        /// As the server does: with a look at what is wrong.
        fn start(&self) -> (SqliteStore, Arc<GuardedClock>) {
            let random = Arc::new(SeededRandom::new(7));
            let settings = SqliteSettings::default();
            let path = self.dir.path().join("meta.db");
            let wall = self.wall.clone();
            let meta =
                SqliteStore::open(&path, OpenMode::Create, Arc::new(NoBarrier), wall, random, &settings);
            let meta = meta.unwrap();
            let (wall, steady) = (self.wall.clone(), self.steady.clone());
            let clock = start(&meta, &self.kept(), wall, steady, &LockClockSettings::default());
            (meta, clock)
        }

        fn pass(&self, millis: i64) {
            self.wall.advance_millis(millis);
            self.steady.clock.advance_millis(millis);
        }
    }

    async fn reached(meta: &SqliteStore) -> i64 {
        meta.commit(Commit::Mark).await.unwrap();
        meta.reached().unwrap().get()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn i6_a_new_store_is_not_held_to_a_clock_that_was_set_right_before_the_first_write() {
        let machine = Machine::at(NOW + YEARS);
        let (meta, clock) = machine.start();
        let lifecycle = LifecycleClock(Arc::clone(&clock));
        machine.wall.advance_millis(-YEARS);
        assert_eq!(reached(&meta).await, NOW);
        assert_eq!((clock.now().get(), lifecycle.now().get(), note(&clock)), (NOW, NOW, None));
        machine.wall.advance_millis(YEARS);
        assert_eq!((clock.now().get(), lifecycle.now().get()), (NOW, NOW), "from the first write on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn i6_a_clock_that_is_wrong_when_the_machine_comes_up_gets_time_to_be_set_right() {
        let mut machine = Machine::at(NOW);
        let (meta, _) = machine.start();
        assert_eq!(reached(&meta).await, NOW);
        drop(meta);
        machine.steady = Machine::boot("two");
        machine.wall.advance_millis(40 * DAY_MILLIS);
        let (meta, clock) = machine.start();
        let lifecycle = LifecycleClock(Arc::clone(&clock));
        machine.pass(10_000);
        assert_eq!(lifecycle.now().get(), NOW + 10_000, "no rule is carried out");
        assert_eq!((reached(&meta).await, note(&clock)), (NOW + 10_000, None));
        machine.wall.advance_millis(-40 * DAY_MILLIS);
        machine.pass(20 * MINUTE);
        assert_eq!((clock.now().get(), clock.lag_millis()), (NOW + 10_000 + 20 * MINUTE, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn i6_no_restart_believes_a_clock_set_forward_while_the_machine_ran() {
        let mut machine = Machine::at(NOW);
        let (meta, mut clock) = machine.start();
        assert_eq!(reached(&meta).await, NOW);
        drop(meta);
        for n in 1..3 {
            save(&machine.kept(), &clock);
            machine.wall.advance_millis(30 * DAY_MILLIS);
            machine.pass(20 * MINUTE);
            (_, clock) = machine.start();
            assert_eq!(clock.now().get(), NOW + n * 20 * MINUTE);
            assert!(note(&clock).unwrap().contains("clock_confirmed"));
        }
        machine.steady = Machine::boot("two");
        machine.wall.advance_millis(-30 * DAY_MILLIS);
        let (_, clock) = machine.start();
        assert_eq!(clock.now().get(), NOW);
        machine.pass(20 * MINUTE);
        assert_eq!(clock.lag_millis(), 0, "across a start of the machine nobody can tell");
    }

    #[test]
    fn a_damaged_file_counts_as_none() {
        let machine = Machine::at(NOW);
        std::fs::write(machine.kept(), "{\"boot\":").unwrap();
        let (_, clock) = machine.start();
        save(&machine.kept(), &clock);
        assert_eq!(super::read(&machine.kept()), None, "nothing to go by yet");
    }

    #[test]
    fn what_is_wrong_with_a_clock_is_said() {
        let machine = Machine::at(NOW);
        let start = |reached: i64| {
            let (reached, settings) = (Some(UnixMillis::new(reached)), LockClockSettings::default());
            let (wall, steady) = (machine.wall.clone(), machine.steady.clone());
            GuardedClock::start(wall, steady, reached, None, &settings)
        };
        let clock = start(NOW - 2 * DAY_MILLIS);
        assert_eq!(note(&clock), None, "not yet");
        machine.pass(10 * MINUTE);
        assert_eq!((note(&clock), clock.lag_millis()), (None, 0));
        assert!(note(&start(NOW - 100 * DAY_MILLIS)).unwrap().contains("100 days ahead"));
        assert!(note(&start(NOW + DAY_MILLIS + 10 * MINUTE)).unwrap().contains("24 hours behind"));
        machine.wall.advance_millis(3 * DAY_MILLIS);
        assert!(note(&clock).unwrap().contains("jumped ahead"));
    }
}
