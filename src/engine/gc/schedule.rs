//! Collecting by itself, when there is enough to collect.

use super::plan::garbage;
use super::{Collector, blocking};
use crate::engine::EngineError;
use crate::sys::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs the collector for as long as the server does.
#[derive(Debug)]
pub struct Schedule {
    collector: Collector,
    random: Arc<dyn Random>,
}

impl Schedule {
    #[must_use]
    pub fn new(collector: Collector, random: Arc<dyn Random>) -> Self {
        Self { collector, random }
    }

    /// Looks every interval, jittered so that gateways started together do not collect together. A run that
    /// fails is logged, and tried again after the next pause. Returns when stopped, or at once when the interval
    /// is 0.
    pub async fn run(self, stop: CancellationToken) {
        let seconds = self.collector.0.settings.interval_seconds;
        if seconds == 0 {
            return;
        }
        loop {
            let pause = jittered(Duration::from_secs(seconds), self.random.u64());
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            if let Err(error) = self.look(&stop).await {
                tracing::warn!(%error, "garbage collection failed; it is tried again after the next pause");
            }
        }
    }

    /// One look, and a run when it is worth one. Returns whether there was one.
    pub(super) async fn look(&self, stop: &CancellationToken) -> Result<bool, EngineError> {
        let (packs, index) = (self.collector.0.packs.clone(), self.collector.0.index.clone());
        let (garbage, all) = blocking(move || garbage(&packs, &index)).await?;
        let plain = self.collector.plain_census().await?;
        let (garbage, all) = (garbage + plain.unused_bytes, all + plain.bytes);
        metrics::gauge!("sediment_gc_garbage_bytes").set(garbage as f64);
        let enough =
            garbage > 0 && garbage as f64 >= all as f64 * self.collector.0.settings.min_garbage_ratio;
        if enough {
            let report = self.collector.run(stop, None).await?;
            tracing::info!(
                collected = report.collected,
                freed_bytes = report.freed_bytes,
                seconds = report.seconds,
                "garbage collected"
            );
        }
        Ok(enough)
    }
}

/// Between three quarters and five quarters of the interval.
fn jittered(interval: Duration, random: u64) -> Duration {
    interval.mul_f64(0.75 + (random >> 11) as f64 / (1u64 << 53) as f64 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::jittered;
    use std::time::Duration;

    #[test]
    fn jitter_stays_within_a_quarter() {
        let interval = Duration::from_secs(100);
        assert_eq!(jittered(interval, 0), Duration::from_secs(75));
        assert!(jittered(interval, u64::MAX) < Duration::from_secs(126));
        assert!(jittered(interval, u64::MAX) > Duration::from_secs(124));
    }
}
