//! A keeper's work: sessions, one after the other.

use super::care::Repair;
use super::{KeeperState, RunOutcome, Shared, Wanted, pruning};
use crate::backup::{
    Asked, BackupError, Candidate, Condition, LeaseError, LeaseTimes, Repository, Session, Shipper, Snapshot,
};
use crate::sys::Random;
use crate::types::UnixMillis;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A stop waits no longer until the lease is given back: it runs out by itself.
const RELEASE_TIME: Duration = Duration::from_secs(5);

pub(super) async fn run(this: &Shared, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match session(this, stop).await {
            Ok(()) => return,
            Err(error) => {
                this.failed(&error);
                this.cannot_repair(&error.to_string());
                this.ended();
                tracing::warn!(%error, "the backup failed; it is tried again");
                this.pause(stop).await;
            }
        }
    }
}

/// The repository, and the lease on it.
async fn open(this: &Shared) -> Result<Arc<Session>, BackupError> {
    let parts = &this.parts;
    let (clock, random) = (&*parts.world.clock, &*parts.world.random);
    let opened =
        Repository::open_or_create(Arc::clone(&parts.remote), parts.key.clone(), parts.new, clock, random);
    let repository = Arc::new(opened.await?);
    this.state.lock().repository = Some(Arc::clone(&repository));
    take(this, &repository).await
}

/// From taking the lease to losing it, or to a stop. It ends by itself then: dropped, it could not wait until the lease is given back.
async fn session(this: &Shared, stop: &CancellationToken) -> Result<(), BackupError> {
    let Some(session) = stop.run_until_cancelled(open(this)).await else { return Ok(()) };
    let session = session?;
    let release = CancellationToken::new();
    let kept = tokio::spawn({
        let (session, release) = (Arc::clone(&session), release.clone());
        async move { session.keep(release).await }
    });
    let worked = tokio::select! {
        worked = work(this, &session, stop) => worked,
        () = stop.cancelled() => Ok(()),
    };
    release.cancel();
    // Nothing is sent any more: whoever comes next need not wait.
    if stop.is_cancelled() {
        return tokio::time::timeout(RELEASE_TIME, kept).await.map_or(Ok(()), |kept| kept?).and(worked);
    }
    kept.await?.and(worked)
}

async fn take(this: &Shared, repository: &Arc<Repository>) -> Result<Arc<Session>, BackupError> {
    let (world, holder) = (this.parts.world.clone(), this.parts.holder.clone());
    let candidate = Candidate::new(Arc::clone(repository), world, LeaseTimes::default(), holder);
    let mut candidate = candidate.knowing(this.parts.claim.clone());
    loop {
        match Session::ask(repository, &mut candidate).await? {
            Asked::Open(session) => {
                let mut state = this.state.lock();
                (state.held_by, state.epoch) = (None, Some(session.epoch().get()));
                return Ok(session);
            }
            Asked::Held(holder) => {
                tracing::info!(holder = %holder.name, "another gateway writes the backup repository; waiting");
                this.waits_for(holder.name);
                this.ended();
                tokio::time::sleep(holder.again_in.clamp(FIRST_PAUSE, LONGEST_PAUSE)).await;
            }
        }
    }
}

async fn work(this: &Shared, session: &Arc<Session>, stop: &CancellationToken) -> Result<(), BackupError> {
    let parts = &this.parts;
    this.show(KeeperState::Starting);
    let mut shipper = Shipper::begin(
        Arc::clone(session),
        parts.source.clone(),
        parts.ship.clone(),
        Arc::clone(&parts.world.random),
        Arc::clone(&this.progress),
        stop.clone(),
    )
    .await?;
    this.note_snapshot(shipper.last_snapshot());
    this.publish(&shipper);
    loop {
        let stepped = match repair(this, &mut shipper).await {
            Ok(()) => step(this, &mut shipper).await,
            failed => failed,
        };
        let stepped = match stepped {
            Ok(()) => pruning::prune_if_due(this, (session, &shipper), stop).await,
            failed => failed,
        };
        match stepped {
            Ok(()) => this.state.lock().failures_in_a_row = 0,
            Err(BackupError::Stopped) => return Ok(()),
            Err(error) if error.ends_session() || is_lease(&error) => return Err(error),
            Err(error) => {
                this.failed(&error);
                this.ended();
                tracing::warn!(%error, "the backup failed; it is tried again");
                this.pause(stop).await;
                continue;
            }
        }
        this.ended();
        let poked = tokio::time::timeout(parts.interval, this.poked.notified());
        let _ = poked.await;
    }
}

const fn is_lease(error: &BackupError) -> bool {
    matches!(error, BackupError::Lease(LeaseError::Lost(_) | LeaseError::Exhausted))
}

/// What was found damaged, if anything was.
async fn repair(this: &Shared, shipper: &mut Shipper) -> Result<(), BackupError> {
    let wanted = this.state.lock().care.repair.take();
    let Some(Repair { damaged, tell }) = wanted else { return Ok(()) };
    this.show(KeeperState::Snapshot);
    let made = shipper.repair(&damaged).await;
    // Who has asked may be gone.
    let _ = tell.send(made.as_ref().map(Clone::clone).map_err(ToString::to_string));
    let made = made?;
    tracing::info!(snapshot = %made.name(), objects = damaged.len(), "what was damaged in the backup was sent again");
    this.made(shipper, &made);
    Ok(())
}

/// A snapshot if one is due or wanted, else a round.
async fn step(this: &Shared, shipper: &mut Shipper) -> Result<(), BackupError> {
    let began = this.parts.world.clock.now();
    let wanted = this.wanted();
    let done = if wanted.is_some() || this.is_due(shipper, began) {
        snapshot(this, shipper, wanted.unwrap_or_default()).await?
    } else {
        this.show(KeeperState::Shipping);
        shipper.round().await?;
        None
    };
    let (seq, at) = shipper.shipped();
    let mut state = this.state.lock();
    state.covered = Some(began);
    state.shipped = Some((seq.get(), at));
    state.shown = KeeperState::Idle;
    // Told together with all that it means: whoever has waited for it looks at the rest next.
    if done.is_some() {
        (state.done, state.failures_in_a_row) = (done, 0);
    }
    Ok(())
}

/// What is to be told to whoever has asked for it, if anybody has.
async fn snapshot(
    this: &Shared,
    shipper: &mut Shipper,
    wanted: Wanted,
) -> Result<Option<RunOutcome>, BackupError> {
    this.show(KeeperState::Snapshot);
    let began = Instant::now();
    let made = shipper.snapshot(wanted.full).await;
    let done = (wanted.number > 0).then(|| outcome(wanted.number, &made, began.elapsed()));
    if made.is_err() && done.is_some() {
        this.state.lock().done.clone_from(&done);
    }
    let made = made?;
    tracing::info!(snapshot = %made.name(), seq = %made.seq, sent_bytes = made.totals.sent_bytes, "snapshot made");
    this.made(shipper, &made);
    Ok(done)
}

fn outcome(number: u64, made: &Result<Snapshot, BackupError>, took: Duration) -> RunOutcome {
    let found = made.as_ref().ok();
    let totals = found.map(|made| made.totals).unwrap_or_default();
    RunOutcome {
        number,
        snapshot: found.map(|made| made.name().to_string()),
        is_full: found.is_some_and(|made| made.is_full),
        seq: found.map_or(0, |made| made.seq.get()),
        sent_bytes: totals.sent_bytes,
        remote_bytes: totals.remote_bytes,
        logical_bytes: totals.logical_bytes,
        seconds: took.as_secs_f64(),
        error: made.as_ref().err().map(ToString::to_string),
    }
}

impl Shared {
    fn show(&self, state: KeeperState) {
        self.state.lock().shown = state;
    }

    pub(super) fn waits_for(&self, holder: String) {
        let why = format!("the repository is written by {holder}");
        {
            let mut state = self.state.lock();
            (state.shown, state.held_by) = (KeeperState::Waiting, Some(holder));
        }
        self.cannot_repair(&why);
    }

    fn failed(&self, error: &BackupError) {
        if self.state.lock().repository.is_none() {
            self.cannot_look(&error.to_string());
        }
        if matches!(error, BackupError::GivenUp) {
            self.state.lock().given_up = true;
            self.parts.alerts.set(Condition::GivenUp, Some(error.to_string()));
        }
        let now = self.parts.world.clock.now();
        let mut state = self.state.lock();
        state.failed(now, error);
        // Whoever waits for a snapshot is told, and asks again if he likes.
        let wanted = state.wanted;
        if wanted.number > state.done.as_ref().map_or(0, |done| done.number) {
            let failed = Err(BackupError::Unfit(error.to_string()));
            state.done = Some(outcome(wanted.number, &failed, Duration::ZERO));
        }
    }

    fn wanted(&self) -> Option<Wanted> {
        let mut state = self.state.lock();
        let done = state.done.as_ref().map_or(0, |done| done.number);
        let wanted = state.wanted;
        if wanted.number <= done {
            return None;
        }
        state.wanted.full = false;
        Some(wanted)
    }

    fn made(&self, shipper: &Shipper, snapshot: &Snapshot) {
        self.note_snapshot(Some(snapshot));
        self.publish(shipper);
        self.state.lock().given_up = false;
        self.parts.alerts.set(Condition::GivenUp, None);
    }

    /// What can be healed from the bucket.
    fn publish(&self, shipper: &Shipper) {
        let repository = self.state.lock().repository.clone();
        if let Some(repository) = repository {
            self.parts.records.publish(repository, Arc::new(shipper.held().clone()));
        }
    }

    fn note_snapshot(&self, snapshot: Option<&Snapshot>) {
        if let Some(snapshot) = snapshot {
            self.state.lock().last_snapshot = Some((snapshot.name(), snapshot.made));
        }
    }

    fn is_due(&self, shipper: &Shipper, now: UnixMillis) -> bool {
        let Some(last) = shipper.last_snapshot() else { return true };
        let age = now.get().saturating_sub(last.made.get());
        u128::try_from(age).unwrap_or(0) >= self.parts.snapshot_interval.as_millis()
    }

    /// Longer after each failure, up to [`LONGEST_PAUSE`], and not at the same moment as others.
    async fn pause(&self, stop: &CancellationToken) {
        let failures = self.state.lock().failures_in_a_row.saturating_sub(1).min(16);
        let longest = FIRST_PAUSE.saturating_mul(1 << failures).min(LONGEST_PAUSE);
        let pause = jittered(longest, &*self.parts.world.random);
        let poked = tokio::time::timeout(pause, self.poked.notified());
        let _ = stop.run_until_cancelled(poked).await;
    }
}

/// Between half of it and all of it.
fn jittered(longest: Duration, random: &dyn Random) -> Duration {
    let share = f64::from(u32::from(random.id128()[0])) / 255.0;
    longest.mul_f64(0.5 + share / 2.0)
}
