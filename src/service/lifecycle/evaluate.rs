//! What the rules say of one key at one moment: what goes now, and when to look again. No I/O.

use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    Expiration, LifecycleDay, LifecycleRule, LifecycleRules, ObjectKey, ObjectLock, UnixMillis, UploadId,
    VersionId,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Delete the current version, as a client would without naming one.
    Expire,
    /// Take a noncurrent version away for good.
    RemoveNoncurrent {
        id: VersionId,
    },
    /// Take away a delete marker with nothing below it.
    RemoveMarker {
        id: VersionId,
    },
    AbortUpload {
        id: UploadId,
    },
}

/// Where a look at a key's versions goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resumed {
    /// When the version above was written.
    pub since: UnixMillis,
    /// Noncurrent versions that stay above, as far as rules count them.
    pub noncurrent: u32,
    /// When something above will be due.
    pub next: Option<UnixMillis>,
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

    /// From below what was looked at before.
    pub(super) fn resume(self, resumed: Resumed) -> Self {
        let Resumed { since, noncurrent, next } = resumed;
        Self { above: Some(since), noncurrent, next, ..self }
    }

    /// When something not yet due will be.
    pub(super) const fn next(&self) -> Option<UnixMillis> {
        self.next
    }

    /// When the version looked at last was written: since then the next one is noncurrent.
    pub(super) const fn since(&self) -> Option<UnixMillis> {
        self.above
    }

    /// Whether an object's tags decide anything here.
    pub(super) fn minds_tags(&self) -> bool {
        self.covering().any(|rule| !rule.filter.tags.is_empty())
    }

    /// The most noncurrent versions that a rule keeps: further up they need not be counted.
    pub(super) fn most_kept(&self) -> u32 {
        self.covering().filter_map(|rule| rule.noncurrent?.newer_versions).max().unwrap_or(0)
    }

    fn covering(&self) -> impl Iterator<Item = &'r LifecycleRule> {
        let key = self.key;
        self.rules.enabled().filter(move |rule| rule.filter.covers_key(key))
    }

    /// The next older version. `is_alone`: the key has no other.
    pub(super) fn version(&mut self, version: &HistoryEntry, is_alone: bool) -> Option<Act> {
        let Some(since) = self.above.replace(version.modified) else { return self.newest(version, is_alone) };
        let goes = self.noncurrent(version.object.as_ref(), since).is_some_and(|due| self.is_due(due))
            && !version.object.as_ref().is_some_and(|object| self.is_locked(object.lock));
        if goes {
            return Some(Act::RemoveNoncurrent { id: version.id });
        }
        // What goes is none of the newest that a rule keeps.
        self.noncurrent = self.noncurrent.saturating_add(1);
        None
    }

    fn newest(&mut self, version: &HistoryEntry, is_alone: bool) -> Option<Act> {
        let (due, act) = match &version.object {
            Some(object) => (self.current(object, version.modified), Act::Expire),
            None if is_alone => (self.marker(version.modified), Act::RemoveMarker { id: version.id }),
            None => (None, Act::RemoveMarker { id: version.id }),
        };
        self.is_due(due?).then_some(act)
    }

    /// A lock keeps what is due: looked at again when the lock ends, or tomorrow, since it may be lifted.
    fn is_locked(&mut self, lock: ObjectLock) -> bool {
        if !lock.protects(self.now, false) {
            return false;
        }
        let tomorrow = self.tomorrow();
        let until = lock.retention.map(|retention| retention.until).filter(|until| *until > self.now);
        self.look_again(until.map_or(tomorrow, |until| until.min(tomorrow)));
        true
    }

    pub(super) const fn tomorrow(&self) -> UnixMillis {
        UnixMillis::new(self.now.get().saturating_add(self.day.millis()))
    }

    pub(super) fn look_again(&mut self, at: UnixMillis) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    pub(super) fn upload(&mut self, id: UploadId, initiated: UnixMillis) -> Option<Act> {
        let days = self.covering().filter_map(|rule| rule.abort_uploads_days).min()?;
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

    fn noncurrent(&self, object: Option<&HistoryObject>, since: UnixMillis) -> Option<UnixMillis> {
        let newer = self.noncurrent;
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
        self.look_again(due);
        false
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
