//! Restoring: a moment of a store is built anew from the bucket and the key.
//!
//! A [`Plan`] says what that moment is made of. Its rows ([`rows`]) come first: the image of the metadata, and the log behind it,
//! replayed. Then the bytes ([`bytes`]). Whatever is there already, whole, from an earlier attempt is kept. Rules of the room: a plan is read from
//! the bucket alone; nothing is believed before its seal; a directory that is not finished says so.

mod bytes;
mod lazy;
mod plan;
mod rows;
mod select;
mod sparse;
#[cfg(test)]
mod tests;

pub use bytes::{BytesReport, restore_bytes};
pub use lazy::{LazyProgress, LazyRestore};
pub use plan::{Plan, Target};
pub use rows::{RowsReport, restore_rows};
pub use select::{
    ChangeKind, Keys, ObjectFailure, ObjectSink, SelectError, SelectParts, SelectReport, SelectSettings,
    SelectedChange, Selection, select,
};

use parking_lot::Mutex;
use std::sync::Arc;

/// What is being done, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct RestoreProgress {
    pub phase: &'static str,
    /// Bytes; of the log records.
    pub done: u64,
    pub total: u64,
}

/// Shared with whoever shows it.
pub type ShownProgress = Arc<Mutex<RestoreProgress>>;

fn phase(progress: &ShownProgress, phase: &'static str, total: u64) {
    *progress.lock() = RestoreProgress { phase, done: 0, total };
}

fn done(progress: &ShownProgress, more: u64) {
    progress.lock().done += more;
}
