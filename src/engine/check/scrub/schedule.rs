//! Scrubbing by itself.

use super::{Pace, Scrubber};
use crate::engine::EngineError;
use crate::types::UnixMillis;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A process that has just begun has more urgent work.
const FIRST_PAUSE: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Scrubs for as long as the server runs.
#[derive(Debug)]
pub struct ScrubSchedule(Scrubber);

impl ScrubSchedule {
    #[must_use]
    pub const fn new(scrubber: Scrubber) -> Self {
        Self(scrubber)
    }

    /// Goes on with a pass that was stopped; begins one when the last began an interval ago. One that fails is logged and
    /// tried again. Returns when stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            pause = LOOK_EVERY;
            self.0.publish();
            if !self.is_due() {
                continue;
            }
            match self.0.run(Pace::Spread, &stop, None).await {
                Ok(report) if report.complete => tracing::info!(
                    records = report.found.records_read,
                    bytes = report.found.bytes_read,
                    damaged = report.found.damaged + report.found.missing,
                    lost_objects = report.found.lost_objects,
                    "the store has been scrubbed"
                ),
                // One that was asked for is at work.
                Ok(_) | Err(EngineError::Busy(_)) => {}
                Err(error) => tracing::warn!(%error, "the scrub was stopped; it goes on in a minute"),
            }
        }
    }

    fn is_due(&self) -> bool {
        let interval = self.0.0.parts.settings.interval_seconds;
        let status = self.0.status();
        let last = status.last.map(|last| last.began);
        is_due(interval, last, self.0.0.parts.clock.now())
    }
}

/// A clock that was set back makes the next pass late by no more than an interval, one set forward makes it early.
fn is_due(interval: u64, last: Option<UnixMillis>, now: UnixMillis) -> bool {
    let Some(last) = last else { return interval > 0 };
    let past = now.get().abs_diff(last.get()) / 1000;
    interval > 0 && past >= interval
}

#[cfg(test)]
mod tests {
    use super::is_due;
    use crate::types::UnixMillis;

    #[test]
    fn a_pass_is_due_an_interval_after_the_last_began_and_never_at_zero() {
        let at = UnixMillis::new;
        assert!(is_due(60, None, at(0)));
        assert!(!is_due(60, Some(at(0)), at(59_999)));
        assert!(is_due(60, Some(at(0)), at(60_000)));
        assert!(!is_due(0, None, at(0)) && !is_due(0, Some(at(0)), at(1 << 40)));
    }
}
