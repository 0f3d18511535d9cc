//! Lives worth keeping, as short as they get: what random ones find goes here.

use super::steps::{Delete, Locked, Place, Step, Until, When};
use super::{Life, in_memory, in_sqlite};

const FIRST: Place = Place { key: 0, version: Some(0) };

fn agrees(life: &Life) {
    for (store, lived) in [("memory", in_memory(life)), ("SQLite", in_sqlite(life))] {
        assert_eq!(lived, Ok(()), "{store}");
    }
}

fn put(when: When) -> Step {
    Step::Put { key: 0, body: 4, tags: 0, lock: Locked::default(), when }
}

fn delete(at: Place, tag: When, size: Option<bool>, bypass: bool) -> Step {
    Step::Delete(vec![Delete { at, tag, size, date: None, bypass }])
}

#[test]
fn i6_a_null_version_from_before_the_lock_is_kept() {
    let until = Some(Until { compliance: true, hours: 2 });
    let steps = vec![
        put(When::Always),
        Step::Versioning { enabled: true },
        Step::LockBucket { compliance: false, days: None },
        Step::Retain { at: FIRST, until, bypass: false },
        put(When::Same),
        Step::Versioning { enabled: false },
        delete(FIRST, When::Exists, None, true),
        Step::Pass { minutes: 130 },
        delete(FIRST, When::Exists, None, false),
    ];
    agrees(&Life { locked: false, steps });
}

#[test]
fn a_marker_is_not_put_on_top_of_another_by_size() {
    let current = Place { key: 0, version: None };
    let steps = vec![
        Step::Versioning { enabled: true },
        delete(current, When::Always, Some(true), false),
        put(When::Absent),
        delete(current, When::Always, Some(false), false),
        delete(current, When::Always, Some(true), false),
        delete(current, When::Always, Some(true), false),
        put(When::Absent),
    ];
    agrees(&Life { locked: false, steps });
}
