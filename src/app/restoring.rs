//! A store that is opened while some of its bytes are still in the backup that it is restored from.

use super::data_dir::{DataDir, unusable};
use super::error::AppError;
use super::store::Store;
use crate::backup::{BackupError, LazyRestore, Repository};
use crate::engine::PlainStore;
use crate::engine::check::scrub::Scrubber;
use crate::engine::gc::Collector;
use crate::storage::{DiskPackStore, PackStore};
use crate::sys::FileSystem;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the rest of a store is.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) repository: Arc<Repository>,
    /// Once it is cancelled nothing is fetched, and whoever waits for that fails.
    pub(super) stop: CancellationToken,
}

/// Where packs and plain bodies are read from.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) packs: Arc<dyn PackStore>,
    pub(super) plain: Arc<dyn FileSystem>,
    /// `None`: all is here.
    pub(super) restoring: Option<LazyRestore>,
}

/// Blocks. A directory whose restore has not ended is refused without the rest: what is missing would pass for damage.
pub(super) fn files(
    data: &DataDir,
    fs: &Arc<dyn FileSystem>,
    rest: Option<&Rest>,
    handle: &tokio::runtime::Handle,
) -> Result<Files, AppError> {
    let dir = data.path();
    let io = |error| unusable(dir, &error);
    let local: Arc<dyn PackStore> =
        Arc::new(DiskPackStore::open(Arc::clone(fs), data.join("packs")).map_err(io)?);
    if !LazyRestore::is_unfinished(&**fs, dir).map_err(io)? {
        return Ok(Files { packs: local, plain: Arc::clone(fs), restoring: None });
    }
    let Some(Rest { repository, stop }) = rest else {
        let why =
            "the rest of it is in the backup; `sediment serve` with the backup's settings goes on with it";
        return Err(AppError::failure(&format!("the restore into {} is not finished", dir.display()), why));
    };
    let opened = || {
        let plain = PlainStore::open(Arc::clone(fs), &data.join("plain"))?;
        let (packs, runtime) = (Arc::clone(&local), handle.clone());
        let restoring = LazyRestore::open(repository, fs, dir, packs, plain, (runtime, stop))?;
        if let Some(restoring) = &restoring {
            handle.block_on(restoring.before_packs())?;
        }
        Ok::<_, BackupError>(restoring)
    };
    let restoring = opened().map_err(failed)?;
    Ok(match restoring {
        Some(restoring) => {
            Files { packs: restoring.packs(), plain: restoring.files(), restoring: Some(restoring) }
        }
        None => Files { packs: local, plain: Arc::clone(fs), restoring: None },
    })
}

/// Nobody collects or scrubs what is not here.
pub(super) fn hold_back(restoring: Option<&LazyRestore>, collector: &Collector, scrubber: &Scrubber) {
    if let Some(restoring) = restoring {
        collector.after(restoring.end());
        scrubber.after(restoring.end());
    }
}

pub(super) async fn before_counting(store: &Store) -> Result<(), AppError> {
    let Some(restoring) = &store.restoring else { return Ok(()) };
    let parts = store.parts();
    restoring.before_counting(&parts.packs, &parts.index).await.map_err(failed)
}

/// Whatever the rows name can be read when it returns.
pub(super) async fn before_serving(store: &Store) -> Result<(), AppError> {
    let Some(restoring) = &store.restoring else { return Ok(()) };
    let parts = store.parts();
    let revived = restoring.before_serving(&parts.packs, &parts.index).await.map_err(failed)?;
    let left_bytes = restoring.progress().left_bytes;
    tracing::info!(
        left_bytes,
        revived,
        "the store is served while the rest of it is fetched from the backup"
    );
    Ok(())
}

fn failed(error: BackupError) -> AppError {
    AppError::failure("the restore cannot go on; nothing is lost, the next start tries again", error)
}

#[cfg(test)]
mod tests {
    use crate::app::data_dir::DataDir;
    use crate::app::restoring::Rest;
    use crate::app::store::Store;
    use crate::backup::testing::repository;
    use crate::backup::testing_store::{TestStore, restore_the_rows};
    use crate::backup::{LazyRestore, Target};
    use crate::config::Settings;
    use crate::engine::EngineError;
    use crate::engine::check::scrub::Pace;
    use crate::sys::{OsRandom, RealFileSystem};
    use std::path::Path;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn data(dir: &Path) -> DataDir {
        let mut data = DataDir::open(dir, true, &OsRandom).unwrap();
        data.initialise().unwrap();
        data
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_directory_whose_restore_has_not_ended_is_opened_with_its_backup_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let (repository, _) = repository(true).await;
        let store = TestStore::open(&scratch.path().join("store")).await;
        for n in 0..20u8 {
            store.put(&format!("key-{n}"), &vec![n; 20_000], n == 3).await;
        }
        store.follow().await;
        store.shipper(&repository).await.unwrap().snapshot(false).await.unwrap();
        let to = scratch.path().join("to");
        drop(data(&to));
        let plan = restore_the_rows(&repository, Target::Latest, &to).await.unwrap();
        LazyRestore::begin(&repository, &plan, &RealFileSystem, &to).unwrap();

        let (settings, silent) = (Settings::default(), Arc::new(|_, _| ()));
        let refused = Store::open(data(&to), &settings, silent.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("is not finished"), "{refused}");

        let rest = |stop| Some(Rest { repository: Arc::clone(&repository), stop });
        let over = CancellationToken::new();
        over.cancel();
        let stopped = Store::open_from(data(&to), &settings, rest(over), silent.clone()).await.unwrap_err();
        assert!(stopped.to_string().contains("it was stopped"), "{stopped}");

        let rest = rest(CancellationToken::new());
        let opened = Store::open_from(data(&to), &settings, rest, silent.clone()).await.unwrap();
        let (restoring, stop) = (opened.restoring.clone().unwrap(), CancellationToken::new());
        let collected = opened.collector.run(&stop, None).await;
        assert!(matches!(collected, Err(EngineError::Busy(_))), "{collected:?}");
        let scrubbed = opened.scrubber.run(Pace::Unlimited, &stop, None).await;
        assert!(matches!(scrubbed, Err(EngineError::Busy(_))), "{scrubbed:?}");
        restoring.run(&stop).await.unwrap();
        let scrubbed = opened.scrubber.run(Pace::Unlimited, &stop, None).await.unwrap();
        assert!(scrubbed.complete && scrubbed.found.is_clean_so_far(), "{scrubbed:?}");
        assert!(scrubbed.found.records_read > 0);
        restoring.stop().await;
        drop((opened, restoring));

        let opened = Store::open(data(&to), &settings, silent).await.unwrap();
        assert!(opened.restoring.is_none());
    }
}
