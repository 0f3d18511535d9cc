//! What was done, or would be.

use crate::remote::ReplicaStat;
use serde::Serialize;

/// Keys of a kind that are kept; more are only counted.
const MOST_FAILURES: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The target has no such object.
    Create,
    /// It has another one.
    Replace,
    /// It was not there then.
    Delete,
    /// It is as it was, or was made since.
    Leave,
}

/// What becomes of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedChange {
    pub kind: ChangeKind,
    /// As the store named it.
    pub key: String,
    /// What could be read then.
    pub then: Option<ReplicaStat>,
    /// What can be read at the target now.
    pub now: Option<ReplicaStat>,
    /// Versions and delete markers to write.
    pub writes: usize,
    pub bytes: u64,
}

/// An object that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectFailure {
    pub key: String,
    pub why: String,
    /// Whether the backup is damaged, or the target did not take it.
    pub is_damage: bool,
}

/// In keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SelectReport {
    pub created: u64,
    pub replaced: u64,
    pub deleted: u64,
    pub left: u64,
    pub failed: u64,
    /// Of those that were left: what was written there while this ran, and stays. The first thousand.
    pub overtaken: Vec<String>,
    /// Of the objects that were written, as clients see them.
    pub bytes: u64,
    /// The first thousand.
    pub failures: Vec<ObjectFailure>,
}

impl SelectReport {
    pub(super) fn count(&mut self, change: &SelectedChange) {
        let count = match change.kind {
            ChangeKind::Create => &mut self.created,
            ChangeKind::Replace => &mut self.replaced,
            ChangeKind::Delete => &mut self.deleted,
            ChangeKind::Leave => &mut self.left,
        };
        *count += 1;
        self.bytes += change.bytes;
    }

    pub(super) fn overtaken(&mut self, key: &str) {
        if self.overtaken.len() < MOST_FAILURES {
            self.overtaken.push(key.to_owned());
        }
    }

    pub(super) fn fail(&mut self, failure: ObjectFailure) {
        self.failed += 1;
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(failure);
        }
    }
}
