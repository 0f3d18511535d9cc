//! The owner's verbs on a running store.

use super::stats;
use super::store::Store;
use crate::admin::{Operations, ScrubRequest, StoreStats};
use crate::engine::EngineError;
use crate::engine::check::scrub::Pace;
use crate::replicate::Reports;
use async_trait::async_trait;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct StoreOperations {
    store: Arc<Store>,
    /// Cancelled when the server stops.
    stop: CancellationToken,
    replication: Reports,
}

impl StoreOperations {
    pub(super) const fn new(store: Arc<Store>, stop: CancellationToken, replication: Reports) -> Self {
        Self { store, stop, replication }
    }
}

#[async_trait]
impl Operations for StoreOperations {
    async fn stats(&self) -> Result<StoreStats, String> {
        let plain = self.store.collector.plain_census().await.map_err(|error| error.to_string())?;
        stats::collect(self.store.parts(), plain).await.map_err(|error| error.to_string())
    }

    async fn gc(&self, dry_run: bool) -> Result<serde_json::Value, String> {
        let collector = &self.store.collector;
        if dry_run {
            let plan = collector.plan().await.map_err(|error| error.to_string())?;
            return Ok(serde_json::json!({ "plan": plan, "text": plan.to_string() }));
        }
        let report = collector.run(&self.stop, None).await.map_err(|error| error.to_string())?;
        Ok(serde_json::json!({ "report": report, "text": report.to_string() }))
    }

    async fn replication(&self) -> Result<serde_json::Value, String> {
        Ok(serde_json::json!(self.replication.all(self.store.parts().clock.now())))
    }

    async fn scrub(&self, request: ScrubRequest) -> Result<serde_json::Value, String> {
        let scrubber = &self.store.scrubber;
        match request {
            ScrubRequest::Status => {}
            ScrubRequest::Start => match scrubber.start(Pace::Beside, &self.stop) {
                // Whoever asks wants one to be at work.
                Ok(()) => {}
                Err(EngineError::Busy(_)) => scrubber.hurry(),
                Err(error) => return Err(error.to_string()),
            },
            ScrubRequest::Stop => {
                let _ = scrubber.cancel();
                scrubber.idle().await;
            }
        }
        Ok(serde_json::json!(scrubber.status()))
    }
}
