//! `sediment backup verify`: whether what is in the bucket is what it should be. The server that runs, or `--repair`, also sends again what is
//! damaged; else the bucket and the key are all that is needed.

use super::asking;
use super::keep::{Looks, keeper};
use super::key::read_key;
use super::remote::open;
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::stats::bytes;
use crate::app::store::Store;
use crate::app::verbs::{catching_up, close, interrupted, open_dir, runtime};
use crate::backup::{
    BackupError, BackupStatus, Repository, Scratch, ShownVerify, Verification, VerifyOutcome, VerifyProgress,
    VerifyReport, VerifySettings,
};
use crate::config::Settings;
use crate::remote::Patience;
use crate::sys::{OsRandom, RealFileSystem, SystemClock};
use parking_lot::Mutex;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SHOW_EVERY: Duration = Duration::from_millis(300);
/// Faults that are printed one by one; JSON has all that are kept.
const SHOWN_FAULTS: usize = 20;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(in crate::app) struct VerifyArgs {
    /// How much of the bytes is read back, in percent; shares add up over several runs. Without a number all.
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100",
        value_parser = clap::value_parser!(u8).range(0..=100))]
    read_data: Option<u8>,
    /// All snapshots, and not the newest alone.
    #[arg(long)]
    all: bool,
    /// Send again what of the newest snapshot is damaged, also where no server runs: that takes the repository's lease.
    #[arg(long)]
    repair: bool,
}

#[derive(Debug, Serialize)]
struct Found(VerifyReport);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        for (name, found) in &report.snapshots {
            writeln!(f, "{:<9} {name}", found.state.to_string())?;
            let behind = found.behind.iter().flat_map(|behind| &behind.faults);
            for fault in found.faults.iter().chain(behind).take(SHOWN_FAULTS) {
                writeln!(f, "          {fault}")?;
            }
        }
        for fault in report.repository.iter().take(SHOWN_FAULTS) {
            writeln!(f, "          {fault}")?;
        }
        write!(f, "{} objects were read back, {} bytes", report.read_objects, bytes(report.read_bytes))?;
        if report.stopped {
            write!(f, "; it was stopped, and the next one goes on there")?;
        }
        Ok(())
    }
}

pub(in crate::app) fn verify(settings: &Settings, args: VerifyArgs, json: bool) -> Result<(), AppError> {
    match open_dir(&settings.storage.data_dir) {
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let path = format!("/verify?percent={}&all={}", args.percent(), args.all);
            let shown = Shown::new(json);
            let asked = asking::there(&server, (WHAT, &path), &shown, picked);
            let outcome = runtime()?.block_on(asked);
            shown.finish();
            end(&outcome?, json)
        }
        Ok(data) if args.repair => {
            let shown = Shown::new(json);
            let (outcome, closed) = runtime()?.block_on(async {
                let store = Store::open(data, settings, catching_up(&shown)).await?;
                let none = || AppError::new(Exit::Usage, "backup.bucket is not set: there is no backup");
                let outcome = match keeper(&store, settings, Looks::WhenAsked)?.ok_or_else(none) {
                    Ok(keeper) => {
                        let number = keeper.ask_verify(args.percent(), args.all);
                        asking::here(&keeper, WHAT, number, &shown, picked).await
                    }
                    Err(error) => Err(error),
                };
                Ok::<_, AppError>((outcome, close(store).await))
            })?;
            shown.finish();
            end(&outcome?, json).and(closed)
        }
        Err(error) if args.repair => Err(error),
        _ => look(settings, args.percent(), args.all, json),
    }
}

const WHAT: &str = "backup verify";

impl VerifyArgs {
    fn percent(self) -> u8 {
        self.read_data.unwrap_or(0)
    }
}

fn picked(status: BackupStatus, number: u64) -> Option<VerifyOutcome> {
    status.care.verify.filter(|verify| verify.number >= number)
}

fn end(outcome: &VerifyOutcome, json: bool) -> Result<(), AppError> {
    if let Some(why) = &outcome.error {
        return Err(AppError::failure("the backup cannot be verified", why));
    }
    print_report(outcome, json)?;
    if outcome.is_clean() {
        return Ok(());
    }
    let message = if outcome.is_newest_whole {
        "something in the backup was damaged or missing, as named above: the newest snapshot is whole now; those that are corrupt cannot be restored"
    } else {
        DAMAGED
    };
    Err(AppError::new(Exit::Damage, message))
}

const DAMAGED: &str = "something in the backup is damaged or missing, as named above: make a new snapshot, which sends again what is not in the bucket, and keep the store";

/// By this process, which changes nothing but what is written down beside the snapshots.
fn look(settings: &Settings, percent: u8, all: bool, json: bool) -> Result<(), AppError> {
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let shown = Shown::new(json);
    let scratch = scratch_dir()?;
    let report = runtime()?.block_on(async {
        let failed = |error: BackupError| AppError::failure("the backup cannot be verified", error);
        let remote = open(&settings.backup, Patience::default())?;
        let opened = Repository::open(remote, key).await.map_err(|error| failed(error.into()))?;
        let (repository, stop) = (Arc::new(opened), interrupted());
        let progress: ShownVerify = Arc::new(Mutex::new(VerifyProgress::default()));
        let showing = show(&shown, &progress);
        let which = if all { Verification::All } else { Verification::Newest };
        let settings = VerifySettings { which, percent, ..VerifySettings::default() };
        let scratch = Scratch {
            dir: scratch,
            fs: Arc::new(RealFileSystem),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
        };
        let report = Verification::run(&repository, settings, scratch, &progress, &stop).await;
        showing.cancel();
        shown.finish();
        report.map_err(failed)
    })?;
    let (is_clean, stopped) = (report.is_clean(), report.stopped);
    print_report(&Found(report), json)?;
    match (is_clean, stopped) {
        (true, _) => Ok(()),
        (false, true) => {
            Err(AppError::failure("backup verify", "it was stopped; the next one goes on there"))
        }
        (false, false) => Err(AppError::new(Exit::Damage, DAMAGED)),
    }
}

/// Where images of the metadata are looked at.
fn scratch_dir() -> Result<std::path::PathBuf, AppError> {
    let dir = std::env::temp_dir();
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(AppError::failure("backup verify", format!("{} is no directory: set TMPDIR", dir.display())))
}

fn show(shown: &Shown, progress: &ShownVerify) -> CancellationToken {
    let (end, shown, progress) = (CancellationToken::new(), shown.clone(), Arc::clone(progress));
    let ended = end.clone();
    tokio::spawn(async move {
        while ended.run_until_cancelled(tokio::time::sleep(SHOW_EVERY)).await.is_some() {
            let VerifyProgress { phase, done, total, .. } = *progress.lock();
            shown.set(phase, done, total);
        }
    });
    end
}
