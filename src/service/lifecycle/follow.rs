//! From records of the change log to the agenda: the earliest moment at which a change can let something expire.

use crate::meta::{AgendaChange, Bucket, Change, LogRecord, ScanPosition};
use crate::types::{
    BucketId, BucketSetting, Expiration, LifecycleDay, LifecycleRule, LifecycleRules, ObjectKey, UnixMillis,
};
use std::collections::HashMap;

/// The buckets that have rules, as of the log's position.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ruled {
    buckets: HashMap<BucketId, LifecycleRules>,
}

impl Ruled {
    pub(super) fn new(buckets: Vec<Bucket>) -> Self {
        let rules = |bucket: Bucket| Some((bucket.id, bucket.settings.lifecycle.clone()?));
        Self { buckets: buckets.into_iter().filter_map(rules).collect() }
    }

    pub(super) fn rules(&self, bucket: BucketId) -> Option<&LifecycleRules> {
        self.buckets.get(&bucket)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = BucketId> + '_ {
        self.buckets.keys().copied()
    }

    /// What a record changes in the agenda. Applied in order of the log; applying one again does no harm.
    ///
    /// What may be due at once is due `now`, or in its turn behind what is overdue already: but never later because of the
    /// record's stamp, which a wall clock that was wrong once holds ahead for good.
    pub(super) fn follow(
        &mut self,
        record: &LogRecord,
        day: LifecycleDay,
        now: UnixMillis,
    ) -> Option<AgendaChange> {
        let at_once = record.at.min(now);
        match &record.change {
            Change::BucketSet { bucket, setting: BucketSetting::Lifecycle(rules) } => {
                let position = rules.is_some().then(|| ScanPosition::Versions(Vec::new()));
                match rules {
                    Some(rules) => self.buckets.insert(*bucket, rules.clone()),
                    None => self.buckets.remove(bucket),
                };
                Some(AgendaChange::Scan { bucket: *bucket, position })
            }
            Change::BucketDeleted { bucket } => {
                let had_rules = self.buckets.remove(bucket).is_some();
                had_rules.then_some(AgendaChange::Scan { bucket: *bucket, position: None })
            }
            Change::VersionPut { bucket, key, version, .. }
            | Change::UploadCompleted { bucket, key, version, .. } => {
                let put = Written { at: record.at, is_marker: version.object.is_none() };
                self.touch(record, *bucket, key, |rules| earliest_after_put(rules, key, put, day, at_once))
            }
            // What stood below may be current now; other tags may be other rules.
            Change::VersionDeleted { bucket, key, .. } | Change::VersionTagged { bucket, key, .. } => {
                self.touch(record, *bucket, key, |_| Some(at_once))
            }
            Change::UploadCreated(upload) => self.touch(record, upload.bucket, &upload.key, |rules| {
                earliest_upload(rules, &upload.key, record.at, day)
            }),
            Change::BucketCreated(_)
            | Change::VersioningSet { .. }
            | Change::BucketSet { .. }
            | Change::BucketLocked { .. }
            | Change::VersionLocked { .. }
            // The worker's own doing: it knows what is next.
            | Change::VersionTransitioned { .. }
            | Change::BodyReplaced { .. }
            | Change::PartPut { .. }
            | Change::UploadAborted { .. }
            | Change::Released
            | Change::Mark => None,
        }
    }

    fn touch(
        &self,
        record: &LogRecord,
        bucket: BucketId,
        key: &ObjectKey,
        at: impl FnOnce(&LifecycleRules) -> Option<UnixMillis>,
    ) -> Option<AgendaChange> {
        let at = at(self.rules(bucket)?)?;
        Some(AgendaChange::Touch { bucket, key: key.clone(), at, touched: record.seq })
    }
}

fn covering<'r>(rules: &'r LifecycleRules, key: &'r ObjectKey) -> impl Iterator<Item = &'r LifecycleRule> {
    rules.enabled().filter(|rule| rule.filter.covers_key(key))
}

/// A version as far as its bound goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub at: UnixMillis,
    pub is_marker: bool,
}

/// A lower bound for a version, and for what it covers.
pub(super) fn earliest_version(
    rules: &LifecycleRules,
    key: &ObjectKey,
    written: Written,
    day: LifecycleDay,
) -> Option<UnixMillis> {
    let of_rule = |rule: &LifecycleRule| {
        let expires = rule.expiration.and_then(|expiration| match expiration {
            Expiration::Days(days) => Some(day.after(written.at, days)),
            Expiration::Date(date) => Some(date),
            Expiration::DeleteMarkers(true) => written.is_marker.then_some(written.at),
            Expiration::DeleteMarkers(false) => None,
        });
        let noncurrent_days = rule.noncurrent.iter().map(|expiration| expiration.days);
        let noncurrent_days =
            noncurrent_days.chain(rule.noncurrent_transitions.iter().map(|transition| transition.days));
        let noncurrent = noncurrent_days.map(|days| day.after(written.at, days));
        let transitions = rule.transitions.iter().filter_map(|transition| transition.due(written.at, day));
        expires.into_iter().chain(transitions).chain(noncurrent).min()
    };
    covering(rules, key).filter_map(of_rule).min()
}

/// A put may also push an old version out of those that a rule keeps.
fn earliest_after_put(
    rules: &LifecycleRules,
    key: &ObjectKey,
    put: Written,
    day: LifecycleDay,
    at_once: UnixMillis,
) -> Option<UnixMillis> {
    let keeps_some = |rule: &LifecycleRule| rule.kept().next().is_some();
    if covering(rules, key).any(keeps_some) { Some(at_once) } else { earliest_version(rules, key, put, day) }
}

pub(super) fn earliest_upload(
    rules: &LifecycleRules,
    key: &ObjectKey,
    initiated: UnixMillis,
    day: LifecycleDay,
) -> Option<UnixMillis> {
    let days = covering(rules, key).filter_map(|rule| rule.abort_uploads_days).min()?;
    Some(day.after(initiated, days))
}
