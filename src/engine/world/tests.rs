//! Lives by the thousand.

use super::crash::{Crash, Tried, relive};
use super::life::Life;
use super::ops::{Dice, plan};
use super::rot::rot;
use super::shrink::{Failure, shrink};
use super::store::Flaws;
use crate::sys::FaultCounts;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::runtime::{Builder, Runtime};

/// Which crashes a life is looked at with.
#[derive(Debug, Clone, Copy)]
enum Crashes {
    Some(u64),
    /// Within each call, with so many lucks.
    Each(u64),
    /// None; but files are harmed at its end.
    Rot,
}

#[derive(Debug, Clone, Copy)]
struct Test {
    lives: u64,
    first: u64,
    is_faulty: bool,
    crashes: Crashes,
    flaws: Flaws,
}

#[derive(Debug, Default)]
struct Tally {
    lives: u64,
    operations: u64,
    calls: u64,
    tried: Tried,
}

impl Tally {
    fn add(&mut self, tried: &Tried) {
        self.tried.power_cuts += tried.power_cuts;
        self.tried.kills += tried.kills;
        self.tried.recoveries_cut += tried.recoveries_cut;
        self.tried.went_on += tried.went_on;
        self.tried.cleared += tried.cleared;
        self.tried.faults.merge(&tried.faults);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tried { power_cuts, kills, recoveries_cut, went_on, cleared, faults } = &self.tried;
        writeln!(f, "{} lives of {} operations, {} changing calls", self.lives, self.operations, self.calls)?;
        writeln!(f, "{} crash points: {power_cuts} power cuts, {kills} kills", power_cuts + kills)?;
        writeln!(
            f,
            "{recoveries_cut} recoveries cut off, {went_on} went on, {cleared} collected to nothing"
        )?;
        write!(f, "{faults}")
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
}

impl Test {
    fn new(lives: u64, crashes: Crashes) -> Self {
        let lives = number("SEDIMENT_WORLD_SEEDS").unwrap_or(lives);
        let first = number("SEDIMENT_WORLD_SEED").unwrap_or(0);
        Self { lives, first, is_faulty: false, crashes, flaws: Flaws::default() }
    }

    async fn live(&self, seed: u64, tally: &Mutex<Tally>) -> Result<(), Failure> {
        let ops = plan(seed, self.is_faulty);
        let lived = Life::live(seed, &ops, self.flaws).await;
        let fail = |why| Failure { ops: ops.clone(), crash: None, why, calls: Vec::new() };
        let life = lived.map_err(fail)?;
        {
            let mut tally = tally.lock();
            tally.lives += 1;
            tally.operations += ops.len() as u64;
            tally.calls += life.fs.calls() as u64;
            tally.tried.faults.merge(&life.fs.fault_counts());
        }
        for crash in self.crashes_of(seed, life.fs.calls()) {
            let tried = match self.crashes {
                Crashes::Rot => rot(&life, seed).await,
                _ => relive(&life, crash).await,
            };
            let tried = tried.map_err(|why| Failure::within(&life, ops.clone(), crash, why))?;
            tally.lock().add(&tried);
        }
        Ok(())
    }

    fn crashes_of(&self, seed: u64, calls: usize) -> Vec<Crash> {
        let dice = Dice::new(seed ^ 0xC0FFEE);
        match self.crashes {
            Crashes::Some(count) => (0..count)
                .map(|n| Crash { call: dice.below(calls as u64 + 1) as usize, seed: seed + n })
                .collect(),
            Crashes::Rot => vec![Crash { call: calls, seed }],
            Crashes::Each(lucks) => (0..=calls)
                .flat_map(|call| (0..lucks).map(move |luck| Crash { call, seed: seed + luck }))
                .collect(),
        }
    }

    /// The first failure, with its seed.
    fn find(&self) -> (Tally, Option<(u64, Failure)>) {
        let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (tally, found) = (Mutex::new(Tally::default()), Mutex::new(None::<(u64, Failure)>));
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let runtime = runtime();
                    while !is_over.load(Ordering::Relaxed) {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= self.lives {
                            break;
                        }
                        let seed = self.first + n;
                        if let Err(failure) = runtime.block_on(self.live(seed, &tally)) {
                            is_over.store(true, Ordering::Relaxed);
                            let mut found = found.lock();
                            // The lowest, whoever came first.
                            if found.as_ref().is_none_or(|(before, _)| seed < *before) {
                                *found = Some((seed, failure));
                            }
                        }
                    }
                });
            }
        });
        (tally.into_inner(), found.into_inner())
    }

    /// Panics with the shortest life found that fails.
    fn run(&self) -> Tally {
        let (tally, found) = self.find();
        let Some((seed, failure)) = found else {
            println!("{tally}");
            return tally;
        };
        let first = (failure.why.clone(), failure.crash);
        let is_rot = matches!(self.crashes, Crashes::Rot) && failure.crash.is_some();
        let shortest = if is_rot { failure } else { runtime().block_on(shrink(seed, self.flaws, failure)) };
        let Failure { ops, crash, why, calls } = shortest;
        panic!(
            "after {} lives, seed {seed} fails: {first:?}\nshortened to {ops:#?}\nwhich fails with {crash:?}: {why}\n{}\n\
             again: SEDIMENT_WORLD_SEED={seed} SEDIMENT_WORLD_SEEDS=1",
            tally.lives,
            calls.join("\n")
        );
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn i1_i2_i3_a_life_cut_off_anywhere_keeps_every_promise() {
    let tally = Test::new(1000, Crashes::Some(2)).run();
    let faults = &tally.tried.faults;
    for kind in ["power: a write torn", "power: sectors reordered", "power: a name as before"] {
        assert!(tally.lives < 100 || faults.of(kind) > 0, "never: {kind}");
    }
}

#[test]
fn i1_i2_i3_a_few_lives_cut_off_within_every_call_keep_every_promise() {
    Test::new(3, Crashes::Each(1)).run();
}

#[test]
fn i1_i2_i3_calls_that_fail_break_no_promise() {
    let test = Test { is_faulty: true, ..Test::new(1000, Crashes::Some(1)) };
    let tally = test.run();
    for kind in ["Io", "Full", "Quota"].map(|fault| format!("call: Sync {fault}")) {
        assert!(tally.lives < 100 || tally.tried.faults.of(&kind) > 0, "never: {kind}");
    }
}

/// That nothing is found means something only if what is wrong is found.
#[test]
fn a_commit_without_its_barrier_is_found() {
    let flaws = Flaws { no_barrier: true, ..Flaws::default() };
    let (_, found) = Test { flaws, lives: 200, first: 0, ..Test::new(200, Crashes::Some(2)) }.find();
    let (seed, failure) = found.expect("nobody noticed");
    println!("seed {seed}: {}", failure.why);
}

/// What `docs/durability.md` assumes of disks.
#[test]
fn a_disk_that_lies_about_syncs_loses_what_was_acknowledged() {
    let flaws = Flaws { lying_disk: true, ..Flaws::default() };
    let (_, found) = Test { flaws, lives: 200, first: 0, ..Test::new(200, Crashes::Some(2)) }.find();
    assert!(found.is_some());
}

#[test]
fn i4_what_rots_at_rest_is_never_served_and_is_found_and_healed() {
    let test = Test::new(150, Crashes::Rot);
    let tally = test.run();
    assert!(tally.lives < 100 || tally.tried.faults.of("rest: ") >= tally.lives);
}

#[test]
fn counts_are_told_by_kind() {
    let mut counts = FaultCounts::default();
    let (tally, _) = Test { lives: 3, first: 1, ..Test::new(3, Crashes::Some(3)) }.find();
    counts.merge(&tally.tried.faults);
    assert_eq!(counts.of("power: cut"), tally.tried.faults.of("power: cut"));
    assert!(tally.to_string().contains("power: cut"), "{tally}");
}
