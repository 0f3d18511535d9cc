//! Backups in a bucket somewhere else: what stands there, who may write it, and what its bytes are. `docs/backup-format.md` is the
//! specification.
//!
//! Rules of the room: whatever comes from the bucket is believed only after its seal or signature; a write whose answer was lost counts as
//! neither done nor undone; what must not be done by two is decided by the bucket's conditional writes, never by clocks.

pub mod container;
mod epoch;
mod ids;
mod key;
mod lease;
#[cfg(test)]
mod lease_model_tests;
mod names;
mod probe;
mod repository;
mod signed;

/// Decoders that nobody else needs from outside, for `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::signed::fuzzing::signed;
}

pub use epoch::{Epoch, EpochRecord, Stretch, Timeline, TimelineError};
pub use ids::{RepositoryId, StoreId};
pub use key::{BackupKey, KeyError, KeyId};
pub use lease::{Attempt, Candidate, Holder, Lease, LeaseError, LeaseTimes, World};
pub use names::{LogLevel, ObjectName, SnapshotName};
pub use probe::{ProbeError, probe};
pub use repository::{Description, NewRepository, Repository, RepositoryError};
pub use signed::{SignedError, Signer};
