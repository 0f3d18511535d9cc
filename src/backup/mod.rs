//! Backups in a bucket somewhere else: what stands there, who may write it, and what its bytes are. `docs/backup-format.md` is the
//! specification.
//!
//! Rules of the room: whatever comes from the bucket is believed only after its seal or signature; a write whose answer was lost counts as
//! neither done nor undone; what must not be done by two is decided by the bucket's conditional writes, never by clocks.

mod alerts;
mod catalogue;
mod claim;
#[cfg(test)]
mod claim_tests;
pub mod container;
mod drill;
mod epoch;
mod error;
#[cfg(test)]
mod everything_tests;
#[cfg(test)]
mod exclusive_tests;
mod ids;
mod inventory;
mod keeper;
mod key;
mod lease;
#[cfg(test)]
mod lease_model_tests;
mod manifest;
mod names;
pub mod objects;
#[cfg(test)]
mod points_tests;
mod probe;
pub mod prune;
mod reach;
mod remote_records;
mod repository;
mod restore;
pub mod retention;
mod room;
mod segment;
mod session;
mod settings;
mod ship;
mod signed;
mod source;
mod stamp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod testing_store;
mod verify;

/// Decoders that nobody else needs from outside, for `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::inventory::fuzzing::inventory;
    pub use super::segment::fuzzing::segment;
    pub use super::signed::fuzzing::signed;
}

pub use alerts::{Alert, Alerts, Condition, Turn};
pub use catalogue::{Catalogue, Chain, Found, Known, Link};
pub use claim::Claim;
pub use drill::{Drill, DrillOutcome, DrillParts, DrillReport, DrillSettings, Rehearsal, RestoredStore};
pub use epoch::{Epoch, EpochRecord, Stretch, Timeline, TimelineError};
pub use error::BackupError;
pub use ids::{RepositoryId, StoreId};
pub use inventory::{Contents, Extent, Holdings, Inventory, PLAIN_PIECE_BYTES, PlainFile};
pub use keeper::{
    BackupStatus, CareParts, CareStatus, DrillDone, Failure, Keeper, KeeperParts, KeeperState, PruneOutcome,
    PruneParts, RunOutcome, SnapshotFound, VerifyAsk, VerifyOutcome,
};
pub use key::{BackupKey, KeyError, KeyId};
pub use lease::{Attempt, Candidate, Holder, Lease, LeaseError, LeaseTimes, World};
pub use manifest::{BASE_PIECE_BYTES, Base, InventoryRef, Snapshot, SnapshotTotals};
pub use names::{LogLevel, ObjectName, SnapshotName};
pub use probe::{ProbeError, probe};
pub use reach::Reach;
pub use remote_records::RemoteRecords;
pub use repository::{Description, NewRepository, Repository, RepositoryError};
pub use restore::{
    BytesReport, ChangeKind, Keys, LazyProgress, LazyRestore, ObjectFailure, ObjectSink, Plan,
    RestoreProgress, RowsReport, SelectError, SelectParts, SelectReport, SelectSettings, SelectedChange,
    Selection, ShownProgress, Target, restore_bytes, restore_rows, select,
};
pub use room::Room;
pub use segment::{Segment, SegmentRef, Stored};
pub use session::{Asked, Session};
pub use settings::BackupSettings;
pub use ship::{Round, ShipProgress, ShipSettings, Shipper};
pub use signed::{SignedError, Signer};
pub use source::{MetaImage, ShippedTo, Source};
pub use stamp::{Nonce, Stamp};
pub use verify::{
    Behind, ObjectFault, Round as VerifyRound, Scratch, ShownVerify, Verification, Verified, VerifiedState,
    VerifyProgress, VerifyReport, VerifySettings,
};
