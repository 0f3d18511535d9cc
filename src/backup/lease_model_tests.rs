//! Writers that race for one repository, interleaved at every call, with pauses longer than any lease, clocks that differ, lost answers and
//! writes that arrive late. Processes end at any call and start again at once in their data directories, of which copies are made, too.
//! Whatever happens: never do two ship in one epoch, what the newest one shipped is what a reader reads, and nobody takes the
//! lease over at once from one who deletes.
//!
//! `SEDIMENT_LEASE_SEEDS=5000` runs more of them; a failure names its seed, `SEDIMENT_LEASE_SEED=…` runs that one alone.

#![allow(clippy::unwrap_used)]

use super::{
    Attempt, BackupKey, Candidate, Claim, Epoch, EpochRecord, Lease, LeaseError, LeaseTimes, LogLevel,
    NewRepository, ObjectName, Repository, StoreId, World,
};
use crate::remote::{Class, Fault, Faulty, MemoryRemote, PutOptions, Remote, Span, Verb, list_all};
use crate::sys::{Clock, ManualClock, ManualSteady, Random, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use bytes::Bytes;
use futures::FutureExt;
use futures::TryStreamExt;
use futures::executor::block_on;
use futures::future::LocalBoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Waker};

const SEEDS: u64 = 150;
const POLLS: usize = 3_000;
const WRITERS: usize = 3;

type FlakyRemote = Faulty<Arc<MemoryRemote>>;

/// What was acknowledged to the writers: epoch and record.
type Acknowledged = Mutex<BTreeSet<(Epoch, u64)>>;

/// Since when somebody deletes in which epoch, whose deletes may still come.
type Deleting = Mutex<Vec<(UnixMillis, Epoch)>>;

/// Less than a lease is waited for by whoever has the fastest clock.
const WAITED_MILLIS: i64 = 59_000;

struct Writer {
    name: String,
    repository: Arc<Repository>,
    remote: Arc<FlakyRemote>,
    clock: Arc<ManualClock>,
    steady: Arc<ManualSteady>,
    random: Arc<SeededRandom>,
    acknowledged: Arc<Acknowledged>,
    taken: Arc<Mutex<BTreeSet<Epoch>>>,
    deleting: Arc<Deleting>,
    /// Of its data directory.
    claim: Arc<Claim>,
    /// The true time.
    time: Arc<ManualClock>,
}

struct Life {
    memory: Arc<MemoryRemote>,
    clock: Arc<ManualClock>,
    random: SeededRandom,
    acknowledged: Arc<Acknowledged>,
    taken: Arc<Mutex<BTreeSet<Epoch>>>,
    deleting: Arc<Deleting>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000_000)));
        let memory = Arc::new(MemoryRemote::new(clock.clone()));
        Self {
            memory,
            clock,
            random: SeededRandom::new(seed),
            acknowledged: Arc::default(),
            taken: Arc::default(),
            deleting: Arc::default(),
        }
    }

    fn below(&self, n: u64) -> u64 {
        self.random.u64() % n
    }

    fn repository(&self, remote: Arc<dyn Remote>) -> Repository {
        let key = BackupKey::generate(&SeededRandom::new(1));
        let new = NewRepository { store_id: StoreId::new([1; 16]), encrypted: true };
        let made = Repository::open_or_create(remote, key, new, &*self.clock, &self.random);
        block_on(made).unwrap()
    }

    fn writer(&self, number: usize) -> Writer {
        let faults = Arc::new(SeededRandom::new(self.random.u64()));
        let remote = Arc::new(Faulty::seeded(self.memory.clone(), faults, 25).stepwise());
        let repository = block_on(async {
            let key = BackupKey::generate(&SeededRandom::new(1));
            loop {
                if let Ok(repository) = Repository::open(remote.clone(), key.clone()).await {
                    return repository;
                }
            }
        });
        let millis = |n| ManualClock::at(UnixMillis::new(n));
        let skew = i64::try_from(self.below(2_000_000_000)).unwrap() - 1_000_000_000;
        Writer {
            name: format!("writer-{number}"),
            repository: Arc::new(repository),
            remote,
            clock: Arc::new(millis(1_000_000_000 + skew)),
            steady: Arc::new(ManualSteady { clock: millis(skew), asleep: millis(0), boot: "one" }),
            random: Arc::new(SeededRandom::new(self.random.u64())),
            acknowledged: self.acknowledged.clone(),
            taken: self.taken.clone(),
            deleting: self.deleting.clone(),
            claim: Claim::in_memory(),
            time: self.clock.clone(),
        }
    }

    /// Lets time pass for everybody; somebody's clock may run a little differently.
    fn pass(&self, writers: &[Writer]) {
        let millis = match self.below(400) {
            0 | 1 => 20_000 + self.below(60_000),
            2 => 100_000,
            _ => self.below(100),
        };
        let millis = i64::try_from(millis).unwrap();
        self.clock.advance_millis(millis);
        for writer in writers {
            let drift = i64::try_from(self.below(3)).unwrap() - 1;
            let steady = millis + millis * drift / 100;
            writer.steady.clock.advance_millis(steady);
            writer.clock.advance_millis(steady);
            if self.below(500) == 0 {
                writer.clock.advance_millis(86_400_000 * (i64::try_from(self.below(3)).unwrap() - 1));
            }
        }
    }
}

impl Writer {
    /// For as long as it is polled.
    async fn live(&self) {
        loop {
            let mut lease = self.take().await;
            match self.ship(&mut lease).await {
                Err(LeaseError::Lost(_)) => {}
                // Anything else ends the process; a new one begins from what the bucket says.
                Err(_) => futures::pending!(),
                Ok(()) => drop(lease.release().await),
            }
        }
    }

    async fn take(&self) -> Box<Lease> {
        let world =
            World { clock: self.clock.clone(), steady: self.steady.clone(), random: self.random.clone() };
        let repository = self.repository.clone();
        let candidate = Candidate::new(repository, world, LeaseTimes::default(), self.name.clone());
        let mut candidate = candidate.knowing(Some(self.claim.clone()));
        loop {
            if let Ok(Attempt::Taken(lease)) = candidate.attempt().await {
                let now = self.time.now().get();
                // One of a later epoch has it since: the answer was long on its way.
                self.deleting.lock().retain(|(since, epoch)| {
                    let is_later = *epoch > lease.epoch();
                    assert!(
                        is_later || now - since.get() > WAITED_MILLIS,
                        "taken at once from one who deletes"
                    );
                    is_later
                });
                assert!(self.taken.lock().insert(lease.epoch()), "two took epoch {}", lease.epoch());
                return lease;
            }
            futures::pending!();
        }
    }

    async fn ship(&self, lease: &mut Lease) -> Result<(), LeaseError> {
        let timeline = self.repository.timeline().await?;
        let parent = timeline.newest();
        let from = match parent {
            Some(parent) => end_of_log(&self.repository, parent).await?,
            None => 0,
        };
        let from_seq = CommitSeq::new(from);
        let begun = lease.begin_epoch(parent, from_seq).await?;
        assert_eq!((begun.holder.as_str(), begun.from_seq), (self.name.as_str(), from_seq));
        let mut seq = from + 1;
        while !self.random.u64().is_multiple_of(200) {
            match lease.check() {
                Ok(epoch) => seq += u64::from(self.ship_one(epoch, seq, &begun.tenure).await?),
                Err(LeaseError::Stale) => {}
                Err(lost) => return Err(lost),
            }
            if self.random.u64().is_multiple_of(64) {
                self.delete(lease).await?;
            }
            if self.random.u64().is_multiple_of(4) {
                if self.random.u64().is_multiple_of(8) {
                    self.remote.script(Verb::Put, Fault::Late);
                }
                if let Err(lost @ LeaseError::Lost(_)) = lease.renew().await {
                    return Err(lost);
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, lease: &mut Lease) -> Result<(), LeaseError> {
        let since = (self.time.now(), lease.epoch());
        match lease.linger().await.and_then(|()| lease.check().map(drop)) {
            Ok(()) => {
                self.deleting.lock().push(since);
                while !self.random.u64().is_multiple_of(4) {
                    futures::pending!();
                }
                let mut deleting = self.deleting.lock();
                // Unless somebody has it by now.
                if let Some(at) = deleting.iter().position(|at| *at == since) {
                    deleting.swap_remove(at);
                }
            }
            Err(lost @ LeaseError::Lost(_)) => return Err(lost),
            Err(_) => {}
        }
        lease.settle(true).await;
        Ok(())
    }

    /// Whether the record is there now.
    async fn ship_one(&self, epoch: Epoch, seq: u64, tenure: &str) -> Result<bool, LeaseError> {
        let at = CommitSeq::new(seq);
        let name = ObjectName::Log { epoch, level: LogLevel::Live, first: at, last: at }.key();
        let body = Bytes::from(tenure.to_owned());
        if self.random.u64().is_multiple_of(32) {
            self.remote.script(Verb::Put, Fault::Late);
        }
        match self.remote.put(&name, body.clone(), &PutOptions::ABSENT).await {
            Ok(_) => {}
            // An attempt before this one, unless two ship in one epoch.
            Err(error) if error.class == Class::Conflict => {
                let Some(standing) = self.remote.get(&name, Span::Whole).await? else { return Ok(false) };
                assert_eq!(standing.bytes, body, "two ship in epoch {epoch}");
            }
            Err(_) => return Ok(false),
        }
        self.acknowledged.lock().insert((epoch, seq));
        Ok(true)
    }
}

/// The last record that can be read without a gap on the path to an epoch.
async fn end_of_log(repository: &Repository, epoch: Epoch) -> Result<u64, LeaseError> {
    let timeline = repository.timeline().await?;
    let path = timeline.path_to(epoch).unwrap();
    let mut end = path[0].after.get();
    for stretch in path {
        let prefix = ObjectName::log_prefix(stretch.epoch, LogLevel::Live);
        let listed: Vec<_> = list_all(&**repository.remote(), &prefix).try_collect().await?;
        for found in listed {
            let Ok(ObjectName::Log { first, .. }) = ObjectName::parse(found.key.as_str()) else { continue };
            if stretch.holds(first) && first.get() == end + 1 {
                end += 1;
            }
        }
    }
    Ok(end)
}

/// What the bucket holds in the end.
fn judge(life: &Life) -> usize {
    let repository = life.repository(life.memory.clone());
    let timeline = block_on(repository.timeline()).unwrap();
    for name in life.memory.keys() {
        let Ok(ObjectName::Log { epoch, .. }) = ObjectName::parse(&name) else { continue };
        let key = ObjectName::parse(&name).unwrap().key();
        let body = block_on(life.memory.get(&key, Span::Whole)).unwrap().unwrap().bytes;
        let begun: &EpochRecord = timeline.get(epoch).expect("an epoch is begun before it has a log");
        assert_eq!(body, begun.tenure, "`{name}` is of another tenure than its epoch");
    }
    let Some(newest) = timeline.newest() else { return 0 };
    let end = block_on(end_of_log(&repository, newest)).unwrap();
    let acknowledged = life.acknowledged.lock();
    let own = acknowledged.iter().filter(|(epoch, _)| *epoch == newest);
    let missing: Vec<_> = own.filter(|(_, seq)| *seq > end).collect();
    assert!(missing.is_empty(), "acknowledged in the newest epoch and not readable up to {end}: {missing:?}");
    acknowledged.len()
}

/// One life; gives how many records were acknowledged and how many epochs there were.
fn live(seed: u64) -> (usize, usize) {
    let life = Life::new(seed);
    life.repository(life.memory.clone());
    let writers: Vec<Writer> = (0..WRITERS).map(|number| life.writer(number)).collect();
    let mut tasks: Vec<LocalBoxFuture<'_, ()>> =
        writers.iter().map(|writer| writer.live().boxed_local()).collect();
    let mut context = Context::from_waker(Waker::noop());
    // Now and then one is not polled for a long time, wherever it stands.
    let mut frozen: Option<usize> = None;
    for _ in 0..POLLS {
        if life.below(50) == 0 {
            frozen = Some(life.below(WRITERS as u64 * 2) as usize);
        }
        let next = life.below(WRITERS as u64) as usize;
        if frozen != Some(next) {
            assert!(tasks[next].as_mut().poll(&mut context).is_pending());
        }
        if life.below(300) == 0 {
            // Its data directory may be gone, with a copy of another one in its place.
            if life.below(3) == 0 {
                let other = life.below(WRITERS as u64) as usize;
                writers[next].claim.copy_of(&writers[other].claim);
            }
            tasks[next] = writers[next].live().boxed_local();
        }
        if life.below(20) == 0 {
            // What it is answered nobody hears.
            let _ = block_on(writers[next].remote.land());
        }
        life.pass(&writers);
    }
    drop(tasks);
    for writer in &writers {
        while matches!(block_on(writer.remote.land()), Ok(true) | Err(_)) {}
    }
    let shipped = judge(&life);
    let epochs = life.memory.keys().iter().filter(|name| name.starts_with(ObjectName::EPOCHS)).count();
    (shipped, epochs)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn i1_two_writers_never_ship_in_one_epoch_and_what_the_newest_shipped_is_read() {
    let seeds = match number("SEDIMENT_LEASE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEDIMENT_LEASE_SEEDS").unwrap_or(SEEDS),
    };
    let (mut shipped, mut epochs) = (0, 0);
    for seed in seeds.clone() {
        println!("SEDIMENT_LEASE_SEED={seed}");
        let life = live(seed);
        shipped += life.0;
        epochs += life.1;
    }
    println!("{shipped} records in {epochs} epochs");
    let lives = usize::try_from(seeds.end - seeds.start).unwrap();
    assert!(lives < 10 || (shipped > 10 * lives && epochs > 2 * lives), "the writers hardly got to write");
}
