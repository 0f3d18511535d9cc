//! What a drill lets a client do with a restored store.

use crate::engine::Engine;
use crate::meta::SqliteStore;
use crate::remote::SmokeReport;
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A store that was restored, open. It goes afterwards, with whatever was written to it.
#[derive(Debug, Clone)]
pub struct RestoredStore {
    pub meta: Arc<SqliteStore>,
    pub engine: Engine,
    /// All bodies are there.
    pub is_whole: bool,
}

/// Serves it to a client, as it would be served after a loss.
#[async_trait]
pub trait Rehearsal: Send + Sync + std::fmt::Debug {
    /// Keeps nothing of the store open. What does not work is in the report.
    ///
    /// # Errors
    /// When it could not be tried.
    async fn rehearse(&self, store: RestoredStore, stop: &CancellationToken) -> io::Result<SmokeReport>;
}
