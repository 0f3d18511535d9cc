//! Where the rows of the moment stand while a part is restored, and the bytes that it needs: a store whose restore has not ended, below the data
//! directory, on its disk.

use crate::app::backup::restore::{begin_lazy, open_rows, restored_rows};
use crate::app::data_dir::{DataDir, PART_DIR, Restoring, unusable};
use crate::app::error::AppError;
use crate::app::progress::Shown;
use crate::app::store::Store;
use crate::app::verbs::catching_up;
use crate::backup::{BackupError, Plan, Repository, ShownProgress};
use crate::config::Settings;
use crate::meta::SqliteStore;
use crate::sys::OsRandom;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One moment's.
pub(super) struct Scratch {
    /// Of all such restores here.
    parent: PathBuf,
    dir: PathBuf,
    restoring: Restoring,
    /// Until a store is open there, which takes it.
    data: Mutex<Option<DataDir>>,
    /// An earlier attempt was cut off when all rows were here.
    pub(super) is_begun: bool,
}

impl Scratch {
    /// What an earlier attempt at the same moment has brought is taken up; what is left of other moments goes.
    pub(super) fn open(data_dir: &Path, repository: &Repository, plan: &Plan) -> Result<Self, AppError> {
        let parent = data_dir.join(PART_DIR);
        let id = repository.description().id.to_string();
        let name = format!("{}-{:08x}-{:016x}", id.get(..8).unwrap_or(&id), plan.epoch.get(), plan.seq.get());
        let dir = parent.join(&name);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&parent).map_err(|error| unusable(&parent, &error))?;
        remove_others(&parent, &name).map_err(|error| unusable(&parent, &error))?;
        let store_id = repository.description().store_id.to_string();
        let restoring = Restoring { store_id, seq: plan.seq.get(), epoch: plan.epoch.get() };
        let is_begun = dir.join("STORE").exists() && !DataDir::is_restoring(&dir)?;
        let data = if is_begun {
            DataDir::open(&dir, false, &OsRandom)?
        } else {
            DataDir::restore(&dir, &restoring)?
        };
        Ok(Self { parent, dir, restoring, data: Mutex::new(Some(data)), is_begun })
    }

    fn take(&self) -> Result<DataDir, AppError> {
        match self.data.lock().take() {
            Some(data) => Ok(data),
            None => DataDir::restore(&self.dir, &self.restoring),
        }
    }

    /// The rows alone, for whoever only looks.
    pub(super) async fn rows(
        &self,
        settings: &Settings,
        repository: &Arc<Repository>,
        plan: &Plan,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<Arc<SqliteStore>, AppError> {
        if self.is_begun {
            let path = self.dir.join("meta").join("sediment.db");
            return open_rows(path, settings).await.map_err(super::failed);
        }
        restored_rows(settings, repository, plan, &self.dir, progress, stop).await.map_err(super::failed)
    }

    /// The store of the moment; what is read and not here comes from the backup.
    pub(super) async fn store(
        &self,
        settings: &Settings,
        repository: &Arc<Repository>,
        plan: &Plan,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<Store, AppError> {
        let mut data = self.take()?;
        if !self.is_begun {
            let meta = restored_rows(settings, repository, plan, data.path(), progress, stop).await;
            let meta = meta.map_err(super::failed)?;
            let closed = tokio::task::spawn_blocking(move || drop(meta)).await;
            closed.map_err(|error| super::failed(BackupError::from(error)))?;
            begin_lazy(repository, plan, data.path()).await.map_err(super::failed)?;
            data.finish_restore()?;
        }
        // Nothing of a moment that is over is told to others.
        let mut settings = settings.clone();
        settings.cache.redis_url = None;
        settings.storage.data_dir.clone_from(&self.dir);
        let silent = catching_up(&Shown::new(false));
        Store::open_from(data, &settings, Some(Arc::clone(repository)), silent).await
    }

    /// Everything that was brought here. Blocks.
    pub(super) fn remove(self) -> Result<(), AppError> {
        let removed = std::fs::remove_dir_all(&self.dir);
        removed.map_err(|error| unusable(&self.dir, &error))?;
        // Others may be at work there.
        let _ = std::fs::remove_dir(&self.parent);
        Ok(())
    }
}

/// What restores have left that were given up. Those that somebody is at stay.
fn remove_others(parent: &Path, own: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name() == own {
            continue;
        }
        // Held until it is gone.
        let lock = File::open(entry.path().join("LOCK"));
        let is_free = match &lock {
            Ok(lock) => flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_free {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
