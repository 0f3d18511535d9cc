//! When what is in the bucket is looked at: on schedule, also over restarts, and when somebody asks.

use super::outcomes::{DrillDone, VerifyAsk, VerifyOutcome};
use super::{Shared, drilling, room, verifying};
use crate::backup::{
    BackupError, Catalogue, Condition, ObjectName, Rehearsal, Repository, Snapshot, SnapshotName, Verified,
    VerifiedState,
};
use crate::types::UnixMillis;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What could not be done is tried again after so long, or an interval if that is shorter;
pub(super) const AGAIN: Duration = Duration::from_secs(3600);
/// a drill that failed costs more.
pub(super) const AGAIN_DRILL: Duration = Duration::from_secs(86_400);
/// Between two looks whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is under way when it is to stop may take so long to end.
const GRACE: Duration = Duration::from_secs(5);

/// How what is in the bucket is looked after.
#[derive(Debug, Clone)]
pub struct CareParts {
    /// From one verification of all snapshots to the next; zero: only when asked to.
    pub verify_interval: Duration,
    /// How much of the bytes each reads back.
    pub verify_percent: u8,
    /// From one drill to the next; zero: only when asked to.
    pub drill_interval: Duration,
    /// The most that a drill may write into the source's scratch directory,
    pub drill_bytes: u64,
    /// of whose device so much stays free.
    pub min_free_bytes: u64,
    /// Lets a client at what a drill has restored.
    pub rehearsal: Option<Arc<dyn Rehearsal>>,
}

/// Where that stands.
#[derive(Debug, Default)]
pub(super) struct Care {
    pub(super) verify_wanted: VerifyAsk,
    pub(super) verified: Option<VerifyOutcome>,
    pub(super) verify: Schedule,
    pub(super) drill_wanted: u64,
    pub(super) drilled: Option<DrillDone>,
    pub(super) drill: Schedule,
    /// How the last drill of any process ended.
    pub(super) drill_passed: Option<bool>,
    pub(super) corrupt: u64,
    /// What the writer is to send again.
    pub(super) repair: Option<Repair>,
    /// What the bucket tells of earlier looks is known.
    is_learnt: bool,
}

/// Objects that are damaged or missing, and who waits for a snapshot without them.
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) damaged: Vec<ObjectName>,
    pub(super) tell: oneshot::Sender<Result<Snapshot, String>>,
}

/// When something was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) last: Option<UnixMillis>,
    /// It was tried since, or then, and failed: after so long it is tried again.
    failed: Option<(UnixMillis, Duration)>,
}

impl Schedule {
    pub(super) const fn done(&mut self, at: UnixMillis) {
        *self = Self { last: Some(at), failed: None };
    }

    pub(super) const fn failed(&mut self, at: UnixMillis, again: Duration) {
        self.failed = Some((at, again));
    }

    /// `since`: what counts as the last one where there was none.
    pub(super) fn next(&self, interval: Duration, since: UnixMillis) -> Option<UnixMillis> {
        if interval.is_zero() {
            return None;
        }
        let (from, wait) = match self.failed {
            Some((failed, again)) => (failed, interval.min(again)),
            None => (self.last.unwrap_or(since), interval),
        };
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Some(UnixMillis::new(from.get().saturating_add(wait)))
    }
}

/// Until it is stopped.
pub(super) async fn run(this: &Shared, stop: &CancellationToken) {
    room::tidy(&this.parts).await;
    let every = this.parts.interval.min(LOOK_EVERY);
    while !stop.is_cancelled() {
        let attending = attend(this, stop);
        let mut attending = std::pin::pin!(attending);
        let attended = tokio::select! {
            attended = &mut attending => attended,
            () = stop.cancelled() => match tokio::time::timeout(GRACE, attending).await {
                Ok(attended) => attended,
                Err(_) => return,
            },
        };
        if let Err(error) = attended
            && !stop.is_cancelled()
        {
            tracing::warn!(%error, "the backup could not be looked at; it is tried again");
        }
        this.ended();
        let poked = tokio::time::timeout(every, this.care_poked.notified());
        let _ = stop.run_until_cancelled(poked).await;
    }
}

/// Whatever is due.
async fn attend(this: &Shared, stop: &CancellationToken) -> Result<(), BackupError> {
    let repository = this.state.lock().repository.clone();
    let Some(repository) = repository else { return Ok(()) };
    let is_learnt = this.state.lock().care.is_learnt;
    if !is_learnt {
        let learnt = learn(this, &repository).await;
        learnt.inspect_err(|error| this.cannot_look(&error.to_string()))?;
    }
    if let Some(ask) = this.verify_due(&repository) {
        let _alone = this.looking.lock().await;
        verifying::run(this, &repository, ask, stop).await?;
    }
    if let Some(number) = this.drill_due(&repository) {
        let _alone = this.looking.lock().await;
        drilling::run(this, &repository, number, stop).await?;
    }
    Ok(())
}

/// When it was last looked at stands beside the snapshots.
async fn learn(this: &Shared, repository: &Repository) -> Result<(), BackupError> {
    let catalogue = Catalogue::load(repository).await?;
    let (known, _) = Verified::all(repository, &catalogue).await?;
    let now = this.parts.world.clock.now();
    let percent = this.parts.care.verify_percent;
    let verified = known.values().filter_map(|known| known.all_looked_with(percent)).max();
    let newest = newest_known(&catalogue, &known);
    let drills = || known.values().filter_map(|known| known.drill.as_ref());
    let drilled = drills().map(|drill| drill.at).max();
    // The last one, with the earlier moment that it has restored as well.
    let began = drills().filter(|drill| drill.is_latest).map(|drill| drill.at).max();
    let passed = began.map(|began| drills().filter(|drill| drill.at >= began).all(|drill| drill.passed));
    let corrupt = known.values().filter(|known| known.state == VerifiedState::Corrupt);
    let corrupt = corrupt.count() as u64;
    let mut state = this.state.lock();
    let care = &mut state.care;
    // A clock that was set ahead once puts nothing off.
    let (verified, drilled) = (verified.map(|at| at.min(now)), drilled.map(|at| at.min(now)));
    care.verify.last = care.verify.last.max(verified);
    care.drill.last = care.drill.last.max(drilled);
    care.drill_passed = care.drill_passed.or(passed);
    let alerts = &this.parts.alerts;
    match (newest, alerts.since(Condition::Verify)) {
        (Some(newest), _) if !newest.is_whole() => {
            care.verify.failed(newest.at.min(now), AGAIN);
            alerts.set(Condition::Verify, Some(damaged_before(newest)));
        }
        // It was mended before the process ended.
        (Some(newest), Some(since)) if newest.at >= since => alerts.set(Condition::Verify, None),
        (_, Some(since)) => care.verify.failed(since.min(now), AGAIN),
        (_, None) => {}
    }
    match (drilled.zip(passed), alerts.since(Condition::Drill)) {
        (Some((at, false)), _) => {
            care.drill.failed(at, AGAIN_DRILL);
            let why = drills().filter(|drill| !drill.passed).flat_map(|drill| &drill.problems).last();
            let why = format!("a restore drill failed: {}", why.map_or("", String::as_str));
            alerts.set(Condition::Drill, Some(why));
        }
        (Some((at, true)), Some(since)) if at >= since => alerts.set(Condition::Drill, None),
        // One that could not be done.
        (_, Some(since)) => care.drill.failed(since.min(now), AGAIN),
        (_, None) => {}
    }
    (care.corrupt, care.is_learnt) = (corrupt, true);
    Ok(())
}

/// Of those on the way to the newest epoch the last that was verified. A drill alone counts no objects.
fn newest_known<'a>(
    catalogue: &Catalogue,
    known: &'a BTreeMap<SnapshotName, Verified>,
) -> Option<&'a Verified> {
    let timeline = catalogue.timeline();
    let path = timeline.path_to(timeline.newest()?).ok()?;
    let on = catalogue.snapshots_on(&path);
    on.iter().rev().filter_map(|name| known.get(name)).find(|known| known.objects > 0)
}

fn damaged_before(found: &Verified) -> String {
    let faults = found.faults.iter().chain(found.behind.iter().flat_map(|behind| &behind.faults));
    let first = faults.map(ToString::to_string).next().unwrap_or_default();
    format!("objects of the backup were damaged or missing when it was last verified, such as {first}")
}

impl Shared {
    /// One that was asked for, or that is due.
    fn verify_due(&self, repository: &Repository) -> Option<VerifyAsk> {
        let now = self.parts.world.clock.now();
        let mut state = self.state.lock();
        let (is_writer, done) =
            (state.is_writer(), state.care.verified.as_ref().map_or(0, |done| done.number));
        let wanted = state.care.verify_wanted;
        if wanted.number > done {
            state.care.verify_wanted = VerifyAsk { number: wanted.number, ..VerifyAsk::default() };
            return Some(wanted);
        }
        let care = &self.parts.care;
        let next = state.care.verify.next(care.verify_interval, repository.description().created)?;
        (is_writer && next <= now).then_some(VerifyAsk {
            number: done,
            percent: care.verify_percent,
            all: true,
        })
    }

    fn drill_due(&self, repository: &Repository) -> Option<u64> {
        let now = self.parts.world.clock.now();
        let state = self.state.lock();
        let done = state.care.drilled.as_ref().map_or(0, |done| done.number);
        if state.care.drill_wanted > done {
            return Some(state.care.drill_wanted);
        }
        let next = state.care.drill.next(self.parts.care.drill_interval, repository.description().created)?;
        (state.is_writer() && next <= now).then_some(done)
    }

    /// Whoever waits is told that there is nothing to look at.
    pub(super) fn cannot_look(&self, why: &str) {
        let now = self.parts.world.clock.now();
        let mut state = self.state.lock();
        let care = &mut state.care;
        if care.verify_wanted.number > care.verified.as_ref().map_or(0, |done| done.number) {
            care.verified = Some(VerifyOutcome::failed(care.verify_wanted.number, now, why.to_owned()));
        }
        if care.drill_wanted > care.drilled.as_ref().map_or(0, |done| done.number) {
            care.drilled = Some(DrillDone::failed(care.drill_wanted, now, why.to_owned()));
        }
    }
}

impl super::State {
    /// It has the lease, and there is a snapshot to look at.
    fn is_writer(&self) -> bool {
        self.held_by.is_none() && self.epoch.is_some() && self.last_snapshot.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Schedule};
    use crate::types::UnixMillis;
    use std::time::Duration;

    #[test]
    fn what_could_not_be_done_is_tried_again_sooner() {
        let day = Duration::from_secs(86_400);
        let (since, hour) = (UnixMillis::new(1000), 3_600_000);
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(Duration::ZERO, since), None);
        assert_eq!(schedule.next(day, since), Some(UnixMillis::new(1000 + 24 * hour)));
        schedule.failed(UnixMillis::new(30 * hour), AGAIN);
        assert_eq!(schedule.next(day, since), Some(UnixMillis::new(31 * hour)));
        assert_eq!(schedule.next(Duration::from_secs(60), since), Some(UnixMillis::new(30 * hour + 60_000)));
        schedule.done(UnixMillis::new(31 * hour));
        assert_eq!(schedule.next(day, since), Some(UnixMillis::new(55 * hour)));
    }
}
