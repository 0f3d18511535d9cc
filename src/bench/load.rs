//! The measured part of a run, and the storing before it that reading needs.

use super::client::Client;
use super::context::Context;
use super::crew;
use super::failure::Failure;
use super::lanes::Lane;
use super::object_calls::{Prepared, Upload};
use super::pace::Pace;
use super::plan::{Limit, Operation};
use super::process::{ServerProcess, own_cpu_seconds, server};
use super::tally::{Kind, Tally};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

/// A failing server is not asked again at once.
const REST: Duration = Duration::from_millis(100);
/// So long what is under way is waited for when a run is stopped.
const LAST_OPERATION: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(200);

/// What was stored before the clock starts, as many objects by each worker.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) lanes: Vec<Lane>,
    pub(super) in_each: u64,
    /// Of each lane's objects, where they are compared.
    crcs: Vec<Vec<u64>>,
}

pub(super) fn is_reading(operation: Operation) -> bool {
    matches!(operation, Operation::Get | Operation::Head | Operation::List | Operation::Mixed)
}

impl Stored {
    /// The lanes that [`Self::store`] fills.
    pub(super) fn planned(context: &Context) -> Self {
        if !is_reading(context.plan.operation) {
            return Self::default();
        }
        let workers = context.plan.concurrency;
        let lane = |worker| Lane::new(context.plan, &context.prefix, "stored", context.seed, worker);
        let lanes = (0..workers).map(lane).collect();
        Self { lanes, in_each: context.plan.objects.div_ceil(workers as u64), crcs: Vec::new() }
    }

    /// # Errors
    /// The first failure; then some objects are stored and others are not.
    pub(super) fn store(&mut self, context: &Context) -> io::Result<Result<(), Failure>> {
        let (lanes, in_each) = (&self.lanes, self.in_each);
        let done = AtomicU64::new(0);
        let total = in_each * lanes.len() as u64;
        let work = async |worker: usize, mut client: Client<'_>| {
            let mut crcs = Vec::new();
            let Some(mut lane) = lanes.get(worker).cloned() else { return Ok(crcs) };
            for number in 0..in_each {
                if context.controls.stop.is_cancelled() {
                    break;
                }
                let recipe = lane.next();
                if context.plan.verify {
                    crcs.push(recipe.crc(&context.material));
                }
                let prepared = client.prepare(recipe).await;
                client.put(&lane.key(number), &prepared).await?;
                context.report_progress("storing", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            }
            Ok(crcs)
        };
        let stored: Result<Vec<_>, Failure> = crew::run(context, work)?.into_iter().collect();
        Ok(stored.map(|crcs| self.crcs = crcs))
    }

    fn count(&self) -> u64 {
        self.in_each * self.lanes.len() as u64
    }

    /// Key and, if known, checksum of one of them.
    fn pick(&self, number: u64) -> (String, Option<u64>) {
        let number = number % self.count().max(1);
        let (lane, number) = ((number / self.in_each.max(1)) as usize, number % self.in_each.max(1));
        let crc = self.crcs.get(lane).and_then(|crcs| crcs.get(number as usize)).copied();
        (self.lanes.get(lane).map(|lane| lane.key(number)).unwrap_or_default(), crc)
    }
}

/// What the workers of one run share.
struct Shared<'a> {
    stored: &'a Stored,
    /// All workers, and who takes the time.
    ready: Barrier,
    over: AtomicBool,
    /// Operations that were begun.
    begun: AtomicU64,
    pace: Option<Pace>,
}

impl Shared<'_> {
    /// The number of the next operation.
    fn admit(&self, limit: Limit) -> Option<u64> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let is_beyond = matches!(limit, Limit::Operations(most) if number >= most);
        (!is_beyond && !self.over.load(Ordering::Relaxed)).then_some(number)
    }

    /// From when on the operation is measured, once it may begin.
    async fn begin(&self, number: u64) -> Option<Instant> {
        match &self.pace {
            Some(pace) => pace.begin(number).await,
            None => Some(Instant::now()),
        }
    }
}

/// What a worker stored.
#[derive(Debug, Clone)]
pub(super) struct Left {
    /// Those from `deleted` to below `stored` are there.
    pub(super) stored: u64,
    pub(super) deleted: u64,
}

pub(super) struct Loaded {
    pub(super) tally: Tally,
    pub(super) seconds: f64,
    pub(super) client_cpu_seconds: f64,
    /// Before and after.
    pub(super) server: Option<(ServerProcess, ServerProcess)>,
    pub(super) left: Vec<Left>,
    /// Operations that fell due and for which no connection came free; `None` where none falls due.
    pub(super) not_begun: Option<u64>,
}

/// When the load began, and what had been spent by then.
struct Begun {
    at: Instant,
    client_cpu_seconds: f64,
    server: Option<ServerProcess>,
}

impl Begun {
    fn now(context: &Context) -> Self {
        let server = context.target.pid.and_then(server);
        Self { at: Instant::now(), client_cpu_seconds: own_cpu_seconds(), server }
    }
}

/// # Errors
/// When threads cannot be started.
pub(super) fn load(context: &Context, stored: &Stored) -> io::Result<Loaded> {
    let ready = Barrier::new(context.plan.concurrency + 1);
    let (over, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    let shared = Shared { stored, ready, over, begun, pace: Pace::of(context.plan) };
    let ended = CancellationToken::new();
    let (begun, workers) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(context, &shared, &ended));
        let work = async |number: usize, client| Worker::new(number, client, &shared).run().await;
        let workers = crew::run(context, work);
        ended.cancel();
        let begun = watch.join().unwrap_or_else(|_| Err(io::Error::other("the watch panicked")));
        (begun, workers)
    });
    let (begun, workers) = (begun?, workers?);
    let last = workers.iter().map(|worker| worker.ended).max().unwrap_or(begun.at);
    let mut tally = Tally::default();
    workers.iter().for_each(|worker| tally.add(&worker.tally));
    let ended = tally.operations() + tally.errors.values().sum::<u64>();
    Ok(Loaded {
        not_begun: shared.pace.as_ref().map(|pace| pace.not_begun(ended)),
        tally,
        seconds: last.saturating_duration_since(begun.at).as_secs_f64(),
        client_cpu_seconds: own_cpu_seconds() - begun.client_cpu_seconds,
        server: begun.server.zip(context.target.pid.and_then(server)),
        left: workers.into_iter().map(|worker| worker.left).collect(),
    })
}

/// Says when the run begins and when its time is over.
fn watch(context: &Context, shared: &Shared, ended: &CancellationToken) -> io::Result<Begun> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            _ = shared.ready.wait() => {}
            () = ended.cancelled() => {}
        }
        let begun = Begun::now(context);
        let time = match context.plan.limit {
            Limit::Duration(time) => time,
            Limit::Operations(_) => Duration::MAX,
        };
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = context.controls.stop.cancelled() => {}
            () = ended.cancelled() => {}
            () = tick(context, shared, begun.at) => {}
        }
        shared.over.store(true, Ordering::Relaxed);
        Ok(begun)
    })
}

/// What is under way when a run is stopped is waited for: a server that was not asked to the end may store it after it was removed.
async fn until_stopped<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => Some(done),
        () = stop.cancelled() => tokio::time::timeout(LAST_OPERATION, work).await.ok(),
    }
}

async fn tick(context: &Context<'_>, shared: &Shared<'_>, since: Instant) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let (done, total) = match context.plan.limit {
            Limit::Duration(time) => (since.elapsed().as_secs(), time.as_secs()),
            Limit::Operations(most) => (shared.begun.load(Ordering::Relaxed).min(most), most),
        };
        context.report_progress("loading", done, total);
    }
}

struct Worker<'a> {
    client: Client<'a>,
    shared: &'a Shared<'a>,
    lane: Lane,
    /// The next object.
    next: Option<Prepared>,
    /// The upload under way.
    upload: Option<Upload>,
    drawn: u64,
    number: usize,
    tally: Tally,
    left: Left,
}

struct Ended {
    tally: Tally,
    left: Left,
    ended: Instant,
}

impl<'a> Worker<'a> {
    fn new(number: usize, client: Client<'a>, shared: &'a Shared<'a>) -> Self {
        let context = client.context;
        let lane = Lane::new(context.plan, &context.prefix, "loaded", context.seed, number);
        let (tally, left) = (Tally::default(), Left { stored: 0, deleted: 0 });
        Self { client, shared, lane, next: None, upload: None, drawn: 0, number, tally, left }
    }

    async fn run(mut self) -> Ended {
        let context = self.client.context;
        // A failure comes again with the first operation, and is counted there.
        let _ = self.client.connect().await;
        self.shared.ready.wait().await;
        while let Some(number) = self.shared.admit(context.plan.limit) {
            let kind = self.choose();
            self.prepare(kind).await;
            let stop = &context.controls.stop;
            let Some(Some(begun)) = stop.run_until_cancelled(self.shared.begin(number)).await else { break };
            let Some(done) = until_stopped(stop, self.perform(kind)).await else { break };
            match done {
                Ok(bytes) => self.tally.done(kind, begun.elapsed(), bytes),
                Err(failure) => self.fail(&failure).await,
            }
        }
        let ended = Instant::now();
        self.abort().await;
        Ended { tally: self.tally, left: self.left, ended }
    }

    async fn fail(&mut self, failure: &Failure) {
        self.tally.failed(failure);
        self.abort().await;
        if failure.needs_rest() {
            tokio::time::sleep(REST).await;
        }
    }

    async fn abort(&mut self) {
        if let Some(upload) = self.upload.take() {
            // Nothing more can be done about one that stays.
            let _ = self.client.abort(&upload).await;
        }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let stream = super::content::Stream::new(self.client.context.seed);
        stream.child(self.number as u64).number(self.drawn)
    }

    fn choose(&mut self) -> Kind {
        match self.client.context.plan.operation {
            Operation::Put => Kind::Put,
            Operation::Get => Kind::Get,
            Operation::Head => Kind::Head,
            Operation::List => Kind::List,
            Operation::Multipart => Kind::Multipart,
            Operation::Mixed => match self.draw() % 20 {
                0..10 => Kind::Get,
                10..14 => Kind::Head,
                14 if self.left.stored > self.left.deleted => Kind::Delete,
                _ => Kind::Put,
            },
        }
    }

    /// Does what is not to be measured.
    async fn prepare(&mut self, kind: Kind) {
        if matches!(kind, Kind::Put | Kind::Multipart) && self.next.is_none() {
            let recipe = self.lane.next();
            self.next = Some(match kind {
                Kind::Put => self.client.prepare(recipe).await,
                // Its parts are what is signed.
                _ => Prepared::unsigned(recipe),
            });
        }
    }

    /// Returns how many bytes of bodies went over the wire.
    async fn perform(&mut self, kind: Kind) -> Result<u64, Failure> {
        let size = self.client.context.plan.size;
        match kind {
            Kind::Put => self.put().await,
            Kind::Multipart => self.upload().await,
            Kind::Get => {
                let (key, crc) = self.shared.stored.pick(self.draw());
                self.client.get(&key, size, crc).await.map(|()| size)
            }
            Kind::Head => {
                let (key, _) = self.shared.stored.pick(self.draw());
                self.client.head(&key, size).await.map(|()| 0)
            }
            Kind::List => self.list().await,
            Kind::Delete => {
                self.client.delete(&self.lane.key(self.left.deleted)).await?;
                self.left.deleted += 1;
                Ok(0)
            }
        }
    }

    async fn put(&mut self) -> Result<u64, Failure> {
        let Some(next) = &self.next else { return Ok(0) };
        let len = next.recipe.len;
        self.client.put(&self.lane.key(self.left.stored), next).await?;
        self.next = None;
        self.left.stored += 1;
        Ok(len)
    }

    async fn upload(&mut self) -> Result<u64, Failure> {
        let Some(next) = &self.next else { return Ok(0) };
        let part_size = self.client.context.plan.part_size;
        let upload = self.client.begin_upload(&self.lane.key(self.left.stored)).await?;
        self.upload = Some(upload.clone());
        let mut tags = Vec::new();
        for number in 0..next.recipe.len.div_ceil(part_size) {
            let part = self.client.prepare(next.recipe.slice(number * part_size, part_size)).await;
            tags.push(self.client.put_part(&upload, tags.len() + 1, &part).await?);
        }
        self.client.complete(&upload, &tags).await?;
        let len = next.recipe.len;
        (self.upload, self.next) = (None, None);
        self.left.stored += 1;
        Ok(len)
    }

    async fn list(&mut self) -> Result<u64, Failure> {
        const PAGE: u64 = 1_000;
        let (context, count) = (self.client.context, self.shared.stored.count());
        let prefix = format!("{}/stored/", context.prefix);
        // Any place that a whole page follows, where there are more.
        let skipped = if count > PAGE { self.draw() % (count - PAGE + 1) } else { 0 };
        let after = skipped.checked_sub(1).map(|last| self.shared.stored.pick(last).0);
        let (bytes, keys) = self.client.list(&prefix, after, context.plan.verify).await?;
        match keys {
            Some(got) if got != count.min(PAGE) => Err(Failure::Length { wanted: count.min(PAGE), got }),
            _ => Ok(bytes),
        }
    }
}
