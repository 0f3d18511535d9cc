//! Metadata whose commits are lost by a crash exactly when they were not durable.
//!
//! The model in memory does what commits do. Each one has a number, and is durable when its number is in a log on the
//! simulated disk; opened again, the commits whose numbers are there are done again. So a commit's place in the log is
//! its fsync, and torn, lost and failing writes of it are the disk's to invent.

use crate::engine::EngineError;
use crate::engine::pack::PackSet;
use crate::meta::{
    Bucket, Commit, CommitError, ListPage, ListQuery, MemoryStore, MetaError, MetaStore, ObjectVersion,
    Outcome, Part, Upload, UploadPage, VersionPage,
};
use crate::sys::{DiskFile, FileSystem, ManualClock, SeededRandom, SimulatedFileSystem, create_durable_dir};
use crate::types::{BucketId, BucketName, ObjectKey, PartNumber, UnixMillis, UploadId, VersionId};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DIR: &str = "meta";
const LOG: &str = "meta/log";
/// A number, and its checksum over place and number.
const RECORD_BYTES: usize = 12;

/// What the numbers mean: every commit that was ever tried. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct History(Arc<Mutex<BTreeMap<u64, Commit>>>);

impl History {
    /// For another life from here on.
    pub(super) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    fn add(&self, commit: Commit) -> u64 {
        let mut commits = self.0.lock();
        let number = commits.last_key_value().map_or(0, |(last, _)| last + 1);
        commits.insert(number, commit);
        number
    }

    fn get(&self, number: u64) -> Option<Commit> {
        self.0.lock().get(&number).cloned()
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) model: Arc<MemoryStore>,
    barrier: Option<PackSet>,
    history: History,
    file: Arc<dyn DiskFile>,
    /// The log's end. Whoever commits has it.
    end: tokio::sync::Mutex<u64>,
    poisoned: AtomicBool,
}

impl Ledger {
    /// Without a barrier, rows name what a power cut may take.
    pub(super) async fn open(
        fs: &SimulatedFileSystem,
        barrier: Option<PackSet>,
        history: History,
    ) -> Result<Self, EngineError> {
        create_durable_dir(fs, Path::new(DIR))?;
        let file = match fs.open(Path::new(LOG)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs.create_new(Path::new(LOG))?,
            opened => opened?,
        };
        fs.sync_dir(Path::new(DIR))?;
        // Memory may show what the device never took.
        file.drop_cached()?;
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_700_000_000_000)));
        let model = Arc::new(MemoryStore::new(clock, Arc::new(SeededRandom::new(42))));
        let mut end = 0;
        while let Some(commit) = read(file.as_ref(), end)?.and_then(|number| history.get(number)) {
            // One that was refused is refused again.
            drop(model.commit(commit).await);
            end += RECORD_BYTES as u64;
        }
        file.set_len(end)?;
        file.sync_data()?;
        let (end, poisoned) = (tokio::sync::Mutex::new(end), AtomicBool::new(false));
        Ok(Self { model, barrier, history, file, end, poisoned })
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    fn write_down(&self, commit: &Commit, end: &mut u64) -> io::Result<()> {
        if let Some(barrier) = &self.barrier {
            crate::sys::Barrier::sync(barrier)?;
        }
        let record = record(*end, self.history.add(commit.clone()));
        if let Err(error) = self.file.write_all_at(&record, *end) {
            self.file.set_len(*end)?;
            return Err(error);
        }
        self.file.sync_data()?;
        *end += RECORD_BYTES as u64;
        Ok(())
    }
}

fn record(at: u64, number: u64) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&at.to_le_bytes()), &record[..8]);
    record[8..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn read(file: &dyn DiskFile, at: u64) -> io::Result<Option<u64>> {
    if file.len()? < at + RECORD_BYTES as u64 {
        return Ok(None);
    }
    let bytes = file.read_at(at, RECORD_BYTES)?;
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    Ok((bytes == record(at, number)).then_some(number))
}

#[async_trait]
impl MetaStore for Ledger {
    /// After any failure nothing is written any more until it is opened again, and the commit may be found then.
    async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        let mut end = self.end.lock().await;
        let poisoned = |why: String| CommitError::Store(MetaError::Poisoned(why));
        if self.is_poisoned() {
            return Err(poisoned("an earlier commit failed".into()));
        }
        if let Err(error) = self.write_down(&commit, &mut end) {
            self.poisoned.store(true, Ordering::Release);
            return Err(poisoned(error.to_string()));
        }
        self.model.commit(commit).await
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        self.model.bucket(name).await
    }

    async fn buckets(&self, after: Option<&BucketName>, limit: usize) -> Result<Vec<Bucket>, MetaError> {
        self.model.buckets(after, limit).await
    }

    async fn version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        self.model.version(bucket, key, id).await
    }

    async fn list_objects(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, MetaError> {
        self.model.list_objects(bucket, query).await
    }

    async fn list_versions(&self, bucket: BucketId, query: ListQuery) -> Result<VersionPage, MetaError> {
        self.model.list_versions(bucket, query).await
    }

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, MetaError> {
        self.model.upload(id).await
    }

    async fn completed(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        self.model.completed(bucket, key, upload).await
    }

    async fn list_uploads(&self, bucket: BucketId, query: ListQuery) -> Result<UploadPage, MetaError> {
        self.model.list_uploads(bucket, query).await
    }

    async fn parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<Vec<Part>, MetaError> {
        self.model.parts(upload, after, limit).await
    }
}
