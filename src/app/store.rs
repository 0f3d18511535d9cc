//! The parts of a store, opened in the one right order.

use super::data_dir::DataDir;
use super::error::{AppError, Exit};
use super::lock_clock::{self, LifecycleClock};
use super::restoring::{self, Rest};
use super::{presence, warm};
use crate::backup::{LazyRestore, RemoteRecords};
use crate::config::Settings;
use crate::engine::Follower;
use crate::engine::check::Checker;
use crate::engine::check::scrub::{ScrubParts, Scrubber};
use crate::engine::gc::{Collector, CursorBound, PlainFiles};
use crate::engine::index::{ChunkIndex, Progress};
use crate::engine::pack::{PackSet, RecoveryReport};
use crate::engine::{ChunkCache, Engine, EngineError, EngineParts, PlainStore};
use crate::meta::{ChangeLog, Consumer, MetaError, OpenMode, SqliteStore};
use crate::sys::{
    Clock, DeviceFaults, FailPoint, FileSystem, GuardedClock, OsRandom, Random, RealFileSystem, SystemClock,
    SystemSteady, WatchedFileSystem,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An open store whose index has caught up. Whoever holds it holds the data directory.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) engine: Engine,
    pub(super) collector: Collector,
    pub(super) scrubber: Scrubber,
    pub(super) meta: Arc<SqliteStore>,
    /// What locks and lifecycle go by.
    pub(super) lock_clock: Arc<GuardedClock>,
    /// Of the device that packs and plain bodies are on.
    pub(super) faults: DeviceFaults,
    /// As long as some of it is in the backup that it is restored from.
    pub(super) restoring: Option<LazyRestore>,
    /// What the backup holds, once somebody has looked: checks heal from it.
    pub(super) records: Arc<RemoteRecords>,
    /// Last, so that it is dropped last: the lock goes when everything is closed.
    pub(super) data: DataDir,
}

impl Store {
    /// Opens packs, metadata, index, cache and engine, and lets the index catch up. `progress` gets records done and
    /// in all while it does.
    pub(super) async fn open(
        data: DataDir,
        settings: &Settings,
        progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self, AppError> {
        Self::open_from(data, settings, None, progress).await
    }

    /// As [`Self::open`]. What a restore that has not ended has not brought yet is read from there, also while
    /// the store is served: see [`Self::restoring`].
    pub(super) async fn open_from(
        data: DataDir,
        settings: &Settings,
        rest: Option<Rest>,
        progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self, AppError> {
        let store = Self::open_parts(data, settings, rest, Arc::clone(&progress)).await?;
        presence::check_metadata(&store).await?;
        restoring::before_counting(&store).await?;
        let caught_up = store.follower().catch_up(Progress(progress.as_ref())).await;
        let caught_up = caught_up.and_then(|()| Ok(FailPoint::CaughtUp.pass()?));
        caught_up.map_err(|error| store_error(store.data.path(), error))?;
        restoring::before_serving(&store).await?;
        Ok(store)
    }

    /// As [`Self::open`], with the index where it was: for whoever is going to build it anew.
    pub(super) async fn open_behind(
        data: DataDir,
        settings: &Settings,
        progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self, AppError> {
        Self::open_parts(data, settings, None, progress).await
    }

    async fn open_parts(
        data: DataDir,
        settings: &Settings,
        rest: Option<Rest>,
        progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self, AppError> {
        let settings = settings.clone();
        let handle = tokio::runtime::Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            open(data, &settings, rest.as_ref(), progress.as_ref(), &handle)
        });
        opened.await.map_err(|error| AppError::failure("cannot open the store", error))?
    }

    pub(super) fn parts(&self) -> &EngineParts {
        self.engine.parts()
    }

    /// Reads everything that bodies are made of.
    pub(super) fn checker(&self) -> Checker {
        checker(self.parts(), &self.meta, &self.records)
    }

    pub(super) fn follower(&self) -> Follower {
        let parts = self.parts();
        Follower::new(Arc::clone(&parts.log), Arc::clone(&parts.meta), parts.index.clone())
    }
}

impl Store {
    /// Leaves everything tidy, so that the next start has nothing to recover. Blocks. Acknowledged data does not
    /// depend on it.
    pub(super) fn close(&self) -> Result<(), AppError> {
        warm::save(self.parts(), &self.data);
        lock_clock::save(&self.data.join(lock_clock::NAME), &self.lock_clock);
        let parts = self.parts();
        let sealed = parts.packs.seal();
        FailPoint::StopSealed.pass_or_die();
        let kept = parts.index.checkpoint();
        FailPoint::StopTidied.pass_or_die();
        sealed
            .and(kept.map(drop))
            .map_err(|error| AppError::failure("the store could not be closed tidily", error))
    }
}

fn open(
    mut data: DataDir,
    settings: &Settings,
    rest: Option<&Rest>,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
    handle: &tokio::runtime::Handle,
) -> Result<Store, AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let faults = DeviceFaults::default();
    let fs: Arc<dyn FileSystem> = Arc::new(WatchedFileSystem::new(Arc::new(RealFileSystem), faults.clone()));
    let dir = data.path().to_owned();
    let failed = |error| store_error(&dir, error);
    let at = |point: FailPoint| point.pass().map_err(|error| failed(error.into()));
    tracing::info!(dir = %dir.display(), "opening the store");
    // Before packs are recovered: a store of a newer version stays as it is.
    SqliteStore::check(&database(&data)).map_err(|error| failed(error.into()))?;

    let files = restoring::files(&data, &fs, rest, handle)?;
    let (packs, recovery) =
        PackSet::open(files.packs, Arc::clone(&clock), Arc::clone(&random), &settings.packs)
            .map_err(failed)?;
    report(&recovery);
    at(FailPoint::PacksOpened)?;
    let meta = open_meta(&mut data, settings, &packs, Arc::clone(&clock), Arc::clone(&random))?;
    presence::check_packs(&packs, &meta, &data, settings)?;
    at(FailPoint::MetaOpened)?;
    let kept = data.join(lock_clock::NAME);
    let steady = Arc::new(SystemSteady);
    let lock_clock = lock_clock::start(&meta, &kept, Arc::clone(&clock), steady, &settings.lock);
    let index = data.join("index");
    let index = ChunkIndex::open_showing(&index, packs.clone(), &settings.index, Progress(&progress));
    let index = index.map_err(failed)?;
    at(FailPoint::IndexOpened)?;
    let log: Arc<dyn ChangeLog> = Arc::clone(&meta) as Arc<dyn ChangeLog>;

    let plain = PlainStore::open(files.plain, &data.join("plain")).map_err(failed)?;
    let cache = cache(settings, handle)?;
    let collector = Collector::new(
        packs.clone(),
        index.clone(),
        Arc::clone(&meta) as _,
        Some(PlainFiles { store: plain.clone(), inspect: Arc::clone(&meta) as _ }),
        settings.gc.clone(),
    );
    collector.spare(Arc::new(backed_up(&meta, &lock_clock, settings)));
    let parts = EngineParts {
        packs,
        index,
        cache,
        meta: Arc::clone(&meta) as _,
        log,
        fs,
        plain,
        clock,
        random,
        settings: Arc::new(settings.engine.clone()),
        memory: EngineParts::memory_budget(&settings.engine),
    };
    let records = Arc::new(RemoteRecords::new(handle.clone()));
    let scrubber = scrubber(checker(&parts, &meta, &records), &parts, &data, settings);
    restoring::hold_back(files.restoring.as_ref(), &collector, &scrubber);
    let engine = Engine::new(parts).map_err(failed)?;
    at(FailPoint::StoreOpened)?;
    let restoring = files.restoring;
    Ok(Store { engine, collector, scrubber, meta, lock_clock, faults, restoring, records, data })
}

fn cache(settings: &Settings, handle: &tokio::runtime::Handle) -> Result<ChunkCache, AppError> {
    // Its tasks live on the runtime.
    let _runtime = handle.enter();
    ChunkCache::new(&settings.cache, Arc::new(SystemSteady))
        .map_err(|error| AppError::new(Exit::Usage, error.to_string()))
}

fn scrubber(checker: Checker, parts: &EngineParts, data: &DataDir, settings: &Settings) -> Scrubber {
    Scrubber::new(ScrubParts {
        checker,
        fs: Arc::clone(&parts.fs),
        clock: Arc::clone(&parts.clock),
        file: data.join("scrub.json"),
        settings: settings.scrub.clone(),
    })
}

fn checker(parts: &EngineParts, meta: &Arc<SqliteStore>, records: &Arc<RemoteRecords>) -> Checker {
    let plain = PlainFiles { store: parts.plain.clone(), inspect: Arc::clone(meta) as _ };
    Checker::new(parts.packs.clone(), parts.index.clone(), Arc::clone(&parts.log))
        .with_rows(Arc::clone(meta) as _)
        .with_plain(plain)
        .with_elsewhere(Arc::clone(records) as _)
}

pub(super) fn database(data: &DataDir) -> PathBuf {
    data.join("meta").join("sediment.db")
}

/// As far as the backup has got, while there is one. A clock set ahead does not end it.
fn backed_up(meta: &Arc<SqliteStore>, clock: &Arc<GuardedClock>, settings: &Settings) -> CursorBound {
    CursorBound {
        meta: Arc::clone(meta) as _,
        log: Arc::clone(meta) as _,
        consumer: Consumer::Backup,
        clock: Arc::new(LifecycleClock(Arc::clone(clock))),
        longest: Duration::from_secs(settings.gc.unshipped_seconds),
    }
}

/// A store that ever had metadata must not start empty: whatever is on disk would count as garbage (I1).
fn open_meta(
    data: &mut DataDir,
    settings: &Settings,
    packs: &PackSet,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Arc<SqliteStore>, AppError> {
    let mode = if data.is_initialised() { OpenMode::Existing } else { OpenMode::Create };
    let path = database(data);
    let barrier = Arc::new(packs.clone());
    let owned = (mode, Some(data.store_id()));
    let meta = SqliteStore::open_of(&path, owned, barrier, clock, random, &settings.meta)
        .map_err(|error| store_error(data.path(), error.into()))?;
    data.initialise()?;
    Ok(Arc::new(meta))
}

fn report(recovery: &RecoveryReport) {
    for pack in &recovery.recovered {
        tracing::warn!(
            pack = %pack.id,
            records = pack.records,
            truncated_bytes = pack.truncated_bytes,
            gaps = pack.gaps.len(),
            "a pack that was not closed has been recovered"
        );
    }
    for pack in &recovery.unreadable {
        tracing::error!(%pack, "the disk cannot read all of a pack; what it holds fails chunk by chunk: run fsck --deep");
    }
    tracing::info!(packs = recovery.packs, recovered = recovery.recovered.len(), "packs opened");
}

/// The exit code that fits, and one line.
fn store_error(dir: &Path, error: EngineError) -> AppError {
    match error {
        EngineError::Incompatible(why) | EngineError::Meta(MetaError::Incompatible(why)) => {
            AppError::new(Exit::Format, why)
        }
        EngineError::Meta(MetaError::Damaged(_) | MetaError::Corrupt(_)) => {
            let message = format!(
                "the metadata in {} is damaged: {error}; nothing was changed; docs/runbooks/corrupt-database.md says what to do",
                dir.display()
            );
            AppError::new(Exit::Damage, message)
        }
        EngineError::Full => super::data_dir::unusable(dir, &std::io::ErrorKind::StorageFull.into()),
        EngineError::Io(error) | EngineError::Meta(MetaError::Io(error)) => {
            super::data_dir::unusable(dir, &error)
        }
        other => AppError::failure(&format!("the store in {} cannot be opened", dir.display()), other),
    }
}
