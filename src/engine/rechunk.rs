//! Bodies that were stored whole when deduplication failed, deduplicated later.
//!
//! A version is taken up as it is found: its file is read, every block verified, cut, and stored as any body on its way
//! in. Then one commit gives exactly that version the new body, if it still is what was read; whoever deleted or overwrote
//! it meanwhile wins, and what was stored is garbage. The file is garbage once no version names it, and collection takes it
//! as any other. What is done is done: stopped anywhere, the next pass goes on with what is left.

use super::gc::Rate;
use super::ingest::{Fallback, Ingest, Workers};
use super::{BodySpec, BodyWriter, EngineError, PlainReader, StagedBody};
use crate::meta::{Commit, CommitError, Inspect, MetaStore, PlainVersion, VersionPlace};
use crate::sys::is_device_error;
use crate::types::{ETag, PlainId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Versions asked for at a time.
const PAGE: usize = 64;
/// Read at a time: whole blocks of the file.
const READ_BYTES: u64 = 1 << 20;
/// Between two passes. One that finds nothing costs one look into an index.
const PAUSE: Duration = Duration::from_secs(60);
/// Files that cannot be read are passed over from then on, so many of them.
const DAMAGED_AT_MOST: usize = 1024;

/// Whether this is a time to write so many bytes: there is room for them, and the index works.
pub type MayWork = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// Runs beside the requests for as long as the server does.
pub struct Rechunker {
    ingest: Arc<Ingest>,
    meta: Arc<dyn MetaStore>,
    inspect: Arc<dyn Inspect>,
    bytes_per_second: u64,
    may_work: MayWork,
    damaged: HashSet<PlainId>,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RechunkReport {
    pub bodies: u64,
    pub bytes: u64,
    /// Deleted or overwritten while they were read.
    pub changed: u64,
    /// Their files cannot be read, or are not what their versions say. They stay as they are.
    pub damaged: u64,
    /// Ended before everything was looked at.
    pub stopped: bool,
}

impl std::fmt::Debug for Rechunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rechunker").finish_non_exhaustive()
    }
}

/// What became of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Changed,
    Stopped,
}

impl Rechunker {
    pub(super) fn new(
        ingest: Arc<Ingest>,
        meta: Arc<dyn MetaStore>,
        inspect: Arc<dyn Inspect>,
        may_work: MayWork,
    ) -> Self {
        let bytes_per_second = ingest.parts.settings.rechunk_bytes_per_second;
        Self { ingest, meta, inspect, bytes_per_second, may_work, damaged: HashSet::new() }
    }

    /// Returns when stopped, or at once where deduplication is off or the rate is 0.
    pub async fn run(mut self, stop: CancellationToken) {
        if self.bytes_per_second == 0 || self.ingest.parts.settings.plain_bodies {
            return;
        }
        while stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
            match self.pass(&stop).await {
                Ok(report) if report != RechunkReport::default() => {
                    tracing::info!(?report, "bodies that were stored whole are deduplicated");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "bodies that were stored whole stay so; tried again in a minute");
                }
            }
        }
    }

    /// One look at everything that is stored whole.
    ///
    /// # Errors
    /// What concerns more than one body: index, packs, metadata. What was done until then stays done.
    pub async fn pass(&mut self, stop: &CancellationToken) -> Result<RechunkReport, EngineError> {
        let mut report = RechunkReport::default();
        let mut rate = Rate::new(self.bytes_per_second, Instant::now());
        let mut after: Option<VersionPlace> = None;
        loop {
            let page = self.inspect.plain_versions(after.as_ref(), PAGE).await?;
            for version in
                page.iter().filter(|version| !self.damaged.contains(&version.body)).collect::<Vec<_>>()
            {
                if stop.is_cancelled() || !(self.may_work)(0) {
                    report.stopped = true;
                    return Ok(report);
                }
                // Its file stays beside its chunks until it is collected.
                if !(self.may_work)(version.size) {
                    continue;
                }
                self.take(version, &mut rate, stop, &mut report).await?;
            }
            after = page.last().map(|version| version.place.clone());
            if page.len() < PAGE || report.stopped {
                return Ok(report);
            }
        }
    }

    async fn take(
        &mut self,
        version: &PlainVersion,
        rate: &mut Rate,
        stop: &CancellationToken,
        report: &mut RechunkReport,
    ) -> Result<(), EngineError> {
        let result = match self.rechunk(version, rate, stop).await {
            Ok(Fate::Done) => {
                report.bodies += 1;
                report.bytes += version.size;
                metrics::counter!("sediment_rechunked_bytes_total").increment(version.size);
                "ok"
            }
            Ok(Fate::Changed) => {
                report.changed += 1;
                "changed"
            }
            // Its version's no more, as a rule; else there is nothing to be read next time, either.
            Err(EngineError::MissingPlain(id)) => {
                self.pass_over(id);
                report.changed += 1;
                "changed"
            }
            Ok(Fate::Stopped) => {
                report.stopped = true;
                return Ok(());
            }
            Err(error @ (EngineError::CorruptPlain { .. } | EngineError::Size { .. })) => {
                tracing::error!(body = %version.body, %error, "a body that is stored whole stays so");
                self.pass_over(version.body);
                report.damaged += 1;
                "damaged"
            }
            Err(error) => return Err(error),
        };
        metrics::counter!("sediment_rechunked_bodies_total", "result" => result).increment(1);
        Ok(())
    }

    fn pass_over(&mut self, id: PlainId) {
        if self.damaged.len() < DAMAGED_AT_MOST {
            self.damaged.insert(id);
        }
    }

    async fn rechunk(
        &self,
        version: &PlainVersion,
        rate: &mut Rate,
        stop: &CancellationToken,
    ) -> Result<Fate, EngineError> {
        let store = self.ingest.parts.plain.clone();
        let id = version.body;
        let open = move || store.reader(id).map_err(|error| of_file(id, error));
        let reader = Workers::start_blocking(open).wait().await??;
        if reader.size() != version.size {
            return Err(EngineError::CorruptPlain { id, why: "it is not as long as recorded" });
        }
        let Some(staged) = self.store(id, reader, version.size, rate, stop).await? else {
            return Ok(Fate::Stopped);
        };
        let StagedBody { body, digests, hold, .. } = staged;
        if !is_body_of(&version.etag, &digests.md5) {
            return Err(EngineError::CorruptPlain {
                id,
                why: "its bytes are not those of its version's ETag",
            });
        }
        let commit = Commit::ReplacePlain { place: version.place.clone(), plain: id, body };
        // Never given up: the hold has to outlive it.
        let outcome = self.meta.commit(commit).await;
        drop(hold);
        match outcome {
            Ok(_) => Ok(Fate::Done),
            Err(CommitError::Store(error)) => Err(error.into()),
            // Another version by now, or none.
            Err(_) => Ok(Fate::Changed),
        }
    }

    /// `None` when stopped.
    async fn store(
        &self,
        id: PlainId,
        reader: PlainReader,
        size: u64,
        rate: &mut Rate,
        stop: &CancellationToken,
    ) -> Result<Option<StagedBody>, EngineError> {
        let spec = BodySpec { size: Some(size), checksums: Vec::new() };
        let mut writer = Box::new(self.ingest.writer(spec, Fallback::Refuse).await?);
        writer.admit().await?;
        let (reader, mut start) = (Arc::new(reader), 0);
        while start < size {
            let (reader, range) = (Arc::clone(&reader), start..size.min(start + READ_BYTES));
            let pause = rate.take(range.end - range.start, Instant::now());
            let is_stopped = stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none();
            if is_stopped || !(self.may_work)(0) {
                return Ok(None);
            }
            start = range.end;
            let read = move || reader.read_at(range).map_err(|error| of_file(id, error));
            writer.write(Workers::start_blocking(read).wait().await??).await?;
        }
        writer.finish().await.map(Some)
    }
}

/// As a damaged one: the others must not wait for it.
fn of_file(id: PlainId, error: EngineError) -> EngineError {
    match error {
        EngineError::Io(error) if is_device_error(&error) => {
            EngineError::CorruptPlain { id, why: "the device cannot read its file" }
        }
        other => other,
    }
}

/// An object of several parts has another kind of ETag, which says nothing of its bytes.
fn is_body_of(etag: &ETag, md5: &[u8; 16]) -> bool {
    etag.parts() > 0 || etag.md5() == md5
}

#[cfg(test)]
#[path = "rechunk_tests.rs"]
mod tests;
