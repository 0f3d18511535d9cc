//! The data directory: whose it is, who uses it, and of which format it is.

use super::error::{AppError, Exit};
use super::{private_file, reserve};
use crate::sys::{FailPoint, Random, RealFileSystem};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The format of the whole directory. A store of a higher number is refused untouched.
pub const STORE_FORMAT: u32 = 1;

/// The content of `STORE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoreFile {
    format: u32,
    /// 32 hex digits, made at the first start.
    store_id: String,
    /// False until the first start has made the metadata database: from then on a missing one is a loss.
    #[serde(default = "yes")]
    initialised: bool,
}

/// `restoring.json`: the store is not whole yet.
const RESTORING: &str = "restoring.json";
/// While it is written: of a process that was killed.
const RESTORING_TMP: &str = "restoring.json.tmp";

/// Where parts of a backup stand while they are restored into a bucket.
pub(super) const PART_DIR: &str = "restore-part";

/// What is being restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoring {
    /// Of the store that was backed up.
    pub store_id: String,
    pub epoch: u32,
    pub seq: u64,
}

/// A store without the mark is taken for one in use: then nothing starts empty by mistake.
const fn yes() -> bool {
    true
}

/// A data directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    store: StoreFile,
    /// Holds the lock.
    _lock: File,
}

impl DataDir {
    /// Locks the directory, checks its format, and creates what is missing when `create` is set.
    ///
    /// # Errors
    /// With the exit code for: in use, of another format, not writable, missing.
    pub fn open(path: &Path, create: bool, random: &dyn Random) -> Result<Self, AppError> {
        if create {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| unusable(path, &error))?;
            if read_store(path)?.is_none() {
                refuse_foreign(path)?;
            }
        } else if read_store(path)?.is_none() {
            let message = format!("{} holds no store; name one with --data", path.display());
            return Err(AppError::new(Exit::Usage, message));
        }
        // Whatever is there is ours, and of our format: nothing was created before.
        let lock = lock(path)?;
        at(path, FailPoint::DataLocked)?;
        if read_restoring(path)?.is_some() {
            let message = format!(
                "{} holds a restore that was not finished: run the same `sediment restore` again",
                path.display()
            );
            return Err(AppError::new(Exit::Usage, message));
        }
        let store = match read_store(path)? {
            Some(store) => store,
            None => create_store(path, random)?,
        };
        at(path, FailPoint::DataStore)?;
        // What was kept back for a full device is for coming back on one, too.
        reserve::release_when_full(&RealFileSystem, path);
        create_directories(path).map_err(|error| unusable(path, &error))?;
        at(path, FailPoint::DataDirectories)?;
        probe(path)?;
        Ok(Self { path: path.to_owned(), store, _lock: lock })
    }

    /// Locks a directory that a store is restored to: a new or empty one, or one that the same restore did not finish.
    ///
    /// # Errors
    /// When it holds a store, or a restore of another moment.
    pub fn restore(path: &Path, restoring: &Restoring) -> Result<Self, AppError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| unusable(path, &error))?;
        let lock = lock(path)?;
        match (read_store(path)?, read_restoring(path)?) {
            (None, None) => refuse_foreign(path)?,
            (_, Some(found)) if found == *restoring => {}
            (_, Some(found)) => {
                let message = format!(
                    "{} holds a restore of record {} that was not finished, and this is record {}: go on with that one (--seq {}), or name an empty directory with --data",
                    path.display(),
                    found.seq,
                    restoring.seq,
                    found.seq
                );
                return Err(AppError::new(Exit::Usage, message));
            }
            (Some(_), None) => {
                let message = format!(
                    "{} holds a store, which is left as it is: name an empty directory with --data",
                    path.display()
                );
                return Err(AppError::new(Exit::Usage, message));
            }
        }
        let text = serde_json::json!(restoring).to_string() + "\n";
        let marked = private_file::write(&path.join(RESTORING), text.as_bytes());
        marked.map_err(|error| unusable(path, &error))?;
        let store =
            StoreFile { format: STORE_FORMAT, store_id: restoring.store_id.clone(), initialised: true };
        write_store(path, &store)?;
        create_directories(path).map_err(|error| unusable(path, &error))?;
        probe(path)?;
        Ok(Self { path: path.to_owned(), store, _lock: lock })
    }

    /// Whether a restore into this directory was begun and not finished.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_restoring(path: &Path) -> Result<bool, AppError> {
        read_restoring(path).map(|restoring| restoring.is_some())
    }

    /// From now on it is a store like any other, durably.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn finish_restore(&mut self) -> Result<(), AppError> {
        let finished =
            std::fs::remove_file(self.path.join(RESTORING)).and_then(|()| File::open(&self.path)?.sync_all());
        finished.map_err(|error| unusable(&self.path, &error))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.store.store_id
    }

    /// Whether the metadata database has ever been there.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.store.initialised
    }

    /// Notes, durably, that the metadata database is there. Nothing may be stored before.
    ///
    /// # Errors
    /// When `STORE` cannot be written.
    pub fn initialise(&mut self) -> Result<(), AppError> {
        if self.store.initialised {
            return Ok(());
        }
        at(&self.path, FailPoint::DataInitialise)?;
        self.store.initialised = true;
        write_store(&self.path, &self.store)
    }

    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn at(path: &Path, point: FailPoint) -> Result<(), AppError> {
    point.pass().map_err(|error| unusable(path, &error))
}

/// A directory of something else must not be mixed with a store.
fn refuse_foreign(path: &Path) -> Result<(), AppError> {
    let ours = ["LOCK", "STORE.tmp", RESTORING_TMP, "lost+found", PART_DIR];
    let entries = std::fs::read_dir(path).map_err(|error| unusable(path, &error))?;
    for entry in entries {
        let name = entry.map_err(|error| unusable(path, &error))?.file_name();
        if !ours.iter().any(|own| name == *own) {
            let message = format!(
                "{} is not empty and holds no STORE file (found {}); name an empty directory with --data, or put STORE back from a backup",
                path.display(),
                name.display()
            );
            return Err(AppError::new(Exit::Format, message));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, AppError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path.join("LOCK")).map_err(|error| unusable(path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let who = if pid.trim().is_empty() {
                "another process".into()
            } else {
                format!("process {}", pid.trim())
            };
            let message = format!("{} is in use by {who}; stop it first", path.display());
            return Err(AppError::new(Exit::InUse, message));
        }
        Err(error) => return Err(AppError::failure("cannot lock the data directory", error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(|error| unusable(path, &error))?;
    Ok(file)
}

fn read_store(path: &Path) -> Result<Option<StoreFile>, AppError> {
    let file = path.join("STORE");
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &error)),
    };
    // The number alone first: a later format may have any other fields.
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    match format {
        Some(format) if format == u64::from(STORE_FORMAT) => {}
        Some(format) => {
            let message = format!(
                "{} is of format {format}, this version reads format {STORE_FORMAT}; nothing was touched; use the version that wrote it, or a newer one",
                path.display()
            );
            return Err(AppError::new(Exit::Format, message));
        }
        None => return Err(AppError::new(Exit::Format, format!("{} is not a STORE file", file.display()))),
    }
    if let Some(layout) = value.get("layout") {
        let message = format!(
            "{} has the layout {layout}, which the library opens (HybridStorageSystem) and this command does not; nothing was touched",
            path.display()
        );
        return Err(AppError::new(Exit::Format, message));
    }
    let store = serde_json::from_value(value)
        .map_err(|error| AppError::new(Exit::Format, format!("{} is damaged: {error}", file.display())))?;
    Ok(Some(store))
}

fn read_restoring(path: &Path) -> Result<Option<Restoring>, AppError> {
    let file = path.join(RESTORING);
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| AppError::new(Exit::Format, format!("{} is damaged: {error}", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn create_store(path: &Path, random: &dyn Random) -> Result<StoreFile, AppError> {
    let store_id = hex::encode(random.id128());
    let store = StoreFile { format: STORE_FORMAT, store_id, initialised: false };
    write_store(path, &store)?;
    Ok(store)
}

fn write_store(path: &Path, store: &StoreFile) -> Result<(), AppError> {
    let text = serde_json::json!(store).to_string() + "\n";
    private_file::write(&path.join("STORE"), text.as_bytes()).map_err(|error| unusable(path, &error))
}

/// Durably: what is stored in one must not go with its name.
fn create_directories(path: &Path) -> io::Result<()> {
    for name in ["meta", "packs", "index", "plain", "tmp"] {
        DirBuilder::new().recursive(true).mode(0o700).create(path.join(name))?;
    }
    File::open(path)?.sync_all()
}

/// Finds out now, not at the first request, that nothing can be written.
fn probe(path: &Path) -> Result<(), AppError> {
    let file = path.join("tmp").join("probe");
    let written = std::fs::write(&file, [0; 4096]).and_then(|()| std::fs::remove_file(&file));
    written.map_err(|error| unusable(path, &error))
}

pub(super) fn unusable(path: &Path, error: &io::Error) -> AppError {
    let path = path.display();
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the device of {path} is full; free some space and start again, nothing was lost")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{path} cannot be used by this user ({error}); give it read and write access, or name another directory with --data"
            )
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            format!("{path} is not a directory; name one with --data")
        }
        _ => format!("{path} cannot be used: {error}"),
    };
    AppError::new(Exit::Storage, message)
}

#[cfg(test)]
#[path = "data_dir_tests.rs"]
mod tests;
