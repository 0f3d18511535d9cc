//! Power cuts: an ext4 (or XFS) image on a loop device goes away under the running server, with all that was not synced.

use super::disk::{Disk, Powered};
use super::lane::{Lane, PART, SMALL, Tally};
use super::load::Terms;
use super::points::{Deed, Way, meet, prepare, way};
use super::{blocking, number, say, seed};
use crate::support::sediment::Sediment;
use sediment::sys::FailPoint;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WORKERS: u64 = 4;
/// A store lives through so many cuts, then another begins on another file system.
const CUTS_OF_A_STORE: u64 = 40;

/// What is made, and how it is mounted. The journal is written out by a sync alone, not by a timer.
const KINDS: [(&[&str], &str); 4] = [
    (&["mkfs.ext4", "-q"], "commit=300"),
    (&["mkfs.ext4", "-q", "-O", "fast_commit"], "commit=300"),
    (&["mkfs.ext4", "-q"], "commit=300,data=writeback"),
    (&["mkfs.xfs", "-q"], "noatime"),
];

fn index(kind: u64) -> usize {
    usize::try_from(kind % KINDS.len() as u64).unwrap()
}

/// The first of the kinds from there on that can be had here.
pub fn powered(kind: u64) -> Option<(Powered, usize)> {
    (kind..kind + KINDS.len() as u64).map(index).find_map(|kind| {
        let (make, options) = KINDS[kind];
        let made = Powered::new(make, options);
        let skipped = |why: &String| say(&format!("no power cuts on {make:?} here: {why}"));
        Some((made.inspect_err(skipped).ok()?, kind))
    })
}

/// The disk goes first; what the process does then cannot reach it. Back comes what the disk had.
pub fn cut(lane: &mut Lane, server: Sediment) {
    power_off(lane);
    // A moment in which it may answer, but not well.
    std::thread::sleep(Duration::from_millis(lane.dice.below(20)));
    server.kill();
}

fn power_off(lane: &Lane) {
    let Disk::Powered(disk) = &lane.disk else { unreachable!("a disk with power") };
    disk.cut().unwrap();
}

pub fn come_back(lane: &mut Lane) {
    let Disk::Powered(disk) = &mut lane.disk else { unreachable!("a disk with power") };
    disk.unmount().and_then(|()| disk.mount()).unwrap();
    lane.tally.cuts += 1;
}

/// At a random moment of a load, or of a start.
fn cut_at_random(lane: &mut Lane) {
    lane.history.push("cut at random".to_owned());
    if lane.dice.below(6) == 0 {
        prepare(lane, Way::NoIndex);
    }
    if lane.dice.below(4) == 0 {
        let sets: Vec<_> = SMALL.iter().flat_map(|set| ["--set", set]).collect();
        let server = Sediment::spawn(lane.command(None), &sets);
        std::thread::sleep(Duration::from_millis(lane.dice.below(250)));
        cut(lane, server);
        return come_back(lane);
    }
    let ways = [Way::Load, Way::Load, Way::Holes, Way::Plain];
    let sets = ways[lane.dice.index(ways.len())].sets();
    let Some(server) = lane.start(None, &sets) else { lane.fail("does not start any more") };
    if let Err(error) = lane.check(&server) {
        lane.fail(&format!("{error:?}"));
    }
    let terms = Terms::until_killed();
    let load = lane.load(&server, &terms);
    std::thread::sleep(Duration::from_millis(20 + lane.dice.below(700)));
    terms.killed.store(true, Ordering::SeqCst);
    if lane.dice.below(3) == 0 {
        // Killed first, and lost only when the next one is at work on what memory still shows.
        lane.history.push("after a kill".to_owned());
        server.kill();
        lane.end(load);
        lane.tally.deaths += 1;
        let Some(server) = lane.start(None, &sets) else { lane.fail("does not start any more") };
        if let Err(error) = lane.check(&server) {
            lane.fail(&format!("{error:?}"));
        }
        cut(lane, server);
    } else {
        cut(lane, server);
        lane.end(load);
    }
    come_back(lane);
}

/// Right behind the death at a named step.
fn cut_at_a_step(lane: &mut Lane) {
    let is_there = |point: &&FailPoint| !way(**point).is_new();
    let points: Vec<_> = FailPoint::ALL.iter().filter(is_there).collect();
    let point = *points[lane.dice.index(points.len())];
    let passage = 1 + lane.dice.below(way(point).passages());
    meet(lane, point, passage, Deed::Abort);
    power_off(lane);
    come_back(lane);
}

/// While the store is made, or later, when nothing has been synced again since.
fn cut_at_the_beginning(lane: &mut Lane) {
    let is_new = |point: &&FailPoint| matches!(way(**point), Way::New(_));
    let points: Vec<_> = FailPoint::ALL.iter().filter(is_new).collect();
    let point = *points[lane.dice.index(points.len())];
    let passage = 1 + lane.dice.below(way(point).passages());
    meet(lane, point, passage, Deed::Abort);
    if lane.dice.below(2) == 0 {
        power_off(lane);
        come_back(lane);
    }
}

/// Steps of later lives need something that is there.
fn live_a_little(lane: &mut Lane) {
    let Some(server) = lane.start(None, &SMALL) else { lane.fail("does not start any more") };
    if let Err(error) = lane.check(&server) {
        lane.fail(&format!("{error:?}"));
    }
    let load = lane.load(&server, &Terms { steps: Some(8), ..Terms::until_killed() });
    lane.end(load);
    server.kill();
}

/// `None`: nowhere here.
fn run_store(kind: u64, cuts: u64, seed: u64) -> Option<Tally> {
    let (disk, kind) = powered(kind)?;
    let mut lane = Lane::new(Disk::Powered(disk), seed, WORKERS, PART);
    lane.history.push(format!("seed {seed} on {:?}", KINDS[kind]));
    cut_at_the_beginning(&mut lane);
    live_a_little(&mut lane);
    for _ in 1..cuts {
        match lane.dice.below(2) {
            0 => cut_at_random(&mut lane),
            _ => cut_at_a_step(&mut lane),
        }
    }
    Some(lane.finish())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i2_i3_a_power_cut_loses_and_tears_nothing() {
    let (cuts, seed) = (number("SEDIMENT_POWER_CUTS", 6), seed());
    eprintln!("SEDIMENT_KILL_SEED={seed} SEDIMENT_POWER_CUTS={cuts}");
    let mut tally = Tally::default();
    for store in 0..cuts.div_ceil(CUTS_OF_A_STORE) {
        let of_this = CUTS_OF_A_STORE.min(cuts - store * CUTS_OF_A_STORE);
        let kind = seed.wrapping_add(store);
        match blocking(move || run_store(kind, of_this, seed ^ store << 40)).await {
            Some(lived) => tally.add(lived),
            None => say(
                "*** POWER CUTS ARE NOT TESTED HERE: they need root, mkfs.ext4, mount, python3 and a loop device ***",
            ),
        }
    }
    tally.print();
}
