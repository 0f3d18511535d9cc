//! Drills: what a backup is worth is known once it was restored.
//!
//! A drill restores the latest moment and an earlier one that chance picks to a scratch directory, from the bucket alone; then everything that
//! such a store says of itself is proven ([`prove`]), what both have compared with the store that was backed up ([`compare`]), and a client
//! let at it ([`rehearse`]).
//! How long it took, and how much would have been lost, is written down beside the snapshots. Rules of the room: the scratch directory is
//! gone when a drill ends, however it ends; what keeps a drill from being done is an error, and only what a restored store lacks fails it.

mod compare;
mod prove;
mod rehearse;
mod report;
mod run;
mod scratch;
#[cfg(test)]
mod tests;

pub use rehearse::{Rehearsal, RestoredStore};
pub use report::{DrillOutcome, DrillReport};
pub(super) use scratch::NAME as SCRATCH_NAME;

pub use run::{Drill, DrillParts, DrillSettings};
