//! Death at every named step, on its first passage or a later one.

use super::disk::Disk;
use super::lane::{Lane, Load, PART, SMALL, Tally};
use super::load::Terms;
use super::{blocking, number, seed};
use crate::support::sediment::{Sediment, command};
use sediment::sys::FailPoint;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const LANES: usize = 4;
const WORKERS: u64 = 3;

/// How a process comes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// When it makes a store; `u64`: how often then.
    New(u64),
    /// When it makes credentials of its own.
    NewCredentials,
    /// At the start behind a death there.
    After(FailPoint),
    /// When there is no index.
    NoIndex,
    /// When there is an index that cannot be read.
    DamagedIndex,
    /// Once when it starts.
    Start,
    /// Under load, or before, while it starts.
    Load,
    /// Under load, with bodies in files of their own.
    Plain,
    /// Under load, with packs that are never written anew.
    Holes,
    /// Under load, when there are new rules.
    Rules,
    /// When it stops.
    Stop,
}

/// Whoever names a new step says here how to get there.
#[rustfmt::skip]
pub const fn way(point: FailPoint) -> Way {
    use FailPoint as P;
    match point {
        P::FileWritten | P::FileSynced | P::FileRenamed | P::MetaMigrated => Way::New(3),
        P::DataLocked | P::DataStore | P::DataDirectories | P::MetaCreated | P::MetaRenamed
        | P::DataInitialise => Way::New(1),
        P::CredentialsNew | P::CredentialsKept => Way::NewCredentials,
        P::PacksRecover | P::PacksRecoverCut | P::PacksRecoverSynced | P::PacksRecoverFooter
        | P::PacksRecovered => Way::After(P::PackAppended),
        P::PacksRecoverRemove => Way::After(P::PackHeader),
        P::PlainCleared => Way::After(P::PlainWritten),
        P::PacksOpened | P::MetaLogSettled | P::MetaOpened | P::IndexOpened | P::StoreOpened | P::CaughtUp | P::Serving => Way::Start,
        P::IndexCleared | P::IndexScanned | P::IndexBuilding | P::IndexCounted | P::IndexRebuilt
        | P::IndexFinished => Way::NoIndex,
        P::IndexAside => Way::DamagedIndex,
        P::FollowApply | P::IndexApplied | P::FollowApplied | P::IngestAppend | P::PackNamed | P::PackCreated
        | P::PackHeader | P::PackAppend | P::PackAppended | P::IngestAppended | P::IngestInserted
        | P::IngestSync | P::IngestMovesSynced | P::IngestMoved | P::PackSeal | P::PackFooter | P::PackSealed
        | P::MultipartJoined | P::BodyStaged | P::MetaBegin | P::PackSync | P::PackSynced | P::MetaPacksSynced
        | P::MetaCommit | P::MetaCommitted | P::MetaAnswered | P::MetaCopied | P::MetaCopySynced
        | P::BodyCommitted | P::LifecycleFollowed | P::LifecycleAct | P::LifecycleActed | P::LifecycleSettle
        | P::IndexCheckpoint | P::IndexPersisted | P::GcMarked | P::GcFenced | P::GcCollected | P::GcBury
        | P::PackMarked | P::PackMarksSynced | P::GcMove | P::PackAside | P::GcMoved | P::GcRelocated
        | P::GcRemove | P::PackUnlinked | P::GcRemoved | P::GcForgotten => Way::Load,
        P::PlainCreated | P::PlainWritten | P::PlainSync | P::PlainSynced | P::PlainShard | P::PlainRenamed
        | P::PlainPlaced | P::GcPlain | P::PlainRemoved => Way::Plain,
        P::GcStrays | P::PackPunch | P::PackPunched => Way::Holes,
        P::LifecycleScanned => Way::Rules,
        P::FollowCheckpoint | P::FollowCursor | P::FollowTrimmed | P::StopDrained | P::StopIdle | P::StopSealed
        | P::StopTidied => Way::Stop,
    }
}

impl Way {
    pub const fn is_new(self) -> bool {
        matches!(self, Self::New(_) | Self::NewCredentials)
    }

    /// How often, at least, a process comes by.
    pub const fn passages(self) -> u64 {
        match self {
            Self::New(passages) => passages,
            Self::Load | Self::Plain => 4,
            _ => 1,
        }
    }

    pub fn sets(self) -> Vec<&'static str> {
        let more = match self {
            Self::Plain => "engine.plain_bodies=true",
            Self::Holes => "gc.rewrite_below_live_ratio=0",
            _ => "engine.plain_bodies=false",
        };
        SMALL.iter().copied().chain([more]).collect()
    }
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    Abort,
    Error,
}

impl Deed {
    const fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }

    fn terms(self, way: Way) -> Terms {
        let steps = (way == Way::Stop).then_some(8);
        Terms {
            refusals: if self == Self::Error { 8 } else { 0 },
            may_die: true,
            steps,
            ..Terms::until_killed()
        }
    }
}

/// The process comes by and the deed is done; then it is dead.
pub fn meet(lane: &mut Lane, point: FailPoint, passage: u64, deed: Deed) {
    let way = way(point);
    prepare(lane, way);
    let plan = format!("{}={}@{passage}", point.name(), deed.name());
    lane.history.push(plan.clone());
    let mut command = lane.command(Some(&plan));
    if way == Way::NewCredentials {
        command.env_remove("SEDIMENT_ROOT_USER").env_remove("SEDIMENT_ROOT_PASSWORD");
    }
    let said = format!("fail point {}:", point.name());
    match lane.begin(command, &way.sets()) {
        Some(server) => under_load(lane, server, &said, (way, deed)),
        None if lane.last_words.contains(&said) => {}
        None => lane.fail("ended, but not there"),
    }
    lane.tally.deaths += 1;
}

fn under_load(lane: &mut Lane, mut server: Sediment, said: &str, (way, deed): (Way, Deed)) {
    let terms = deed.terms(way);
    // What it dies of while this goes on is looked for below.
    let checked = lane.check(&server);
    let is_whole = checked.is_ok() || deed == Deed::Error;
    let load = is_whole.then(|| lane.load(&server, &terms));
    let load = match (load, way) {
        (Some(load), Way::Stop) => {
            lane.end(load);
            server.terminate();
            None
        }
        (load, _) => load,
    };
    let is_hit = server.says(said, PATIENCE);
    if is_hit && deed == Deed::Error && way != Way::Stop {
        // Long enough for some to be answered by what is left of it.
        std::thread::sleep(Duration::from_millis(50 + lane.dice.below(200)));
    }
    let ended = load.as_ref().map(Load::ended);
    terms.killed.store(true, Ordering::SeqCst);
    lane.last_words = server.said();
    server.kill();
    if let Some(load) = load {
        lane.end(load);
    }
    if !is_hit {
        lane.fail(&format!("never came by; checked: {checked:?}, clients that gave up: {ended:?}"));
    }
}

pub fn prepare(lane: &mut Lane, way: Way) {
    let index = lane.disk.data().join("index");
    match way {
        Way::After(point) => meet(lane, point, 1, Deed::Abort),
        Way::NoIndex => drop(std::fs::remove_dir_all(index)),
        Way::DamagedIndex => {
            for entry in std::fs::read_dir(index).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::write(path, b"what is this").unwrap();
                }
            }
        }
        Way::Rules => lane.has_buckets = false,
        _ => {}
    }
}

/// A store of its own for a step of its making.
fn meet_new(point: FailPoint, seed: u64, deed: Deed) -> Tally {
    let mut lane = Lane::new(Disk::directory(), seed, 1, PART);
    let passage = 1 + lane.dice.below(way(point).passages());
    meet(&mut lane, point, passage, deed);
    if way(point) == Way::NewCredentials {
        let server = lane.begin(command(lane.disk.data(), &["serve"]), &SMALL);
        server.unwrap_or_else(|| lane.fail("does not start any more")).kill();
    }
    lane.finish()
}

fn wanted() -> Vec<FailPoint> {
    let names = std::env::var("SEDIMENT_POINTS").unwrap_or_default();
    let is_named = |point: &FailPoint| names.is_empty() || names.split(',').any(|name| name == point.name());
    FailPoint::ALL.iter().copied().filter(is_named).collect()
}

/// The first round dies everywhere once; later ones draw the passage, and every other one gets errors instead.
fn run_lane(points: &[FailPoint], rounds: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut lane = Lane::new(Disk::directory(), seed, WORKERS, PART);
    if lane.start(None, &SMALL).is_none_or(|server| lane.check(&server).is_err()) {
        lane.fail("does not start");
    }
    for round in 0..rounds {
        let deed = if round % 2 == 1 { Deed::Error } else { Deed::Abort };
        for point in points {
            let way = way(*point);
            if way.is_new() {
                tally.add(meet_new(*point, seed ^ round, deed));
                continue;
            }
            let passage = if round == 0 { 1 } else { 1 + lane.dice.below(way.passages()) };
            meet(&mut lane, *point, passage, deed);
        }
        if round + 1 < rounds {
            lane.fsck();
        }
    }
    tally.add(lane.finish());
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_i2_i3_death_at_every_step_loses_and_tears_nothing() {
    let (rounds, seed, points) = (number("SEDIMENT_POINT_ROUNDS", 1), seed(), wanted());
    eprintln!("SEDIMENT_KILL_SEED={seed} SEDIMENT_POINT_ROUNDS={rounds}, {} points", points.len());
    let lanes = (0..LANES).map(|lane| {
        let points: Vec<_> = points.iter().copied().skip(lane).step_by(LANES).collect();
        tokio::spawn(blocking(move || run_lane(&points, rounds, seed ^ (lane as u64) << 48)))
    });
    let mut tally = Tally::default();
    for lane in lanes.collect::<Vec<_>>() {
        tally.add(lane.await.unwrap());
    }
    assert!(tally.deaths >= points.len() as u64 * rounds);
    tally.print();
}
