//! The owner's verbs on a running store.

use super::stats;
use super::store::Store;
use crate::admin::{BackupRequest, Operations, ScrubRequest, StoreStats};
use crate::backup::Keeper;
use crate::engine::EngineError;
use crate::engine::check::scrub::Pace;
use crate::replicate::Reports;
use async_trait::async_trait;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct StoreOperations {
    store: Arc<Store>,
    backup: Option<Keeper>,
    /// Cancelled when the server stops.
    stop: CancellationToken,
    replication: Reports,
}

impl StoreOperations {
    pub(super) const fn new(
        store: Arc<Store>,
        backup: Option<Keeper>,
        stop: CancellationToken,
        replication: Reports,
    ) -> Self {
        Self { store, backup, replication, stop }
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

    async fn backup(&self, request: BackupRequest) -> Result<serde_json::Value, String> {
        let none = || "this server makes no backups: backup.bucket is not set".to_owned();
        let keeper = self.backup.as_ref().ok_or_else(none)?;
        Ok(match request {
            BackupRequest::Status => serde_json::json!(keeper.status().await),
            BackupRequest::Prune => serde_json::json!({ "number": keeper.ask_prune() }),
            BackupRequest::Verify { percent, all } => {
                serde_json::json!({ "number": keeper.ask_verify(percent, all) })
            }
            BackupRequest::Drill => serde_json::json!({ "number": keeper.ask_drill() }),
            BackupRequest::Start { full } => serde_json::json!({ "number": keeper.ask(full) }),
        })
    }
}
