//! The change log's stamps never go back: one that a wrong clock gave stays on everything written after it.

use super::store::Store;
use crate::types::UnixMillis;

/// A stamp further ahead of the system's clock is worth a note.
const AHEAD_MILLIS: i64 = 10 * 60 * 1000;
const HOUR_MILLIS: i64 = 60 * 60 * 1000;

/// How far the newest stamp is ahead of the system's clock; 0 when it is not.
fn ahead_millis(stamped: Option<UnixMillis>, wall: UnixMillis) -> i64 {
    stamped.map_or(0, |stamped| stamped.get().saturating_sub(wall.get()).max(0))
}

pub(super) fn publish(store: &Store) {
    let ahead = ahead_millis(store.meta.stamped(), store.parts().clock.now());
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("sediment_log_stamp_ahead_seconds").set(ahead as f64 / 1000.0);
}

/// What is wrong with the stamps, if anything.
pub(super) fn note(store: &Store) -> Option<String> {
    describe(ahead_millis(store.meta.stamped(), store.parts().clock.now()))
}

#[expect(clippy::cast_precision_loss, reason = "hours, to be read")]
fn describe(ahead_millis: i64) -> Option<String> {
    (ahead_millis > AHEAD_MILLIS).then(|| {
        format!(
            "the newest write is stamped {:.1} hours ahead of the system's clock. If the clock is right now, it was wrong \
             then, and until it gets there all that is written has that date: Last-Modified shows it, and lifecycle rules \
             count their days from it",
            ahead_millis as f64 / HOUR_MILLIS as f64
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{AHEAD_MILLIS, HOUR_MILLIS, ahead_millis, describe};
    use crate::types::UnixMillis;

    #[test]
    fn a_stamp_far_ahead_is_said_and_a_near_one_is_not() {
        let ahead =
            |stamped: Option<i64>, wall| ahead_millis(stamped.map(UnixMillis::new), UnixMillis::new(wall));
        assert_eq!((ahead(None, 5), ahead(Some(5), 9), ahead(Some(9), 5)), (0, 0, 4));
        assert_eq!(describe(AHEAD_MILLIS), None, "clients' clocks may be that far off, too");
        assert!(describe(AHEAD_MILLIS + 1).unwrap().contains("0.2 hours ahead"));
        assert!(describe(30 * HOUR_MILLIS).unwrap().contains("30.0 hours ahead"));
    }
}
