//! `sediment backup prune`: by the server that runs, or here.

use super::asking;
use super::keep::{claim, lock};
use super::key::read_key;
use super::remote::open;
use crate::app::data_dir::{DataDir, unusable};
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::stats::bytes;
use crate::app::verbs::{interrupted, open_dir, runtime};
use crate::backup::prune::{Plan, Pruned, Pruner, remote_time};
use crate::backup::retention::Verdict;
use crate::backup::{
    Asked, BackupError, BackupStatus, Candidate, Claim, LazyRestore, LeaseTimes, PruneOutcome, Repository,
    Session, World,
};
use crate::config::Settings;
use crate::remote::Patience;
use crate::sys::{Clock, OsRandom, RealFileSystem, SystemClock, SystemSteady};
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A plan, shown.
#[derive(Debug, Serialize)]
struct ShownPlan(Plan);

impl fmt::Display for ShownPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.0;
        for Verdict { name, reasons } in &plan.snapshots {
            let why: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            if why.is_empty() {
                writeln!(f, "delete  {name}")?;
            } else {
                writeln!(f, "keep    {name}  {}", why.join(", "))?;
            }
        }
        write!(
            f,
            "{} objects would be deleted, {} bytes; {} objects stay, {} bytes; {} that nothing names are too young, {} bytes",
            plan.goes.objects,
            bytes(plan.goes.bytes),
            plan.stays.objects,
            bytes(plan.stays.bytes),
            plan.waits.objects,
            bytes(plan.waits.bytes)
        )?;
        for name in &plan.missing {
            write!(f, "\nMISSING {name}")?;
        }
        Ok(())
    }
}

fn failed(error: BackupError) -> AppError {
    AppError::failure("pruning", error)
}

pub(in crate::app) fn prune(settings: &Settings, dry_run: bool, json: bool) -> Result<(), AppError> {
    if dry_run {
        let plan = runtime()?.block_on(async {
            let repository = repository(settings).await?;
            let now = SystemClock.now();
            pruner(settings, &repository).plan(None, now).await.map_err(failed)
        })?;
        return print_report(&ShownPlan(plan), json);
    }
    match open_dir(&settings.storage.data_dir) {
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let shown = Shown::new(json);
            let pick = |status: BackupStatus, number| status.prune.filter(|prune| prune.number >= number);
            let outcome = runtime()?.block_on(asking::there(&server, ("pruning", "/prune"), &shown, pick));
            shown.finish();
            end(&outcome?, json)
        }
        // The repository is all that is needed, also without a store. One that is there stays locked meanwhile.
        data => {
            refuse_while_restoring(&settings.storage.data_dir)?;
            let claim = data.as_ref().ok().and_then(|data| claim(&settings.backup, data));
            let outcome = runtime()?.block_on(here(settings, claim))?;
            end(&outcome, json)
        }
    }
}

/// What would be pruned may be all there is of what the restore still needs.
fn refuse_while_restoring(dir: &Path) -> Result<(), AppError> {
    let is_lazy = LazyRestore::is_unfinished(&RealFileSystem, dir).map_err(|error| unusable(dir, &error))?;
    if !is_lazy && !DataDir::is_restoring(dir)? {
        return Ok(());
    }
    let why = format!(
        "the restore into {} is not finished, and may need what would go: finish it first",
        dir.display()
    );
    Err(AppError::failure("pruning", why))
}

fn end(outcome: &PruneOutcome, json: bool) -> Result<(), AppError> {
    match &outcome.error {
        Some(why) => Err(AppError::failure("pruning", why)),
        None => print_report(outcome, json),
    }
}

async fn repository(settings: &Settings) -> Result<Arc<Repository>, AppError> {
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let remote = open(&settings.backup, Patience::default())?;
    let opened = Repository::open(remote, key).await;
    opened.map(Arc::new).map_err(|error| failed(error.into()))
}

fn pruner(settings: &Settings, repository: &Arc<Repository>) -> Pruner {
    let retention = settings.backup_retention.clone();
    Pruner::new(Arc::clone(repository), None, retention).locking(lock(&settings.backup))
}

/// By this process, which takes the lease for it.
async fn here(settings: &Settings, claim: Option<Arc<Claim>>) -> Result<PruneOutcome, AppError> {
    let repository = repository(settings).await?;
    let world =
        World { clock: Arc::new(SystemClock), steady: Arc::new(SystemSteady), random: Arc::new(OsRandom) };
    let holder = super::keep::holder();
    let candidate = Candidate::new(Arc::clone(&repository), world, LeaseTimes::default(), holder);
    let mut candidate = candidate.knowing(claim);
    let session = match Session::ask(&repository, &mut candidate).await.map_err(failed)? {
        Asked::Open(session) => session,
        Asked::Held(holder) => {
            let message = format!(
                "the repository is written by {}: prune there, or when it has stopped (in {} s at the earliest)",
                holder.name,
                holder.again_in.as_secs() + 1
            );
            return Err(AppError::failure("pruning", message));
        }
    };
    let keeping = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.keep(tokio_util::sync::CancellationToken::new()).await }
    });
    let pruned = by(settings, &repository, &session).await;
    keeping.abort();
    session.release().await;
    pruned.map_err(failed)
}

async fn by(
    settings: &Settings,
    repository: &Arc<Repository>,
    session: &Arc<Session>,
) -> Result<PruneOutcome, BackupError> {
    let (pruner, stop) = (pruner(settings, repository), interrupted());
    let now = remote_time(&**repository.remote(), &OsRandom).await?;
    let plan = pruner.plan(Some(session.epoch()), now).await?;
    let watch = |_: &Pruned| !stop.is_cancelled();
    let pruned = session.lingering(pruner.execute(&plan, now, &**session, &watch)).await?;
    Ok(PruneOutcome::of(0, SystemClock.now(), &plan, &pruned))
}
