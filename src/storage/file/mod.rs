//! Values as files: the simplest durable layer.
//!
//! Rules: a value and its metadata are one file, written beside the tree, synced, renamed into place, and its
//! directory synced, so that a crash leaves the old value or the new one (I2); everything read is verified (I4).

mod path;
mod record;
mod walk;

pub use record::FileMetadata;

use super::{StorageError, StorageLayer};
use crate::sys::{Clock, FileSystem, OsRandom, Random, RealFileSystem, SystemClock, create_durable_dir};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use walk::Walk;

pub(super) mod fuzzing {
    use std::path::Path;

    pub fn file_record(bytes: &[u8]) {
        let _ = super::record::decode(bytes.to_vec(), Path::new("fuzz"));
    }

    pub fn file_name(name: &str, is_dir: bool, digits: usize) {
        let _ = super::path::Name::parse(name, is_dir, digits);
    }
}

/// The most calls that block at once.
const MAX_BLOCKING: usize = 32;

/// Files that are not yet, or no longer, anybody's value.
const TEMPORARY: &str = ".tmp";

/// Each value in a file of its own: `data/6b/6579` for the key `key`.
///
/// ```
/// use sediment::storage::{FileStorage, StorageLayer};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), sediment::storage::StorageError> {
/// # let dir = tempfile::tempdir()?;
/// # std::env::set_current_dir(&dir)?;
/// // MVP: Simple file storage
/// let storage = FileStorage::new("./data").await?;
/// storage.put(b"key", b"value").await?;
/// let value = storage.get(b"key").await?;
/// # assert_eq!(value.as_deref(), Some(&b"value"[..]));
/// # assert!(dir.path().join("data/6b/6579").is_file());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileStorage {
    files: Arc<Files>,
    blocking: Arc<Semaphore>,
}

/// The blocking half.
#[derive(Debug)]
struct Files {
    fs: Arc<dyn FileSystem>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    base: PathBuf,
    /// The shard directories whose names this process made durable.
    durable_shards: Vec<AtomicBool>,
}

impl FileStorage {
    /// Opens the directory, creates it when it is missing, and clears away what a crash left half-written.
    ///
    /// # Errors
    /// When the directory cannot be created, read or made durable.
    pub async fn new(base: impl Into<PathBuf>) -> Result<Self, StorageError> {
        Self::with(Arc::new(RealFileSystem), Arc::new(SystemClock), Arc::new(OsRandom), base).await
    }

    /// As [`Self::new`], on another file system, clock and randomness.
    ///
    /// # Errors
    /// When the directory cannot be created, read or made durable.
    pub async fn with(
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        base: impl Into<PathBuf>,
    ) -> Result<Self, StorageError> {
        let durable_shards = (0..256).map(|_| AtomicBool::new(false)).collect();
        let files = Files { fs, clock, random, base: base.into(), durable_shards };
        let storage = Self { files: Arc::new(files), blocking: Arc::new(Semaphore::new(MAX_BLOCKING)) };
        storage.run(Files::open).await?;
        Ok(storage)
    }

    /// What is kept of a value beside its bytes, which are verified as for `get`.
    ///
    /// # Errors
    /// When the file cannot be read or is corrupt.
    pub async fn metadata(&self, key: &[u8]) -> Result<Option<FileMetadata>, StorageError> {
        let key = key.to_vec();
        let found = self.run(move |files| files.get(&key)).await?;
        Ok(found.map(|(metadata, _)| metadata))
    }

    /// Runs `f` where it may block; it goes on to its end when the caller goes away.
    async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Files) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        run_blocking(&self.blocking, Arc::clone(&self.files), move |files| f(&files)).await
    }
}

async fn run_blocking<S: Send + 'static, T: Send + 'static>(
    bound: &Arc<Semaphore>,
    state: S,
    f: impl FnOnce(S) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let permit = Arc::clone(bound).acquire_owned().await.map_err(io::Error::other)?;
    let work = move || {
        let _permit = permit;
        f(state)
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[async_trait]
impl StorageLayer for FileStorage {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let key = key.to_vec();
        let found = self.run(move |files| files.get(&key)).await?;
        Ok(found.map(|(_, value)| value))
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let (key, value) = (key.to_vec(), value.to_vec());
        self.run(move |files| files.put(&key, &value)).await
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        let key = key.to_vec();
        self.run(move |files| files.delete(&key)).await
    }

    /// Holds the names of a directory in memory while it is in it: 1/256 of all keys when their first bytes
    /// spread, all of them when they do not.
    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        let walk = Walk::new(Arc::clone(&self.files.fs), self.files.base.clone(), prefix);
        let step = |mut walk: Walk| async {
            let batch = move |()| walk.next_batch().map(|batch| (batch, walk));
            let (batch, walk) = run_blocking(&self.blocking, (), batch).await?;
            Ok::<_, StorageError>((!batch.is_empty()).then_some((batch, walk)))
        };
        futures::stream::try_unfold(walk, step)
            .map_ok(|batch: VecDeque<_>| futures::stream::iter(batch.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

impl Files {
    fn open(&self) -> Result<(), StorageError> {
        let temporary = self.base.join(TEMPORARY);
        create_durable_dir(self.fs.as_ref(), &self.base)?;
        create_durable_dir(self.fs.as_ref(), &temporary)?;
        for leftover in self.fs.read_dir(&temporary)? {
            allow_missing(self.fs.remove_file(&leftover.path))?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<(FileMetadata, Bytes)>, StorageError> {
        let path = self.base.join(path::of_key(key));
        let Some(file) = read_file(&*self.fs, &path)? else { return Ok(None) };
        record::decode_for(key, file, &path).map(Some)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let file = record::encode(key, value, self.clock.now().get())?;
        let relative = path::of_key(key);
        let path = self.base.join(&relative);
        // Another process that opens the directory takes a temporary file for a leftover, and people remove
        // directories: then everything is made again.
        let mut attempts = 10;
        loop {
            attempts -= 1;
            match self.create_directories(key, &relative).and_then(|()| self.write(&file, &path)) {
                Err(error) if is_missing(&error) && attempts > 0 => self.forget_shard(key),
                result => return Ok(result?),
            }
        }
    }

    fn write(&self, file: &[u8], path: &Path) -> io::Result<()> {
        let temporary = self.base.join(TEMPORARY).join(hex::encode(self.random.id128()));
        let written = self.fs.create_new(&temporary).and_then(|handle| {
            handle.write_all_at(file, 0)?;
            handle.sync_data()?;
            self.fs.rename(&temporary, path)
        });
        if let Err(error) = written {
            let _ = self.fs.remove_file(&temporary);
            return Err(error);
        }
        self.sync_parent(path)
    }

    fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        let path = self.base.join(path::of_key(key));
        allow_missing(self.fs.remove_file(&path))?;
        // Also when the file was gone: the one who removed it may not have got so far.
        Ok(allow_missing(self.sync_parent(&path))?)
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.fs.sync_dir(parent))
    }

    /// Makes the directories above a file, and their names durable. That another put made one already says
    /// nothing of its durability, so only what this process has synced is skipped.
    fn create_directories(&self, key: &[u8], relative: &Path) -> io::Result<()> {
        let Some(first) = key.first() else { return Ok(()) };
        let shard = &self.durable_shards[usize::from(*first)];
        let mut directory = self.base.clone();
        let parents = relative.parent().into_iter().flat_map(Path::iter);
        for (depth, name) in parents.enumerate() {
            let above = directory.clone();
            directory.push(name);
            if depth == 0 && shard.load(Ordering::Acquire) {
                continue;
            }
            self.fs.create_dir_all(&directory)?;
            self.fs.sync_dir(&above)?;
            if depth == 0 {
                shard.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    fn forget_shard(&self, key: &[u8]) {
        if let Some(first) = key.first() {
            self.durable_shards[usize::from(*first)].store(false, Ordering::Release);
        }
    }
}

fn read_file(fs: &dyn FileSystem, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs.open(path) {
        Err(error) if is_missing(&error) => return Ok(None),
        file => file?,
    };
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    file.read_at(0, len).map(Some)
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn allow_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
