//! The whole store as a library: one directory, opened with one call.

use super::gc::{Collector, GcReport, GcSettings, PlainFiles, Schedule};
use super::key_value::KeyValue;
use super::pack::{PackSet, PackSettings};
use super::store_file::StoreFile;
use super::{
    CacheError, CacheSettings, ChunkCache, ChunkIndex, Engine, EngineError, EngineParts, EngineSettings,
    Follower, IndexSettings, PlainStore, Progress, RedisUrl,
};
use crate::meta::{ChangeLog, MetaStore, OpenMode, SqliteSettings, SqliteStore};
use crate::storage::{DiskPackStore, StorageError, StorageLayer};
use crate::sys::{
    Clock, FileSystem, OsRandom, Random, RealFileSystem, SystemClock, SystemSteady, create_durable_dir,
    parent,
};
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
    collector: Collector,
    stop: CancellationToken,
    /// The schedule of the collection, and the follower that a collection waits for.
    tasks: Option<(JoinHandle<()>, JoinHandle<()>)>,
    lock: Arc<File>,
}

impl HybridStorageSystem {
    /// Opens the store, creates it when it is missing, and recovers what a crash left. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When another process has it open, a URL is malformed, files cannot be read or are of another format, or the
    /// metadata of a store is lost: it never begins empty in its place.
    pub async fn new(config: StorageConfig) -> Result<Self, StorageError> {
        let runtime = Handle::current();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&config.data_path)?;
            let (parts, collector) = open(&config, &runtime)?;
            Ok::<_, StorageError>((lock, Engine::new(parts)?, collector))
        });
        let (lock, engine, collector) = opened.await.map_err(io::Error::from)??;
        let (lock, stop, stop_follower) =
            (Arc::new(lock), CancellationToken::new(), CancellationToken::new());
        let parts = engine.parts();
        let follower = Follower::new(Arc::clone(&parts.log), Arc::clone(&parts.meta), parts.index.clone())
            .run(stop_follower.clone());
        let held = Arc::clone(&lock);
        let follower = tokio::spawn(async move {
            if let Err(error) = follower.await {
                tracing::error!(%error, "the chunk index stopped following the metadata; restart the store");
            }
            drop(held);
        });
        let schedule = Schedule::new(collector.clone(), Arc::clone(&parts.random)).run(stop.clone());
        let held = Arc::clone(&lock);
        // The follower goes last: a collection under way waits for it.
        let after = stop_follower.drop_guard();
        let schedule = tokio::spawn(async move {
            schedule.await;
            drop((after, held));
        });
        let values = KeyValue::new(Arc::clone(&parts.meta), Arc::new(engine.clone()));
        let tasks = Some((schedule, follower));
        Ok(Self { engine, values, collector, stop, tasks, lock })
    }

    /// The engine, for bodies larger than a value may be.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Collects garbage now, as the store also does by itself every ten minutes when there is enough: the space of deleted
    /// values goes back to the file system.
    ///
    /// # Errors
    /// When a collection is at work already, and what stopped it. What was done until then stays done.
    pub async fn collect(&self) -> Result<GcReport, StorageError> {
        Ok(self.collector.run(&self.stop, None).await?)
    }

    /// Stops what runs beside, seals the open pack and writes the index down.
    ///
    /// # Errors
    /// When that fails; nothing acknowledged is lost then either.
    pub async fn close(mut self) -> Result<(), StorageError> {
        self.stop.cancel();
        if let Some((schedule, follower)) = self.tasks.take() {
            schedule.await.map_err(io::Error::from)?;
            // A collection that nobody waits for any more still writes.
            self.collector.idle().await;
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
    create_durable_dir(&RealFileSystem, data)?;
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
fn open(config: &StorageConfig, runtime: &Handle) -> Result<(EngineParts, Collector), StorageError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let fs: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
    let database = database(config)?;
    let (data, settings) = (&config.data_path, Arc::new(EngineSettings::default()));
    let store = StoreFile::open(fs.as_ref(), data, &database, random.as_ref())?;
    // Before packs are recovered: a store of a newer version stays as it is.
    SqliteStore::check(&database).map_err(EngineError::from)?;

    let files = Arc::new(DiskPackStore::open(Arc::clone(&fs), data.join("packs"))?);
    let (packs, _) = PackSet::open(files, Arc::clone(&clock), Arc::clone(&random), &PackSettings::default())?;
    let sqlite = open_meta(&database, &store, &packs, Arc::clone(&clock), Arc::clone(&random))?;
    store.initialise(fs.as_ref(), data)?;
    let (meta, log): (Arc<dyn MetaStore>, Arc<dyn ChangeLog>) =
        (Arc::clone(&sqlite) as _, Arc::clone(&sqlite) as _);

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
    let cache = ChunkCache::new(&cache, Arc::new(SystemSteady))?;
    let memory = EngineParts::memory_budget(&settings);
    let collector = Collector::new(
        packs.clone(),
        index.clone(),
        Arc::clone(&meta),
        Some(PlainFiles { store: plain.clone(), inspect: sqlite }),
        GcSettings::default(),
    );
    let parts = EngineParts { packs, index, cache, meta, log, fs, plain, clock, random, settings, memory };
    Ok((parts, collector))
}

/// Creates the database only in a store that never had one: what is lost is not replaced by nothing.
fn open_meta(
    database: &Path,
    store: &StoreFile,
    packs: &PackSet,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Arc<SqliteStore>, StorageError> {
    let mode = if store.is_initialised() { OpenMode::Existing } else { OpenMode::Create };
    create_durable_dir(&RealFileSystem, parent(database))?;
    let (barrier, settings) = (Arc::new(packs.clone()), SqliteSettings::default());
    let sqlite = SqliteStore::open(database, mode, barrier, clock, random, &settings);
    Ok(Arc::new(sqlite.map_err(EngineError::from)?))
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
    use crate::sys::{Random, SeededRandom};
    use std::path::Path;

    fn config(dir: &Path) -> StorageConfig {
        StorageConfig { data_path: dir.to_owned(), ..StorageConfig::default() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
        conformance::run(&system).await;
        conformance::cancellation(&system).await;
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i3_the_space_of_deleted_values_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
        let mut noise = vec![0; 4 << 20];
        SeededRandom::new(1).fill(&mut noise);
        system.put(b"goes", &noise).await.unwrap();
        system.put(b"stays", &noise[..300_000]).await.unwrap();
        system.delete(b"goes").await.unwrap();
        system.engine().parts().packs.seal().unwrap();
        let report = system.collect().await.unwrap();
        assert!(report.freed_bytes > 3 << 20, "{report}");
        assert!(system.get(b"stays").await.unwrap().unwrap() == noise[..300_000]);
        system.close().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i1_a_store_of_another_format_or_without_its_metadata_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let system = HybridStorageSystem::new(config(dir.path())).await.unwrap();
        system.put(b"key", b"value").await.unwrap();
        system.close().await.unwrap();
        let (store, database) = (dir.path().join("STORE"), dir.path().join("metadata.db"));
        let ours = std::fs::read_to_string(&store).unwrap();
        let server = r#"{"format":1,"store_id":"00"}"#;
        for foreign in [&ours.replace("\"format\":1", "\"format\":2"), server, "no JSON"] {
            std::fs::write(&store, foreign).unwrap();
            let error = HybridStorageSystem::new(config(dir.path())).await.unwrap_err();
            assert!(error.to_string().contains("cannot be opened"), "{error}");
            assert_eq!(std::fs::read_to_string(&store).unwrap(), *foreign);
        }
        // No pack is there that would tell of a value that stood in its row.
        for (lost, kept) in [(&database, &store), (&store, &database)] {
            std::fs::write(&store, &ours).unwrap();
            let aside = dir.path().join("aside");
            std::fs::rename(lost, &aside).unwrap();
            let opened = HybridStorageSystem::new(config(dir.path())).await;
            match opened {
                Err(_) if kept == &store => assert!(!database.exists(), "it began empty"),
                Ok(system) if kept == &database => {
                    assert_eq!(system.get(b"key").await.unwrap().as_deref(), Some(&b"value"[..]));
                    system.close().await.unwrap();
                }
                other => panic!("without {}: {other:?}", lost.display()),
            }
            std::fs::rename(&aside, lost).unwrap();
        }
        std::fs::remove_file(&store).unwrap();
        std::fs::remove_file(&database).unwrap();
        assert!(HybridStorageSystem::new(config(dir.path())).await.is_err(), "parts of a store began empty");
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
