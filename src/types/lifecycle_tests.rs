use super::{Expiration, LifecycleDay, LifecycleFilter, LifecycleRule, LifecycleRules};
use crate::types::{ObjectKey, SmallObjects, Tag, TagSet, UnixMillis};

const DAY: i64 = 86_400_000;

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.into(), value: value.into() }
}

#[test]
fn a_real_day_ends_at_midnight_and_a_short_one_when_it_is_over() {
    let real = LifecycleDay::of_seconds(86_400);
    assert_eq!(real.after(UnixMillis::new(1), 1), UnixMillis::new(2 * DAY));
    assert_eq!(real.after(UnixMillis::new(DAY), 1), UnixMillis::new(2 * DAY));
    let short = LifecycleDay::of_seconds(10);
    assert_eq!(short.after(UnixMillis::new(1), 3), UnixMillis::new(30_001));
}

#[test]
fn a_filter_covers_what_all_of_it_covers() {
    let filter = LifecycleFilter {
        prefix: "logs/".into(),
        tags: vec![tag("a", "1"), tag("b", "2")],
        larger_than: Some(10),
        smaller_than: Some(20),
        ..LifecycleFilter::default()
    };
    let key = ObjectKey::opaque("logs/x");
    let tags = TagSet::of_object(vec![tag("b", "2"), tag("c", "3"), tag("a", "1")]).unwrap();
    assert!(filter.covers_object(&key, &tags, 15));
    assert!(!filter.covers_object(&key, &tags, 10) && !filter.covers_object(&key, &tags, 20));
    assert!(!filter.covers_object(&ObjectKey::opaque("log"), &tags, 15));
    let fewer = TagSet::of_object(vec![tag("a", "1")]).unwrap();
    assert!(!filter.covers_object(&key, &fewer, 15));
    assert!(!filter.covers_marker(&key));
    assert!(LifecycleFilter::default().covers_marker(&key));
}

#[test]
fn the_rule_that_is_due_first_is_the_one_shown() {
    let rule = |id: &str, enabled, expiration| LifecycleRule {
        id: id.into(),
        enabled,
        filter: LifecycleFilter::default(),
        expiration: Some(expiration),
        noncurrent: None,
        abort_uploads_days: None,
        transitions: Vec::new(),
        noncurrent_transitions: Vec::new(),
        small_objects: SmallObjects::Stay,
    };
    let rules = LifecycleRules(vec![
        rule("late", true, Expiration::Days(9)),
        rule("off", false, Expiration::Days(1)),
        rule("markers", true, Expiration::DeleteMarkers(true)),
        rule("early", true, Expiration::Date(UnixMillis::new(3 * DAY))),
    ]);
    let expiry = |modified| {
        let key = ObjectKey::opaque("k");
        rules.expiry(&key, &TagSet::default(), 0, UnixMillis::new(modified), LifecycleDay::of_seconds(86_400))
    };
    assert_eq!(expiry(0), Some((UnixMillis::new(3 * DAY), "early")));
}
