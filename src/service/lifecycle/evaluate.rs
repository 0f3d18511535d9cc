//! What the rules say of one key at one moment: what goes now, and when to look again. No I/O.

use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    CommitSeq, Expiration, LifecycleDay, LifecycleRule, LifecycleRules, ObjectKey, UnixMillis, UploadId,
    VersionId, is_transition,
};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act<'r> {
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
    /// Give a version, current or not, another storage class.
    Transition {
        id: VersionId,
        seq: CommitSeq,
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
    /// `newer`: noncurrent versions above it.
    Noncurrent {
        since: UnixMillis,
        newer: u32,
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
    pub(super) fn version(&mut self, version: &HistoryEntry, is_alone: bool) -> Option<Act<'r>> {
        let (id, seq) = (version.id, version.seq);
        let standing = self.next_standing(version.modified);
        let (due, removal) = match (standing, &version.object) {
            (Standing::Current { modified }, Some(object)) => {
                (self.current(object, modified), Act::Expire { seq })
            }
            (Standing::Current { modified }, None) => {
                (is_alone.then(|| self.marker(modified)).flatten(), Act::RemoveMarker { id, seq })
            }
            (Standing::Noncurrent { since, newer }, object) => {
                (self.noncurrent(object.as_ref(), since, newer), Act::RemoveNoncurrent { id, seq })
            }
        };
        if due.is_some_and(|due| self.is_due(due)) {
            return Some(removal);
        }
        let class = self.transition(version.object.as_ref()?, standing)?;
        Some(Act::Transition { id, seq, class })
    }

    fn next_standing(&mut self, modified: UnixMillis) -> Standing {
        match self.above.replace(modified) {
            None => Standing::Current { modified },
            Some(since) => {
                let newer = self.noncurrent;
                self.noncurrent = newer.saturating_add(1);
                Standing::Noncurrent { since, newer }
            }
        }
    }

    pub(super) fn upload(&mut self, id: UploadId, initiated: UnixMillis) -> Option<Act<'r>> {
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

    fn noncurrent(
        &self,
        object: Option<&HistoryObject>,
        since: UnixMillis,
        newer: u32,
    ) -> Option<UnixMillis> {
        let covers = |rule: &&LifecycleRule| match object {
            Some(object) => rule.filter.covers_object(self.key, &object.tags, object.size),
            None => rule.filter.covers_marker(self.key),
        };
        let rules = self.rules.enabled().filter(covers).filter_map(|rule| rule.noncurrent);
        let beyond = rules.filter(|rule| rule.newer_versions.is_none_or(|stay| newer >= stay));
        beyond.map(|rule| self.day.after(since, rule.days)).min()
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
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
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
