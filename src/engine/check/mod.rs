//! Checking a store: are the references those of a recount, is every referenced chunk there, does every record
//! hold what its id says; and building the index anew.
//!
//! Rules of the module: the caller makes sure that nothing else writes (the data directory's lock), or that the
//! index has caught up and stays so; a check changes nothing, but that what a deep one finds damaged is condemned. Memory: references are counted for one range of ids
//! after another, each pass walking all manifests again, so that at most [`IDS_PER_PASS`] counters are held; the
//! set of nodes already walked, 32 bytes for about a thousand chunks, is held whole.

mod deep;
mod recount;
mod report;
mod rows;

#[cfg(test)]
mod tests;

pub use report::{CheckPhase, CheckProgress, CheckReport, Finding, OnCheckProgress};

use super::EngineError;
use super::blocking::blocking;
use super::index::{ChunkIndex, Progress};
use super::pack::PackSet;
use crate::meta::{ChangeLog, ManifestRow, MetaStore};
use crate::types::{CommitSeq, ManifestId};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Counters held at once; some 100 bytes each.
const IDS_PER_PASS: u64 = 1 << 20;
const PAGE: usize = 1000;

/// Checks a store and rebuilds its index.
#[derive(Debug, Clone)]
pub struct Checker {
    packs: PackSet,
    index: ChunkIndex,
    log: Arc<dyn ChangeLog>,
    rows: Option<Arc<dyn MetaStore>>,
    ids_per_pass: u64,
}

impl Checker {
    #[must_use]
    pub fn new(packs: PackSet, index: ChunkIndex, log: Arc<dyn ChangeLog>) -> Self {
        Self { packs, index, log, rows: None, ids_per_pass: IDS_PER_PASS }
    }

    /// A deep check reads every version's row, too.
    #[must_use]
    pub fn with_rows(self, meta: Arc<dyn MetaStore>) -> Self {
        Self { rows: Some(meta), ..self }
    }

    /// Recounts all references and compares them with the index; `deep` also reads every record in use, and checks
    /// its content against its hash.
    ///
    /// # Errors
    /// When the index is behind the log, or the store cannot be read at all. What is wrong with single chunks is
    /// in the report.
    pub async fn check(
        &self,
        deep: bool,
        stop: &CancellationToken,
        progress: Option<OnCheckProgress>,
    ) -> Result<CheckReport, EngineError> {
        let begun = Instant::now();
        if self.index.applied() < self.log.last_seq().await? {
            return Err(EngineError::Index("it has not applied the whole log yet".into()));
        }
        let (this, stop, handle) = (self.clone(), stop.clone(), Handle::current());
        blocking(move || {
            let mut pass = Pass { checker: &this, stop: &stop, progress, report: CheckReport::default() };
            pass.recount(&handle)?;
            if deep {
                pass.deep()?;
                if let Some(meta) = &this.rows {
                    pass.rows(meta.as_ref(), &handle)?;
                }
            }
            let mut report = pass.report;
            report.stopped = stop.is_cancelled();
            report.seconds = begun.elapsed().as_secs_f64();
            Ok(report)
        })
        .await
    }

    /// Builds the index anew from packs and manifests. `progress` gets records done and in all.
    ///
    /// # Errors
    /// When packs or metadata cannot be read, or somebody wrote meanwhile.
    pub async fn rebuild_index(
        &self,
        progress: Option<Arc<dyn Fn(u64, u64) + Send + Sync>>,
    ) -> Result<CommitSeq, EngineError> {
        let seq = self.log.last_seq().await?;
        let (this, handle) = (self.clone(), Handle::current());
        blocking(move || {
            let mut rows = Manifests::new(Arc::clone(&this.log), handle);
            let report = |done: u64, total: u64| {
                if let Some(progress) = &progress {
                    progress(done, total);
                }
            };
            this.index.rebuild(&mut rows, seq, Progress(&report))?;
            this.index.checkpoint()
        })
        .await?;
        if self.log.last_seq().await? != seq {
            return Err(EngineError::Busy("the store changed while its index was built; build it again"));
        }
        Ok(seq)
    }
}

/// One check at work, on a blocking thread.
struct Pass<'a> {
    checker: &'a Checker,
    stop: &'a CancellationToken,
    progress: Option<OnCheckProgress>,
    report: CheckReport,
}

impl Pass<'_> {
    fn progress(&self, phase: CheckPhase, done: u64, total: u64) {
        if let Some(progress) = &self.progress {
            progress(CheckProgress { phase, done, total });
        }
    }
}

/// All manifests, a page at a time, on a blocking thread.
struct Manifests {
    log: Arc<dyn ChangeLog>,
    handle: Handle,
    page: std::vec::IntoIter<ManifestRow>,
    after: Option<ManifestId>,
    done: bool,
}

impl Manifests {
    fn new(log: Arc<dyn ChangeLog>, handle: Handle) -> Self {
        Self { log, handle, page: Vec::new().into_iter(), after: None, done: false }
    }
}

impl Iterator for Manifests {
    type Item = Result<ManifestRow, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            match self.handle.block_on(self.log.manifests(self.after, PAGE)) {
                Ok(page) => {
                    self.done = page.len() < PAGE;
                    self.after = page.last().map(|row| row.id).or(self.after);
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error.into()));
                }
            }
        }
        self.page.next().map(Ok)
    }
}
