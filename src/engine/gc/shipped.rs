//! How far everything has been copied elsewhere, and how long collection waits for that.

use super::commit_error;
use crate::engine::EngineError;
use crate::meta::{Change, ChangeLog, Commit, Consumer, LogRecord, MetaError, MetaStore};
use crate::sys::Clock;
use crate::types::CommitSeq;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What may be needed elsewhere: whatever a record of the log behind this bound still named.
#[async_trait]
pub trait ShippedBound: Send + Sync + std::fmt::Debug {
    /// The last record that has been copied, with every byte that it and those before it name. It never goes back.
    /// `None`: nobody copies, or is waited for any more. Changes nothing.
    async fn shipped(&self) -> Result<Option<CommitSeq>, EngineError>;

    /// As [`Self::shipped`], for whoever collects by it: nobody who is not waited for any more can go on as if nothing were
    /// missing to him, after a crash neither.
    async fn settled(&self) -> Result<Option<CommitSeq>, EngineError>;
}

/// The cursor of a consumer that copies, as long as it has one. A consumer whose oldest record is older than `longest` is not
/// waited for any more: garbage must not fill the disk because a remote place is away.
#[derive(Debug)]
pub struct CursorBound {
    pub meta: Arc<dyn MetaStore>,
    pub log: Arc<dyn ChangeLog>,
    pub consumer: Consumer,
    pub clock: Arc<dyn Clock>,
    pub longest: Duration,
}

/// Records that are looked at: a collection leaves a few marks.
const MARKS: usize = 16;

/// What is to be done about who copies.
enum Copier {
    Nobody,
    Waited(CommitSeq),
    GivenUp { cursor: CommitSeq, why: String },
}

impl CursorBound {
    async fn copier(&self) -> Result<Copier, EngineError> {
        let Some(cursor) = self.log.known_cursor(self.consumer).await? else { return Ok(Copier::Nobody) };
        let behind = match self.log.changes_after(cursor, MARKS).await {
            Err(MetaError::Trimmed(_)) => {
                let why = "what it lacks is gone from the log".to_owned();
                return Ok(Copier::GivenUp { cursor, why });
            }
            records => records?,
        };
        let oldest = behind.first().map(|record| record.at.get());
        let waits = oldest.map_or(0, |at| self.clock.now().get().saturating_sub(at));
        if u128::try_from(waits).unwrap_or(0) <= self.longest.as_millis() {
            return Ok(Copier::Waited(past_marks(cursor, &behind)));
        }
        let why = format!("its oldest record is {} s old", waits / 1000);
        Ok(Copier::GivenUp { cursor, why })
    }
}

/// A mark names nothing, so it is copied when all before it is. Where nobody ships meanwhile, as beside `sediment gc`, a collection would else
/// wait for its own.
fn past_marks(cursor: CommitSeq, behind: &[LogRecord]) -> CommitSeq {
    let marks = behind.iter().take_while(|record| matches!(record.change, Change::Mark));
    marks.last().map_or(cursor, |record| record.seq)
}

#[async_trait]
impl ShippedBound for CursorBound {
    async fn shipped(&self) -> Result<Option<CommitSeq>, EngineError> {
        Ok(match self.copier().await? {
            Copier::Waited(cursor) => Some(cursor),
            Copier::Nobody | Copier::GivenUp { .. } => None,
        })
    }

    async fn settled(&self) -> Result<Option<CommitSeq>, EngineError> {
        let (cursor, why) = match self.copier().await? {
            Copier::Nobody => return Ok(None),
            Copier::Waited(cursor) => return Ok(Some(cursor)),
            Copier::GivenUp { cursor, why } => (cursor, why),
        };
        let consumer = self.consumer;
        self.meta.commit(Commit::ForgetConsumer { consumer }).await.map_err(commit_error)?;
        tracing::error!(
            consumer = consumer.name(), %cursor, why,
            "given up: what it has not copied is collected from now on, and it has to begin anew"
        );
        Ok(None)
    }
}
