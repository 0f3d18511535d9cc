//! The real process, killed under a mixed load with collection, rewriting and lifecycle going on: nothing acknowledged is lost
//! (I1), nothing is torn (I2), and the references are what a recount says (I3).
//!
//! Three ways to die, each repeated as `docs/decisions/019-killed-at-every-step.md` says:
//! - `kill -9` at a random moment: `SEDIMENT_KILL_ROUNDS` (default 8) and `SEDIMENT_KILL_SEED` repeat a run's choices; the
//!   scheduler's are its own;
//! - at every named step ([`points`]): `SEDIMENT_POINT_ROUNDS` (default 1), `SEDIMENT_POINTS` (names, by comma; default all);
//! - by a power cut ([`power`]): `SEDIMENT_POWER_CUTS` (default 6), where root and a loop device allow it.

mod disk;
mod lane;
mod load;
mod points;
mod power;
mod shown;

use super::support::sediment::{Sediment, refused};
use disk::Disk;
use lane::{Lane, SMALL};
use load::Terms;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WORKERS: u64 = 6;
const PART: usize = 5 << 20;
const COLLECTING: [&str; 2] = ["gc.interval_seconds=1", "gc.min_garbage_ratio=0"];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect(name))
}

fn seed() -> u64 {
    number("SEDIMENT_KILL_SEED", u64::from(std::process::id()))
}

/// Also when the test passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs what blocks beside the runtime that its clients are on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i2_i3_kill_9_loses_and_tears_nothing() {
    let (rounds, seed) = (number("SEDIMENT_KILL_ROUNDS", 8), seed());
    eprintln!("SEDIMENT_KILL_SEED={seed} SEDIMENT_KILL_ROUNDS={rounds}");
    let tally = blocking(move || {
        let mut lane = Lane::new(Disk::directory(), seed, WORKERS, PART);
        for round in 0..rounds {
            lane.history.push(format!("seed {seed} round {round}"));
            kill_at_random(&mut lane, round);
        }
        lane.finish()
    })
    .await;
    assert!(tally.acknowledged > rounds, "seed {seed}: the load did not run");
    tally.print();
}

fn kill_at_random(lane: &mut Lane, round: u64) {
    let sets: &[&str] = match round % 4 {
        0 => &[],
        1 => &COLLECTING,
        2 => &SMALL,
        _ => &["engine.plain_bodies=true", "service.lifecycle_day_seconds=1"],
    };
    if round % 3 == 2 {
        std::fs::remove_dir_all(lane.disk.data().join("index")).unwrap();
    }
    if lane.dice.below(3) == 0 {
        // While it starts.
        let server = Sediment::spawn(lane.command(None), &[]);
        std::thread::sleep(Duration::from_millis(lane.dice.below(250)));
        server.kill();
        lane.tally.deaths += 1;
    }
    let Some(server) = lane.start(None, sets) else { lane.fail("does not start any more") };
    if let Err(error) = lane.check(&server) {
        lane.fail(&format!("{error:?}"));
    }
    let terms = Terms::until_killed();
    let load = lane.load(&server, &terms);
    // Not to wait for anything: this is the random moment.
    std::thread::sleep(Duration::from_millis(20 + lane.dice.below(1500)));
    terms.killed.store(true, Ordering::SeqCst);
    server.kill();
    lane.end(load);
    lane.tally.deaths += 1;
}

#[test]
fn i5_a_variable_alone_makes_nothing_fail() {
    let dir = tempfile::tempdir().unwrap();
    let start = |allow: &[&str], plan: &str| {
        let mut command = super::support::sediment::command(dir.path(), &["serve"]);
        command.args(allow).env("SEDIMENT_FAIL_POINTS", plan).output().unwrap()
    };
    assert!(refused(&start(&[], "data.locked=abort"), 2).contains("unset it"));
    assert!(
        refused(&start(&["--allow-fail-points"], "no-such=abort"), 2).contains("no fail point `no-such`")
    );
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was touched");
}
