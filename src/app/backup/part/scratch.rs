//! Where the rows of the moment stand while a part is restored, and the bytes that it needs: a store whose restore has not ended, below the data
//! directory, on its disk.

use super::failed;
use crate::app::backup::restore::{Work, begin_lazy, open_rows, rows};
use crate::app::data_dir::{DataDir, PART_DIR, Restoring, unusable};
use crate::app::error::AppError;
use crate::app::private_file;
use crate::app::progress::Shown;
use crate::app::restoring::Rest;
use crate::app::store::Store;
use crate::app::verbs::catching_up;
use crate::backup::{BackupError, ShownProgress};
use crate::config::Settings;
use crate::meta::SqliteStore;
use crate::sys::OsRandom;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What was done without when the rows were brought here: for whoever goes on with them.
const PASSED_OVER: &str = "passed-over.json";

/// What directories are called of which only a part may be there.
const GOING: &str = "going";

/// One moment's.
pub(super) struct Scratch {
    data_dir: PathBuf,
    pub(super) dir: PathBuf,
    restoring: Restoring,
    /// Until a store is open there, which takes it.
    data: Mutex<Option<DataDir>>,
    /// An earlier attempt was cut off when all rows were here.
    pub(super) is_begun: bool,
}

impl Scratch {
    /// What an earlier attempt at the same moment has brought is taken up; what is left of other moments goes. Refused while another
    /// run is at the same moment.
    pub(super) async fn open(data_dir: &Path, work: &Work) -> Result<Self, AppError> {
        let described = work.repository.description();
        let (id, epoch, seq) = (described.id.to_string(), work.plan.epoch.get(), work.plan.seq.get());
        let name = format!("{}-{epoch:08x}-{seq:016x}", id.get(..8).unwrap_or(&id));
        let restoring = Restoring { store_id: described.store_id.to_string(), seq, epoch };
        let data_dir = data_dir.to_owned();
        let entered = tokio::task::spawn_blocking(move || Self::enter(data_dir, &name, restoring)).await;
        entered.map_err(|error| failed(BackupError::from(error)))?
    }

    fn enter(data_dir: PathBuf, name: &str, restoring: Restoring) -> Result<Self, AppError> {
        let parent = data_dir.join(PART_DIR);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&data_dir).map_err(|error| unusable(&data_dir, &error))?;
        let _gate = gate(&data_dir).map_err(|error| unusable(&data_dir, &error))?;
        builder.create(&parent).map_err(|error| unusable(&parent, &error))?;
        remove_others(&parent, name).map_err(|error| unusable(&parent, &error))?;
        let dir = parent.join(name);
        let is_begun = dir.join("STORE").exists() && !DataDir::is_restoring(&dir)?;
        let data = if is_begun {
            DataDir::open(&dir, false, &OsRandom)?
        } else {
            DataDir::restore(&dir, &restoring)?
        };
        Ok(Self { data_dir, dir, restoring, data: Mutex::new(Some(data)), is_begun })
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
        work: &mut Work,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<Arc<SqliteStore>, AppError> {
        if self.is_begun {
            work.plan.passed_over = self.passed_over()?;
            let path = self.dir.join("meta").join("sediment.db");
            return open_rows(path, settings).await.map_err(failed);
        }
        rows(settings, work, &self.dir, progress, stop).await.map_err(failed)
    }

    /// The store of the moment; what is read and not here comes from the backup, until it is stopped.
    pub(super) async fn store(
        &self,
        settings: &Settings,
        work: &mut Work,
        progress: &ShownProgress,
        stop: &CancellationToken,
    ) -> Result<Store, AppError> {
        let mut data = self.take()?;
        if self.is_begun {
            work.plan.passed_over = self.passed_over()?;
        } else {
            let meta = rows(settings, work, data.path(), progress, stop).await.map_err(failed)?;
            let closed = tokio::task::spawn_blocking(move || drop(meta)).await;
            closed.map_err(|error| failed(BackupError::from(error)))?;
            begin_lazy(&work.repository, &work.plan, data.path()).await.map_err(failed)?;
            self.note(&work.plan.passed_over)?;
            data.finish_restore()?;
        }
        // Nothing of a moment that is over is told to others.
        let mut settings = settings.clone();
        settings.cache.redis_url = None;
        settings.storage.data_dir.clone_from(&self.dir);
        let silent = catching_up(&Shown::new(false));
        let rest = Rest { repository: Arc::clone(&work.repository), stop: stop.clone() };
        let opened = Store::open_from(data, &settings, Some(rest), silent).await;
        opened.map_err(|error| if stop.is_cancelled() { failed(BackupError::Stopped) } else { error })
    }

    fn note(&self, passed_over: &[String]) -> Result<(), AppError> {
        let text = serde_json::json!(passed_over).to_string() + "\n";
        let path = self.dir.join(PASSED_OVER);
        private_file::write(&path, text.as_bytes()).map_err(|error| unusable(&path, &error))
    }

    fn passed_over(&self) -> Result<Vec<String>, AppError> {
        let path = self.dir.join(PASSED_OVER);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|error| unusable(&path, &error))?,
        };
        serde_json::from_slice(&text).map_err(|error| unusable(&path, &error.into()))
    }

    /// Everything that was brought here, unless another run has taken it up since it was given back. Blocks.
    pub(super) fn remove(self) -> Result<(), AppError> {
        let failed = |error| unusable(&self.dir, &error);
        let _gate = gate(&self.data_dir).map_err(failed)?;
        let own = self.data.into_inner();
        let lock = match &own {
            Some(_) => None,
            None => match unused(&self.dir) {
                Ok(Some(lock)) => Some(lock),
                // Another run has it, or has had it and is done.
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(error)),
            },
        };
        discard(&self.dir).map_err(failed)?;
        drop((own, lock));
        // Others may be at work there.
        let _ = std::fs::remove_dir(self.data_dir.join(PART_DIR));
        Ok(())
    }
}

/// Held while a directory comes or goes, so that nobody takes up what another one removes. Not the lock of the store beside it, whose gateway
/// may be running.
fn gate(data_dir: &Path) -> io::Result<File> {
    let gate = File::open(data_dir)?;
    rustix::io::retry_on_intr(|| flock(&gate, FlockOperation::LockExclusive))?;
    Ok(gate)
}

/// Its lock, if nobody is at it.
fn unused(dir: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(dir.join("LOCK"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// By another name first: what is half gone when the process is killed is taken up by nobody.
fn discard(dir: &Path) -> io::Result<()> {
    let going = dir.with_extension(GOING);
    match std::fs::remove_dir_all(&going) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(dir, &going)?;
    std::fs::remove_dir_all(going)
}

/// What restores have left that were given up. Those that somebody is at stay.
fn remove_others(parent: &Path, own: &str) -> io::Result<()> {
    let entries = std::fs::read_dir(parent)?.collect::<io::Result<Vec<_>>>()?;
    for entry in entries {
        let path = entry.path();
        if entry.file_name() == own || !entry.file_type()?.is_dir() {
            continue;
        }
        if path.extension().is_some_and(|extension| extension == GOING) {
            std::fs::remove_dir_all(path)?;
        } else if let Some(_lock) = unused(&path)? {
            discard(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Scratch;
    use crate::app::data_dir::Restoring;
    use crate::app::error::Exit;
    use std::path::Path;

    fn enter(data_dir: &Path, seq: u64) -> Result<Scratch, crate::app::error::AppError> {
        let restoring = Restoring { store_id: "7".repeat(32), epoch: 1, seq };
        Scratch::enter(data_dir.to_owned(), &format!("moment-{seq}"), restoring)
    }

    /// As a store that is closed does.
    fn give_back(scratch: &Scratch) {
        scratch.take().unwrap().finish_restore().unwrap();
    }

    #[test]
    fn of_two_runs_at_the_same_moment_the_second_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = enter(dir.path(), 1).unwrap();
        assert_eq!(enter(dir.path(), 1).err().unwrap().exit, Exit::InUse);
        let other = enter(dir.path(), 2).unwrap();
        assert!(first.dir.exists() && other.dir.exists(), "another moment's is nobody's business");
        first.remove().unwrap();
        other.remove().unwrap();
        assert!(!dir.path().join("restore-part").exists());
    }

    /// Killed while it removed a directory, of which anything may be left then.
    #[test]
    fn i5_what_was_half_removed_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = enter(dir.path(), 1).unwrap();
        give_back(&scratch);
        let going = scratch.dir.with_extension("going");
        std::fs::rename(&scratch.dir, &going).unwrap();
        std::fs::remove_dir_all(going.join("meta")).unwrap();
        let again = enter(dir.path(), 1).unwrap();
        assert!(!again.is_begun && !going.exists());
        std::fs::create_dir(&going).unwrap();
        again.remove().unwrap();
        assert!(!dir.path().join("restore-part").exists());
    }

    #[test]
    fn what_another_run_has_taken_up_is_not_removed_under_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = enter(dir.path(), 1).unwrap();
        give_back(&first);
        let second = enter(dir.path(), 1).unwrap();
        assert!(second.is_begun);
        first.remove().unwrap();
        assert!(second.dir.join("STORE").exists());
        second.remove().unwrap();
        assert!(!dir.path().join("restore-part").exists());

        let (first, third) = (enter(dir.path(), 1).unwrap(), enter(dir.path(), 3).unwrap());
        give_back(&first);
        assert!(enter(dir.path(), 2).is_ok() && !first.dir.exists() && third.dir.exists());
        first.remove().unwrap();
    }
}
