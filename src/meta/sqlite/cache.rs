//! Rows that were asked for lately, in memory: buckets by name, current versions by key.
//!
//! A cached row is never older than what the database shows. The writer removes the rows that a transaction
//! touches before its COMMIT and keeps them from being cached again until after it. A reader takes a ticket before
//! it looks into the database; its row is cached only if no such removal came between.

use crate::meta::{Bucket, ObjectVersion, StoredBody, VersionKind};
use crate::types::BucketName;
use moka::sync::Cache;
use parking_lot::Mutex;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

const SHARDS: usize = 256;

#[derive(Debug, Clone)]
pub(super) enum CachedRow {
    Bucket(Bucket),
    Version(Arc<ObjectVersion>),
}

#[derive(Debug, Default)]
struct Shard {
    /// Transactions under way that touch the shard.
    pending: u32,
    /// Those that ended.
    epoch: u64,
}

/// Permission to cache what a look-up begun now will find.
#[derive(Debug)]
pub(super) struct Ticket {
    shard: usize,
    epoch: u64,
}

#[derive(Debug)]
pub(super) struct RowCache {
    rows: Cache<Vec<u8>, CachedRow>,
    shards: Vec<Mutex<Shard>>,
}

/// The key of a bucket's row. Keys of versions begin with their namespace's byte, which is no letter.
pub(super) fn bucket_key(name: &BucketName) -> Vec<u8> {
    [b"b", name.as_str().as_bytes()].concat()
}

impl RowCache {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let rows = Cache::<Vec<u8>, CachedRow>::builder()
            .max_capacity(capacity_bytes)
            .weigher(|key, row| weight(key, row))
            .build();
        Self { rows, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<CachedRow> {
        let found = self.rows.get(key);
        let result = if found.is_some() { "hit" } else { "miss" };
        metrics::counter!("sediment_meta_row_cache_total", "result" => result).increment(1);
        found
    }

    /// `None` while a transaction touches the key's shard.
    pub(super) fn ticket(&self, key: &[u8]) -> Option<Ticket> {
        let index = shard_of(key);
        let shard = self.shards[index].lock();
        (shard.pending == 0).then_some(Ticket { shard: index, epoch: shard.epoch })
    }

    pub(super) fn insert(&self, ticket: &Ticket, key: Vec<u8>, row: CachedRow) {
        let shard = self.shards[ticket.shard].lock();
        // Under the lock, so that no removal comes between the check and the insertion.
        if shard.pending == 0 && shard.epoch == ticket.epoch {
            self.rows.insert(key, row);
        }
    }

    /// Before COMMIT: from now on the keys are answered by the database.
    pub(super) fn begin(&self, keys: &[Vec<u8>]) {
        for key in keys {
            self.shards[shard_of(key)].lock().pending += 1;
            self.rows.invalidate(key.as_slice());
        }
    }

    /// After COMMIT, whether it worked or not.
    pub(super) fn end(&self, keys: &[Vec<u8>]) {
        for key in keys {
            let mut shard = self.shards[shard_of(key)].lock();
            shard.pending -= 1;
            shard.epoch += 1;
        }
    }
}

fn shard_of(key: &[u8]) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    usize::try_from(hash % SHARDS as u64).unwrap_or(0)
}

/// Bytes that a row takes in memory, roughly.
fn weight(key: &[u8], row: &CachedRow) -> u32 {
    const FIXED: usize = 512;
    let rest = match row {
        CachedRow::Bucket(bucket) => bucket.settings.memory_bytes(),
        CachedRow::Version(version) => match &version.kind {
            VersionKind::DeleteMarker => 0,
            VersionKind::Object(object) => {
                let body = match &object.body {
                    StoredBody::Inline(bytes) => bytes.len(),
                    StoredBody::Chunked { root, .. } => root.entries().len() * 48,
                    StoredBody::Plain(_) => 0,
                };
                let user = object.attributes.user.iter().map(|(name, value)| name.len() + value.len() + 64);
                let tags = object.tags.as_slice().iter().map(|tag| tag.key.len() + tag.value.len() + 48);
                body + user.sum::<usize>() + tags.sum::<usize>() + object.parts.len() * 96
            }
        },
    };
    u32::try_from(FIXED + 2 * key.len() + rest).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{CachedRow, RowCache, bucket_key};
    use crate::meta::Bucket;
    use crate::types::{BucketId, BucketName, UnixMillis, Versioning};

    fn row(id: u32) -> (Vec<u8>, CachedRow) {
        let name = BucketName::parse("some-bucket").unwrap();
        let key = bucket_key(&name);
        let created = UnixMillis::new(0);
        let versioning = Versioning::Unversioned;
        let (owner, lock, settings) = (None, None, std::sync::Arc::default());
        let id = BucketId::new(id);
        (key, CachedRow::Bucket(Bucket { id, name, created, versioning, owner, lock, settings }))
    }

    #[test]
    fn a_row_read_before_a_commit_is_not_cached_after_it() {
        let cache = RowCache::new(1 << 20);
        let (key, old) = row(1);
        let ticket = cache.ticket(&key).unwrap();
        cache.begin(std::slice::from_ref(&key));
        assert!(cache.ticket(&key).is_none(), "nothing is cached while a commit is under way");
        cache.insert(&ticket, key.clone(), old.clone());
        assert!(cache.get(&key).is_none());
        cache.end(std::slice::from_ref(&key));
        cache.insert(&ticket, key.clone(), old);
        assert!(cache.get(&key).is_none(), "the ticket is from before the commit");
        let (_, new) = row(2);
        cache.insert(&cache.ticket(&key).unwrap(), key.clone(), new);
        assert!(matches!(cache.get(&key), Some(CachedRow::Bucket(bucket)) if bucket.id.get() == 2));
    }

    #[test]
    fn a_commit_removes_the_rows_it_touches() {
        let cache = RowCache::new(1 << 20);
        let (key, old) = row(1);
        cache.insert(&cache.ticket(&key).unwrap(), key.clone(), old);
        assert!(cache.get(&key).is_some());
        cache.begin(std::slice::from_ref(&key));
        assert!(cache.get(&key).is_none());
    }
}
