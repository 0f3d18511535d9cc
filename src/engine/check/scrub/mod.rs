//! Reading everything that bodies are made of, in small steps, while requests are served: records against their ids,
//! pack frames, bodies stored whole, the index against the packs, rows, and the database's pages.
//!
//! Rules of the module: one pass at a time; a pass goes on where the last one was stopped, also by the end of its process;
//! what is found damaged is treated as by a deep check ([`super`]): saved, or condemned and named, never deleted. A pass takes what
//! was there when it began: what is written meanwhile is for the next.
//!
//! It may meet everything, as a reader does: a record that went while it was judged is no damage, and what it stores once
//! more it stores as a client would.

mod cursor;
mod pass;
mod schedule;
mod settings;
mod status;

#[cfg(test)]
mod matrix_tests;
#[cfg(test)]
mod tests;

pub use cursor::Finished;
pub use schedule::ScrubSchedule;
pub use settings::ScrubSettings;
pub use status::{OnScrubProgress, ScrubReport, ScrubStatus};

use super::Checker;
use crate::engine::EngineError;
use crate::engine::blocking::blocking;
use crate::engine::gc::RESTORING;
use crate::sys::{Clock, FileSystem};
use cursor::Cursor;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// How fast a pass goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nobody else is there.
    Unlimited,
    /// At the rate of the settings, and at most half of the time.
    Beside,
    /// As slowly as the interval allows.
    Spread,
}

/// What a [`Scrubber`] is made of.
#[derive(Debug, Clone)]
pub struct ScrubParts {
    /// With rows and plain bodies.
    pub checker: Checker,
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    /// Where it keeps how far it is.
    pub file: PathBuf,
    pub settings: ScrubSettings,
}

/// Scrubs a store. Clones share everything.
#[derive(Debug, Clone)]
pub struct Scrubber(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ScrubParts,
    status: Mutex<ScrubStatus>,
    /// Of the pass under way.
    stop: Mutex<CancellationToken>,
    /// Somebody waits for the pass under way.
    hurry: AtomicBool,
    restored: OnceLock<CancellationToken>,
    running: Arc<tokio::sync::Mutex<()>>,
}

impl Scrubber {
    /// Blocks: it reads how far the last pass got.
    #[must_use]
    pub fn new(parts: ScrubParts) -> Self {
        let cursor = Cursor::load(parts.fs.as_ref(), &parts.file);
        let status = Mutex::new(ScrubStatus::new(&cursor, parts.clock.now()));
        let shared = Shared {
            parts,
            status,
            stop: Mutex::default(),
            hurry: AtomicBool::new(false),
            restored: OnceLock::new(),
            running: Arc::default(),
        };
        let scrubber = Self(Arc::new(shared));
        scrubber.publish();
        scrubber
    }

    /// Nothing is read before this is cancelled: not all bytes are here. The first one given counts.
    pub fn after(&self, restored: CancellationToken) {
        let _ = self.0.restored.set(restored);
    }

    /// Goes on with the pass that was stopped, or begins one. Stopping it is always safe. A pass whose caller goes away
    /// goes on.
    ///
    /// # Errors
    /// `Busy` when one is at work already; else what stopped it. Damage is no error: it is in the report.
    pub async fn run(
        &self,
        pace: Pace,
        stop: &CancellationToken,
        progress: Option<OnScrubProgress>,
    ) -> Result<ScrubReport, EngineError> {
        let run = self.begin(pace, stop, progress)?;
        run.await.map_err(std::io::Error::other)?
    }

    /// As [`Self::run`], without waiting for its end: [`Self::status`] tells.
    ///
    /// # Errors
    /// `Busy` when one is at work already.
    pub fn start(&self, pace: Pace, stop: &CancellationToken) -> Result<(), EngineError> {
        self.begin(pace, stop, None).map(drop)
    }

    fn begin(
        &self,
        pace: Pace,
        stop: &CancellationToken,
        progress: Option<OnScrubProgress>,
    ) -> Result<tokio::task::JoinHandle<Result<ScrubReport, EngineError>>, EngineError> {
        if self.0.restored.get().is_some_and(|restored| !restored.is_cancelled()) {
            return Err(EngineError::Busy(RESTORING));
        }
        let Ok(running) = Arc::clone(&self.0.running).try_lock_owned() else {
            return Err(EngineError::Busy("a scrub is at work already"));
        };
        self.0.hurry.store(false, Ordering::Release);
        let stop = stop.child_token();
        *self.0.stop.lock() = stop.clone();
        self.0.status.lock().begin();
        let this = self.clone();
        Ok(tokio::spawn(async move {
            let _running = running;
            let began = Instant::now();
            let result = this.run_alone(pace, &stop, progress).await;
            this.0.status.lock().end(result.as_ref().err().map(ToString::to_string));
            metrics::histogram!("sediment_scrub_seconds").record(began.elapsed().as_secs_f64());
            this.publish();
            result
        }))
    }

    /// A spread pass under way goes on as one [`Pace::Beside`].
    pub fn hurry(&self) {
        self.0.hurry.store(true, Ordering::Release);
    }

    /// Stops the pass under way between two steps; the next one goes on there. Returns whether there was one.
    #[must_use]
    pub fn cancel(&self) -> bool {
        let is_running = self.0.status.lock().running;
        self.0.stop.lock().cancel();
        is_running
    }

    /// Does not block.
    #[must_use]
    pub fn status(&self) -> ScrubStatus {
        self.0.status.lock().clone()
    }

    /// Returns once no pass is at work.
    pub async fn idle(&self) {
        drop(self.0.running.lock().await);
    }

    /// What a process told that is gone. Blocks.
    #[must_use]
    pub fn status_in(fs: &dyn FileSystem, file: &Path, clock: &dyn Clock) -> ScrubStatus {
        ScrubStatus::new(&Cursor::load(fs, file), clock.now())
    }

    /// Brings the gauges up to date.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub fn publish(&self) {
        let status = self.0.status.lock();
        let since = status.last.as_ref().map_or(status.since, |last| last.ended);
        let age = self.0.parts.clock.now().get().saturating_sub(since.get());
        metrics::gauge!("sediment_scrub_age_seconds").set(age.max(0) as f64 / 1000.0);
        metrics::gauge!("sediment_scrub_lost_objects").set(status.lost_objects() as f64);
    }

    async fn run_alone(
        &self,
        pace: Pace,
        stop: &CancellationToken,
        progress: Option<OnScrubProgress>,
    ) -> Result<ScrubReport, EngineError> {
        let this = self.clone();
        let parts = self.0.parts.clone();
        let mut cursor = blocking(move || {
            let mut cursor = Cursor::load(parts.fs.as_ref(), &parts.file);
            cursor.since.get_or_insert(parts.clock.now());
            if cursor.pass.is_none() {
                cursor.pass = Some(pass::begin(&parts)?);
            }
            Ok(cursor)
        })
        .await?;
        let Some(at) = cursor.pass.take() else { return Err(EngineError::Busy("no pass was begun")) };
        let mut run = pass::Run::new(this, pace, stop.clone(), progress, cursor, at);
        run.all().await
    }
}
