//! When the lifecycle rules of each bucket were last set, so that nothing is deleted by older ones.

use super::CommitError;
use crate::types::{BucketId, CommitSeq};
use std::collections::HashMap;

/// Only the sets since the store was opened, which is enough: whoever names a position took it from the open store
/// and read the rules behind it, so it saw every set before. A position of an earlier opening means nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct RulesSet {
    last: HashMap<BucketId, CommitSeq>,
    /// Of the transaction under way; `None` for a bucket that goes with it.
    pending: Vec<(BucketId, Option<CommitSeq>)>,
}

impl RulesSet {
    /// A transaction begins. What one that failed had set was never set.
    pub(super) fn begin(&mut self) {
        self.pending.clear();
    }

    pub(super) fn set(&mut self, bucket: BucketId, at: CommitSeq) {
        self.pending.push((bucket, Some(at)));
    }

    /// The bucket's number is never used again.
    pub(super) fn forget(&mut self, bucket: BucketId) {
        self.pending.push((bucket, None));
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        for (bucket, at) in self.pending.drain(..) {
            match at {
                Some(at) => self.last.insert(bucket, at),
                None => self.last.remove(&bucket),
            };
        }
    }

    /// # Errors
    /// `RulesChanged` when the rules were set behind `as_of`.
    pub(super) fn check(&self, bucket: BucketId, as_of: Option<CommitSeq>) -> Result<(), CommitError> {
        let pending = self.pending.iter().rev().find(|(of, _)| *of == bucket).map(|(_, at)| *at);
        let last = pending.unwrap_or_else(|| self.last.get(&bucket).copied());
        match (last, as_of) {
            (Some(last), Some(as_of)) if last > as_of => Err(CommitError::RulesChanged),
            _ => Ok(()),
        }
    }
}
