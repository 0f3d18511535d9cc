//! Garbage collection: giving back what no version needs.
//!
//! Rules of the module: chunks die only here; a dry run ([`Collector::plan`]) changes nothing; at every moment a
//! crash leaves only garbage, which a later run finds; nothing in a pack is marked, punched or removed before the
//! index that no longer names it is durable, nor punched before its mark is.
//!
//! # How it is safe
//! Every request that writes or reads takes a *hold* before it looks at the index: the position that the index
//! had applied. Every entry without references carries a *stamp*: the position at which it became unused, was
//! inserted, or was last hit. A run puts a *mark* into the log, waits until the index has applied it, and takes the
//! *bound*: the oldest hold or the mark, whichever is less. Then it marks the log again, waits for that, and collects
//! entries without references whose stamp is below the bound, checking each again under the index's lock.
//! - A write under way that hit an entry: its hold is at most the stamp, so the bound is not above it.
//! - A write that let go of its hold has committed before; waiting for the second mark counts its references. One whose sync failed
//!   may be found by the next start, and is counted nowhere: but then nothing commits any more, a mark neither.
//! - A write that comes later hits the entry first, which stamps it anew, or finds it gone and stores the chunk again.
//!
//! A record that no index entry names may be one whose appender has not told the index yet. A pack is *settled*
//! when it was sealed before a mark and no hold is older than that mark: then all its appenders are done. Only
//! settled packs are removed or written anew, and only in them unnamed records count as garbage.
//!
//! # What clients feel of it
//! A run holds the index's lock for 256 entries at a time, writes to packs of its own and syncs them and its marks by
//! itself, so that no commit waits for that, and rests after each step for as long as the step took, at most a second.
//!
//! # What may meet what
//! `expire` is a deletion, or the end of an upload, by a lifecycle rule; `check` a deep check beside the others; `reopen` the index
//! opened anew after a failed write; `fsck` and `rebuild` the offline verbs; `restart` a power cut, too.
//!
//! | | put | rewrite | plain put | complete | abort | part copy | delete | expire | copy | read | gc | compact | backup | checkpoint | check | reopen | fsck | rebuild | restart |
//! |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
//! | put | H1 | H1 | – | C | C | C | C | C | C | – | H2 | S | M | K | T | A | X | X | D |
//! | rewrite | | W | – | C | C | C | C | C | C | R | H2 W | S W | M | K W | T | A W | X | X | D W |
//! | plain put | | | – | C | C | C | C | C | C | – | F | – | M | – | – | – | X | X | D |
//! | complete | | | | P | P | P | C | C | C | – | P H2 | S | U | K | T | A | X | X | D |
//! | abort | | | | | C | P | C | C | C | H3 | L | L | U | L | T | A | X | X | D |
//! | part copy | | | | | | C | B | B | C | – | B L | – | M | – | – | – | X | X | D |
//! | delete | | | | | | | C | E | B | H3 | L | L | U | L | T | A | X | X | D |
//! | expire | | | | | | | | E | B | H3 | L | L | U | L | T | A | X | X | D |
//! | copy | | | | | | | | | C | – | B L | – | – | – | – | – | X | X | D |
//! | read | | | | | | | | | | – | H3 | R | – | – | – | A | X | X | – |
//! | gc | | | | | | | | | | | O | O | U N | K | T | A | X | X | G |
//! | compact | | | | | | | | | | | | O | N | K W | T | A | X | X | G |
//! | backup | | | | | | | | | | | | | O | – | – | A | – | X | Y |
//! | checkpoint | | | | | | | | | | | | | | K | – | K | X | X | V |
//! | check | | | | | | | | | | | | | | | – | T | X | X | – |
//! | reopen | | | | | | | | | | | | | | | | A | X | X | V |
//! | fsck | | | | | | | | | | | | | | | | | X | X | – |
//! | rebuild | | | | | | | | | | | | | | | | | | X | V |
//! | restart | | | | | | | | | | | | | | | | | | | V |
//!
//! - **H1** Both may append the same chunk. The index keeps the first place; the other copy is garbage at once. The
//!   first committer's barrier syncs all packs, so the place kept is durable whoever wrote it.
//! - **H2** The hold keeps everything hit or inserted above the bound, and its packs unsettled, until the commit.
//! - **H3** The reader's hold is at most the stamp that the deletion will give; its chunks outlive the reader.
//! - **C** One metadata writer: commits come one after the other, each checks its conditions inside.
//! - **P** The parts' rows hold every chunk until the commit that turns them into a version; a part replaced or
//!   aborted meanwhile is `PartGone` or `NoSuchUpload`, and nothing changes. Who completes holds from before the rows are read,
//!   so that a part stored whole can still be read to be joined.
//! - **B** A copy names a manifest that must still have a row: `BodyGone` otherwise, and the source is read again.
//! - **F** A file that no row names goes only when nobody is at work any more who was before it was looked for, and no record has named it
//!   since (`index::unnamed`): so a reader of what was committed and deleted meanwhile keeps it, too.
//! - **L** References fall only when the index applies the commit; the run waits for the end of the log.
//! - **S** A hit names an id, never a place. A place moved before the commit is as good; its pack is settled, so
//!   nothing of this write is in it without the index knowing.
//! - **R** A reader whose pack is gone, or whose record was punched because its chunk is elsewhere by now, asks the index
//!   again, and again when it has moved once more; an open file stays readable.
//! - **O** One run at a time; a second is told that the first is at work.
//! - **X** Never together: both demand the data directory's lock. Each finds what the other left whole.
//! - **D** Packs are synced before the row commits: after a crash the row is there with its bytes, or neither.
//! - **G** Each step leaves only garbage: unnamed records, or two copies of one. The next run finds them.
//! - **V** The index is a derived view: half built it is built again, from packs and log.
//! - **W** A put that stores chunks again: the copies are durable before the index names them, and who moves an entry says from
//!   where. The hold keeps the copies' pack unsettled until then. See `engine::index`.
//! - **E** A deletion by a rule names the version and the rules that it looked at, and is refused when either is another by
//!   then. So of two one does nothing.
//! - **K** A checkpoint says nothing new. What is recent goes to the tree under the index's lock, and a pack becomes known only
//!   after everybody is gone who may have appended to it, and then what they added was settled.
//! - **T** A deep check holds while it judges. What it cannot read it condemns only where the index still names it at that very
//!   place, or stores it again as a put does (**W**), and marks the old record once the index that no longer names it is durable.
//! - **A** An index that was opened anew may have forgotten stamps and references, never a record: packs that it does not know are
//!   scanned. Until all are gone who held before, and all is applied again that was, nothing is collected.
//! - **M** A backup copies what is durable, and the log only after all bytes that it names.
//! - **U** What became unused behind its cursor is older than the bound only once it was copied, or once its oldest record
//!   is too old to be waited for ([`CursorBound`]); a file likewise, by the mark after it was looked for. Before anything is
//!   collected that it lacks its cursor is gone, durably, and cannot be advanced any more: so it notices, and begins anew.
//! - **N** It moves on only when no space was given back while it read: what was moved meanwhile it copies from where it is.
//! - **Y** Every round begins at the cursor, with what the packs then show to be durable.
//! - **–** They share nothing that changes.
//!
//! Deduplicating a plain body later (`engine::rechunk`) is a put whose commit changes the body of a version: to all others it is a
//! put, and to whoever changes that version it is **C**: the commit names what was read. Its file goes as **F** says.

mod adopt;
mod collect;
mod fence;
mod plain;
mod plan;
pub(super) mod rate;
mod reclaim;
mod report;
mod schedule;
mod settings;
mod shipped;

#[cfg(test)]
mod copy_tests;
#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod matrix_tests;
#[cfg(test)]
mod plain_tests;
#[cfg(test)]
mod race_history_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod shipped_tests;
#[cfg(test)]
mod steady_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod testing_mortal;
#[cfg(test)]
mod testing_plain;
#[cfg(test)]
mod testing_ship;

pub use plain::{PlainCensus, PlainFiles};
pub use report::{GcAction, GcPhase, GcPlan, GcProgress, GcReport, OnProgress, PackPlan};
pub use schedule::Schedule;
pub use settings::GcSettings;
pub use shipped::{CursorBound, ShippedBound};

use super::EngineError;
use super::blocking::blocking;
use super::index::ChunkIndex;
use super::pack::PackSet;
use crate::meta::MetaStore;
pub(super) use crate::sys::Rate;
use fence::{Notes, commit_error};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Why nobody collects or scrubs.
pub(in crate::engine) const RESTORING: &str = "the store is being restored, and not all of it is here yet";

/// Why a run collects nothing.
pub(super) const UNCOUNTED: &str = "manifest nodes in use cannot be read: nothing is collected until they can, or the bodies they belong to are gone";

/// Collects garbage. Clones share everything.
#[derive(Debug, Clone)]
pub struct Collector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    packs: PackSet,
    index: ChunkIndex,
    meta: Arc<dyn MetaStore>,
    plain: Option<PlainFiles>,
    settings: GcSettings,
    notes: Mutex<Notes>,
    shipped: OnceLock<Arc<dyn ShippedBound>>,
    restored: OnceLock<CancellationToken>,
    running: Arc<tokio::sync::Mutex<()>>,
}

impl Collector {
    /// Somebody must apply the log to the index meanwhile: a run waits for it.
    #[must_use]
    pub fn new(
        packs: PackSet,
        index: ChunkIndex,
        meta: Arc<dyn MetaStore>,
        plain: Option<PlainFiles>,
        settings: GcSettings,
    ) -> Self {
        let (notes, shipped, running) = (Mutex::default(), OnceLock::new(), Arc::default());
        let restored = OnceLock::new();
        Self(Arc::new(Shared { packs, index, meta, plain, settings, notes, shipped, restored, running }))
    }

    /// Nothing is collected before this is cancelled: not all bytes are here. The first one given counts.
    pub fn after(&self, restored: CancellationToken) {
        let _ = self.0.restored.set(restored);
    }

    /// Whatever became unused behind this bound is spared from now on. The first one given counts.
    pub fn spare(&self, unshipped: Arc<dyn ShippedBound>) {
        let _ = self.0.shipped.set(unshipped);
    }

    /// What a run would do now; changes nothing.
    ///
    /// # Errors
    /// When the index or the packs cannot be read.
    pub async fn plan(&self) -> Result<GcPlan, EngineError> {
        let (shared, shipped) = (Arc::clone(&self.0), self.shipped().await?);
        let plan =
            blocking(move || plan::plan(&shared.packs, &shared.index, &shared.settings, shipped)).await?;
        let PlainCensus { unused, unused_bytes, .. } = self.plain_census().await?;
        Ok(GcPlan { plain_files: unused, plain_bytes: unused_bytes, ..plan })
    }

    /// Collects and gives space back. Stopping it between two steps is always safe; the next run goes on. A run
    /// whose caller goes away ends all the same, and no other begins before.
    ///
    /// # Errors
    /// `Busy` when a run is at work already; else what stopped it. What was done until then stays done.
    pub async fn run(
        &self,
        stop: &CancellationToken,
        progress: Option<OnProgress>,
    ) -> Result<GcReport, EngineError> {
        if self.0.restored.get().is_some_and(|restored| !restored.is_cancelled()) {
            return Err(EngineError::Busy(RESTORING));
        }
        let Ok(running) = Arc::clone(&self.0.running).try_lock_owned() else {
            return Err(EngineError::Busy("garbage collection is at work already"));
        };
        let (this, stop) = (self.clone(), stop.clone());
        let run = tokio::spawn(async move {
            let _running = running;
            this.run_alone(stop, progress).await
        });
        run.await.map_err(std::io::Error::other)?
    }

    /// Returns once no run is at work.
    pub async fn idle(&self) {
        drop(self.0.running.lock().await);
    }

    async fn run_alone(
        &self,
        stop: CancellationToken,
        progress: Option<OnProgress>,
    ) -> Result<GcReport, EngineError> {
        let begun = Instant::now();
        let rate = Rate::new(self.0.settings.rate_bytes_per_second, begun);
        let mut run = Run { stop, progress, rate };
        let result = self.run_phases(&mut run).await;
        let seconds = begun.elapsed().as_secs_f64();
        let outcome = if result.is_ok() { "ok" } else { "error" };
        metrics::counter!("sediment_gc_runs_total", "result" => outcome).increment(1);
        metrics::histogram!("sediment_gc_seconds").record(seconds);
        let mut report = result?;
        report.seconds = seconds;
        report.stopped = run.stop.is_cancelled();
        metrics::counter!("sediment_gc_collected_total").increment(report.collected);
        metrics::counter!("sediment_gc_freed_bytes_total").increment(report.freed_bytes);
        metrics::counter!("sediment_gc_moved_bytes_total").increment(report.moved_bytes);
        Ok(report)
    }

    async fn run_phases(&self, run: &mut Run) -> Result<GcReport, EngineError> {
        let mut report = GcReport::default();
        run.progress(GcPhase::Waiting, 0, 0);
        let before = self.allocated().await?;
        let index = self.0.index.clone();
        blocking(move || index.count_unread()).await?;
        let fence = match self.fence(&run.stop).await {
            Err(error @ EngineError::Meta(_)) => {
                tracing::warn!(%error, "garbage collection cannot begin; it punches what is marked, and tries again");
                self.punch_marked(run, &mut report).await?;
                self.fence(&run.stop).await?
            }
            fence => fence?,
        };
        if let Some(fence) = fence {
            // What was not readable before the fence is known now; what comes later is protected by its stamps.
            report.uncounted_nodes = self.0.index.uncounted_nodes();
            if report.uncounted_nodes == 0 {
                self.collect(fence.bound, run, &mut report).await?;
                if !run.stop.is_cancelled() {
                    self.reclaim(run, &mut report).await?;
                }
            } else {
                tracing::error!(nodes = report.uncounted_nodes, "{UNCOUNTED}");
            }
            if !run.stop.is_cancelled() {
                self.sweep_plain(run, &mut report).await?;
            }
        }
        report.freed_bytes = before.saturating_sub(self.allocated().await?) + report.plain_bytes;
        Ok(report)
    }

    async fn allocated(&self) -> Result<u64, EngineError> {
        let packs = self.0.packs.clone();
        blocking(move || Ok(packs.packs()?.iter().map(|info| info.allocated).sum())).await
    }
}

/// What the phases of one run share.
struct Run {
    stop: CancellationToken,
    progress: Option<OnProgress>,
    rate: Rate,
}

impl Run {
    fn progress(&self, phase: GcPhase, done: u64, total: u64) {
        if let Some(progress) = &self.progress {
            progress(GcProgress { phase, done, total });
        }
    }

    /// As long as a step took, at most a second: where steps take longer because clients are at work, so do the rests.
    async fn rest(&self, worked: Duration) {
        let pause = rate::rest(worked);
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    async fn throttle(&mut self, bytes: u64, now: Instant) {
        let pause = self.rate.take(bytes, now);
        if !pause.is_zero() {
            // Stopped early: the caller looks.
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }
}
