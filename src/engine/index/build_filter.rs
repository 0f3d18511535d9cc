//! Building the filter of the ids that are in the tree, beside all else.

use super::filter::Bloom;
use super::filters::{Next, Step};
use super::lookup::ChunkIndex;
use crate::engine::EngineError;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Ids taken in at a time: some milliseconds.
const STEP_IDS: usize = 8192;
/// How often it is looked whether there is anything to do.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl ChunkIndex {
    /// Keeps the filter fit for what the index holds, on half a core at most, until it is told to stop.
    pub async fn keep_filter(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let (index, began) = (self.clone(), Instant::now());
            let step = tokio::task::spawn_blocking(move || index.extend_filter()).await;
            let pause = match step.map_err(std::io::Error::other).map_err(EngineError::from).flatten() {
                Ok(true) => began.elapsed(),
                Ok(false) => LOOK_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "the filter of the chunk index is not built; trying again");
                    LOOK_EVERY
                }
            };
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    }

    /// One step towards the filter that answers for chunks that are not there; until it is whole, and where it is full,
    /// the tree is asked. Returns whether there is more to do.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn extend_filter(&self) -> Result<bool, EngineError> {
        self.extend_filter_by(STEP_IDS)
    }

    pub(super) fn extend_filter_by(&self, ids: usize) -> Result<bool, EngineError> {
        let filters = &self.0.store.filters;
        match filters.next(self.0.rows()) {
            Next::Nothing => return Ok(false),
            Next::Begin(bytes) => {
                // Its pages are touched before the lock is taken.
                let bloom = Bloom::new(bytes);
                let _nobody_writes = self.0.totals.lock();
                filters.begin(bloom);
            }
            Next::Extend(step) => self.extend_from(step, ids)?,
        }
        Ok(true)
    }

    fn extend_from(&self, step: Step, ids: usize) -> Result<(), EngineError> {
        let _open = self.0.gate.read();
        let ids = self.0.store.ids_after(step.after, ids)?;
        self.0.store.filters.extend(step, &ids);
        Ok(())
    }
}
