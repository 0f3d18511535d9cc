//! What the rules say of one key at one moment: what goes now, and when to look again. No I/O.

use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    CommitSeq, Expiration, LifecycleDay, LifecycleRule, LifecycleRules, ObjectKey, UnixMillis, UploadId,
    VersionId,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Delete the current version, as a client would without naming one.
    Expire {
        seq: CommitSeq,
    },
    /// Take a noncurrent version away for good.
    RemoveNoncurrent {
        id: VersionId,
        seq: CommitSeq,
    },
    /// Take away a delete marker with nothing below it.
    RemoveMarker {
        id: VersionId,
        seq: CommitSeq,
    },
    AbortUpload {
        id: UploadId,
    },
}

/// Sees the versions of a key, newest first, then its uploads.
#[derive(Debug)]
pub(super) struct Evaluation<'r> {
    rules: &'r LifecycleRules,
    key: &'r ObjectKey,
    now: UnixMillis,
    day: LifecycleDay,
    /// When the version above was written: since then the next one is noncurrent.
    above: Option<UnixMillis>,
    noncurrent: u32,
    next: Option<UnixMillis>,
}

impl<'r> Evaluation<'r> {
    pub(super) const fn new(
        rules: &'r LifecycleRules,
        key: &'r ObjectKey,
        now: UnixMillis,
        day: LifecycleDay,
    ) -> Self {
        Self { rules, key, now, day, above: None, noncurrent: 0, next: None }
    }

    /// When something not yet due will be.
    pub(super) const fn next(&self) -> Option<UnixMillis> {
        self.next
    }

    /// The next older version. `is_alone`: the key has no other.
    pub(super) fn version(&mut self, version: &HistoryEntry, is_alone: bool) -> Option<Act> {
        let due = match (self.above, &version.object) {
            (None, Some(object)) => self.current(object, version.modified),
            (None, None) if is_alone => self.marker(version.modified),
            (None, None) => None,
            (Some(since), object) => self.noncurrent(object.as_ref(), since),
        };
        let is_current = self.above.is_none();
        self.above = Some(version.modified);
        if !self.is_due(due?) {
            return None;
        }
        Some(match (is_current, &version.object) {
            (true, Some(_)) => Act::Expire { seq: version.seq },
            (true, None) => Act::RemoveMarker { id: version.id, seq: version.seq },
            (false, _) => Act::RemoveNoncurrent { id: version.id, seq: version.seq },
        })
    }

    pub(super) fn upload(&mut self, id: UploadId, initiated: UnixMillis) -> Option<Act> {
        let rules = self.rules.enabled().filter(|rule| rule.filter.covers_key(self.key));
        let days = rules.filter_map(|rule| rule.abort_uploads_days).min()?;
        self.is_due(self.day.after(initiated, days)).then_some(Act::AbortUpload { id })
    }

    fn current(&self, object: &HistoryObject, modified: UnixMillis) -> Option<UnixMillis> {
        let expiry = self.rules.expiry(self.key, &object.tags, object.size, modified, self.day);
        expiry.map(|(due, _)| due)
    }

    fn marker(&self, modified: UnixMillis) -> Option<UnixMillis> {
        let covering = self.rules.enabled().filter(|rule| rule.filter.covers_marker(self.key));
        let due = covering.filter_map(|rule| match rule.expiration? {
            Expiration::DeleteMarkers(true) => Some(modified),
            Expiration::Days(days) => Some(self.day.after(modified, days)),
            Expiration::Date(date) => Some(date),
            Expiration::DeleteMarkers(false) => None,
        });
        due.min()
    }

    fn noncurrent(&mut self, object: Option<&HistoryObject>, since: UnixMillis) -> Option<UnixMillis> {
        let newer = self.noncurrent;
        self.noncurrent = self.noncurrent.saturating_add(1);
        let covers = |rule: &&LifecycleRule| match object {
            Some(object) => rule.filter.covers_object(self.key, &object.tags, object.size),
            None => rule.filter.covers_marker(self.key),
        };
        let rules = self.rules.enabled().filter(covers).filter_map(|rule| rule.noncurrent);
        let beyond = rules.filter(|rule| rule.newer_versions.is_none_or(|stay| newer >= stay));
        beyond.map(|rule| self.day.after(since, rule.days)).min()
    }

    fn is_due(&mut self, due: UnixMillis) -> bool {
        if due <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        false
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
