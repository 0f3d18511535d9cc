//! The two times of a command: its stamp, and what locks go by.

use crate::sys::Clock;
use crate::types::UnixMillis;
use std::sync::{Arc, OnceLock};

/// When a command is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// By the wall clock: the record's stamp.
    pub at: UnixMillis,
    /// By the clock that locks go by.
    pub locks: UnixMillis,
}

impl Times {
    /// Neither is ever less than what was recorded.
    pub(super) fn not_before(self, at: UnixMillis, locks: UnixMillis) -> Self {
        Self { at: self.at.max(at), locks: self.locks.max(locks) }
    }

    /// From when a new lock runs: for its whole period, whichever clock is ahead.
    pub(super) fn lock_start(self) -> UnixMillis {
        self.at.max(self.locks)
    }
}

/// The clock that locks go by: the wall clock until another one is given.
#[derive(Debug, Clone, Default)]
pub(super) struct LockClock(Arc<OnceLock<Arc<dyn Clock>>>);

impl LockClock {
    pub(super) fn set(&self, clock: Arc<dyn Clock>) {
        let _ = self.0.set(clock);
    }

    pub(super) fn times(&self, wall: &dyn Clock) -> Times {
        let at = wall.now();
        Times { at, locks: self.0.get().map_or(at, |clock| clock.now()) }
    }
}
