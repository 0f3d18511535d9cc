//! The model: the specification of a metadata store in executable form, simple rather than fast.
//!
//! One mutex around ordered maps; a commit happens at once or not at all. Used by tests and by stores that need
//! not survive their process.

mod agenda;
mod audit;
mod bodies;
mod buckets;
mod lifecycle;
mod marks;
mod reads;
mod replace;
mod replay;
mod replication;
mod rows;
mod state;
mod totals;
mod uploads;
mod versions;

use super::times::LockClock;
use super::{
    Bucket, ChangeLog, Commit, CommitError, Consumer, ListPage, ListQuery, LogRecord, ManifestRow, MetaError,
    MetaStore, ObjectVersion, Outcome, Part, Totals, Upload, UploadPage, VersionPage, listing,
};
use crate::sys::{Clock, Random, RecordedClock};
use crate::types::{BucketId, BucketName, CommitSeq, ManifestId, ObjectKey, PartNumber, UploadId, VersionId};
use async_trait::async_trait;
use parking_lot::Mutex;
use state::State;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::watch;

/// Metadata in memory.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    lock_clock: LockClock,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    last_seq: watch::Sender<CommitSeq>,
}

impl MemoryStore {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let (last_seq, _) = watch::channel(CommitSeq::ZERO);
        Self { clock, lock_clock: LockClock::default(), random, state: Mutex::default(), last_seq }
    }

    /// What locks go by from now on; until then it is the wall clock. The first one given counts.
    pub fn set_lock_clock(&self, clock: Arc<dyn RecordedClock>) {
        self.lock_clock.set(clock);
    }
}

/// The range of a map behind `after`.
fn behind<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<Outcome, CommitError> {
        let mut state = self.state.lock();
        let outcome = state.apply(commit, self.lock_clock.times(self.clock.as_ref()), self.random.u64())?;
        if state.last_seq > CommitSeq::ZERO {
            self.lock_clock.recorded(state.reached);
        }
        self.last_seq.send_replace(state.last_seq);
        Ok(outcome)
    }

    async fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        Ok(self.state.lock().buckets.get(name).cloned())
    }

    async fn buckets(&self, after: Option<&BucketName>, limit: usize) -> Result<Vec<Bucket>, MetaError> {
        let state = self.state.lock();
        let rows = state.buckets.range(behind(after.cloned()));
        Ok(rows.map(|(_, bucket)| bucket.clone()).take(limit).collect())
    }

    async fn version(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        self.state.lock().version(bucket, key, id)
    }

    async fn list_objects(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, MetaError> {
        listing::list_objects(&*self.state.lock(), bucket, &query)
    }

    async fn list_versions(&self, bucket: BucketId, query: ListQuery) -> Result<VersionPage, MetaError> {
        listing::list_versions(&*self.state.lock(), bucket, &query)
    }

    async fn upload(&self, id: UploadId) -> Result<Option<Upload>, MetaError> {
        let state = self.state.lock();
        Ok(state.upload_row(id).and_then(|row| state.uploads.get(&row)).map(rows::Upload::shown))
    }

    async fn completed(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<Option<ObjectVersion>, MetaError> {
        self.state.lock().completed(bucket, key, upload)
    }

    async fn list_uploads(&self, bucket: BucketId, query: ListQuery) -> Result<UploadPage, MetaError> {
        listing::list_uploads(&*self.state.lock(), bucket, &query)
    }

    async fn parts(
        &self,
        upload: UploadId,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<Vec<Part>, MetaError> {
        let state = self.state.lock();
        let Some(upload) = state.upload_row(upload).and_then(|row| state.uploads.get(&row)) else {
            return Ok(Vec::new());
        };
        upload.parts.range(behind(after)).take(limit).map(|(_, part)| state.part(part)).collect()
    }
}

#[async_trait]
impl ChangeLog for MemoryStore {
    async fn last_seq(&self) -> Result<CommitSeq, MetaError> {
        Ok(self.state.lock().last_seq)
    }

    async fn changes_after(&self, seq: CommitSeq, limit: usize) -> Result<Vec<LogRecord>, MetaError> {
        let state = self.state.lock();
        if seq < state.last_seq && !state.log.contains_key(&seq.next()) {
            return Err(MetaError::Trimmed(seq));
        }
        Ok(state.log.range(behind(Some(seq))).map(|(_, record)| record.clone()).take(limit).collect())
    }

    async fn wait_after(&self, seq: CommitSeq) {
        // The sender lives as long as `self`, so waiting ends only with a newer record.
        let _ = self.last_seq.subscribe().wait_for(|last| *last > seq).await;
    }

    async fn known_cursor(&self, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError> {
        Ok(self.state.lock().cursors.get(&consumer).copied())
    }

    async fn manifests(
        &self,
        after: Option<ManifestId>,
        limit: usize,
    ) -> Result<Vec<ManifestRow>, MetaError> {
        let state = self.state.lock();
        let rows = state.manifests.range(behind(after)).take(limit);
        Ok(rows.map(|(id, counted)| ManifestRow { id: *id, root: counted.value.clone() }).collect())
    }

    async fn totals(&self) -> Result<Totals, MetaError> {
        Ok(self.state.lock().totals())
    }
}
