//! `sediment backup drill`: a restore for practice, by the server that runs, or here.

use super::asking;
use super::key::read_key;
use super::rehearsal::Loopback;
use super::remote::open;
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::running::Running;
use crate::app::store::Store;
use crate::app::verbs::{catching_up, close, interrupted, open_dir, runtime};
use crate::backup::{
    BackupError, BackupStatus, Drill, DrillDone, DrillParts, DrillSettings, Repository, RestoreProgress,
    Room, ShownProgress,
};
use crate::config::Settings;
use crate::meta::ChangeLog;
use crate::remote::Patience;
use crate::sys::{Clock, OsRandom, Random, RealFileSystem, SystemClock, SystemSteady};
use parking_lot::Mutex;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SHOW_EVERY: Duration = Duration::from_millis(300);
/// The most that is read of bodies as clients would.
const READ_BYTES: u64 = 1 << 30;

/// `scratch`: where what is restored stands meanwhile; else on the disk of the data directory.
pub(in crate::app) fn drill(settings: &Settings, scratch: Option<&Path>, json: bool) -> Result<(), AppError> {
    let shown = Shown::new(json);
    let done = match open_dir(&settings.storage.data_dir) {
        Err(error) if error.exit == Exit::InUse => {
            if scratch.is_some() {
                let message = "--scratch: a server is running, which drills in its data directory, in `tmp`";
                return Err(AppError::new(Exit::Usage, message));
            }
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let pick =
                |status: BackupStatus, number| status.care.drill.filter(|drill| drill.number >= number);
            runtime()?.block_on(asking::there(&server, ("the drill", "/drill"), &shown, pick))?
        }
        Ok(data) => runtime()?.block_on(async {
            let own = scratch.map(Scratch::new).transpose()?;
            let dir = own.as_ref().map_or_else(|| data.join("tmp"), |own| own.0.clone());
            let store = Store::open(data, settings, catching_up(&shown)).await?;
            let done = here(settings, Some(Arc::clone(&store.meta) as _), &dir, &shown).await;
            let closed = close(store).await;
            closed.and(done)
        })?,
        // The bucket and the key are all that is needed.
        Err(_) => {
            let own = Scratch::new(scratch.unwrap_or_else(|| beside(&settings.storage.data_dir)))?;
            runtime()?.block_on(here(settings, None, &own.0, &shown))?
        }
    };
    shown.finish();
    if let Some(why) = &done.error {
        return Err(AppError::failure("the drill", why));
    }
    print_report(&done, json)?;
    if done.passed {
        return Ok(());
    }
    let message = "the backup could not be restored as it should be, as told above: make a new snapshot with --full, drill again, and keep the store";
    Err(AppError::new(Exit::Damage, message))
}

/// The next directory on the way to the data directory that is there.
fn beside(data: &Path) -> &Path {
    let is_there = |dir: &&Path| !dir.as_os_str().is_empty() && dir.is_dir();
    data.ancestors().find(is_there).unwrap_or_else(|| Path::new("."))
}

/// A directory of this drill alone, which nobody else may read; it goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self, AppError> {
        let dir = parent.join(format!("sediment-drill-{:016x}", OsRandom.u64()));
        let made = DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|error| {
            let why = format!("{}: {error}; name another directory with --scratch", dir.display());
            AppError::failure("the drill", why)
        })?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "what a drill has restored could not be removed");
        }
    }
}

/// By this process; the log of the store, where there is one, is compared.
async fn here(
    settings: &Settings,
    store: Option<Arc<dyn ChangeLog>>,
    scratch: &Path,
    shown: &Shown,
) -> Result<DrillDone, AppError> {
    let failed = |error: BackupError| AppError::failure("the drill", error);
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let opened = Repository::open(open(&settings.backup, Patience::default())?, key).await;
    let parts = DrillParts {
        repository: Arc::new(opened.map_err(|error| failed(error.into()))?),
        store,
        fs: Arc::new(RealFileSystem),
        clock: Arc::new(SystemClock),
        steady: Arc::new(SystemSteady),
        random: Arc::new(OsRandom),
        rehearsal: Some(Arc::new(Loopback::new(settings))),
    };
    let room = Room {
        fs: Arc::new(RealFileSystem),
        dir: scratch.to_owned(),
        min_free_bytes: settings.storage.min_free_bytes,
    };
    // Not all of what is free: the chunk index is written beside what is counted.
    let spare = room.spare_bytes().await.map_err(failed)? / 10 * 9;
    let drill = DrillSettings {
        scratch: scratch.to_owned(),
        scratch_bytes: settings.backup.drill_scratch_bytes.min(spare),
        read_bytes: READ_BYTES,
        files_at_once: settings.backup.uploads_in_flight,
    };
    let progress: ShownProgress = Arc::new(Mutex::new(RestoreProgress::default()));
    let showing = show(shown, &progress);
    let (at, began) = (SystemClock.now(), Instant::now());
    let stop = interrupted();
    let work = |stop| async move { Drill::new(parts, drill, progress, stop).run().await };
    let done = room.within(&stop, work).await;
    showing.cancel();
    Ok(DrillDone::of(0, at, began.elapsed().as_secs_f64(), done.map_err(failed)?.moments))
}

fn show(shown: &Shown, progress: &ShownProgress) -> CancellationToken {
    let (end, shown, progress) = (CancellationToken::new(), shown.clone(), Arc::clone(progress));
    let ended = end.clone();
    tokio::spawn(async move {
        while ended.run_until_cancelled(tokio::time::sleep(SHOW_EVERY)).await.is_some() {
            let RestoreProgress { phase, done, total } = *progress.lock();
            shown.set(phase, done, total);
        }
    });
    end
}
