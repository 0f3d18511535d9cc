//! One drill at work.

use super::compare::with_store;
use super::prove::{Place, Restored};
use super::scratch::{ScratchDir, used_bytes};
use super::{DrillOutcome, DrillReport, Rehearsal, RestoredStore};
use crate::backup::reach::first_within;
use crate::backup::{
    BackupError, Catalogue, Plan, Repository, RestoreProgress, RowsReport, ShownProgress, Target, Verified,
    restore_bytes, restore_rows,
};
use crate::engine::EngineError;
use crate::meta::{ChangeLog, MetaError, OpenMode, SqliteSettings, SqliteStore};
use crate::storage::PackId;
use crate::sys::{Clock, FileSystem, NoBarrier, Random, Steady};
use crate::types::CommitSeq;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Moments that are drawn before none is found that is not lost.
const DRAWS: usize = 64;
/// While the log is replayed it is looked how much that has written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillSettings {
    /// Where stores are restored to, one after the other.
    pub scratch: PathBuf,
    /// The most that may stand there. Of a larger store the metadata and some packs are restored.
    pub scratch_bytes: u64,
    /// The most that is read of bodies as clients would. All records are proven in any case.
    pub read_bytes: u64,
    pub files_at_once: usize,
}

/// What a drill works with.
#[derive(Debug, Clone)]
pub struct DrillParts {
    pub repository: Arc<Repository>,
    /// The log of the store that is backed up, if it is there.
    pub store: Option<Arc<dyn ChangeLog>>,
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    pub steady: Arc<dyn Steady>,
    pub random: Arc<dyn Random>,
    /// Lets a client at what was restored; `None`: that is not tried.
    pub rehearsal: Option<Arc<dyn Rehearsal>>,
}

/// A restore to see whether it works.
#[derive(Debug)]
pub struct Drill {
    parts: DrillParts,
    settings: DrillSettings,
    progress: ShownProgress,
    stop: CancellationToken,
}

impl Drill {
    #[must_use]
    pub const fn new(
        parts: DrillParts,
        settings: DrillSettings,
        progress: ShownProgress,
        stop: CancellationToken,
    ) -> Self {
        Self { parts, settings, progress, stop }
    }

    /// Restores the latest moment, and an earlier one if there is any; writes down beside their snapshots what came of it.
    ///
    /// # Errors
    /// When it could not be done: the bucket or the scratch directory cannot be used, or it was stopped. A store that cannot be restored, because
    /// something is damaged or missing, is no error: the drill has failed.
    pub async fn run(&self) -> Result<DrillOutcome, BackupError> {
        let mut outcome = DrillOutcome::default();
        let latest = self.moment(Target::Latest).await?;
        let (seq, is_there) = (latest.seq, !latest.snapshot.is_empty());
        outcome.moments.push(latest);
        let earlier = if is_there { self.earlier(seq).await? } else { None };
        if let Some(seq) = earlier {
            outcome.moments.push(self.moment(Target::Seq(seq)).await?);
        }
        *self.progress.lock() = RestoreProgress::default();
        Ok(outcome)
    }

    /// Between the snapshot from which on the log is whole and the last record: prune leaves gaps before. What verification has found to be lost is known, and is not tried.
    async fn earlier(&self, last: CommitSeq) -> Result<Option<CommitSeq>, BackupError> {
        let catalogue = Catalogue::load(&self.parts.repository).await?;
        let Some(newest) = catalogue.timeline().newest() else { return Ok(None) };
        let path = catalogue.timeline().path_to(newest)?;
        let snapshots = catalogue.snapshots_on(&path);
        let oldest = first_within(&catalogue, &path, &snapshots).map(|name| name.seq.get());
        let Some(oldest) = oldest.filter(|oldest| *oldest < last.get()) else { return Ok(None) };
        let (known, _) = Verified::all(&self.parts.repository, &catalogue).await?;
        let is_lost = |seq: &CommitSeq| {
            let from = snapshots.iter().rfind(|name| name.seq <= *seq);
            from.and_then(|name| known.get(name)).is_some_and(|known| known.fault_count > 0)
        };
        let draw = || CommitSeq::new(oldest + self.parts.random.u64() % (last.get() - oldest));
        Ok(std::iter::repeat_with(draw).take(DRAWS).find(|seq| !is_lost(seq)))
    }

    /// Restores a moment, proves it, and removes it again.
    async fn moment(&self, target: Target) -> Result<DrillReport, BackupError> {
        let repository = &self.parts.repository;
        let began = self.parts.clock.now();
        let mut report =
            DrillReport { at: began, is_latest: target == Target::Latest, ..DrillReport::default() };
        let before = match &self.parts.store {
            Some(store) => Some(store.last_seq().await?),
            None => None,
        };
        let planned = async {
            let catalogue = Catalogue::load(repository).await?;
            let plan = Plan::make(repository, &catalogue, target).await?;
            // It can be restored all the same; that the backup is whole may not be said.
            match plan.passed_over.first() {
                Some(why) => Err(BackupError::Unfit(why.clone())),
                None => Ok(plan),
            }
        };
        let Some(plan) = failed(planned.await, &mut report)? else { return Ok(report) };
        (report.seq, report.seq_at) = (plan.seq, plan.at);
        report.snapshot = plan.snapshot.name().to_string();
        if report.is_latest {
            let is_all = before.map(|last| last <= plan.seq);
            let lost = began.get().saturating_sub(plan.at.get()).max(0) as f64 / 1000.0;
            report.lost_seconds = is_all.map(|is_all| if is_all { 0.0 } else { lost });
        }
        self.check_room(&plan)?;
        let scratch = self.settings.scratch.clone();
        let dir = tokio::task::spawn_blocking(move || ScratchDir::new(&scratch)).await??;
        let restored = self.restore(&plan, &dir, &mut report).await;
        tokio::task::spawn_blocking(move || drop(dir)).await?;
        failed(restored, &mut report)?;
        report.passed = report.problem_count == 0;
        self.write_down(&plan, &report).await?;
        Ok(report)
    }

    async fn restore(
        &self,
        plan: &Plan,
        dir: &ScratchDir,
        report: &mut DrillReport,
    ) -> Result<(), BackupError> {
        let (parts, stop) = (&self.parts, &self.stop);
        let place = Place {
            dir: dir.path().to_owned(),
            fs: Arc::clone(&parts.fs),
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
        };
        let began = parts.steady.millis();
        let seconds = || parts.steady.millis().saturating_sub(began).max(0) as f64 / 1000.0;
        let (meta, rows) = self.or_stopped(self.rows(plan, &place)).await?;
        report.seconds_to_rows = seconds();
        report.replayed = rows.records;
        let used = self.used(&place).await?;
        let plan = self.fitting(plan, used.saturating_add(rows.base_bytes), report)?;
        let opened = place.clone();
        let (files, plain) = tokio::task::spawn_blocking(move || opened.files()).await??;
        let at_once = self.settings.files_at_once.max(1);
        let restoring =
            restore_bytes(&parts.repository, &plan, &files, &plain, at_once, &self.progress, stop);
        let bytes = self.or_stopped(restoring).await?;
        report.seconds_to_bytes = seconds();
        report.bytes = bytes.bytes;
        let took = (report.seconds_to_bytes - report.seconds_to_rows).max(0.001);
        report.bytes_per_second = bytes.bytes as f64 / took;
        let restored =
            tokio::task::spawn_blocking(move || Restored::open(&place, meta, files, plain)).await??;
        if report.is_whole {
            restored.prove_all(report, stop).await?;
            let reading = restored.read_bodies(&*parts.random, self.settings.read_bytes, report, stop);
            self.or_stopped(reading).await?;
        } else {
            restored.prove_part(&plan, report, stop).await?;
        }
        if let Some(store) = &parts.store {
            self.or_stopped(with_store(&*restored.meta, &**store, report)).await?;
        }
        self.rehearse(&restored, report).await?;
        tokio::task::spawn_blocking(move || drop(restored)).await?;
        if stop.is_cancelled() { Err(BackupError::Stopped) } else { Ok(()) }
    }

    /// What waits for the bucket or reads long is not waited for when it is to stop.
    async fn or_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        self.stop.run_until_cancelled(work).await.unwrap_or(Err(BackupError::Stopped))
    }

    /// The image, and the log replayed in it, as long as that does not write more than it may.
    async fn rows(&self, plan: &Plan, place: &Place) -> Result<(Arc<SqliteStore>, RowsReport), BackupError> {
        let (parts, own) = (&self.parts, self.stop.child_token());
        let (database, opened) = (place.database(), place.clone());
        let open = async move || open(opened).await;
        let restoring =
            restore_rows(&parts.repository, plan, &parts.fs, &database, open, &self.progress, &own);
        let mut restoring = std::pin::pin!(restoring);
        let done = tokio::select! {
            done = &mut restoring => done,
            () = self.exceeds(place) => {
                own.cancel();
                restoring.await
            }
        };
        let is_given_up = matches!(done, Err(BackupError::Stopped)) && !self.stop.is_cancelled();
        if !is_given_up && done.is_err() {
            return done;
        }
        let used = self.used(place).await?;
        if is_given_up || used > self.settings.scratch_bytes { Err(self.lacks_room(used)) } else { done }
    }

    async fn exceeds(&self, place: &Place) {
        while self.used(place).await.unwrap_or(0) <= self.settings.scratch_bytes {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The bytes of what stands in the scratch directory.
    async fn used(&self, place: &Place) -> Result<u64, BackupError> {
        let dir = place.dir.clone();
        Ok(tokio::task::spawn_blocking(move || used_bytes(&dir)).await??)
    }

    /// Of the rows nothing can be left out. What the log comes to when it is replayed is known then; what it takes in the bucket it takes at
    /// least.
    fn check_room(&self, plan: &Plan) -> Result<(), BackupError> {
        let log: u64 = plan.log.iter().map(|segment| segment.stamp.bytes).sum();
        let needed = plan.snapshot.base.length.saturating_mul(2).saturating_add(log);
        if needed <= self.settings.scratch_bytes { Ok(()) } else { Err(self.lacks_room(needed)) }
    }

    fn lacks_room(&self, needed: u64) -> BackupError {
        let most = self.settings.scratch_bytes;
        let why = format!("a drill needs {needed} bytes for the metadata alone, and may write {most}");
        io::Error::new(io::ErrorKind::StorageFull, why).into()
    }

    /// Last: a client writes, too.
    async fn rehearse(&self, restored: &Restored, report: &mut DrillReport) -> Result<(), BackupError> {
        let Some(rehearsal) = &self.parts.rehearsal else { return Ok(()) };
        let (meta, engine) = (Arc::clone(&restored.meta), restored.engine.clone());
        let is_whole = report.is_whole;
        let done = rehearsal.rehearse(RestoredStore { meta, engine, is_whole }, &self.stop).await?;
        if self.stop.is_cancelled() {
            return Err(BackupError::Stopped);
        }
        for problem in &done.problems {
            report.problem(format!("served: {problem}"));
        }
        report.smoke = Some(done);
        Ok(())
    }

    /// The plan, or as many of its packs, in an order that chance decides, as the scratch directory may hold.
    fn fitting(&self, plan: &Plan, rows_bytes: u64, report: &mut DrillReport) -> Result<Plan, BackupError> {
        let mut plan = plan.clone();
        let packs: Vec<_> = plan.holdings.packs().map(|(id, _)| (id, plan.holdings.end(id))).collect();
        let plains: u64 = plan.holdings.plains().map(|plain| plain.length).sum();
        let total: u64 = packs.iter().map(|(_, end)| u64::from(*end)).sum::<u64>() + plains;
        report.packs_in_all = packs.len() as u64;
        report.packs = report.packs_in_all;
        // What the rows take; and as much as their image, since checks write beside them.
        let room = self.settings.scratch_bytes.saturating_sub(rows_bytes);
        report.is_whole = total <= room;
        if !report.is_whole {
            let mut drawn: Vec<_> = packs.into_iter().map(|pack| (self.parts.random.u64(), pack)).collect();
            drawn.sort_unstable_by_key(|(place, _)| *place);
            let mut left = room;
            let mut kept: HashSet<PackId> = HashSet::new();
            for (_, (id, end)) in drawn {
                if u64::from(end) <= left {
                    left -= u64::from(end);
                    kept.insert(id);
                }
            }
            if kept.is_empty() {
                let why =
                    format!("of {total} bytes of files no pack fits into the {room} that a drill may write");
                return Err(io::Error::new(io::ErrorKind::StorageFull, why).into());
            }
            plan.holdings.retain_packs(|id| kept.contains(&id));
            plan.holdings.retain_plains(|_| false);
            report.packs = kept.len() as u64;
        }
        Ok(plan)
    }

    /// Beside what verification has found of the snapshot.
    async fn write_down(&self, plan: &Plan, report: &DrillReport) -> Result<(), BackupError> {
        let (repository, name) = (&self.parts.repository, plan.snapshot.name());
        let known = match Verified::get(repository, name).await {
            Ok(known) => known.unwrap_or_default(),
            // One that is not believed is written anew.
            Err(BackupError::Repository(crate::backup::RepositoryError::Untrusted { .. })) => {
                Verified::default()
            }
            Err(error) => return Err(error),
        };
        let mut known = Verified {
            drill: Some(report.clone()),
            at: report.at,
            program: env!("CARGO_PKG_VERSION").into(),
            ..known
        };
        known.judge();
        known.put(repository, name).await
    }
}

async fn open(place: Place) -> Result<Arc<SqliteStore>, BackupError> {
    let opened = tokio::task::spawn_blocking(move || {
        let (barrier, settings) = (Arc::new(NoBarrier), SqliteSettings::default());
        let path = place.database();
        SqliteStore::open(&path, OpenMode::Existing, barrier, place.clock, place.random, &settings)
    });
    Ok(Arc::new(opened.await??))
}

/// What keeps a store from being restored is what a drill is there to find; what keeps a drill from being done is an error.
fn failed<T>(done: Result<T, BackupError>, report: &mut DrillReport) -> Result<Option<T>, BackupError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(
            error @ (BackupError::Stopped
            | BackupError::Io(_)
            | BackupError::Lease(_)
            | BackupError::Worker
            | BackupError::Meta(MetaError::Io(_))
            | BackupError::Engine(
                EngineError::Io(_) | EngineError::Full | EngineError::Busy(_) | EngineError::Poisoned(_),
            )
            | BackupError::Repository(crate::backup::RepositoryError::Remote(_))),
        ) => Err(error),
        Err(error) => {
            report.problem(error.to_string());
            Ok(None)
        }
    }
}
