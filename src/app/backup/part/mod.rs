//! `sediment restore … --into`: a part of the store goes to a bucket, as it was at a moment.

mod args;
mod room;
mod scratch;
mod told;

pub(in crate::app) use args::{Part, PartArgs};

use super::key::read_key;
use super::moment::Moment;
use super::restore::{Work, show};
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::verbs::{interrupted, runtime};
use crate::backup::{
    BackupError, RestoreProgress, SelectError, SelectParts, SelectReport, SelectSettings, ShownProgress,
    select,
};
use crate::config::Settings;
use crate::engine::BodyStore;
use crate::meta::MetaStore;
use crate::remote::{Patience, S3Replicas};
use crate::sys::SystemClock;
use parking_lot::Mutex;
use room::Room;
use scratch::Scratch;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use told::{Report, tell};

/// What of a store goes where, from which moment.
pub(in crate::app) fn restore_part(
    settings: &Settings,
    moment: Moment,
    part: &Part,
    dry_run: bool,
    json: bool,
) -> Result<(), AppError> {
    part.keep_off(&settings.backup)?;
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let shown = Shown::new(json);
    let report = runtime()?.block_on(async {
        let work = Work::plan(&settings.backup, key, moment).await?;
        let scratch = Scratch::open(&settings.storage.data_dir, &work).await?;
        let job = Job { settings, part, dry_run, json, shown: shown.clone() };
        job.run(work, scratch).await
    })?;
    let failures = (report.done.failed, report.done.failures.iter().any(|failure| failure.is_damage));
    print_report(&report, json)?;
    let exit = match failures {
        (0, _) => return Ok(()),
        (_, true) => Exit::Damage,
        (_, false) => Exit::Failure,
    };
    Err(AppError::new(exit, format!("{} objects could not be restored; they are named above", failures.0)))
}

fn failed(error: BackupError) -> AppError {
    let why = match error {
        BackupError::Stopped => "it was stopped; the same command goes on there".to_owned(),
        error => error.to_string(),
    };
    AppError::failure("the restore", why)
}

struct Job<'a> {
    settings: &'a Settings,
    part: &'a Part,
    dry_run: bool,
    json: bool,
    shown: Shown,
}

impl Job<'_> {
    /// What was brought here goes when all is done, and stays for the next attempt otherwise.
    async fn run(&self, mut work: Work, scratch: Scratch) -> Result<Report, AppError> {
        let (progress, stop): (ShownProgress, _) =
            (Arc::new(Mutex::new(RestoreProgress::default())), interrupted());
        let showing = show(&self.shown, &progress);
        let room = Room::new(scratch.dir.clone(), self.settings.storage.min_free_bytes);
        let all = async |stop| self.all(&mut work, &scratch, &progress, &stop).await;
        let ended = room.within(&stop, all).await;
        showing.cancel();
        self.shown.finish();
        let done = ended?;
        if self.dry_run && scratch.is_begun {
            return Ok(Report::new(self.dry_run, &work, self.part, done));
        }
        let removed = tokio::task::spawn_blocking(move || scratch.remove()).await;
        removed
            .map_err(|error| unfinished(&done, &error))?
            .map_err(|error| unfinished(&done, &error.message))?;
        Ok(Report::new(self.dry_run, &work, self.part, done))
    }

    async fn all(
        &self,
        work: &mut Work,
        scratch: &Scratch,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<SelectReport, AppError> {
        if self.dry_run {
            let meta = scratch.rows(self.settings, work, progress, stop).await?;
            let (done, ended) = self.select(meta, None, progress, stop).await?;
            return ended.map(|()| done).map_err(|error| AppError::failure("the restore", error));
        }
        let store = scratch.store(self.settings, work, progress, stop).await?;
        let bodies: Arc<dyn BodyStore> = Arc::new(store.engine.clone());
        let selected = self.select(Arc::clone(&store.meta) as _, Some(bodies), progress, stop).await;
        if let Some(restoring) = &store.restoring {
            restoring.stop().await;
        }
        // What is kept for the next attempt is tidy.
        let closed = crate::app::verbs::close(store).await;
        let (done, ended) = selected?;
        ended.map_err(|error| unfinished(&done, &error))?;
        closed.map_err(|error| unfinished(&done, &error.message))?;
        Ok(done)
    }

    async fn select(
        &self,
        meta: Arc<dyn MetaStore>,
        bodies: Option<Arc<dyn BodyStore>>,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<(SelectReport, Result<(), SelectError>), AppError> {
        let (place, credentials) = (self.part.place(), &self.part.credentials);
        let sink = S3Replicas::new(&place, credentials)
            .map_err(|why| AppError::new(Exit::Usage, format!("restore --into: {why}")))?;
        let parts = SelectParts { meta, bodies, sink: Arc::new(sink), clock: Arc::new(SystemClock) };
        let settings = SelectSettings {
            into_prefix: self.part.into_prefix.clone(),
            delete: self.part.delete,
            at_once: self.settings.backup.uploads_in_flight,
            patience: Patience::default(),
        };
        let (json, dry_run) = (self.json, self.dry_run);
        let told = move |change: &_| {
            if dry_run {
                tell(change, json);
            }
        };
        Ok(select(parts, self.part.selection.clone(), settings, (progress, stop), &told).await)
    }
}

/// It ended before its end: what was done stays done.
fn unfinished(done: &SelectReport, error: &dyn std::fmt::Display) -> AppError {
    let SelectReport { created, replaced, deleted, failures, failed, .. } = done;
    let mut why = format!(
        "{error}; {created} objects were created, {replaced} replaced and {deleted} deleted; the same command goes on there"
    );
    if let Some(first) = failures.first() {
        why += &format!("; {failed} could not be restored, the first is `{}`: {}", first.key, first.why);
    }
    AppError::failure("the restore", why)
}
