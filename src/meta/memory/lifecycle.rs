//! What the lifecycle worker reads of the model.

use super::MemoryStore;
use super::rows::Version;
use super::state::State;
use crate::meta::{
    Bucket, DueKey, HistoryEntry, HistoryObject, LifecycleReads, LoggedObject, MetaError, ScanPosition,
    listing,
};
use crate::types::{BucketId, CommitSeq, Namespace, ObjectKey, UnixMillis, decode_row_key};
use async_trait::async_trait;

impl State {
    fn due_keys(&self, now: UnixMillis, limit: usize) -> Vec<DueKey> {
        let keys = self.agenda.keys.iter().filter(|(_, (at, _))| *at <= now);
        let mut due: Vec<_> = keys
            .map(|((bucket, key), (at, touched))| DueKey {
                bucket: *bucket,
                key: ObjectKey::opaque(key.clone()),
                at: *at,
                touched: *touched,
            })
            .collect();
        due.sort_by_key(|due| due.at);
        due.truncate(limit);
        due
    }
}

#[async_trait]
impl LifecycleReads for MemoryStore {
    async fn due_keys(&self, now: UnixMillis, limit: usize) -> Result<Vec<DueKey>, MetaError> {
        Ok(self.state.lock().due_keys(now, limit))
    }

    async fn next_due(&self) -> Result<Option<UnixMillis>, MetaError> {
        Ok(self.state.lock().agenda.keys.values().map(|(at, _)| *at).min())
    }

    async fn scans(&self) -> Result<Vec<(BucketId, ScanPosition)>, MetaError> {
        Ok(self.state.lock().agenda.scans.iter().map(|(bucket, at)| (*bucket, at.clone())).collect())
    }

    async fn buckets_with_rules(&self) -> Result<Vec<Bucket>, MetaError> {
        let state = self.state.lock();
        let with_rules = state.buckets.values().filter(|bucket| bucket.settings.lifecycle.is_some());
        Ok(with_rules.cloned().collect())
    }

    async fn key_behind(
        &self,
        bucket: BucketId,
        position: &ScanPosition,
    ) -> Result<Option<ObjectKey>, MetaError> {
        let state = self.state.lock();
        let behind = |namespace, key: &[u8]| {
            let (from, end) = listing::rows_behind(namespace, bucket, key);
            from..end
        };
        let row = match position {
            ScanPosition::Versions(key) => {
                state.versions.range(behind(Namespace::Versions, key)).next().map(|(row, _)| row)
            }
            ScanPosition::Uploads(key) => {
                state.uploads.range(behind(Namespace::Uploads, key)).next().map(|(row, _)| row)
            }
        };
        Ok(row.and_then(|row| decode_row_key(row)).map(|(_, _, key, _)| key))
    }

    async fn history(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        before: Option<CommitSeq>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, MetaError> {
        let state = self.state.lock();
        let older = state
            .of_key(bucket, key.as_bytes())
            .map(|(_, version)| version)
            .filter(|version| before.is_none_or(|before| version.seq < before));
        let object = |object: &LoggedObject| HistoryObject {
            size: object.size,
            tags: object.tags.clone(),
            storage_class: object.attributes.storage_class.clone(),
            lock: object.lock,
        };
        let entry = |version: &Version| HistoryEntry {
            id: version.logged.id,
            seq: version.seq,
            modified: version.modified,
            object: version.logged.object.as_ref().map(object),
        };
        Ok(older.take(limit).map(entry).collect())
    }
}
