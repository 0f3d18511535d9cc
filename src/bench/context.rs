//! What everybody who works for a run is given: the plan, the server, and how to be stopped.

use super::content::Material;
use super::plan::Plan;
use super::target::Target;
use crate::sys::Clock;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is being done, how much of it is done, and of how much.
type Progress = Box<dyn Fn(&str, u64, u64) + Send + Sync>;

/// From outside.
pub struct Controls {
    /// Ends the load; what was measured is reported and what was stored removed.
    pub stop: CancellationToken,
    /// Ends removing too.
    pub abandon: CancellationToken,
    pub progress: Progress,
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controls").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// One run against one server.
pub(super) struct Context<'a> {
    pub(super) plan: &'a Plan,
    pub(super) target: &'a Target,
    pub(super) controls: &'a Controls,
    pub(super) material: Arc<Material>,
    pub(super) clock: Arc<dyn Clock>,
    /// Of this run's keys.
    pub(super) prefix: String,
    /// Of what this run stores.
    pub(super) seed: u64,
}

impl Context<'_> {
    pub(super) fn report_progress(&self, doing: &str, done: u64, total: u64) {
        (self.controls.progress)(&format!("{}: {doing}", self.target.name), done, total);
    }
}
