//! `sediment backup verify`: whether what is in the bucket is what it should be. Needs the bucket and the key alone.

use super::key::read_key;
use super::remote::open;
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::stats::bytes;
use crate::app::verbs::{interrupted, runtime};
use crate::backup::{
    BackupError, Repository, Scratch, ShownVerify, Verification, VerifyProgress, VerifyReport, VerifySettings,
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

#[derive(Debug, Serialize)]
struct Found(VerifyReport);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        for (name, found) in &report.snapshots {
            let state = format!("{:?}", found.state).to_lowercase();
            writeln!(f, "{state:<9} {name}")?;
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

/// `percent`: how much of the bytes is read back.
pub(in crate::app) fn verify(
    settings: &Settings,
    percent: u8,
    all: bool,
    json: bool,
) -> Result<(), AppError> {
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
        (false, false) => {
            let message = "something in the backup is damaged or missing, as named above: make a new snapshot, which sends again what is not in the bucket, and keep the store";
            Err(AppError::new(Exit::Damage, message))
        }
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
