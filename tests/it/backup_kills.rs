//! The real process, killed at any request of backup, prune, verification, restore and serving while restoring: the same command again
//! ends well, and nothing that was acknowledged is lost, here or in the bucket (I1).
//!
//! A proxy ends the world at the request of a number: before it is passed on, when it is done and not answered, a moment after
//! its answer, or, of who writes, so that it is done only when the next process is at work. Nobody waits for the lease of the dead, but
//! behind a prune. `SEDIMENT_BACKUP_KILLS=N` asks for N rounds (default 2), each of a kill in every command; `all` for every request
//! of each command in all these ways: one after the other, until the command ends before it, twice (`SEDIMENT_TEST_BIN` with a release:
//! some minutes). `SEDIMENT_BACKUP_SEED` repeats a run's choices.

use super::support::backups::{
    BUCKET, Backups, Bodies, End, alone, difference, kills_asked, put, read, start, stop,
};
use super::support::noise;
use super::support::refusal::{until, without_retries};
use super::support::s3_proxy::Moment;
use super::support::sediment::{Sediment, command};
use aws_sdk_s3::Client;
use sediment::sys::{Random, SeededRandom};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const LANES: u64 = 2;
/// Where many rounds are asked for: they wait for processes most of the time.
const MANY_LANES: u64 = 4;
const ROUNDS: u64 = 2;
const KEYS: u64 = 10;
/// For a request that does not come.
const PATIENCE: Duration = Duration::from_secs(6);
/// More than a call carries, so that it goes in parts.
const LARGE: usize = 9 << 20;
/// Enough for each moment that is gone back to, with a snapshot that a killed command has left beside it.
const KEEP: [&str; 8] = [
    "--set",
    "backup_retention.keep_last=4",
    "--set",
    "backup_retention.retention_days=0",
    "--set",
    "backup_retention.window=",
    "--set",
    "backup_retention.grace_seconds=0",
];

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Keeper,
    Run,
    Prune,
    Verify,
    Repair,
    Restore,
    LazyRestore,
    ServeWhileRestoring,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Keeper,
        Self::Run,
        Self::Prune,
        Self::Verify,
        Self::Repair,
        Self::Restore,
        Self::LazyRestore,
        Self::ServeWhileRestoring,
    ];

    /// It writes under the lease, and nothing of that does harm when it comes late.
    const fn may_come_late(self) -> bool {
        matches!(self, Self::Keeper | Self::Run | Self::Repair)
    }

    const fn ways(self) -> u64 {
        if self.may_come_late() { 4 } else { 3 }
    }
}

/// How many requests each step makes, at most, and how often it was killed.
#[derive(Debug, Default, Clone)]
struct Tally {
    requests: BTreeMap<Step, u64>,
    kills: BTreeMap<Step, u64>,
    rounds: u64,
    acknowledged: u64,
    restores: u64,
}

impl Tally {
    fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    fn met(&mut self, step: Step, requests: u64) {
        let most = self.requests.entry(step).or_default();
        *most = requests.max(*most);
    }

    fn add(&mut self, other: &Self) {
        other.requests.iter().for_each(|(step, requests)| self.met(*step, *requests));
        other.kills.iter().for_each(|(step, kills)| *self.kills.entry(*step).or_default() += kills);
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.restores += other.restores;
    }
}

/// One store, its backup, and what both must hold.
struct Lane {
    rig: Backups,
    near: PathBuf,
    bodies: Bodies,
    /// Snapshots that are kept, with what was there then.
    moments: Vec<(String, Bodies)>,
    dice: SeededRandom,
    tally: Tally,
    /// Its own number, and of how many lanes: it takes each so manieth request.
    place: (u64, u64),
    ahead: BTreeMap<Step, Ahead>,
    /// What a failure is told with.
    at: String,
    serial: u64,
}

/// Which requests a round ends at.
#[derive(Debug, Clone, Copy)]
enum Choice {
    Nowhere,
    Random,
    /// Of each step the one behind the last.
    Next,
}

/// Where a step is killed next.
#[derive(Debug, Clone, Copy, Default)]
struct Ahead {
    way: u64,
    /// Requests of this way that are done.
    done: u64,
    /// It has ended before this one.
    was_faster: bool,
}

impl Lane {
    async fn new(place: (u64, u64), seed: u64) -> Self {
        let rig = Backups::new().await;
        let near = rig.store("near");
        let (bodies, moments, dice) = (Bodies::new(), Vec::new(), SeededRandom::new(seed));
        let server = rig.serve(&near);
        server.client().create_bucket().bucket(BUCKET).send().await.unwrap();
        stop(server);
        let (tally, ahead, at) = (Tally::default(), BTreeMap::new(), String::new());
        Self { rig, near, bodies, moments, dice, tally, place, ahead, at, serial: 0 }
    }

    fn below(&self, bound: u64) -> u64 {
        self.dice.u64() % bound.max(1)
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{why}\nafter {:?}: {}", self.tally.kills, self.at)
    }

    fn done<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|why| self.fail(&why))
    }

    /// `None`: not at all.
    fn trap(&mut self, step: Step, choice: Choice) -> Option<(u64, Moment)> {
        let requests = self.tally.requests.get(&step).copied().unwrap_or(0);
        let (number, way) = match choice {
            Choice::Nowhere => return None,
            Choice::Random => (1 + self.below(requests), self.below(step.ways())),
            Choice::Next if self.is_done(step) => return None,
            Choice::Next => {
                let (ahead, (lane, lanes)) = (self.ahead.entry(step).or_default(), self.place);
                (1 + lane + ahead.done * lanes, ahead.way)
            }
        };
        let moment = match way {
            0 => Moment::Before,
            1 => Moment::Unanswered,
            2 => Moment::Answered(Duration::from_micros(self.below(5_000))),
            _ => Moment::Late(1 + self.below(20)),
        };
        self.at.push_str(&format!("; {step:?} {number} {moment:?}"));
        Some((number, moment))
    }

    /// Whether a step was killed at every request in each way.
    fn is_done(&self, step: Step) -> bool {
        self.ahead.get(&step).is_some_and(|ahead| ahead.way == step.ways())
    }

    fn struck(&mut self, step: Step, is_killed: bool) {
        *self.tally.kills.entry(step).or_default() += u64::from(is_killed);
        let ahead = self.ahead.entry(step).or_default();
        *ahead = match (is_killed, ahead.was_faster) {
            (true, _) => Ahead { done: ahead.done + 1, was_faster: false, ..*ahead },
            // How many it makes is not the same each time.
            (false, false) => Ahead { was_faster: true, ..*ahead },
            (false, true) => Ahead { way: ahead.way + 1, ..Ahead::default() },
        };
    }

    /// Runs a command that is killed, and then again to its end.
    async fn strike(&mut self, step: Step, choice: Choice, (store, args): (&Path, &[&str])) -> Value {
        if let Some((number, moment)) = self.trap(step, choice) {
            match self.rig.kill_at(self.rig.command(store, args), number, moment).await {
                End::Killed => self.struck(step, true),
                End::Itself(output) if output.status.success() => {
                    self.struck(step, false);
                    self.at.push_str(" (was faster)");
                    // What is restored is left as it is.
                    if matches!(step, Step::Restore | Step::LazyRestore) {
                        return Value::Null;
                    }
                }
                End::Itself(output) => self.fail(&format!("{output:?}")),
            }
            if self.lingers() {
                assert_eq!(step, Step::Prune, "what others write may come late: {}", self.at);
                self.rig.proxy.bury();
            }
        } else {
            self.rig.proxy.reset();
        }
        let answer = self.done(self.rig.json(store, args));
        self.tally.met(step, self.rig.proxy.requests());
        answer
    }

    /// Whether the next process waits: what was deleted may come late.
    fn lingers(&self) -> bool {
        let noted = std::fs::read_to_string(self.near.join("backup-lease.json")).unwrap_or_default();
        noted.contains("\"lingers\":true")
    }

    async fn put(&mut self, server: &Sediment, key: String, body: Vec<u8>) {
        assert!(put(&without_retries(server), &key, body.clone()).await, "{}", self.at);
        self.tally.acknowledged += 1;
        self.bodies.insert(key, body);
    }

    /// A gateway that ships while somebody writes is killed; then the bucket is away while somebody writes.
    async fn live(&mut self, choice: Choice) {
        let asked = self.trap(Step::Keeper, choice);
        match asked {
            Some((number, moment)) => self.rig.proxy.arm(number, moment),
            None => self.rig.proxy.reset(),
        }
        let server = self.rig.serve(&self.near);
        let over = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn(write(without_retries(&server), Arc::clone(&over), self.serial));
        // Another snapshot than the one that is due.
        let mut run = self.rig.command(&self.near, &["backup", "run", "--full"]);
        let mut run = tokio::task::spawn_blocking(move || run.output().unwrap());
        tokio::select! {
            output = &mut run => {
                let output = output.unwrap();
                if output.status.success() {
                    self.tally.met(Step::Keeper, self.rig.proxy.requests());
                    if asked.is_some() {
                        self.struck(Step::Keeper, false);
                    }
                } else {
                    // By the trap alone.
                    let sprung = tokio::time::timeout(PATIENCE, self.rig.proxy.sprung()).await;
                    assert!(asked.is_some() && sprung.is_ok(), "{output:?}");
                    self.struck(Step::Keeper, true);
                }
            }
            () = self.rig.proxy.sprung(), if asked.is_some() => self.struck(Step::Keeper, true),
        }
        over.store(true, Ordering::SeqCst);
        server.kill();
        let written = writing.await.unwrap();
        if !run.is_finished() {
            run.await.unwrap();
        }
        self.rig.proxy.hold();
        self.serial += written.len() as u64;
        self.reconcile(written).await;
    }

    /// The last write may have been done or not; all others are there.
    async fn reconcile(&mut self, written: Vec<(String, Vec<u8>, bool)>) {
        let mut more = self.rig.serving(&self.near);
        more.env("SEDIMENT_ENGINE__PLAIN_BODIES", if self.below(2) == 0 { "true" } else { "false" });
        let server = start(more);
        let found = read(&server).await;
        for (key, body, is_acknowledged) in written {
            if is_acknowledged || found.get(&key) == Some(&body) {
                self.tally.acknowledged += u64::from(is_acknowledged);
                self.bodies.insert(key, body);
            }
        }
        self.compare(&found, &self.bodies, "the store itself");
        for _ in 0..4 {
            let (key, seed) = (format!("key-{}", self.below(KEYS)), self.dice.u64());
            let len = [200, 5_000, 60_000, 250_000][self.below(4) as usize];
            self.put(&server, key, noise(seed, len)).await;
        }
        let large = noise(self.dice.u64(), LARGE);
        self.put(&server, "large".into(), large).await;
        let gone = format!("key-{}", self.below(KEYS));
        server.client().delete_object().bucket(BUCKET).key(&gone).send().await.unwrap();
        self.bodies.remove(&gone);
        stop(server);
        self.rig.proxy.reset();
    }

    fn compare(&self, found: &Bodies, wanted: &Bodies, what: &str) {
        let differs = difference(found, wanted);
        if !differs.is_empty() {
            self.fail(&format!("i1: {what}: {differs}"));
        }
    }

    fn fsck(&self, store: &Path) {
        let checked = block_in_place(|| command(store, &["fsck", "--deep", "--json"]).output().unwrap());
        let said = String::from_utf8_lossy(&checked.stdout);
        let report: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
        if !checked.status.success() || report["wrong_counts"] != 0 {
            self.fail(&format!("i3: fsck: {said}{}", String::from_utf8_lossy(&checked.stderr)));
        }
    }

    /// By itself, without the settings of its backup.
    async fn is_restored(&mut self, store: &Path, wanted: &Bodies) {
        let server = block_in_place(|| Sediment::serve(store, &[]));
        self.compare(&read(&server).await, wanted, "restored");
        stop(server);
        self.fsck(store);
        std::fs::remove_dir_all(store).unwrap();
        self.tally.restores += 1;
    }

    /// Backed up, pruned and verified, with a kill in each.
    async fn back_up(&mut self, choice: Choice) {
        let near = self.near.clone();
        // One that was too short is tried again as a longer one.
        let was_short = self.ahead.get(&Step::Run).is_some_and(|ahead| ahead.was_faster);
        let is_full = self.below(4) == 0 || was_short;
        let full: &[&str] = if is_full { &["--full"] } else { &[] };
        let run = self.strike(Step::Run, choice, (&near, &[&["backup", "run"], full].concat())).await;
        let name = run["snapshot"].as_str().unwrap_or_else(|| self.fail(&run.to_string())).to_owned();
        self.moments.push((name, self.bodies.clone()));
        self.collect();
        self.strike(Step::Prune, choice, (&near, &[&["backup", "prune"], &KEEP[..]].concat())).await;
        self.moments.drain(..self.moments.len().saturating_sub(2));
        if self.is_wanted(choice, &[Step::Verify]) {
            self.strike(Step::Verify, choice, (&near, &["backup", "verify", "--read-data", "--all"])).await;
        }
        if self.is_wanted(choice, &[Step::Repair]) {
            self.strike(Step::Repair, choice, (&near, &["backup", "verify", "--repair"])).await;
        }
        self.fsck(&near);
    }

    /// What was overwritten goes, as all is shipped: so no round is longer than the one before it.
    fn collect(&self) {
        self.done(self.rig.json(&self.near, &["gc"]));
        let left = self.done(self.rig.json(&self.near, &["gc", "--dry-run"]));
        if left["plain_files"] != 0 {
            self.fail(&format!("i5: whole bodies that nobody names are left: {left}"));
        }
    }

    /// The latest is restored, and an earlier moment served while it is; with a kill in each.
    async fn restore(&mut self, choice: Choice) {
        if self.is_wanted(choice, &[Step::Restore]) {
            let (whole, latest) = (self.rig.store("whole"), self.bodies.clone());
            self.strike(Step::Restore, choice, (&whole, &["restore", "--latest"])).await;
            self.is_restored(&whole, &latest).await;
        }
        if self.is_wanted(choice, &[Step::LazyRestore, Step::ServeWhileRestoring]) {
            self.restore_lazily(choice).await;
        }
    }

    /// What has been killed in every way is done now and then all the same.
    fn is_wanted(&self, choice: Choice, steps: &[Step]) -> bool {
        match choice {
            Choice::Next => {
                self.tally.rounds.is_multiple_of(8) || steps.iter().any(|step| !self.is_done(*step))
            }
            Choice::Nowhere | Choice::Random => true,
        }
    }

    async fn restore_lazily(&mut self, choice: Choice) {
        let lazy = self.rig.store("lazy");
        let (name, then) = self.moments[0].clone();
        self.strike(Step::LazyRestore, choice, (&lazy, &["restore", "--snapshot", &name, "--lazy"])).await;
        if let Some((number, moment)) = self.trap(Step::ServeWhileRestoring, choice) {
            self.rig.proxy.arm(number, moment);
            let server = Sediment::spawn(self.lazily(&lazy), &[]);
            let sprung = tokio::time::timeout(PATIENCE, self.rig.proxy.sprung()).await;
            self.struck(Step::ServeWhileRestoring, sprung.is_ok());
            server.kill();
        }
        self.rig.proxy.reset();
        let server = start(self.lazily(&lazy));
        self.compare(&read(&server).await, &then, "served while it is restored");
        let left = || server.admin_get("/metrics").1;
        let is_whole = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("sediment_restore_left_bytes"));
            line.is_none_or(|line| line.ends_with(" 0"))
        };
        until("all is here", || is_whole(&left())).await;
        self.tally.met(Step::ServeWhileRestoring, self.rig.proxy.requests());
        stop(server);
        self.is_restored(&lazy, &then).await;
    }

    /// It writes nothing: who serves an earlier moment would begin a branch of the backup.
    fn lazily(&self, store: &Path) -> std::process::Command {
        let mut command = self.rig.serving(store);
        command.env("SEDIMENT_BACKUP__ENABLED", "false");
        command
    }

    async fn round(&mut self, choice: Choice) {
        self.at.clear();
        self.tally.rounds += 1;
        self.live(choice).await;
        self.back_up(choice).await;
        self.restore(choice).await;
    }
}

/// One key after the other, until it is over or the server dies: what was sent, and whether it was answered.
async fn write(client: Client, over: Arc<AtomicBool>, serial: u64) -> Vec<(String, Vec<u8>, bool)> {
    let mut written = Vec::new();
    while !over.load(Ordering::SeqCst) && written.len() < 40 {
        let n = serial + written.len() as u64;
        let (key, body) = (format!("key-{}", n % KEYS), noise(n, 100 + (n as usize % 7) * 9_000));
        let is_acknowledged = put(&client, &key, body.clone()).await;
        written.push((key, body, is_acknowledged));
        if !is_acknowledged {
            break;
        }
    }
    written
}

async fn run_lane((lane, lanes): (u64, u64), rounds: Option<u64>, seed: u64) -> Tally {
    let mut life = Lane::new((lane, lanes), seed ^ lane << 48).await;
    life.round(Choice::Nowhere).await;
    match rounds {
        Some(rounds) => {
            for _ in (lane..rounds).step_by(lanes as usize) {
                life.round(Choice::Random).await;
            }
        }
        None => {
            while !Step::ALL.into_iter().all(|step| life.is_done(step)) {
                life.round(Choice::Next).await;
                let (tally, ahead) = (&life.tally, &life.ahead);
                let at = ahead.iter().map(|(step, ahead)| format!("{step:?} {}:{}", ahead.way, ahead.done));
                let at = at.collect::<Vec<_>>().join(", ");
                let _ = writeln!(std::io::stderr(), "lane {lane}: {} kills, {at}", tally.kills());
            }
        }
    }
    life.tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i1_death_at_every_step_of_backup_and_restore_loses_nothing() {
    let (rounds, seed) = kills_asked(ROUNDS);
    let (mut tally, began) = (Tally::default(), Instant::now());
    let lanes = if rounds.is_none_or(|rounds| rounds > 8) { MANY_LANES } else { LANES };
    let lives: Vec<_> = (0..lanes)
        .map(|lane| tokio::spawn(alone(async move || run_lane((lane, lanes), rounds, seed).await)))
        .collect();
    for life in lives {
        tally.add(&life.await.unwrap());
    }
    let (kills, seconds) = (tally.kills(), began.elapsed().as_secs());
    let _ = writeln!(std::io::stderr(), "{kills} kills, 0 losses in {seconds} s: {tally:?}");
    assert!(tally.kills() > 0);
    let is_killed = |step: &Step| tally.kills.get(step).is_some_and(|kills| *kills >= step.ways());
    assert!(rounds.is_some() || Step::ALL.iter().all(is_killed), "{tally:?}");
}
