use super::{Act, Evaluation};
use crate::meta::{HistoryEntry, HistoryObject};
use crate::types::{
    CommitSeq, Expiration, LifecycleDay, LifecycleFilter, LifecycleRule, LifecycleRules,
    NoncurrentExpiration, NoncurrentTransition, ObjectKey, ObjectLock, SmallObjects, Tag, TagSet, Transition,
    UnixMillis, UploadId, VersionId,
};
use std::sync::LazyLock;

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
        small_objects: SmallObjects::Stay,
    };
    change(&mut rule);
    LifecycleRules(vec![rule])
}

fn id(seq: u64) -> VersionId {
    VersionId::Id { seq: CommitSeq::new(seq), salt: 1 }
}

fn object(seq: u64, modified: i64) -> HistoryEntry {
    let (tags, lock) = (TagSet::default(), ObjectLock::default());
    let object = Some(HistoryObject { size: 5, tags, storage_class: None, lock });
    HistoryEntry { id: id(seq), seq: CommitSeq::new(seq), modified: UnixMillis::new(modified), object }
}

fn marker(seq: u64, modified: i64) -> HistoryEntry {
    HistoryEntry { object: None, ..object(seq, modified) }
}

fn noncurrent(seq: u64) -> Act<'static> {
    Act::RemoveNoncurrent { id: id(seq) }
}

fn removed_marker(seq: u64) -> Act<'static> {
    Act::RemoveMarker { id: id(seq) }
}

/// What is done at `now` with a history, newest first, and when to look again.
fn at<'r>(rules: &'r LifecycleRules, now: i64, history: &[HistoryEntry]) -> (Vec<Act<'r>>, Option<i64>) {
    on(rules, DAY, now, history)
}

fn on<'r>(
    rules: &'r LifecycleRules,
    day: LifecycleDay,
    now: i64,
    history: &[HistoryEntry],
) -> (Vec<Act<'r>>, Option<i64>) {
    static KEY: LazyLock<ObjectKey> = LazyLock::new(|| ObjectKey::opaque("a/b"));
    let mut evaluation = Evaluation::new(rules, &KEY, UnixMillis::new(now), day);
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
    covered.object = Some(HistoryObject { tags, ..covered.object.unwrap() });
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

fn moves(days: u32, class: &str) -> Transition {
    Transition { days: Some(days), date: None, storage_class: class.into() }
}

fn moved(seq: u64, class: &str) -> Act<'_> {
    Act::Transition { id: id(seq), class }
}

fn of_class(entry: HistoryEntry, class: &str) -> HistoryEntry {
    let object = entry.object.map(|object| HistoryObject { storage_class: Some(class.into()), ..object });
    HistoryEntry { object, ..entry }
}

#[test]
fn a_current_object_changes_its_class_when_it_is_old_enough() {
    let rules = rule(|rule| {
        rule.transitions = vec![moves(5, "GLACIER"), moves(1, "STANDARD_IA")];
        rule.expiration = Some(Expiration::Days(9));
    });
    let fresh = [object(7, 0)];
    assert_eq!(at(&rules, 9_999, &fresh), (vec![], Some(10_000)));
    assert_eq!(at(&rules, 10_000, &fresh), (vec![moved(7, "STANDARD_IA")], Some(50_000)));
    let once = [of_class(object(7, 0), "STANDARD_IA")];
    assert_eq!(at(&rules, 20_000, &once), (vec![], Some(50_000)));
    assert_eq!(at(&rules, 50_000, &once), (vec![moved(7, "GLACIER")], Some(90_000)));
    assert_eq!(at(&rules, 50_000, &fresh), (vec![moved(7, "GLACIER")], Some(90_000)), "of two, the colder");
    let twice = [of_class(object(7, 0), "GLACIER")];
    assert_eq!(at(&rules, 60_000, &twice), (vec![], Some(90_000)), "nothing moves up");
    assert_eq!(at(&rules, 90_000, &fresh), (vec![Act::Expire], None));
}

#[test]
fn noncurrent_versions_change_their_class_since_they_are_that() {
    let transition =
        NoncurrentTransition { days: 1, newer_versions: Some(1), storage_class: "GLACIER".into() };
    let rules = rule(|rule| rule.noncurrent_transitions = vec![transition]);
    let history = [object(9, 30_000), object(8, 20_000), object(7, 10_000), marker(6, 0)];
    assert_eq!(at(&rules, 29_999, &history), (vec![], Some(30_000)), "the newest noncurrent one stays");
    assert_eq!(at(&rules, 99_000, &history), (vec![moved(7, "GLACIER")], None));
}

/// A lock forbids that it is deleted, nothing else.
#[test]
fn a_locked_version_changes_its_class_once() {
    let rules = rule(|rule| {
        rule.noncurrent = Some(NoncurrentExpiration { days: 1, newer_versions: None });
        rule.noncurrent_transitions =
            vec![NoncurrentTransition { days: 1, newer_versions: None, storage_class: "GLACIER".into() }];
    });
    let held = ObjectLock { retention: None, legal_hold: Some(true) };
    let mut locked = object(7, 0);
    locked.object = Some(HistoryObject { lock: held, ..locked.object.unwrap() });
    let moved_one = of_class(locked.clone(), "GLACIER");
    let tomorrow = Some(99_000 + DAY.millis());
    assert_eq!(at(&rules, 99_000, &[object(8, 0), locked]), (vec![moved(7, "GLACIER")], tomorrow));
    assert_eq!(at(&rules, 99_000, &[object(8, 0), moved_one]), (vec![], tomorrow));
}

#[test]
fn small_objects_change_their_class_on_short_days_only() {
    let rules = rule(|rule| rule.transitions = vec![moves(1, "GLACIER")]);
    let late = 9 * LifecycleDay::REAL.millis();
    let small = [object(7, 0)];
    assert_eq!(on(&rules, LifecycleDay::REAL, late, &small), (vec![], None));
    let mut large = object(7, 0);
    large.object = Some(HistoryObject { size: 128 << 10, ..large.object.unwrap() });
    assert_eq!(on(&rules, LifecycleDay::REAL, late, &[large]).0, [moved(7, "GLACIER")]);
    assert_eq!(at(&rules, late, &small).0, [moved(7, "GLACIER")]);
}
