//! How far everything has been copied elsewhere, and how long collection waits for that.

use super::commit_error;
use crate::engine::EngineError;
use crate::meta::{Change, ChangeLog, Commit, CommitError, Consumer, LogRecord, MetaError, MetaStore};
use crate::sys::Clock;
use crate::types::{CommitSeq, UnixMillis};
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

/// Records that are read at once. A collection leaves a few marks; a store where nobody writes while its backup is away, thousands.
const FIRST_LOOK: usize = 16;
const PAGE: usize = 1024;

/// What is to be done about who copies.
enum Copier {
    Nobody,
    Waited(CommitSeq),
    GivenUp { cursor: CommitSeq, why: String },
}

impl CursorBound {
    async fn copier(&self) -> Result<Copier, EngineError> {
        loop {
            let Some(cursor) = self.log.known_cursor(self.consumer).await? else { return Ok(Copier::Nobody) };
            match self.behind(cursor).await {
                // It has moved on since, and the log was trimmed up to there.
                Err(MetaError::Trimmed(_)) if self.log.known_cursor(self.consumer).await? != Some(cursor) => {
                }
                Err(MetaError::Trimmed(_)) => {
                    let why = "what it lacks is gone from the log".to_owned();
                    return Ok(Copier::GivenUp { cursor, why });
                }
                found => return Ok(self.judge(cursor, found?)),
            }
        }
    }

    fn judge(&self, cursor: CommitSeq, behind: Behind) -> Copier {
        let waits = behind.oldest.map_or(0, |at| self.clock.now().get().saturating_sub(at.get()));
        if u128::try_from(waits).unwrap_or(0) <= self.longest.as_millis() {
            return Copier::Waited(behind.through);
        }
        let why = format!("its oldest record is {} s old", waits / 1000);
        Copier::GivenUp { cursor, why }
    }

    /// A mark names nothing, so it is copied when all before it is. Where nobody ships meanwhile, as beside `sediment gc`, a collection
    /// would else wait for its own.
    async fn behind(&self, cursor: CommitSeq) -> Result<Behind, MetaError> {
        let (mut through, mut limit) = (cursor, FIRST_LOOK);
        loop {
            let records = self.log.changes_after(through, limit).await?;
            limit = PAGE;
            let is_mark = |record: &&LogRecord| matches!(record.change, Change::Mark);
            let marks = records.iter().take_while(is_mark).count();
            if let Some(last) = marks.checked_sub(1).and_then(|last| records.get(last)) {
                through = last.seq;
            }
            match records.get(marks) {
                Some(record) => return Ok(Behind { through, oldest: Some(record.at) }),
                None if records.is_empty() => return Ok(Behind { through, oldest: None }),
                None => {}
            }
        }
    }
}

/// Behind a cursor.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// The last of the marks that stand right behind it, or itself.
    through: CommitSeq,
    /// When the first record was made that names something.
    oldest: Option<UnixMillis>,
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
        loop {
            let (cursor, why) = match self.copier().await? {
                Copier::Nobody => return Ok(None),
                Copier::Waited(cursor) => return Ok(Some(cursor)),
                Copier::GivenUp { cursor, why } => (cursor, why),
            };
            let consumer = self.consumer;
            match self.meta.commit(Commit::ForgetConsumer { consumer, at: Some(cursor) }).await {
                // It has moved on since it was looked at.
                Err(CommitError::ConditionFailed) => continue,
                forgotten => forgotten.map_err(commit_error)?,
            };
            tracing::error!(
                consumer = consumer.name(), %cursor, why,
                "given up: what it has not copied is collected from now on, and it has to begin anew"
            );
            return Ok(None);
        }
    }
}
