//! Keeps the chunk index up with the change log.

use super::EngineError;
use super::blocking::blocking;
use super::index::{ChunkIndex, Progress};
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, LogRecord, ManifestRow, MetaError, MetaStore, Outcome,
    TRIM_RECORDS,
};
use crate::sys::FailPoint;
use crate::types::{CommitSeq, ManifestId};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Records read and applied at a time.
const BATCH_RECORDS: usize = 512;
const MANIFESTS_PER_READ: usize = 256;
/// A checkpoint after so many records, or so long after the first one that has none.
const CHECKPOINT_RECORDS: u64 = 10_000;
const CHECKPOINT_AFTER: Duration = Duration::from_secs(10);
/// Rests so long when it has caught up: reading and applying a few records costs as much as a few hundred.
const REST: Duration = Duration::from_millis(20);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Applies the change log to the index, and lets the log be trimmed behind what the index can never forget.
#[derive(Debug)]
pub struct Follower {
    log: Arc<dyn ChangeLog>,
    meta: Arc<dyn MetaStore>,
    index: ChunkIndex,
    trouble: watch::Sender<Option<String>>,
}

impl Follower {
    #[must_use]
    pub fn new(log: Arc<dyn ChangeLog>, meta: Arc<dyn MetaStore>, index: ChunkIndex) -> Self {
        Self { log, meta, index, trouble: watch::Sender::new(None) }
    }

    /// What keeps [`Self::run`] from following, as long as it does.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    /// Applies all that the log has, before anything is served. Rebuilds the index when it is new, or the log no
    /// longer holds what it lacks.
    ///
    /// # Errors
    /// When the log, the packs or the index cannot be read or written.
    pub async fn catch_up(&self, progress: Progress<'_>) -> Result<(), EngineError> {
        let last = self.log.last_seq().await?;
        if self.index.is_new() && last > CommitSeq::ZERO {
            // A manifest node that an old record names may be collected by now: the log is no way to begin.
            return self.rebuild(progress).await;
        }
        if self.index.begun() > last {
            tracing::warn!("the chunk index is ahead of the metadata: it is rebuilt");
            return self.rebuild(progress).await;
        }
        let first = self.index.applied();
        while self.index.applied() < last {
            match self.log.changes_after(self.index.applied(), BATCH_RECORDS).await {
                Err(MetaError::Trimmed(_)) => return self.rebuild(progress).await,
                records => self.apply(records?).await?,
            }
            let done = self.index.applied().get().saturating_sub(first.get());
            (progress.0)(done, last.get().saturating_sub(first.get()));
        }
        Ok(())
    }

    /// Builds the index anew from the packs and the manifests. Nothing may be written meanwhile.
    ///
    /// # Errors
    /// As [`Self::catch_up`].
    pub async fn rebuild(&self, progress: Progress<'_>) -> Result<(), EngineError> {
        let seq = self.log.last_seq().await?;
        let mut manifests =
            Manifests { log: Arc::clone(&self.log), page: Vec::new().into_iter(), after: None, ended: false };
        let index = self.index.clone();
        let (tell, mut told) = watch::channel((0, 0));
        let mut rebuilt = tokio::task::spawn_blocking(move || {
            let progress = |done, total| {
                tell.send_replace((done, total));
            };
            index.rebuild(&mut manifests, seq, Progress(&progress))
        });
        loop {
            tokio::select! {
                rebuilt = &mut rebuilt => return rebuilt.map_err(std::io::Error::other)?,
                Ok(()) = told.changed() => {
                    let (done, total) = *told.borrow_and_update();
                    (progress.0)(done, total);
                }
            }
        }
    }

    /// Follows the log until it is told to stop; then what is applied is durable. Keeps the index's filter meanwhile.
    ///
    /// # Errors
    /// When the last checkpoint fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EngineError> {
        tokio::join!(self.follow(&stop), self.index.keep_filter(&stop)).0
    }

    async fn follow(&self, stop: &CancellationToken) -> Result<(), EngineError> {
        let mut unsaved = Unsaved::default();
        let mut retry = FIRST_RETRY;
        let mut failure = self.index.failure();
        while !stop.is_cancelled() {
            match self.step(stop, &mut unsaved, &mut failure).await {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    self.tell(None);
                }
                Err(error) => {
                    self.tell(Some(error.to_string()));
                    metrics::counter!("sediment_index_errors_total").increment(1);
                    tracing::error!(%error, "the chunk index cannot follow the change log; trying again");
                    let _ = self.report().await;
                    let _ = tokio::time::timeout(retry, stop.cancelled()).await;
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
            }
        }
        self.checkpoint(&mut unsaved, stop).await
    }

    async fn step(
        &self,
        stop: &CancellationToken,
        unsaved: &mut Unsaved,
        failure: &mut watch::Receiver<Option<String>>,
    ) -> Result<(), EngineError> {
        if failure.borrow().is_some() {
            let index = self.index.clone();
            blocking(move || index.heal()).await?;
        }
        let applied = self.index.applied();
        let records = self.log.changes_after(applied, BATCH_RECORDS).await?;
        if records.is_empty() {
            let due = unsaved.due_in();
            if due.is_none() {
                // Nothing is left to fail at, and the wait may be long.
                self.tell(None);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.log.wait_after(applied) => {}
                Ok(_) = failure.wait_for(Option::is_some) => {}
                () = tokio::time::sleep(due.unwrap_or(CHECKPOINT_AFTER)), if due.is_some() => {}
            }
        } else {
            let count = records.len() as u64;
            self.apply(records).await?;
            unsaved.add(count);
            if count < BATCH_RECORDS as u64 {
                let _ = tokio::time::timeout(REST, stop.cancelled()).await;
            }
        }
        self.report().await?;
        if unsaved.is_due() {
            self.checkpoint(unsaved, stop).await?;
        }
        Ok(())
    }

    fn tell(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|told| {
            *told != trouble && {
                *told = trouble;
                true
            }
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    async fn report(&self) -> Result<(), EngineError> {
        let (applied, last) = (self.index.applied().get(), self.log.last_seq().await?.get());
        metrics::gauge!("sediment_index_applied_seq").set(applied as f64);
        metrics::gauge!("sediment_index_lag_records").set(last.saturating_sub(applied) as f64);
        let held = self.index.oldest_hold_age().unwrap_or_default();
        metrics::gauge!("sediment_index_oldest_hold_seconds").set(held.as_secs_f64());
        Ok(())
    }

    async fn apply(&self, records: Vec<LogRecord>) -> Result<(), EngineError> {
        let index = self.index.clone();
        FailPoint::FollowApply.pass()?;
        blocking(move || index.apply(&records)).await?;
        Ok(FailPoint::FollowApplied.pass()?)
    }

    /// First the index, then the cursor, then the log: whatever is cut off in between, nothing is missing. What is not
    /// trimmed when it is to stop, the next one trims.
    async fn checkpoint(&self, unsaved: &mut Unsaved, stop: &CancellationToken) -> Result<(), EngineError> {
        if unsaved.records == 0 {
            return Ok(());
        }
        let index = self.index.clone();
        let through = blocking(move || index.checkpoint()).await?;
        FailPoint::FollowCheckpoint.pass()?;
        self.commit(Commit::AdvanceCursor { consumer: Consumer::ChunkIndex, through }).await?;
        FailPoint::FollowCursor.pass()?;
        let more = Outcome::Trimmed { records: TRIM_RECORDS };
        while self.commit(Commit::TrimLog { through }).await? == more && !stop.is_cancelled() {}
        FailPoint::FollowTrimmed.pass()?;
        *unsaved = Unsaved::default();
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome, EngineError> {
        self.meta.commit(commit).await.map_err(|error| match error {
            CommitError::Store(error) => EngineError::Meta(error),
            other => EngineError::Index(other.to_string()),
        })
    }
}

/// Records applied since the last checkpoint.
#[derive(Debug, Default)]
struct Unsaved {
    records: u64,
    since: Option<Instant>,
}

impl Unsaved {
    fn add(&mut self, records: u64) {
        self.records += records;
        self.since.get_or_insert_with(Instant::now);
    }

    fn due_in(&self) -> Option<Duration> {
        self.since.map(|since| CHECKPOINT_AFTER.saturating_sub(since.elapsed()))
    }

    fn is_due(&self) -> bool {
        self.records >= CHECKPOINT_RECORDS || self.due_in() == Some(Duration::ZERO)
    }
}

/// All manifests, page by page, from a blocking thread.
struct Manifests {
    log: Arc<dyn ChangeLog>,
    page: std::vec::IntoIter<ManifestRow>,
    after: Option<ManifestId>,
    ended: bool,
}

impl Iterator for Manifests {
    type Item = Result<ManifestRow, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.page.next() {
            return Some(Ok(row));
        }
        if self.ended {
            return None;
        }
        match Handle::current().block_on(self.log.manifests(self.after, MANIFESTS_PER_READ)) {
            Ok(page) => {
                self.ended = page.len() < MANIFESTS_PER_READ;
                self.after = page.last().map(|row| row.id).or(self.after);
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error.into()))
            }
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
