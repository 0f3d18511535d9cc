//! Verifying: whether what is in the bucket is what snapshots say, and all of it.
//!
//! The *structure* of a snapshot ([`anatomy`]) is cheap: its manifest and inventory are read, and every object that they name must be listed with its
//! length. Reading *data* ([`data`]) downloads objects, all or a share of them, and proves them. What was found of each snapshot stands beside it,
//! signed ([`record`]). Rules of the room: an object that is damaged is a finding, a bucket that cannot be read is an error, and neither is taken for
//! the other; what was found wrong stays so until it was read whole.

mod anatomy;
mod data;
mod record;
mod repository;
mod round;
mod run;
#[cfg(test)]
mod tests;

pub use record::{Behind, ObjectFault, Verified, VerifiedState};
pub use round::Round;
pub(super) use run::SCRATCH_PREFIX;
pub use run::{Scratch, Verification, VerifyReport, VerifySettings};

use parking_lot::Mutex;
use std::sync::Arc;

/// What is being done, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct VerifyProgress {
    pub phase: &'static str,
    /// Bytes of objects; of structure snapshots.
    pub done: u64,
    pub total: u64,
    pub faults: u64,
}

/// Shared with whoever shows it.
pub type ShownVerify = Arc<Mutex<VerifyProgress>>;
