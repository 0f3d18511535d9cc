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
    ShownProgress,
};
use crate::config::Settings;
use crate::meta::ChangeLog;
use crate::remote::Patience;
use crate::sys::{Clock, FileSystem, OsRandom, Random, RealFileSystem, SystemClock, SystemSteady};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SHOW_EVERY: Duration = Duration::from_millis(300);
/// The most that is read of bodies as clients would.
const READ_BYTES: u64 = 1 << 30;

pub(in crate::app) fn drill(settings: &Settings, json: bool) -> Result<(), AppError> {
    let shown = Shown::new(json);
    let done = match open_dir(&settings.storage.data_dir) {
        Err(error) if error.exit == Exit::InUse => {
            let server = Running::find(&settings.storage.data_dir, &error)?;
            let pick =
                |status: BackupStatus, number| status.care.drill.filter(|drill| drill.number >= number);
            runtime()?.block_on(asking::there(&server, ("the drill", "/drill"), &shown, pick))?
        }
        Ok(data) => runtime()?.block_on(async {
            let scratch = data.join("tmp");
            let store = Store::open(data, settings, catching_up(&shown)).await?;
            let done = here(settings, Some(Arc::clone(&store.meta) as _), &scratch, &shown).await;
            let closed = close(store).await;
            closed.and(done)
        })?,
        // The bucket and the key are all that is needed.
        Err(_) => {
            let dir = std::env::temp_dir().join(format!("sediment-drill-{:016x}", OsRandom.u64()));
            let failed = |error| AppError::failure("the drill: a directory below TMPDIR", error);
            std::fs::create_dir(&dir).map_err(failed)?;
            let done = runtime()?.block_on(here(settings, None, &dir, &shown));
            std::fs::remove_dir(&dir).map_err(failed)?;
            done?
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
    let drill = DrillSettings {
        scratch: scratch.to_owned(),
        scratch_bytes: settings
            .backup
            .drill_scratch_bytes
            .min(spare_bytes(settings, scratch.to_owned()).await?),
        read_bytes: READ_BYTES,
        files_at_once: settings.backup.uploads_in_flight,
    };
    let progress: ShownProgress = Arc::new(Mutex::new(RestoreProgress::default()));
    let showing = show(shown, &progress);
    let (at, began) = (SystemClock.now(), Instant::now());
    let done = Drill::new(parts, drill, progress, interrupted()).run().await;
    showing.cancel();
    Ok(DrillDone::of(0, at, began.elapsed().as_secs_f64(), done.map_err(failed)?.moments))
}

/// Not all of what is free: the chunk index and the log are written beside what is counted.
async fn spare_bytes(settings: &Settings, dir: PathBuf) -> Result<u64, AppError> {
    let failed = |error: std::io::Error| AppError::failure("the drill", error);
    let looked = tokio::task::spawn_blocking(move || RealFileSystem.available_bytes(&dir)).await;
    let free = looked.map_err(|error| failed(error.into()))?.map_err(failed)?;
    Ok(free.saturating_sub(settings.storage.min_free_bytes) / 10 * 9)
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
