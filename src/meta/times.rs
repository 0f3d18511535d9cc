//! The two times of a command: its stamp, and what locks go by.

use crate::sys::{Clock, RecordedClock};
use crate::types::UnixMillis;
use std::sync::{Arc, OnceLock};

/// When a command is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// By the wall clock: the record's stamp.
    pub at: UnixMillis,
    /// By the clock that locks go by.
    pub locks: UnixMillis,
    /// What the wall clock shows, even if a record was stamped later than that.
    wall: UnixMillis,
}

impl Times {
    /// Those of a record that is there.
    pub(super) const fn recorded(at: UnixMillis, locks: UnixMillis) -> Self {
        Self { at, locks, wall: at }
    }

    /// Neither is ever less than what was recorded.
    pub(super) fn not_before(self, at: UnixMillis, locks: UnixMillis) -> Self {
        Self { at: self.at.max(at), locks: self.locks.max(locks), ..self }
    }

    /// From when a new lock runs: for its whole period, whichever clock is ahead. Not the stamp: one that a wrong wall
    /// clock once gave would lengthen every lock after it.
    pub(super) fn lock_start(self) -> UnixMillis {
        self.wall.max(self.locks)
    }
}

/// The clock that locks go by: the wall clock until another one is given.
#[derive(Debug, Clone, Default)]
pub(super) struct LockClock(Arc<OnceLock<Arc<dyn RecordedClock>>>);

impl LockClock {
    pub(super) fn set(&self, clock: Arc<dyn RecordedClock>) {
        let _ = self.0.set(clock);
    }

    pub(super) fn times(&self, wall: &dyn Clock) -> Times {
        let wall = wall.now();
        Times { at: wall, locks: self.0.get().map_or(wall, |clock| clock.now()), wall }
    }

    /// It shows no less from now on.
    pub(super) fn recorded(&self, reached: UnixMillis) {
        if let Some(clock) = self.0.get() {
            clock.recorded(reached);
        }
    }
}
