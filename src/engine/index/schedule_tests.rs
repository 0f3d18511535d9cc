//! The core that decides what may be collected, under a scheduler that tries how threads meet. Holds and stamps are
//! the index's own source; the tree, the log and the packs are as small as they can be (`model`).
//!
//! `SEDIMENT_RACE_SCHEDULES` sets how many are tried, `SEDIMENT_RACE_SEED` which. A schedule that fails is printed.

#[path = "schedule_crash_tests.rs"]
mod crash;
#[allow(clippy::duplicate_mod, dead_code, reason = "the index's own source; the model needs less of it")]
#[path = "hold.rs"]
mod hold;
#[path = "schedule_model_tests.rs"]
mod model;

/// What [`super::sync`] is to the index.
mod sync {
    pub(super) use shuttle::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            // What a task of the same schedule failed with is told; not that it failed.
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

use super::stamps;
use model::{Collector, Id, Key, Model, Weakness};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner, thread};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const KEYS: Key = 2;
/// Steps of priority changes that PCT makes: what needs so many turns to go wrong is found.
const DEPTH: usize = 3;
/// For what needs more.
const DEEPER: usize = 5;

/// Who is at work, and how much of it.
#[derive(Debug, Clone, Copy)]
struct Life {
    ids: Id,
    clients: usize,
    requests: usize,
    collections: usize,
    records_applied: usize,
    checkpoints: usize,
    is_cut_at_each_step: bool,
}

/// Chunks come and go.
const COLLECTED: Life = Life {
    ids: 4,
    clients: 2,
    requests: 2,
    collections: 1,
    records_applied: 3,
    checkpoints: 1,
    is_cut_at_each_step: false,
};
/// Packs become known while what is in them is new.
const CUT_OFF: Life = Life {
    ids: 8,
    clients: 2,
    requests: 2,
    collections: 0,
    records_applied: 1,
    checkpoints: 3,
    is_cut_at_each_step: true,
};
const LIVES: [Life; 2] = [COLLECTED, CUT_OFF];

/// Where the lack of a rule shows: packs become known while somebody writes in the one alone.
const fn life_that_needs(rule: Weakness) -> Life {
    match rule {
        Weakness::KnownBeforeSettled | Weakness::KnownWhileAppended => CUT_OFF,
        _ => COLLECTED,
    }
}

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    from_environment("SEDIMENT_RACE_SEED", 1) as u64
}

fn some_ids(ids: Id) -> Vec<Id> {
    let mut random = thread_rng();
    (0..random.gen_range(1..=2)).map(|_| random.gen_range(0..ids)).collect()
}

/// A client of a few requests.
fn client(model: &Model, life: Life) {
    for _ in 0..life.requests {
        let (key, dice) = (thread_rng().gen_range(0..KEYS), thread_rng().gen_range(0..8));
        match dice {
            0..3 => model.put(key, &some_ids(life.ids)),
            3 => model.put_again(key, &some_ids(life.ids)),
            4 => model.copy(key, (key + 1) % KEYS),
            5..7 => model.delete(key),
            _ => model.read(key),
        }
    }
}

/// Clients, a follower, a collector and a power cut at once; then everything must be right, and whatever is deleted
/// must go.
fn live(life: Life, weakness: Weakness) {
    let model = Arc::new(Model::new(weakness, life.is_cut_at_each_step));
    model.put(0, &[0, 1]);
    model.put(1, &[1, 2]);
    model.delete(1);
    model.apply_all();
    let spawn = |times: usize, work: fn(&Model, Life)| {
        let model = Arc::clone(&model);
        thread::spawn(move || (0..times).for_each(|_| work(&model, life)))
    };
    let mut tasks: Vec<_> = (0..life.clients).map(|_| spawn(1, client)).collect();
    tasks.push(spawn(life.records_applied, |model, _| {
        model.apply_one();
    }));
    tasks.push(spawn(life.collections, |model, _| Collector::default().run(model)));
    tasks.push(spawn(life.checkpoints, |model, _| model.checkpoint()));
    tasks.push(spawn(1, |model, _| crash::power_cut(model)));
    for task in tasks {
        task.join().unwrap_or_else(|panic| resume_unwind(panic));
    }
    model.verify();
    crash::power_cut(&model);
    (0..KEYS).for_each(|key| model.delete(key));
    model.seal();
    let mut collector = Collector::default();
    (0..2).for_each(|_| collector.run(&model));
    model.verify_empty();
}

/// How many schedules it took until one failed.
fn schedules_until_failure(
    life: Life,
    weakness: Weakness,
    scheduler: impl Scheduler + 'static,
) -> Result<(), (usize, String)> {
    let mut config = Config::new();
    config.failure_persistence = match weakness {
        Weakness::None => FailurePersistence::Print,
        _ => FailurePersistence::None,
    };
    let tried = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tried);
    let runner = Runner::new(scheduler, config);
    let execution = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        live(life, weakness);
    };
    let run = catch_unwind(AssertUnwindSafe(|| runner.run(execution)));
    run.map(drop).map_err(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (tried.load(Ordering::Relaxed), why.unwrap_or_default())
    })
}

fn holds_in_all<S: Scheduler + 'static>(scheduler: impl Fn(usize) -> S) {
    let schedules = from_environment("SEDIMENT_RACE_SCHEDULES", 10_000);
    for life in LIVES {
        let run = schedules_until_failure(life, Weakness::None, scheduler(schedules / LIVES.len()));
        if let Err((tried, why)) = run {
            panic!("{life:?}, schedule {tried}: {why}; repeat with SEDIMENT_RACE_SEED={}", seed());
        }
    }
}

#[test]
fn i3_no_schedule_collects_what_is_live_or_keeps_what_is_not() {
    holds_in_all(|schedules| RandomScheduler::new_from_seed(seed(), schedules));
}

#[test]
fn i3_no_schedule_by_priorities_collects_what_is_live_or_keeps_what_is_not() {
    holds_in_all(|schedules| PctScheduler::new_from_seed(seed(), DEPTH, schedules));
}

/// Random ones and those by priorities in turn, of the life that needs the rule, so many at a time. A thread of its own: what
/// failed leaves tasks behind that never ended, and the next execution on that thread would take their panic for its own.
fn schedules_until_miss(weakness: Weakness) -> Option<(usize, String)> {
    const AT_A_TIME: usize = 2_000;
    const TURNS: usize = 30;
    let by_priorities = |seed, depth| PctScheduler::new_from_seed(seed, depth, AT_A_TIME);
    let search = move || {
        (0..TURNS).find_map(|turn| {
            let (life, seed) = (life_that_needs(weakness), seed() + turn as u64);
            let run = match turn % 3 {
                0 => schedules_until_failure(life, weakness, RandomScheduler::new_from_seed(seed, AT_A_TIME)),
                1 => schedules_until_failure(life, weakness, by_priorities(seed, DEPTH)),
                _ => schedules_until_failure(life, weakness, by_priorities(seed, DEEPER)),
            };
            run.err().map(|(tried, why)| (turn * AT_A_TIME + tried, why))
        })
    };
    std::thread::spawn(search).join().unwrap()
}

/// Returns the rules without which nothing was lost.
fn not_missed(rules: &[Weakness]) -> Vec<Weakness> {
    let is_missed = |weakness: &Weakness| {
        let Some((tried, why)) = schedules_until_miss(*weakness) else { return false };
        println!("RULE {weakness:?}: missed after {tried} schedules: {why}");
        assert!(why.contains("chunk"), "{weakness:?} failed otherwise: {why}");
        true
    };
    rules.iter().copied().filter(|weakness| !is_missed(weakness)).collect()
}

/// Each rule is needed, and the model would tell: without it some schedule loses a chunk.
#[test]
fn i3_without_any_one_rule_a_schedule_loses_a_chunk() {
    assert_eq!(not_missed(Weakness::ALL), []);
}
