//! How far everything has been copied elsewhere, and how long collection waits for that.

use crate::engine::EngineError;
use crate::meta::{ChangeLog, Consumer, MetaError};
use crate::sys::Clock;
use crate::types::CommitSeq;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What may be needed elsewhere: whatever a record of the log behind this bound still named.
#[async_trait]
pub trait ShippedBound: Send + Sync + std::fmt::Debug {
    /// The last record that has been copied, with every byte that it and those before it name. It never goes back.
    /// `None`: nobody copies, or is waited for any more.
    async fn shipped(&self) -> Result<Option<CommitSeq>, EngineError>;
}

/// The cursor of a consumer that copies, as long as it has one. A consumer whose oldest record is older than `longest` is not
/// waited for any more: garbage must not fill the disk because a remote place is away.
#[derive(Debug)]
pub struct CursorBound {
    pub log: Arc<dyn ChangeLog>,
    pub consumer: Consumer,
    pub clock: Arc<dyn Clock>,
    pub longest: Duration,
}

#[async_trait]
impl ShippedBound for CursorBound {
    async fn shipped(&self) -> Result<Option<CommitSeq>, EngineError> {
        let Some(cursor) = self.log.known_cursor(self.consumer).await? else { return Ok(None) };
        let oldest = match self.log.changes_after(cursor, 1).await {
            // What it lacks is gone from the log: it has to begin anew.
            Err(MetaError::Trimmed(_)) => return Ok(None),
            records => records?.pop(),
        };
        let waits = oldest.map_or(0, |record| self.clock.now().get().saturating_sub(record.at.get()));
        if u128::try_from(waits).unwrap_or(0) <= self.longest.as_millis() && !self.longest.is_zero() {
            return Ok(Some(cursor));
        }
        let (consumer, seconds) = (self.consumer.name(), waits / 1000);
        tracing::warn!(consumer, %cursor, seconds, "what is not copied yet is collected all the same: it is too far behind");
        Ok(None)
    }
}
