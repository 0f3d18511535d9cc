//! What clients of a few keys were told, and whether what a reader got could have been there while it looked.

use crate::types::{CommitSeq, ETag};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Blocks by number; the same number is the same bytes.
pub(super) type Recipe = Vec<u64>;

/// One version that somebody writes. Its ETag is its own.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) recipe: Recipe,
    /// When it was acknowledged; `u64::MAX`: not yet.
    acknowledged: AtomicU64,
}

/// What is certain of one key at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Certain {
    /// The newest version that was acknowledged.
    newest: CommitSeq,
    /// When the write and the deletion began that began last, of those that were acknowledged.
    write_began: u64,
    deletion_began: u64,
    deletion_ended: u64,
    deletions_under_way: u64,
}

/// Moments are numbers that grow.
#[derive(Debug)]
pub(super) struct History {
    moments: AtomicU64,
    keys: Vec<Mutex<Certain>>,
    values: Mutex<HashMap<ETag, Arc<Value>>>,
}

impl History {
    pub(super) fn new(keys: usize) -> Self {
        let keys = (0..keys).map(|_| Mutex::default()).collect();
        Self { moments: AtomicU64::new(1), keys, values: Mutex::default() }
    }

    pub(super) fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// Before it is committed: a reader may see it before its writer is told.
    pub(super) fn new_value(&self, recipe: Recipe) -> (ETag, Arc<Value>) {
        let value = Arc::new(Value { recipe, acknowledged: AtomicU64::new(u64::MAX) });
        let etag = ETag::of_body(u128::from(self.moment()).to_be_bytes());
        self.values.lock().insert(etag, Arc::clone(&value));
        (etag, value)
    }

    pub(super) fn value(&self, etag: &ETag) -> Arc<Value> {
        Arc::clone(self.values.lock().get(etag).expect("somebody wrote it"))
    }

    pub(super) fn forget(&self, etag: &ETag) {
        self.values.lock().remove(etag);
    }

    pub(super) fn wrote(&self, key: usize, value: &Value, began: u64, seq: CommitSeq) {
        value.acknowledged.store(self.moment(), Ordering::SeqCst);
        let mut certain = self.keys[key].lock();
        certain.newest = certain.newest.max(seq);
        certain.write_began = certain.write_began.max(began);
    }

    pub(super) fn begin_deletion(&self, key: usize) -> u64 {
        self.keys[key].lock().deletions_under_way += 1;
        self.moment()
    }

    pub(super) fn deleted(&self, key: usize, began: u64) {
        let mut certain = self.keys[key].lock();
        certain.deletions_under_way -= 1;
        certain.deletion_began = certain.deletion_began.max(began);
        certain.deletion_ended = certain.deletion_ended.max(self.moment());
    }

    /// Before a look at the key.
    pub(super) fn certain(&self, key: usize) -> Certain {
        *self.keys[key].lock()
    }

    /// After a look that found nothing.
    pub(super) fn check_nothing(&self, key: usize, before: &Certain) {
        let now = self.certain(key);
        assert!(
            now.deletions_under_way > 0 || now.deletion_ended >= before.write_began,
            "key {key}: nothing is there, and no deletion can have come after an acknowledged write: {before:?} {now:?}"
        );
    }

    /// After a look that found a version.
    pub(super) fn check_found(&self, key: usize, before: &Certain, seq: CommitSeq, value: &Value) {
        assert!(seq >= before.newest, "key {key}: {seq} is older than what was acknowledged: {before:?}");
        let acknowledged = value.acknowledged.load(Ordering::SeqCst);
        assert!(
            acknowledged == u64::MAX || before.deletion_began <= acknowledged,
            "key {key}: a version is there that was acknowledged at {acknowledged} and deleted since: {before:?}"
        );
    }
}
