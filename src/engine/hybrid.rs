//! The whole store as a library: one directory, opened with one call.

use super::key_value::KeyValue;
use super::pack::{PackSet, PackSettings};
use super::{
    CacheError, CacheSettings, ChunkCache, ChunkIndex, Engine, EngineError, EngineParts, EngineSettings,
    Follower, IndexSettings, PlainStore, Progress, RedisUrl,
};
use crate::meta::{ChangeLog, MetaStore, OpenMode, SqliteSettings, SqliteStore};
use crate::storage::{DiskPackStore, StorageError, StorageLayer};
use crate::sys::{Clock, FileSystem, OsRandom, Random, RealFileSystem, SystemClock};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a hybrid store is made of.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// The store's directory, created when it is missing. One process at a time may have it open.
    pub data_path: PathBuf,
    /// A Redis as second cache tier; `""` for none. One that cannot be reached is a cache that misses.
    pub redis_url: RedisUrl,
    /// The metadata database: `sqlite://` and a path. A relative one stands inside `data_path`.
    pub sqlite_url: String,
    /// How many chunks of the usual size (16 KiB) memory holds; 0 turns that tier off.
    pub memory_cache_size: usize,
    /// How long Redis keeps a chunk, in seconds.
    pub cache_ttl: u64,
    /// Kept for whoever runs backups of this store; opening it starts none.
    pub backup_schedule: BackupSchedule,
}

/// When backups are made and how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSchedule {
    pub interval_seconds: u64,
    pub retention_days: u32,
    /// Whether a backup holds only what the one before does not.
    pub incremental: bool,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_path: "./data".into(),
            redis_url: "".into(),
            sqlite_url: "sqlite://metadata.db".to_owned(),
            memory_cache_size: 16 << 10,
            cache_ttl: 3600,
            backup_schedule: BackupSchedule::default(),
        }
    }
}

impl Default for BackupSchedule {
    fn default() -> Self {
        Self { interval_seconds: 3600, retention_days: 7, incremental: true }
    }
}

/// Metadata in SQLite, values deduplicated in packs, caches in memory and Redis: a [`StorageLayer`] of values up to
/// 64 MiB.
///
/// ```
/// use sediment::{BackupSchedule, HybridStorageSystem, StorageConfig, StorageLayer};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), sediment::StorageError> {
/// # let dir = tempfile::tempdir()?;
/// # std::env::set_current_dir(&dir)?;
/// // Production: Full hybrid system
/// let config = StorageConfig {
///     data_path: "./data".into(),
///     redis_url: "redis://localhost".into(),
///     sqlite_url: "sqlite://metadata.db".into(),
///     memory_cache_size: 1000,
///     cache_ttl: 3600,
///     backup_schedule: BackupSchedule { interval_seconds: 3600, retention_days: 7, incremental: true },
/// };
/// let system = HybridStorageSystem::new(config).await?;
/// system.put(b"key", b"value").await?;
/// assert_eq!(system.get(b"key").await?.as_deref(), Some(&b"value"[..]));
/// system.close().await?;
/// # assert!(dir.path().join("data/metadata.db").is_file());
/// # Ok(())
/// # }
/// ```
///
/// [`HybridStorageSystem::close`] it, so that the next start has nothing to recover; one that is merely dropped loses
/// nothing that was acknowledged.
#[derive(Debug)]
pub struct HybridStorageSystem {
    engine: Engine,
    values: KeyValue,
    stop: CancellationToken,
    follower: Option<JoinHandle<()>>,
    lock: Arc<File>,
}

impl HybridStorageSystem {
    /// Opens the store, creates it when it is missing, and recovers what a crash left. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When another process has it open, a URL is malformed, or files cannot be read or are of a newer version.
    pub async fn new(config: StorageConfig) -> Result<Self, StorageError> {
        let runtime = Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&config.data_path)?;
            let parts = open(&config, &runtime)?;
            Ok::<_, StorageError>((lock, Engine::new(parts)?))
        });
        let (lock, engine) = opened.await.map_err(io::Error::from)??;
        let (lock, stop) = (Arc::new(lock), CancellationToken::new());
        let parts = engine.parts();
        let follower = Follower::new(Arc::clone(&parts.log), Arc::clone(&parts.meta), parts.index.clone())
            .run(stop.clone());
        let held = Arc::clone(&lock);
        let follower = tokio::spawn(async move {
            if let Err(error) = follower.await {
                tracing::error!(%error, "the chunk index stopped following the metadata; restart the store");
            }
            drop(held);
        });
        let values = KeyValue::new(Arc::clone(&parts.meta), Arc::new(engine.clone()));
        Ok(Self { engine, values, stop, follower: Some(follower), lock })
    }

    /// The engine, for bodies larger than a value may be.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops what runs beside, seals the open pack and writes the index down.
    ///
    /// # Errors
    /// When that fails; nothing acknowledged is lost then either.
    pub async fn close(mut self) -> Result<(), StorageError> {
        self.stop.cancel();
        if let Some(follower) = self.follower.take() {
            follower.await.map_err(io::Error::from)?;
        }
        let parts = self.engine.parts().clone();
        let lock = Arc::clone(&self.lock);
        drop(self);
        let closed = tokio::task::spawn_blocking(move || {
            parts.packs.seal()?;
            parts.index.checkpoint()?;
            // The database closes before the lock goes.
            drop(parts);
            drop(lock);
            Ok::<_, EngineError>(())
        });
        Ok(closed.await.map_err(io::Error::from)??)
    }
}

impl Drop for HybridStorageSystem {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl StorageLayer for HybridStorageSystem {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.values.get(key).await
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.values.put(key, value).await
    }

    async fn delete(&self, key: &[u8]) -> Result<(), StorageError> {
        self.values.delete(key).await
    }

    fn scan(&self, prefix: &[u8]) -> BoxStream<'_, Result<(Bytes, Bytes), StorageError>> {
        self.values.scan(prefix)
    }
}

/// Takes the directory for this process alone.
fn lock(data: &Path) -> Result<File, StorageError> {
    std::fs::create_dir_all(data)?;
    let file = File::options().create(true).truncate(false).write(true).open(data.join("LOCK"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let why = format!("{} is in use by another process", data.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, why).into())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn database(config: &StorageConfig) -> Result<PathBuf, StorageError> {
    let path = config.sqlite_url.strip_prefix("sqlite://").filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| StorageError::Database("sqlite_url is sqlite:// and a path".to_owned()))?;
    Ok(config.data_path.join(path))
}

/// Opens everything in the one right order. Blocks.
fn open(config: &StorageConfig, runtime: &Handle) -> Result<EngineParts, StorageError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let database = database(config)?;
    let (data, settings) = (&config.data_path, Arc::new(EngineSettings::default()));

    let files = Arc::new(DiskPackStore::open(Arc::clone(&fs), data.join("packs"))?);
    let (packs, recovery) =
        PackSet::open(files, Arc::clone(&clock), Arc::clone(&random), &PackSettings::default())?;
    // A store that has packs had metadata: it must not start empty.
    let mode = if recovery.packs == 0 { OpenMode::Create } else { OpenMode::Existing };
    if let Some(parent) = database.parent() {
        fs.create_dir_all(parent)?;
    }
    let barrier = Arc::new(packs.clone());
    let sqlite = SqliteSettings::default();
    let sqlite =
        SqliteStore::open(&database, mode, barrier, Arc::clone(&clock), Arc::clone(&random), &sqlite);
    let sqlite = Arc::new(sqlite.map_err(EngineError::from)?);
    let (meta, log): (Arc<dyn MetaStore>, Arc<dyn ChangeLog>) = (Arc::clone(&sqlite) as _, sqlite);

    let index = ChunkIndex::open(&data.join("index"), packs.clone(), &IndexSettings::default())?;
    let follower = Follower::new(Arc::clone(&log), Arc::clone(&meta), index.clone());
    runtime.block_on(follower.catch_up(Progress(&|_, _| ())))?;

    let plain = PlainStore::open(Arc::clone(&fs), &data.join("plain"))?;
    let chunk_bytes = u64::from(settings.chunk_average_bytes);
    let cache = CacheSettings {
        memory_bytes: (config.memory_cache_size as u64).saturating_mul(chunk_bytes),
        redis_url: Some(config.redis_url.clone()).filter(|url| !url.is_empty()),
        redis_ttl_seconds: config.cache_ttl,
        ..CacheSettings::default()
    };
    // The cache's tasks live on the runtime.
    let _runtime = runtime.enter();
    let cache = ChunkCache::new(&cache, Arc::clone(&clock))?;
    let memory = EngineParts::memory_budget(&settings);
    Ok(EngineParts { packs, index, cache, meta, log, fs, plain, clock, random, settings, memory })
}

impl From<CacheError> for StorageError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{HybridStorageSystem, StorageConfig};
    use crate::storage::{StorageError, StorageLayer, StorageLayerExt, conformance};
    use std::path::Path;

    fn config(dir: &Path) -> StorageConfig {
        StorageConfig { data_path: dir.to_owned(), ..StorageConfig::default() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
        conformance::run(&system).await;
        system.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i1_values_survive_closing_and_dropping() {
        let dir = tempfile::tempdir().unwrap();
        let value = |n: u32| (0..n * 1000).map(|i| (i * n / 7) as u8).collect::<Vec<_>>();
        for round in 0..3u32 {
            let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
            assert_eq!(system.scan_vec(b"").await.unwrap().len(), 20 * round as usize);
            for n in 0..20 {
                system.put(format!("{round}/{n}").as_bytes(), &value(n)).await.unwrap();
            }
            for n in 0..20 * (round + 1) {
                let key = format!("{}/{}", n / 20, n % 20);
                assert!(system.get(key.as_bytes()).await.unwrap().unwrap() == value(n % 20), "{key}");
            }
            if round == 0 {
                system.close().await.unwrap();
            } else {
                // What still runs beside ends by itself; the lock says when.
                drop(system);
                while matches!(super::lock(dir.path()), Err(StorageError::Io(_))) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i5_a_directory_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
        let error = HybridStorageSystem::new(config(dir.path())).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        system.close().await.unwrap();
        HybridStorageSystem::new(config(dir.path())).await.unwrap().close().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_database_url_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for url in ["", "sqlite://", "postgres://localhost/x"] {
            let config = StorageConfig { sqlite_url: url.to_owned(), ..config(dir.path()) };
            let refused = HybridStorageSystem::new(config).await;
            assert!(matches!(refused, Err(StorageError::Database(_))), "{url}");
        }
    }
}
