//! The fence between what is under way and what may go.

use super::{Collector, PlainCensus};
use crate::engine::EngineError;
use crate::engine::index::stamps;
use crate::meta::{Commit, CommitError, Outcome};
use crate::storage::PackId;
use crate::sys::{FailPoint, stall_point};
use crate::types::CommitSeq;
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the index may stand still while a run waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What waiting has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    /// The index has applied it; whoever took a hold before it was asked for has an older epoch.
    pub(super) mark: CommitSeq,
    /// Entries without references whose stamp is older are of no use to any request under way, nor to whoever copies.
    pub(super) bound: CommitSeq,
    /// The oldest hold when the bound was taken. Behind it a commit succeeded, so whoever had let go knows how it ended.
    pub(super) oldest_hold: Option<CommitSeq>,
}

/// What is remembered of packs between runs. Lost at a restart, which only costs work.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The first mark taken after the pack was seen sealed.
    sealed_before: HashMap<PackId, CommitSeq>,
    /// Live bytes, and whether the pack was settled, when its holes were last punched.
    punched: HashMap<PackId, (u64, bool)>,
    pub(super) census: PlainCensus,
}

impl Notes {
    /// `sealed` must have been listed before `mark` was asked for.
    pub(super) fn saw_sealed(&mut self, sealed: &[PackId], mark: CommitSeq) {
        for pack in sealed {
            self.sealed_before.entry(*pack).or_insert(mark);
        }
    }

    /// Whether everyone who may have appended to the pack is done: then no record of it that the index does not
    /// name will ever be named. An appender holds from before its first append until after its commit.
    pub(super) fn is_settled(&self, pack: PackId, oldest_hold: Option<CommitSeq>) -> bool {
        self.sealed_before.get(&pack).is_some_and(|mark| stamps::is_past(*mark, oldest_hold))
    }

    /// Whether punching may find more than it did last time.
    pub(super) fn is_worth_punching(&self, pack: PackId, live: u64, settled: bool) -> bool {
        self.punched.get(&pack).is_none_or(|last| *last != (live, settled))
    }

    pub(super) fn punched(&mut self, pack: PackId, live: u64, settled: bool) {
        self.punched.insert(pack, (live, settled));
    }

    pub(super) fn forget(&mut self, pack: PackId) {
        self.sealed_before.remove(&pack);
        self.punched.remove(&pack);
    }
}

/// The position that holds collection back. What a record up to `shipped` let go of has been copied.
pub(super) fn lesser(hold: Option<CommitSeq>, shipped: Option<CommitSeq>) -> Option<CommitSeq> {
    [hold, shipped.map(CommitSeq::next)].into_iter().flatten().min()
}

pub(super) fn commit_error(error: CommitError) -> EngineError {
    match error {
        CommitError::Store(error) => error.into(),
        error => EngineError::Index(format!("collection's commit was refused: {error}")),
    }
}

impl Collector {
    /// Marks the log, waits for the index to get there, and finds how far collection may go. The log is marked again
    /// after the holds are read, and that waited for too: whoever let go of a hold before had committed by then, so its
    /// references are counted. `None` when stopped while waiting; an error when the index does not get on.
    pub(super) async fn fence(&self, stop: &CancellationToken) -> Result<Option<Fence>, EngineError> {
        let mark = self.mark().await?;
        FailPoint::GcMarked.pass()?;
        let index = &self.0.index;
        if !self.wait_applied(mark, stop, PATIENCE).await? {
            return Ok(None);
        }
        let shipped = match self.0.shipped.get() {
            Some(bound) => bound.settled().await?,
            None => None,
        };
        let oldest_hold = index.oldest_hold();
        let bound = stamps::bound(mark, lesser(oldest_hold, shipped));
        stall_point();
        // Not only a look at the end of the log: a write whose sync failed has let go of its hold, is counted nowhere, and may be
        // found there by the next start. That a commit succeeds behind it shows that there is none.
        let last = self.mark().await?;
        let waited = self.wait_applied(last, stop, PATIENCE).await?;
        FailPoint::GcFenced.pass()?;
        Ok(waited.then_some(Fence { mark, bound, oldest_hold }))
    }

    pub(super) async fn mark(&self) -> Result<CommitSeq, EngineError> {
        match self.0.meta.commit(Commit::Mark).await {
            Ok(Outcome::Marked { seq }) => Ok(seq),
            Ok(_) => Err(EngineError::Index("a mark was answered with something else".into())),
            Err(error) => Err(commit_error(error)),
        }
    }

    /// For who only looks.
    pub(super) async fn shipped(&self) -> Result<Option<CommitSeq>, EngineError> {
        match self.0.shipped.get() {
            Some(bound) => bound.shipped().await,
            None => Ok(None),
        }
    }

    /// Waits as long as the index gets on; `false` when stopped.
    pub(super) async fn wait_applied(
        &self,
        seq: CommitSeq,
        stop: &CancellationToken,
        patience: Duration,
    ) -> Result<bool, EngineError> {
        let index = &self.0.index;
        loop {
            let before = index.batches_applied();
            let wait = stop.run_until_cancelled(index.wait_applied(seq));
            match tokio::time::timeout(patience, wait).await {
                Ok(waited) => return Ok(waited.is_some()),
                Err(_) if index.batches_applied() != before => {}
                Err(_) => {
                    return Err(EngineError::Index(format!(
                        "it stands at {} of {seq} and has not moved for {} s: nothing is collected until it follows the change log",
                        index.applied(),
                        patience.as_secs()
                    )));
                }
            }
        }
    }
}
