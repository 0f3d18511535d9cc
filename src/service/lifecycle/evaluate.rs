//! What the rules say of one key at one moment: what goes now, and when to look again. No I/O.

use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    Expiration, LifecycleDay, LifecycleRule, LifecycleRules, ObjectKey, ObjectLock, UnixMillis, UploadId,
    VersionId, is_transition,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act<'r> {
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
    /// Give a version, current or not, another storage class.
    Transition {
        id: VersionId,
        class: &'r str,
    },
    AbortUpload {
        id: UploadId,
    },
}

/// Where a version stands, and since when.
#[derive(Debug, Clone, Copy)]
enum Standing {
    Current {
        modified: UnixMillis,
    },
    /// `newer`: noncurrent versions that stay above it.
    Noncurrent {
        since: UnixMillis,
        newer: u32,
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
    /// Noncurrent versions that must stay above the version that goes.
    stays: Option<u32>,
}

impl<'r> Evaluation<'r> {
    pub(super) const fn new(
        rules: &'r LifecycleRules,
        key: &'r ObjectKey,
        now: UnixMillis,
        day: LifecycleDay,
    ) -> Self {
        Self { rules, key, now, day, above: None, noncurrent: 0, next: None, stays: None }
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

    /// How many noncurrent versions the rule keeps by which the version looked at last goes; `None` if it does not.
    pub(super) const fn stays(&self) -> Option<u32> {
        self.stays
    }

    /// Whether an object's tags decide anything here.
    pub(super) fn minds_tags(&self) -> bool {
        self.covering().any(|rule| !rule.filter.tags.is_empty())
    }

    /// The most noncurrent versions that a rule keeps: further up they need not be counted.
    pub(super) fn most_kept(&self) -> u32 {
        self.covering().flat_map(LifecycleRule::kept).max().unwrap_or(0)
    }

    fn covering(&self) -> impl Iterator<Item = &'r LifecycleRule> {
        let key = self.key;
        self.rules.enabled().filter(move |rule| rule.filter.covers_key(key))
    }

    /// The next older version. `is_alone`: the key has no other.
    pub(super) fn version(&mut self, version: &HistoryEntry, is_alone: bool) -> Option<Act<'r>> {
        self.stays = None;
        let standing = self.next_standing(version.modified);
        if let Some(removal) = self.removal(version, standing, is_alone) {
            return Some(removal);
        }
        if let Standing::Noncurrent { newer, .. } = standing {
            // What goes is none of the newest that a rule keeps.
            self.noncurrent = newer.saturating_add(1);
        }
        let class = self.transition(version.object.as_ref()?, standing)?;
        Some(Act::Transition { id: version.id, class })
    }

    fn next_standing(&mut self, modified: UnixMillis) -> Standing {
        match self.above.replace(modified) {
            None => Standing::Current { modified },
            Some(since) => Standing::Noncurrent { since, newer: self.noncurrent },
        }
    }

    fn removal(&mut self, version: &HistoryEntry, standing: Standing, is_alone: bool) -> Option<Act<'r>> {
        let (id, object) = (version.id, version.object.as_ref());
        match (standing, object) {
            (Standing::Current { modified }, Some(object)) => {
                let due = self.current(object, modified)?;
                self.is_due(due).then_some(Act::Expire)
            }
            (Standing::Current { modified }, None) => {
                let due = self.marker(modified).filter(|_| is_alone)?;
                self.is_due(due).then_some(Act::RemoveMarker { id })
            }
            (Standing::Noncurrent { since, newer }, _) => {
                let (due, stays) = self.noncurrent(object, since, newer)?;
                let goes = self.is_due(due) && !object.is_some_and(|object| self.is_locked(object.lock));
                self.stays = goes.then_some(stays);
                goes.then_some(Act::RemoveNoncurrent { id })
            }
        }
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

    pub(super) fn upload(&mut self, id: UploadId, initiated: UnixMillis) -> Option<Act<'r>> {
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

    fn noncurrent(
        &self,
        object: Option<&HistoryObject>,
        since: UnixMillis,
        newer: u32,
    ) -> Option<(UnixMillis, u32)> {
        let covers = |rule: &&LifecycleRule| match object {
            Some(object) => rule.filter.covers_object(self.key, &object.tags, object.size),
            None => rule.filter.covers_marker(self.key),
        };
        let rules = self.rules.enabled().filter(covers).filter_map(|rule| rule.noncurrent);
        let beyond = rules.filter(|rule| rule.newer_versions.is_none_or(|stay| newer >= stay));
        // Of rules that are due at once, the one that keeps least: what it keeps must be there.
        beyond.map(|rule| (self.day.after(since, rule.days), rule.newer_versions.unwrap_or(0))).min()
    }

    /// The class that an object is to have by now; of several the coldest.
    fn transition(&mut self, object: &HistoryObject, standing: Standing) -> Option<&'r str> {
        let mut reached = None;
        for (due, class) in self.transitions(object, standing) {
            let from = reached.or(object.storage_class.as_deref());
            if is_transition(from, class) && self.is_due(due) {
                reached = Some(class);
            }
        }
        reached
    }

    /// All that rules have for the object, by when it is due.
    fn transitions(&self, object: &HistoryObject, standing: Standing) -> Vec<(UnixMillis, &'r str)> {
        let (size, day, mut all) = (object.size, self.day, Vec::new());
        for rule in self.rules.enabled() {
            if rule.filter.covers_object(self.key, &object.tags, size) {
                let due = rule_transitions(rule, standing, day);
                // Short days are for tests, whose objects are small.
                let may_move =
                    |class| !day.is_real() || rule.small_objects.may_move(size, &rule.filter, class);
                all.extend(due.filter(|(_, class)| may_move(class)));
            }
        }
        all.sort_unstable();
        all
    }

    fn is_due(&mut self, due: UnixMillis) -> bool {
        if due <= self.now {
            return true;
        }
        self.look_again(due);
        false
    }
}

/// What one rule has for all that stands there.
fn rule_transitions(
    rule: &LifecycleRule,
    standing: Standing,
    day: LifecycleDay,
) -> impl Iterator<Item = (UnixMillis, &str)> {
    let current = rule.transitions.iter().filter_map(move |transition| match standing {
        Standing::Current { modified } => {
            Some((transition.due(modified, day)?, transition.storage_class.as_str()))
        }
        Standing::Noncurrent { .. } => None,
    });
    let noncurrent = rule.noncurrent_transitions.iter().filter_map(move |transition| match standing {
        Standing::Noncurrent { since, newer }
            if transition.newer_versions.is_none_or(|stay| newer >= stay) =>
        {
            Some((day.after(since, transition.days), transition.storage_class.as_str()))
        }
        _ => None,
    });
    current.chain(noncurrent)
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
