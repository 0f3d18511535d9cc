//! The store that the rest of the program sees.

use super::cache::{CachedRow, RowCache, bucket_key};
use super::checkpoint::{Checkpoints, Images};
use super::open::{self, OpenMode};
use super::readers::Readers;
use super::scan::Snapshot;
use super::settings::SqliteSettings;
use super::state::{self, State};
use super::syncs::Syncs;
use super::writer::{Command, Writer};
use super::{agenda, apply, audit, image, owner, read};
use crate::meta::rules::RulesSet;
use crate::meta::times::LockClock;
use crate::meta::{
    Audit, AuditedManifest, Bucket, ChangeLog, Commit, CommitError, Consumer, DueKey, Duplicate,
    HistoryEntry, Inspect, LifecycleReads, ListPage, ListQuery, LogRecord, ManifestRow, MetaError, MetaStore,
    ObjectVersion, Outcome, Part, PartRow, PlainVersion, ScanPosition, Totals, Upload, UploadPage, UploadRow,
    VersionPage, VersionPlace, VersionRow, listing,
};
use crate::sys::{Barrier, Clock, Random, RecordedClock, SyncPace};
use crate::types::{
    BucketId, BucketName, CommitSeq, ManifestId, Namespace, ObjectKey, PartNumber, PlainId, UnixMillis,
    UploadId, VersionId, object_prefix,
};
use async_trait::async_trait;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Metadata in one SQLite database. Only one store may have it open. Dropping the store waits for the writes that
/// are queued, so that it may be opened again at once.
#[derive(Debug)]
pub struct SqliteStore {
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    pub(super) look_ups: Readers,
    pub(super) scans: Readers,
    cache: Arc<RowCache>,
    published: watch::Receiver<State>,
    poisoned: Arc<OnceLock<String>>,
    ran_out: Arc<AtomicBool>,
    write_wait: Duration,
    pace: Arc<SyncPace>,
    lock_clock: LockClock,
    path: PathBuf,
    images: Images,
    /// The database, for syncing it. Closing it drops the locks that SQLite holds in this process: so it is dropped last.
    _database: Arc<File>,
}

impl SqliteStore {
    /// Refuses what [`Self::open`] refuses as another program's or a newer version's: for whoever changes anything else of
    /// a store before. Changes nothing. Blocks.
    ///
    /// # Errors
    /// `Incompatible` for such a file; that there is none is no error.
    pub fn check(path: &Path) -> Result<(), MetaError> {
        open::check(path).map(drop)
    }

    /// Blocks: it reads the disk, and may migrate the database. `barrier` is called by a thread beside the writer's.
    ///
    /// # Errors
    /// `Incompatible` for a file that is no database of this program, one that a newer version made, one that is
    /// missing ([`OpenMode::Existing`]), settings out of bounds or a SQLite too old; such a file stays as it is.
    pub fn open(
        path: &Path,
        mode: OpenMode,
        barrier: Arc<dyn Barrier>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: &SqliteSettings,
    ) -> Result<Self, MetaError> {
        Self::open_of(path, (mode, None), barrier, clock, random, settings)
    }

    /// As [`Self::open`], of the store with this id and no other. A database without one gets it.
    ///
    /// # Errors
    /// As [`Self::open`]; `Incompatible` for the database of another store.
    pub fn open_of(
        path: &Path,
        (mode, store_id): (OpenMode, Option<&str>),
        barrier: Arc<dyn Barrier>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: &SqliteSettings,
    ) -> Result<Self, MetaError> {
        settings.validate().map_err(MetaError::Incompatible)?;
        let db = open::open(path, mode, clock.now(), settings)?;
        store_id.map_or(Ok(()), |id| owner::check(&db, path, id))?;
        // In this order, so that the file outlives the connection whatever fails.
        let (database, db) = (Arc::new(File::open(path)?), db);
        let state = state::load(&db)?;
        let poisoned = Arc::new(OnceLock::new());
        let (look_ups, scans) = Readers::lanes(path, settings, &poisoned)?;
        let cache = Arc::new(RowCache::new(settings.row_cache_bytes));
        let (queue, commands) = mpsc::channel(settings.queue_commands);
        let (sender, published) = watch::channel(state);
        let ran_out = Arc::new(AtomicBool::new(false));
        let (lock_clock, pace) = (LockClock::default(), Arc::<SyncPace>::default());
        let synced = Arc::clone(&database);
        let checkpoints = Checkpoints::new(path, open::LOG_BYTES, move || synced.sync_data())?;
        let images = checkpoints.images();
        let writer = Writer {
            db,
            syncs: Syncs::new(barrier)?,
            clock,
            lock_clock: lock_clock.clone(),
            random,
            cache: cache.clone(),
            state,
            rules: RulesSet::default(),
            published: sender,
            checkpoints,
            batch_commands: settings.batch_commands,
            poisoned: Arc::clone(&poisoned),
            ran_out: Arc::clone(&ran_out),
            pace: Arc::clone(&pace),
        };
        let thread = std::thread::Builder::new().name("meta-write".into());
        let writer = Some(thread.spawn(move || writer.run(commands))?);
        let queue = Some(queue);
        Ok(Self {
            queue,
            writer,
            look_ups,
            scans,
            cache,
            published,
            poisoned,
            ran_out,
            write_wait: Duration::from_millis(settings.write_wait_milliseconds),
            pace,
            lock_clock,
            path: path.to_owned(),
            images,
            _database: database,
        })
    }

    /// What locks go by from now on; until then it is the wall clock. The first one given counts.
    pub fn set_lock_clock(&self, clock: Arc<dyn RecordedClock>) {
        self.lock_clock.set(clock);
    }

    /// The newest time of the clock of locks that a record kept; `None` for a store without records.
    #[must_use]
    pub fn reached(&self) -> Option<UnixMillis> {
        let state = *self.published.borrow();
        (state.last_seq > CommitSeq::ZERO).then_some(state.reached)
    }

    /// The newest record's stamp; `None` for a store without records.
    #[must_use]
    pub fn stamped(&self) -> Option<UnixMillis> {
        let state = *self.published.borrow();
        (state.last_seq > CommitSeq::ZERO).then_some(state.last_at)
    }

    /// As [`ChangeLog::totals`]. Does not block.
    #[must_use]
    pub fn counted(&self) -> Totals {
        self.published.borrow().totals
    }

    /// Whether writes still count. Does not block.
    ///
    /// # Errors
    /// `Poisoned` after a sync or COMMIT failed, `Unavailable` when the writer's thread is gone: both until the store is
    /// opened anew.
    pub fn health(&self) -> Result<(), MetaError> {
        if let Some(why) = self.poisoned.get() {
            return Err(MetaError::Poisoned(why.clone()));
        }
        match &self.queue {
            Some(queue) if !queue.is_closed() => Ok(()),
            _ => Err(MetaError::Unavailable("the writer has ended")),
        }
    }

    /// Whether a write failed for want of room since this was last asked. Does not block.
    #[must_use]
    pub fn has_run_out(&self) -> bool {
        self.ran_out.swap(false, Ordering::Relaxed)
    }

    /// Copies the whole database, as it is at one moment, into a new file that a store can be opened from. Writers go on
    /// meanwhile; their log is cut off only afterwards, and grows to 1 GiB before they wait for that. `progress` gets
    /// pages copied and in all. Returns the last record in it; `None`, and no file, when it was stopped. Blocks.
    ///
    /// # Errors
    /// When `path` is there already, or the copy cannot be made, or is not what it was made of; then it is removed.
    pub fn copy_to(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
        stop: &CancellationToken,
    ) -> Result<Option<CommitSeq>, MetaError> {
        let _image = self.images.begin();
        image::copy(&self.path, path, progress, stop)
    }

    /// Writes in the queue.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    async fn list<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Snapshot<'_>) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        self.scans.ask(|db| read::snapshot(db, |db| ask(&Snapshot(db)))).await
    }

    /// Answers from the cache, else from the database; then the row is cached if no commit came between.
    async fn cached<T: Send + 'static>(
        &self,
        key: Vec<u8>,
        ask: impl FnOnce(&rusqlite::Connection) -> Result<Option<T>, MetaError> + Send + 'static,
        into_row: fn(&T) -> CachedRow,
        of_row: fn(CachedRow) -> Option<T>,
    ) -> Result<Option<T>, MetaError> {
        if let Some(found) = self.cache.get(&key).and_then(of_row) {
            return Ok(Some(found));
        }
        let cache = self.cache.clone();
        self.look_ups
            .ask(move |db| {
                let ticket = cache.ticket(&key);
                let found = ask(db)?;
                if let (Some(ticket), Some(found)) = (ticket, &found) {
                    cache.insert(&ticket, key, into_row(found));
                }
                Ok(found)
            })
            .await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl MetaStore for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        const STOPPED: CommitError = CommitError::Store(MetaError::Unavailable("stopping"));
        const STALLED: CommitError = CommitError::Store(MetaError::Unavailable("held up by its disk"));
        let (answer, mut answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(STOPPED)?;
        let command = Command::new(commit, answer);
        let (claim, until) = (command.claim(), Instant::now() + self.write_wait);
        timeout_at(until, queue.send(command)).await.map_err(|_| STALLED)?.map_err(|_| STOPPED)?;
        match timeout_at(until, &mut answered).await {
            Ok(answered) => answered.unwrap_or(Err(STOPPED)),
            Err(_) if claim.take() => Err(STALLED),
            // The writer has it: only the disk knows what becomes of it.
            Err(_) => answered.await.unwrap_or(Err(STOPPED)),
        }
    }

    fn sync_pace(&self) -> Arc<SyncPace> {
        Arc::clone(&self.pace)
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        let of_row = |row| if let CachedRow::Bucket(bucket) = row { Some(bucket) } else { None };
        let into_row = |bucket: &Bucket| CachedRow::Bucket(bucket.clone());
        let (key, name) = (bucket_key(name), name.clone());
        self.cached(key, move |db| read::bucket_by_name(db, &name), into_row, of_row).await
    }

    async fn buckets(&self, after: Option<&BucketName>, limit: usize) -> Result<Vec<Bucket>, MetaError> {
        let after = after.cloned();
        self.scans.ask(move |db| read::buckets(db, after.as_ref(), limit)).await
    }

    async fn version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        let object_key = key.clone();
        let ask = move |db: &rusqlite::Connection| read::version(db, bucket, &object_key, id);
        if id.is_some() {
            return self.look_ups.ask(ask).await;
        }
        let of_row = |row| {
            if let CachedRow::Version(version) = row { Some(Arc::unwrap_or_clone(version)) } else { None }
        };
        let into_row = |version: &ObjectVersion| CachedRow::Version(Arc::new(version.clone()));
        let row = object_prefix(Namespace::Versions, bucket, key.as_bytes());
        self.cached(row, ask, into_row, of_row).await
    }

    async fn list_objects(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, MetaError> {
        self.list(move |rows| listing::list_objects(rows, bucket, &query)).await
    }

    async fn list_versions(&self, bucket: BucketId, query: ListQuery) -> Result<VersionPage, MetaError> {
        self.list(move |rows| listing::list_versions(rows, bucket, &query)).await
    }

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, MetaError> {
        self.look_ups.ask(move |db| read::upload(db, id)).await
    }

    async fn completed(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        let key = key.clone();
        self.look_ups.ask(move |db| read::completed(db, bucket, &key, upload)).await
    }

    async fn list_uploads(&self, bucket: BucketId, query: ListQuery) -> Result<UploadPage, MetaError> {
        self.list(move |rows| listing::list_uploads(rows, bucket, &query)).await
    }

    async fn parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<Vec<Part>, MetaError> {
        self.scans.ask(move |db| read::parts(db, upload, after, limit)).await
    }
}

#[async_trait]
impl ChangeLog for SqliteStore {
    async fn last_seq(&self) -> Result<CommitSeq, MetaError> {
        Ok(self.published.borrow().last_seq)
    }

    async fn changes_after(&self, seq: CommitSeq, limit: usize) -> Result<Vec<LogRecord>, MetaError> {
        self.scans.ask(move |db| read::changes_after(db, seq, limit)).await
    }

    async fn wait_after(&self, seq: CommitSeq) {
        let waited = self.published.clone().wait_for(|state| state.last_seq > seq).await.is_ok();
        if !waited {
            // The writer has stopped for good, so no record will come; returning would make callers spin.
            std::future::pending::<()>().await;
        }
    }

    async fn known_cursor(&self, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError> {
        self.look_ups.ask(move |db| apply::found_cursor(db, consumer)).await
    }

    async fn manifests(
        &self,
        after: Option<ManifestId>,
        limit: usize,
    ) -> Result<Vec<ManifestRow>, MetaError> {
        self.scans.ask(move |db| read::manifests(db, after, limit)).await
    }

    async fn totals(&self) -> Result<Totals, MetaError> {
        Ok(self.counted())
    }
}

#[async_trait]
impl Inspect for SqliteStore {
    async fn duplicates(&self, after: Option<ManifestId>, limit: usize) -> Result<Vec<Duplicate>, MetaError> {
        self.scans.ask(move |db| read::duplicates(db, after, limit)).await
    }

    async fn versions_of_body(
        &self,
        body: ManifestId,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        let after = after.cloned();
        self.scans.ask(move |db| read::versions_of_body(db, body, after.as_ref(), limit)).await
    }

    async fn versions_before(
        &self,
        time: UnixMillis,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<VersionPlace>, MetaError> {
        let after = after.cloned();
        self.scans.ask(move |db| read::versions_before(db, time, after.as_ref(), limit)).await
    }

    async fn plain_versions(
        &self,
        after: Option<&VersionPlace>,
        limit: usize,
    ) -> Result<Vec<PlainVersion>, MetaError> {
        let after = after.cloned();
        self.scans.ask(move |db| read::plain_versions(db, after.as_ref(), limit)).await
    }

    async fn plain_bodies(&self, after: Option<PlainId>, limit: usize) -> Result<Vec<PlainId>, MetaError> {
        self.scans.ask(move |db| read::plain_bodies(db, after, limit)).await
    }
}

#[async_trait]
impl Audit for SqliteStore {
    async fn version_rows(&self, after: &[u8], limit: usize) -> Result<Vec<VersionRow>, MetaError> {
        let after = after.to_vec();
        self.scans.ask(move |db| audit::version_rows(db, &after, limit)).await
    }

    async fn upload_rows(&self, after: &[u8], limit: usize) -> Result<Vec<UploadRow>, MetaError> {
        let after = after.to_vec();
        self.scans.ask(move |db| audit::upload_rows(db, &after, limit)).await
    }

    async fn part_rows(
        &self,
        upload: CommitSeq,
        after: i64,
        limit: usize,
    ) -> Result<Vec<PartRow>, MetaError> {
        self.scans.ask(move |db| audit::part_rows(db, upload, after, limit)).await
    }

    async fn manifest_rows(&self, after: &[u8], limit: usize) -> Result<Vec<AuditedManifest>, MetaError> {
        let after = after.to_vec();
        self.scans.ask(move |db| audit::manifest_rows(db, &after, limit)).await
    }

    async fn bucket_name(&self, id: BucketId) -> Result<Option<String>, MetaError> {
        self.look_ups.ask(move |db| audit::bucket_name(db, id)).await
    }

    async fn integrity(&self, thorough: bool, stop: &CancellationToken) -> Result<Vec<String>, MetaError> {
        audit::integrity_of(&self.path, thorough, stop).await
    }
}

#[async_trait]
impl LifecycleReads for SqliteStore {
    async fn due_keys(&self, now: UnixMillis, limit: usize) -> Result<Vec<DueKey>, MetaError> {
        self.scans.ask(move |db| agenda::due_keys(db, now, limit)).await
    }

    async fn next_due(&self) -> Result<Option<UnixMillis>, MetaError> {
        self.look_ups.ask(agenda::next_due).await
    }

    async fn scans(&self) -> Result<Vec<(BucketId, ScanPosition)>, MetaError> {
        self.scans.ask(agenda::scans).await
    }

    async fn buckets_with_rules(&self) -> Result<Vec<Bucket>, MetaError> {
        self.scans.ask(agenda::buckets_with_rules).await
    }

    async fn key_behind(
        &self,
        bucket: BucketId,
        position: &ScanPosition,
    ) -> Result<Option<ObjectKey>, MetaError> {
        let position = position.clone();
        self.look_ups.ask(move |db| agenda::key_behind(db, bucket, &position)).await
    }

    async fn history(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        before: Option<CommitSeq>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, MetaError> {
        let key = key.clone();
        self.scans.ask(move |db| agenda::history(db, bucket, &key, before, limit)).await
    }
}
