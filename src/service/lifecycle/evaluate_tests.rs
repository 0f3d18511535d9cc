use super::{Act, Evaluation};
use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    CommitSeq, Expiration, LifecycleDay, LifecycleFilter, LifecycleRule, LifecycleRules,
    NoncurrentExpiration, ObjectKey, ObjectLock, Tag, TagSet, UnixMillis, UploadId, VersionId,
};

/// Ten seconds make a day.
const DAY: LifecycleDay = LifecycleDay::of_seconds(10);

fn rule(change: impl FnOnce(&mut LifecycleRule)) -> LifecycleRules {
    let mut rule = LifecycleRule {
        id: "rule".into(),
        enabled: true,
        filter: LifecycleFilter { prefix: "a/".into(), ..LifecycleFilter::default() },
        expiration: None,
        noncurrent: None,
        abort_uploads_days: None,
        transitions: Vec::new(),
        noncurrent_transitions: Vec::new(),
    };
    change(&mut rule);
    LifecycleRules(vec![rule])
}

fn id(seq: u64) -> VersionId {
    VersionId::Id { seq: CommitSeq::new(seq), salt: 1 }
}

fn object(seq: u64, modified: i64) -> HistoryEntry {
    let object = Some(HistoryObject { size: 5, tags: TagSet::default(), lock: ObjectLock::default() });
    HistoryEntry { id: id(seq), seq: CommitSeq::new(seq), modified: UnixMillis::new(modified), object }
}

fn marker(seq: u64, modified: i64) -> HistoryEntry {
    HistoryEntry { object: None, ..object(seq, modified) }
}

fn noncurrent(seq: u64) -> Act {
    Act::RemoveNoncurrent { id: id(seq) }
}

fn removed_marker(seq: u64) -> Act {
    Act::RemoveMarker { id: id(seq) }
}

/// What is done at `now` with a history, newest first, and when to look again.
fn at(rules: &LifecycleRules, now: i64, history: &[HistoryEntry]) -> (Vec<Act>, Option<i64>) {
    let key = ObjectKey::opaque("a/b");
    let mut evaluation = Evaluation::new(rules, &key, UnixMillis::new(now), DAY);
    let alone = history.len() == 1;
    let acts = history.iter().filter_map(|entry| evaluation.version(entry, alone)).collect();
    (acts, evaluation.next().map(UnixMillis::get))
}

#[test]
fn a_current_object_expires_when_it_is_old_enough() {
    let rules = rule(|rule| rule.expiration = Some(Expiration::Days(2)));
    let history = [object(7, 1_000)];
    assert_eq!(at(&rules, 20_999, &history), (vec![], Some(21_000)));
    assert_eq!(at(&rules, 21_000, &history), (vec![Act::Expire], None));
    let off = rule(|rule| (rule.enabled, rule.expiration) = (false, Some(Expiration::Days(2))));
    assert_eq!(at(&off, 99_000, &history), (vec![], None));
    let other = rule(|rule| {
        (rule.filter.prefix, rule.expiration) = ("b/".into(), Some(Expiration::Days(2)));
    });
    assert_eq!(at(&other, 99_000, &history), (vec![], None));
}

#[test]
fn a_filter_on_tags_or_size_spares_what_it_does_not_cover() {
    let tagged = rule(|rule| {
        rule.filter.tags = vec![Tag { key: "k".into(), value: "v".into() }];
        rule.expiration = Some(Expiration::Days(1));
    });
    assert_eq!(at(&tagged, 99_000, &[object(7, 0)]), (vec![], None));
    let mut covered = object(7, 0);
    let tags = TagSet::of_object(tagged.0[0].filter.tags.clone()).unwrap();
    covered.object = Some(HistoryObject { size: 5, tags, lock: ObjectLock::default() });
    assert_eq!(at(&tagged, 99_000, &[covered]).0.len(), 1);
    let large = rule(|rule| {
        rule.filter.larger_than = Some(5);
        rule.expiration = Some(Expiration::Days(1));
    });
    assert_eq!(at(&large, 99_000, &[object(7, 0)]), (vec![], None));
}

#[test]
fn a_noncurrent_version_is_counted_from_what_came_on_top_of_it() {
    let rules = rule(|rule| {
        rule.noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: None });
    });
    let history = [object(9, 50_000), object(8, 30_000), object(7, 0)];
    // 7 was replaced at 30 s, 8 at 50 s.
    let (acts, next) = at(&rules, 45_000, &history);
    assert_eq!((acts, next), (vec![noncurrent(7)], Some(60_000)));
}

#[test]
fn the_newest_noncurrent_versions_stay_as_long_as_a_rule_keeps_them() {
    let rules = rule(|rule| {
        rule.noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: Some(2) });
    });
    let history = [object(9, 40), marker(8, 30), object(7, 20), object(6, 10), object(5, 0)];
    let (acts, next) = at(&rules, 99_000, &history);
    assert_eq!(acts, [noncurrent(6), noncurrent(5)]);
    assert_eq!(next, None);
}

#[test]
fn a_delete_marker_goes_only_when_nothing_is_below_it() {
    let rules = rule(|rule| rule.expiration = Some(Expiration::DeleteMarkers(true)));
    assert_eq!(at(&rules, 10, &[marker(7, 5)]), (vec![removed_marker(7)], None));
    assert_eq!(at(&rules, 10, &[marker(8, 5), object(7, 4)]), (vec![], None));
    assert_eq!(at(&rules, 10, &[object(7, 4)]), (vec![], None));
    let days = rule(|rule| rule.expiration = Some(Expiration::Days(1)));
    assert_eq!(at(&days, 10, &[marker(7, 5)]), (vec![], Some(10_005)));
    let tagged = rule(|rule| {
        rule.filter.tags = vec![Tag { key: "k".into(), value: "v".into() }];
        rule.expiration = Some(Expiration::Days(1));
    });
    assert_eq!(at(&tagged, 99_000, &[marker(7, 5)]), (vec![], None));
}

#[test]
fn an_upload_is_aborted_days_after_it_was_begun() {
    let rules = rule(|rule| rule.abort_uploads_days = Some(1));
    let (key, upload) = (ObjectKey::opaque("a/b"), UploadId::new([3; 16]));
    let mut early = Evaluation::new(&rules, &key, UnixMillis::new(10_000), DAY);
    assert_eq!(early.upload(upload, UnixMillis::new(1)), None);
    assert_eq!(early.next(), Some(UnixMillis::new(10_001)));
    let mut late = Evaluation::new(&rules, &key, UnixMillis::new(10_001), DAY);
    assert_eq!(late.upload(upload, UnixMillis::new(1)), Some(Act::AbortUpload { id: upload }));
}
