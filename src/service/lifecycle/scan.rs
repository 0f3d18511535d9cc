//! New rules concern what is there already: one pass over the bucket, a page at a time, that fills the agenda.

use super::follow::{Written, earliest_upload, earliest_version};
use crate::meta::{
    AgendaChange, LifecycleReads, ListFrom, ListQuery, MetaError, MetaStore, ScanPosition, UploadEntry,
    VersionEntry,
};
use crate::types::{BucketId, CommitSeq, LifecycleDay, LifecycleRules, ObjectKey, UnixMillis};

pub(super) const PAGE_KEYS: usize = 1000;

/// The scan of one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct BucketScan<'a> {
    pub meta: &'a dyn MetaStore,
    pub reads: &'a dyn LifecycleReads,
    pub bucket: BucketId,
    pub rules: &'a LifecycleRules,
    pub day: LifecycleDay,
    pub now: UnixMillis,
    /// How far the log has been followed.
    pub touched: CommitSeq,
}

impl BucketScan<'_> {
    /// One page: the keys to put on the agenda, and how far the scan is then. A row that cannot be read is found by
    /// halving the page, and its key stepped over.
    ///
    /// # Errors
    /// `Corrupt` when not even the key's name can be read.
    pub(super) async fn page(&self, position: ScanPosition) -> Result<Vec<AgendaChange>, MetaError> {
        let mut limit = PAGE_KEYS;
        loop {
            let page = match &position {
                ScanPosition::Versions(key) => self.versions(key, limit).await,
                ScanPosition::Uploads(key) => self.uploads(key, limit).await,
            };
            match page {
                Err(MetaError::Corrupt(_)) if limit > 1 => limit /= 2,
                Err(MetaError::Corrupt(why)) => return self.step_over(&position, &why).await,
                page => return page,
            }
        }
    }

    async fn versions(&self, after: &[u8], limit: usize) -> Result<Vec<AgendaChange>, MetaError> {
        let page = self.meta.list_versions(self.bucket, query(after, limit)).await?;
        let touches = page.entries.iter().filter_map(|entry| match entry {
            VersionEntry::Version(version) => {
                let written = Written { at: version.modified, is_marker: version.object.is_none() };
                let at = earliest_version(self.rules, &version.key, written, self.day)?;
                Some(self.touch(&version.key, at))
            }
            VersionEntry::CommonPrefix(_) => None,
        });
        let mut changes: Vec<_> = touches.collect();
        let last = page.next.as_ref().and(page.entries.last()).and_then(|entry| match entry {
            VersionEntry::Version(version) => Some(&version.key),
            VersionEntry::CommonPrefix(_) => None,
        });
        // Its older versions may be on no page: they are looked at as soon as may be.
        changes.extend(last.map(|key| self.touch(key, self.now)));
        let position = last.map_or_else(|| ScanPosition::Uploads(Vec::new()), versions_behind);
        changes.push(self.went_to(Some(position)));
        Ok(changes)
    }

    async fn uploads(&self, after: &[u8], limit: usize) -> Result<Vec<AgendaChange>, MetaError> {
        let page = self.meta.list_uploads(self.bucket, query(after, limit)).await?;
        let of_upload = |entry: &UploadEntry| match entry {
            UploadEntry::Upload { key, initiated, .. } => Some((key.clone(), *initiated)),
            UploadEntry::CommonPrefix(_) => None,
        };
        let touches = page.entries.iter().filter_map(of_upload).filter_map(|(key, initiated)| {
            Some(self.touch(&key, earliest_upload(self.rules, &key, initiated, self.day)?))
        });
        let mut changes: Vec<_> = touches.collect();
        let last = page.next.as_ref().and(page.entries.last()).and_then(of_upload);
        changes.push(self.went_to(last.map(|(key, _)| uploads_behind(&key))));
        Ok(changes)
    }

    /// Past a key that cannot be read, which a look of its own may do more with.
    async fn step_over(&self, position: &ScanPosition, why: &str) -> Result<Vec<AgendaChange>, MetaError> {
        let key = self.reads.key_behind(self.bucket, position).await?;
        let bucket = bucket_name(self.reads, self.bucket).await;
        tracing::error!(
            why,
            bucket,
            ?key,
            "a key cannot be read: the scan for new lifecycle rules steps over it"
        );
        let position = match (position, &key) {
            (ScanPosition::Versions(_), Some(key)) => Some(versions_behind(key)),
            (ScanPosition::Versions(_), None) => Some(ScanPosition::Uploads(Vec::new())),
            (ScanPosition::Uploads(_), key) => key.as_ref().map(uploads_behind),
        };
        let touch = key.map(|key| self.touch(&key, self.now));
        Ok(touch.into_iter().chain([self.went_to(position)]).collect())
    }

    fn touch(&self, key: &ObjectKey, at: UnixMillis) -> AgendaChange {
        AgendaChange::Touch { bucket: self.bucket, key: key.clone(), at, touched: self.touched }
    }

    const fn went_to(&self, position: Option<ScanPosition>) -> AgendaChange {
        AgendaChange::Scan { bucket: self.bucket, position }
    }
}

/// For the server's log.
pub(super) async fn bucket_name(reads: &dyn LifecycleReads, bucket: BucketId) -> String {
    let ruled = reads.buckets_with_rules().await.unwrap_or_default();
    let named = ruled.into_iter().find(|row| row.id == bucket);
    named.map_or_else(|| format!("number {}", bucket.get()), |row| row.name.as_str().to_owned())
}

fn versions_behind(key: &ObjectKey) -> ScanPosition {
    ScanPosition::Versions(key.as_bytes().to_vec())
}

fn uploads_behind(key: &ObjectKey) -> ScanPosition {
    ScanPosition::Uploads(key.as_bytes().to_vec())
}

fn query(after: &[u8], limit: usize) -> ListQuery {
    let from = if after.is_empty() { ListFrom::Start } else { ListFrom::AfterKey(after.to_vec()) };
    ListQuery { from, limit, ..ListQuery::default() }
}
