use super::{PageLimit, after_marker};
use crate::meta::ListFrom;
use crate::service::MAX_KEYS;

#[test]
fn a_marker_inside_a_common_prefix_stands_for_all_of_it() {
    let after = |prefix, marker| after_marker(prefix, Some(b"/"), marker);
    assert_eq!(after("", ""), ListFrom::Start);
    assert_eq!(after("", "a"), ListFrom::AfterKey(b"a".to_vec()));
    assert_eq!(after("", "a/"), ListFrom::AfterPrefix(b"a/".to_vec()));
    assert_eq!(after("", "a/b/c"), ListFrom::AfterPrefix(b"a/".to_vec()));
    assert_eq!(after("a/", "a/b"), ListFrom::AfterKey(b"a/b".to_vec()));
    assert_eq!(after("a/", "a/b/c"), ListFrom::AfterPrefix(b"a/b/".to_vec()));
    assert_eq!(after("z", "a/b"), ListFrom::AfterKey(b"a/b".to_vec()));
    assert_eq!(after_marker("", None, "a/b"), ListFrom::AfterKey(b"a/b".to_vec()));
}

#[test]
fn pages_have_at_most_a_thousand_entries() {
    assert_eq!(PageLimit::KEYS.of(None).unwrap(), MAX_KEYS);
    assert_eq!(PageLimit::KEYS.of(Some(5000)).unwrap(), MAX_KEYS);
    assert_eq!(PageLimit::KEYS.of(Some(0)).unwrap(), 0);
    assert!(PageLimit::KEYS.of(Some(-1)).is_err());
}
