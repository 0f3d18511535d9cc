//! `sediment restore`: a data directory is built anew from the bucket and the key.

use super::key::read_key;
use super::moment::Moment;
use super::remote::open;
use crate::app::data_dir::{DataDir, Restoring};
use crate::app::error::{AppError, Exit};
use crate::app::print::print_report;
use crate::app::progress::Shown;
use crate::app::stats::bytes;
use crate::app::store::Store;
use crate::app::verbs::{catching_up, close, interrupted, runtime};
use crate::backup::{
    BackupError, BackupKey, BackupSettings, BytesReport, Catalogue, LazyRestore, Plan, Repository,
    RestoreProgress, ShippedTo, ShownProgress, Target, restore_bytes, restore_rows,
};
use crate::config::Settings;
use crate::engine::PlainStore;
use crate::engine::pack::PackSet;
use crate::meta::{OpenMode, SqliteStore};
use crate::remote::Patience;
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::{Clock, FileSystem, NoBarrier, OsRandom, Random, RealFileSystem, SystemClock};
use parking_lot::Mutex;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const SHOW_EVERY: Duration = Duration::from_millis(300);

/// What was restored, or would be.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    /// The rows are back; the bytes come while it is served.
    lazy: bool,
    store: String,
    seq: u64,
    moment: String,
    snapshot: String,
    records: u64,
    packs: u64,
    /// What is missing or damaged in the bucket, and was done without.
    passed_over: Vec<String>,
    /// Bodies stored whole that the store had lost before they could be sent: what names them cannot be read.
    lost_bodies: Vec<String>,
    /// Those that were damaged then.
    damaged_bodies: u64,
    /// Of the bucket's objects.
    fetched_bytes: u64,
    /// Of files.
    restored_bytes: u64,
    kept_bytes: u64,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, seq, moment, snapshot, records, packs, .. } = self;
        for why in &self.passed_over {
            writeln!(f, "DAMAGED  {why}")?;
        }
        for id in &self.lost_bodies {
            writeln!(f, "LOST     body {id}, before it could be sent: `sediment fsck` names what needs it")?;
        }
        if self.damaged_bodies > 0 {
            let (bodies, is_known) =
                (self.damaged_bodies, "before they were sent: `sediment fsck` names what needs them");
            writeln!(f, "DAMAGED  {bodies} bodies, {is_known}")?;
        }
        let would = if self.dry_run { "would be restored" } else { "restored" };
        write!(
            f,
            "store {store} {would} as of {moment}, record {seq}: snapshot {snapshot} and {records} records of the log behind its image, {packs} packs"
        )?;
        if self.dry_run {
            return write!(f, "\n{} bytes to fetch", bytes(self.fetched_bytes));
        }
        if self.lazy {
            return write!(
                f,
                "\nserve it with the settings of its backup: {} bytes are fetched while it serves",
                bytes(self.fetched_bytes)
            );
        }
        write!(
            f,
            "\n{} bytes of files in {:.1} s, {} of them were there already",
            bytes(self.restored_bytes),
            self.seconds,
            bytes(self.kept_bytes)
        )
    }
}

/// What is restored, and from what it is planned anew where something of that is damaged.
pub(super) struct Work {
    pub(super) repository: Arc<Repository>,
    catalogue: Catalogue,
    target: Target,
    pub(super) plan: Plan,
}

impl Work {
    pub(super) async fn plan(
        settings: &BackupSettings,
        key: BackupKey,
        moment: Moment,
    ) -> Result<Self, AppError> {
        let failed = |error: BackupError| AppError::failure("the restore", error);
        let opened = Repository::open(open(settings, Patience::default())?, key).await;
        let repository = Arc::new(opened.map_err(|error| failed(error.into()))?);
        let target = target(moment);
        let catalogue = Catalogue::load_for(&repository, target).await.map_err(failed)?;
        let plan = Plan::make(&repository, &catalogue, target).await.map_err(failed)?;
        Ok(Self { repository, catalogue, target, plan })
    }
}

/// Into the data directory, which must be empty, or hold a restore of the same moment that was not finished.
pub(in crate::app) fn restore(
    settings: &Settings,
    moment: Moment,
    (dry_run, lazy): (bool, bool),
    json: bool,
) -> Result<(), AppError> {
    let key = read_key(&settings.backup, &settings.storage.data_dir)?;
    let shown = Shown::new(json);
    let report = runtime()?.block_on(async {
        let mut work = Work::plan(&settings.backup, key, moment).await?;
        let mut report = Report::of(&work.repository, &work.plan, (dry_run, lazy));
        if !dry_run {
            let (began, fetched) = (Instant::now(), into(settings, &mut work, lazy, &shown).await?);
            // It may have been planned anew meanwhile.
            report = Report {
                restored_bytes: fetched.bytes,
                kept_bytes: fetched.kept_bytes,
                damaged_bodies: fetched.damaged_plains,
                seconds: began.elapsed().as_secs_f64(),
                ..Report::of(&work.repository, &work.plan, (dry_run, lazy))
            };
        }
        shown.finish();
        Ok::<_, AppError>(report)
    })?;
    print_report(&report, json)
}

const fn target(moment: Moment) -> Target {
    match moment {
        Moment::Latest => Target::Latest,
        Moment::Seq(seq) => Target::Seq(seq),
        Moment::Time(time) => Target::Time(time),
        Moment::Snapshot(name) => Target::Snapshot(name),
    }
}

impl Report {
    fn of(repository: &Repository, plan: &Plan, (dry_run, lazy): (bool, bool)) -> Self {
        Self {
            dry_run,
            lazy,
            store: repository.description().store_id.to_string(),
            seq: plan.seq.get(),
            moment: super::moment::shown(plan.at),
            snapshot: plan.snapshot.name().to_string(),
            records: plan.seq.get() - plan.snapshot.base.seq.get(),
            packs: plan.holdings.packs().count() as u64,
            passed_over: plan.passed_over.clone(),
            lost_bodies: plan.holdings.lost_plains().iter().map(ToString::to_string).collect(),
            damaged_bodies: 0,
            fetched_bytes: plan.bytes(),
            restored_bytes: 0,
            kept_bytes: 0,
            seconds: 0.0,
        }
    }
}

async fn into(
    settings: &Settings,
    work: &mut Work,
    lazy: bool,
    shown: &Shown,
) -> Result<BytesReport, AppError> {
    let store_id = work.repository.description().store_id.to_string();
    let restoring = Restoring { store_id, seq: work.plan.seq.get(), epoch: work.plan.epoch.get() };
    let mut data = DataDir::restore(&settings.storage.data_dir, &restoring)?;
    let stop = interrupted();
    let progress: ShownProgress = Arc::new(Mutex::new(RestoreProgress::default()));
    let showing = show(shown, &progress);
    let fetched = fetch(settings, work, lazy, &data, &progress, &stop).await;
    showing.cancel();
    let fetched = fetched.map_err(|error| match error {
        BackupError::Stopped => {
            AppError::failure("the restore", "it was stopped; the same command goes on there")
        }
        error => AppError::failure("the restore", error),
    })?;
    data.finish_restore()?;
    if lazy {
        return Ok(fetched);
    }
    // The chunk index is built from what was restored: then the store is whole.
    let store = Store::open(data, settings, catching_up(shown)).await?;
    let unreadable = store.parts().index.uncounted_nodes();
    let closed = close(store).await;
    if unreadable > 0 {
        let message = format!("{unreadable} manifest nodes cannot be read: run `sediment fsck --deep`");
        return Err(AppError::new(Exit::Damage, message));
    }
    closed.map(|()| fetched)
}

/// The rows of the plan, below a data directory, where a backup's shipping would go on.
async fn restored_rows(
    settings: &Settings,
    repository: &Arc<Repository>,
    plan: &Plan,
    dir: &Path,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<Arc<SqliteStore>, BackupError> {
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let path = dir.join("meta").join("sediment.db");
    let open = async || open_rows(path.clone(), settings).await;
    let (meta, _) = restore_rows(repository, plan, &fs, &path, open, progress, stop).await?;
    let state = ShippedTo { repository: repository.description().id, epoch: plan.epoch };
    state.save(&*fs, &dir.join("backup.json"))?;
    Ok(meta)
}

/// A database that is there, by itself.
pub(super) async fn open_rows(path: PathBuf, settings: &Settings) -> Result<Arc<SqliteStore>, BackupError> {
    let settings = settings.meta.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        SqliteStore::open(&path, OpenMode::Existing, Arc::new(NoBarrier), clock, random, &settings)
    });
    Ok(Arc::new(opened.await??))
}

/// Notes what is to be fetched when it is read.
pub(super) async fn begin_lazy(
    repository: &Arc<Repository>,
    plan: &Plan,
    dir: &Path,
) -> Result<(), BackupError> {
    let (repository, plan, dir) = (Arc::clone(repository), plan.clone(), dir.to_owned());
    let begun =
        tokio::task::spawn_blocking(move || LazyRestore::begin(&repository, &plan, &RealFileSystem, &dir));
    begun.await?
}

async fn fetch(
    settings: &Settings,
    work: &mut Work,
    lazy: bool,
    data: &DataDir,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<BytesReport, BackupError> {
    let meta = rows(settings, work, data.path(), progress, stop).await?;
    tokio::task::spawn_blocking(move || drop(meta)).await?;
    let Work { repository, plan, .. } = work;
    if lazy {
        begin_lazy(repository, plan, data.path()).await?;
        return Ok(BytesReport::default());
    }
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    LazyRestore::give_up(&*fs, data.path())?;
    let (packs, plains) = (data.join("packs"), data.join("plain"));
    let files: Arc<dyn PackStore> = Arc::new(DiskPackStore::open(Arc::clone(&fs), packs)?);
    let plain = PlainStore::open(Arc::clone(&fs), &plains)?;
    let at_once = settings.backup.uploads_in_flight;
    let report = restore_bytes(repository, plan, &files, &plain, at_once, progress, stop).await?;
    revive(files, settings).await?;
    Ok(report)
}

/// The metadata; around what turns out to be damaged when it is read.
pub(super) async fn rows(
    settings: &Settings,
    work: &mut Work,
    dir: &Path,
    progress: &ShownProgress,
    stop: &CancellationToken,
) -> Result<Arc<SqliteStore>, BackupError> {
    loop {
        match restored_rows(settings, &work.repository, &work.plan, dir, progress, stop).await {
            Ok(meta) => return Ok(meta),
            Err(met) => {
                let (catalogue, target) = (&mut work.catalogue, work.target);
                work.plan = Plan::remake(&work.repository, catalogue, target, met).await?;
            }
        }
    }
}

/// Records that were marked dead after they were copied live at the moment that is restored.
async fn revive(files: Arc<dyn PackStore>, settings: &Settings) -> Result<(), BackupError> {
    let settings = settings.packs.clone();
    let revived = tokio::task::spawn_blocking(move || {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let (packs, _) = PackSet::open(files, clock, random, &settings)?;
        for pack in packs.ids() {
            packs.revive(pack)?;
        }
        packs.seal()
    });
    Ok(revived.await??)
}

pub(super) fn show(shown: &Shown, progress: &ShownProgress) -> CancellationToken {
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
