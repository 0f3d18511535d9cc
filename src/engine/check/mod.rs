//! Checking a store: are the references those of a recount, is every referenced chunk there, does every record
//! hold what its id says; and building the index anew.
//!
//! Rules of the module: the caller makes sure that nothing else writes (the data directory's lock), or that the
//! index has caught up and stays so; a check changes nothing, but that what a deep one finds damaged is stored once more if
//! its content is still to be had, and condemned if not. Nothing is ever deleted. Memory: references are counted for one range of ids
//! after another, each pass walking all manifests again, so that at most [`IDS_PER_PASS`] counters are held; the
//! set of nodes already walked, 32 bytes for about a thousand chunks, is held whole.
//!
//! [`scrub`] does the same in small steps while requests are served.

mod deep;
mod elsewhere;
mod index_walk;
mod lost;
mod plain;
mod prove;
mod recount;
mod report;
mod rows;
pub mod scrub;

#[cfg(test)]
mod tests;

pub use elsewhere::Elsewhere;
pub use report::{CheckPhase, CheckProgress, CheckReport, Finding, Named, OnCheckProgress, OnFinding};

use super::EngineError;
use super::blocking::blocking;
use super::gc::PlainFiles;
use super::index::{ChunkIndex, Progress};
use super::pack::PackSet;
use crate::meta::{Audit, AuditedManifest, ChangeLog, ManifestRow, MetaError};
use crate::types::{ChunkId, CommitSeq, ManifestId};
use lost::Lost;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
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
    rows: Option<Arc<dyn Audit>>,
    plain: Option<PlainFiles>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    on_finding: Option<Told>,
    ids_per_pass: u64,
}

#[derive(Clone)]
struct Told(OnFinding);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Checker {
    #[must_use]
    pub fn new(packs: PackSet, index: ChunkIndex, log: Arc<dyn ChangeLog>) -> Self {
        let (rows, plain, elsewhere, on_finding) = (None, None, None, None);
        Self { packs, index, log, rows, plain, elsewhere, on_finding, ids_per_pass: IDS_PER_PASS }
    }

    /// A deep check reads every row that leads to a body, too, and names what is lost; a manifest's row that cannot be
    /// read is told, and the next ones are read.
    #[must_use]
    pub fn with_rows(self, rows: Arc<dyn Audit>) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// A deep check reads the bodies stored whole, too.
    #[must_use]
    pub fn with_plain(self, plain: PlainFiles) -> Self {
        Self { plain: Some(plain), ..self }
    }

    /// What is damaged beyond saving is looked for there.
    #[must_use]
    pub fn with_elsewhere(self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        Self { elsewhere: Some(elsewhere), ..self }
    }

    /// Tells each finding at once, however many there are.
    #[must_use]
    pub fn telling(self, each: OnFinding) -> Self {
        Self { on_finding: Some(Told(each)), ..self }
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
            let mut pass = Pass { progress, ..Pass::new(&this, &stop, CheckReport::default()) };
            pass.recount(&handle)?;
            if deep {
                pass.deep(&handle)?;
            }
            let is_damaged = pass.report.missing > 0 || pass.report.damaged > 0;
            if let Some(rows) = this.rows.as_ref().filter(|_| deep || is_damaged) {
                if !deep {
                    pass.all_entries(&HashSet::new())?;
                }
                pass.rows(rows.as_ref(), &handle)?;
            }
            let mut report = pass.report;
            report.stopped = stop.is_cancelled();
            report.seconds = begun.elapsed().as_secs_f64();
            Ok(report)
        })
        .await
    }

    /// Writes damaged headers and footers of packs anew, from the records.
    ///
    /// # Errors
    /// When a pack cannot be written.
    pub async fn mend_frames(&self) -> Result<u64, EngineError> {
        let this = self.clone();
        blocking(move || {
            let stop = CancellationToken::new();
            let mut pass = Pass::new(&this, &stop, CheckReport::default());
            pass.mend()?;
            Ok(pass.report.mended)
        })
        .await
    }

    /// After a check that healed: what is still wrong. What was read and healed stays told.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn check_again(
        &self,
        before: CheckReport,
        stop: &CancellationToken,
    ) -> Result<CheckReport, EngineError> {
        let now = self.check(true, stop, None).await?;
        let (healed, from_backup) = (before.healed + now.healed, before.from_backup + now.from_backup);
        Ok(CheckReport { healed, from_backup, seconds: before.seconds + now.seconds, ..now })
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
            let mut damaged = Vec::new();
            let rows = Manifests::new(&this, handle).filter_map(|row| match row {
                Ok(AuditedManifest { manifest: Ok(row), .. }) => Some(Ok(row)),
                Ok(AuditedManifest { id, manifest: Err(why) }) => {
                    let id_text = hex::encode(&id);
                    tracing::error!(id = %id_text, %why, "a manifest cannot be read; nothing is collected");
                    damaged.push(id);
                    None
                }
                Err(error) => Some(Err(error)),
            });
            let mut rows = rows;
            let report = |done: u64, total: u64| {
                if let Some(progress) = &progress {
                    progress(done, total);
                }
            };
            this.index.rebuild(&mut rows, seq, Progress(&report))?;
            drop(rows);
            for id in damaged {
                // What it needs is not known: as for a node that cannot be read, nothing may be collected.
                this.index.owe_unread(ChunkId::new(Sha256::digest(&id).into()))?;
            }
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
    lost: Lost,
}

impl<'a> Pass<'a> {
    fn new(checker: &'a Checker, stop: &'a CancellationToken, report: CheckReport) -> Self {
        Self { checker, stop, progress: None, report, lost: Lost::default() }
    }

    fn found(&mut self, finding: Finding) {
        if let Some(Told(each)) = &self.checker.on_finding {
            each(&finding);
        }
        self.report.found(finding);
    }

    fn progress(&self, phase: CheckPhase, done: u64, total: u64) {
        if let Some(progress) = &self.progress {
            progress(CheckProgress { phase, done, total });
        }
    }
}

/// All manifests, a page at a time, on a blocking thread.
struct Manifests {
    checker: Checker,
    handle: Handle,
    page: std::vec::IntoIter<AuditedManifest>,
    after: Vec<u8>,
    done: bool,
}

impl Manifests {
    fn new(checker: &Checker, handle: Handle) -> Self {
        Self {
            checker: checker.clone(),
            handle,
            page: Vec::new().into_iter(),
            after: Vec::new(),
            done: false,
        }
    }

    /// Without [`Checker::with_rows`], one that cannot be read is an error.
    fn read(&self) -> Result<Vec<AuditedManifest>, MetaError> {
        let after = self.after[..].try_into().ok().map(ManifestId::new);
        let page = self.handle.block_on(self.checker.log.manifests(after, PAGE));
        let audited =
            |row: ManifestRow| AuditedManifest { id: row.id.as_bytes().to_vec(), manifest: Ok(row) };
        match (page, &self.checker.rows) {
            // One by one.
            (Err(MetaError::Corrupt(_)), Some(rows)) => {
                self.handle.block_on(rows.manifest_rows(&self.after, PAGE))
            }
            (page, _) => Ok(page?.into_iter().map(audited).collect()),
        }
    }
}

impl Iterator for Manifests {
    type Item = Result<AuditedManifest, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            match self.read() {
                Ok(page) => {
                    self.done = page.len() < PAGE;
                    if let Some(last) = page.last() {
                        self.after.clone_from(&last.id);
                    }
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
