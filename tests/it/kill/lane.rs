//! One store and its clients: started, loaded, killed, started again.

use super::disk::Disk;
use super::load::{Dice, Fault, Terms, Worker, client, make_buckets};
use super::say;
use crate::support::sediment::{PASSWORD, Sediment, USER, command, run};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Everything small, so that packs fill up, are sealed, written anew and removed while one looks; days last a second.
pub const SMALL: [&str; 9] = [
    "packs.target_bytes=1048576",
    "engine.sync_every_bytes=1048576",
    "engine.rewrite_percent=50",
    "gc.interval_seconds=0",
    "gc.rewrite_below_live_ratio=0.9",
    "gc.rate_bytes_per_second=0",
    "service.lifecycle_day_seconds=1",
    "service.minimum_part_bytes=65536",
    "storage.min_free_bytes=1048576",
];
pub const PART: usize = 200_000;

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub deaths: u64,
    pub cuts: u64,
    pub acknowledged: u64,
    /// From the start of the process until it serves, after a death.
    pub recoveries: Vec<Duration>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.deaths += other.deaths;
        self.cuts += other.cuts;
        self.acknowledged += other.acknowledged;
        self.recoveries.extend(other.recoveries);
    }

    pub fn print(self) {
        let Self { deaths, cuts, acknowledged, mut recoveries } = self;
        recoveries.sort_unstable();
        let at = |percent: usize| {
            let last = recoveries.len().saturating_sub(1);
            recoveries.get(last * percent / 100).copied().unwrap_or_default().as_millis()
        };
        say(&format!(
            "{deaths} deaths, {cuts} power cuts, {acknowledged} operations acknowledged: 0 lost, 0 torn; \
             {} starts: p50 {} ms, p99 {} ms, longest {} ms",
            recoveries.len(),
            at(50),
            at(99),
            at(100)
        ));
    }
}

/// Requests under way, and a collection that is always asked for again.
pub struct Load {
    workers: Vec<JoinHandle<Worker>>,
    collecting: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    /// Clients that have given up.
    pub fn ended(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_finished()).count()
    }
}

pub struct Lane {
    pub disk: Disk,
    pub dice: Dice,
    pub tally: Tally,
    handle: Handle,
    workers: Vec<Worker>,
    /// For whoever wants to know how it came to that.
    pub history: Vec<String>,
    /// Said by the last process that did not get as far as to serve.
    pub last_words: String,
    /// Whether the buckets are there, with rules that are not to be set again.
    pub has_buckets: bool,
}

impl Lane {
    pub fn new(disk: Disk, seed: u64, workers: u64, part_bytes: usize) -> Self {
        let workers = (1..=workers).map(|id| Worker::new(id, seed, part_bytes)).collect();
        let handle = Handle::current();
        let (dice, tally) = (Dice(seed), Tally::default());
        let (history, last_words) = (Vec::new(), String::new());
        Self { disk, dice, tally, handle, workers, history, last_words, has_buckets: false }
    }

    pub fn command(&self, plan: Option<&str>) -> Command {
        let mut command = command(self.disk.data(), &["serve"]);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        if let Some(plan) = plan {
            command.env("SEDIMENT_FAIL_POINTS", plan).arg("--allow-fail-points");
        }
        command
    }

    /// `None`: it died before it served.
    pub fn start(&mut self, plan: Option<&str>, sets: &[&str]) -> Option<Sediment> {
        self.begin(self.command(plan), sets)
    }

    pub fn begin(&mut self, command: Command, sets: &[&str]) -> Option<Sediment> {
        let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let began = Instant::now();
        let mut server = Sediment::spawn(command, &sets);
        if server.serves() {
            self.tally.recoveries.push(began.elapsed());
            return Some(server);
        }
        self.last_words = server.said();
        None
    }

    /// Compares everything. An error: it died, or refused, before all was compared.
    pub fn check(&mut self, server: &Sediment) -> Result<(), Fault> {
        let client = client(server);
        if !self.has_buckets {
            self.handle.block_on(make_buckets(&client, &format!("rule-{}", self.dice.below(1 << 30))))?;
            self.has_buckets = true;
        }
        let mut checks: Vec<_> = self
            .workers
            .drain(..)
            .map(|mut worker| {
                let client = client.clone();
                self.handle.spawn(async move {
                    let checked = worker.check(&client).await;
                    (worker, checked)
                })
            })
            .collect();
        let mut all = Ok(());
        for check in checks.drain(..) {
            let (worker, checked) =
                self.handle.block_on(check).unwrap_or_else(|_| self.fail("the check failed"));
            self.workers.push(worker);
            all = all.and(checked);
        }
        all
    }

    pub fn load(&mut self, server: &Sediment, terms: &Terms) -> Load {
        let client = client(server);
        let work = |worker: Worker| self.handle.spawn(worker.work(client.clone(), terms.clone()));
        let workers = self.workers.drain(..).map(work).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let (address, token) = (server.admin.replace("http://", ""), self.token());
        let over = Arc::clone(&is_over);
        let collecting = self.handle.spawn_blocking(move || {
            let ask = format!(
                "POST /admin/v1/gc HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            while !over.load(Ordering::SeqCst) {
                if !try_exchange(&address, ask.as_bytes()) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Load { workers, collecting, is_over }
    }

    fn token(&self) -> String {
        let text = std::fs::read(self.disk.data().join("run.json")).unwrap_or_default();
        let run: Value = serde_json::from_slice(&text).unwrap_or_default();
        run["token"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for all clients; the server is dead, or answers, or they end by themselves.
    pub fn end(&mut self, load: Load) {
        load.is_over.store(true, Ordering::SeqCst);
        for worker in load.workers {
            let worker = self.handle.block_on(worker).unwrap_or_else(|_| self.fail("a client failed"));
            self.workers.push(worker);
        }
        let _ = self.handle.block_on(load.collecting);
    }

    /// A last start, unarmed: everything is compared, then the store against itself.
    pub fn finish(mut self) -> Tally {
        let Some(server) = self.start(None, &SMALL) else { self.fail("does not start any more") };
        if let Err(error) = self.check(&server) {
            self.fail(&format!("{error:?}"));
        }
        server.stop();
        self.fsck();
        self.tally.acknowledged = self.workers.iter().map(|worker| worker.acknowledged).sum();
        self.tally
    }

    pub fn fsck(&self) {
        let fsck = run(self.disk.data(), &["fsck", "--deep", "--json"]);
        let said = String::from_utf8_lossy(&fsck.stdout);
        let report: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
        if !fsck.status.success() || report["wrong_counts"] != 0 {
            self.fail(&format!("{said}{}", String::from_utf8_lossy(&fsck.stderr)));
        }
    }

    pub fn fail(&self, why: &str) -> ! {
        let from = self.history.len().saturating_sub(12);
        let Tally { deaths, cuts, .. } = self.tally;
        panic!(
            "{why}\nafter {deaths} deaths and {cuts} power cuts, the last: {}\nlast words: {}",
            self.history[from..].join("; "),
            self.last_words
        )
    }
}

/// Whether there was an answer.
fn try_exchange(address: &str, request: &[u8]) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let mut answer = Vec::new();
    let read = stream.write_all(request).and_then(|()| stream.read_to_end(&mut answer));
    read.is_ok_and(|bytes| bytes > 0)
}
