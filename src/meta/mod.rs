//! Metadata: which versions exist, where their bodies are, and the log of every change.
//!
//! Rules of the room: one write verb ([`MetaStore::commit`]) with a closed set of commands, each carrying its own
//! preconditions, decided inside the transaction; so per key Sediment is linearizable. A commit that returned is
//! durable (I1), one that failed left nothing (I2). Every logged command appends one record to the change log in
//! the same transaction: `CommitSeq` is gap-free, the stamp never decreases. Two implementations, one
//! conformance suite: SQLite, and an in-memory model that is the specification in executable form.

mod agenda;
mod audit;
mod commit;
pub mod conformance;
mod error;
mod inspect;
mod list;
mod listing;
mod log;
mod memory;
mod replay;
mod replication;
mod rows;
mod rules;
mod sqlite;
mod store;
mod times;

pub use agenda::{AgendaChange, DueKey, HistoryEntry, HistoryObject, LifecycleReads, ScanPosition};
pub use audit::{Audit, AuditedBody, AuditedManifest, AuditedUpload, PartRow, UploadRow, VersionRow};
pub use commit::{
    Above, Commit, Consumer, DeleteCondition, NewBody, NewObject, NewPart, NewUpload, Outcome, TRIM_RECORDS,
    VersionTarget, WriteCondition,
};
pub use error::{CommitError, MetaError};
pub use inspect::{Duplicate, Inspect, PlainVersion, VersionPlace};
pub use list::{
    ListEntry, ListFrom, ListPage, ListQuery, ListedObject, ListedVersion, UploadEntry, UploadPage,
    VersionEntry, VersionPage,
};
pub use log::{Change, LogRecord, LoggedObject, LoggedPart, LoggedUpload, LoggedVersion, ManifestRow};
pub use memory::MemoryStore;
pub use replication::{
    QueueDepth, QueuedKey, ReplicaState, ReplicableVersion, ReplicationChange, ReplicationReads, Route,
    Voyage,
};
pub use rows::{Bucket, ObjectData, ObjectVersion, Part, StoredBody, Totals, Upload, VersionKind};
pub use sqlite::{OpenMode, SqliteSettings, SqliteStore, decode_record, encode_record, integrity_of};
pub use store::{ChangeLog, MetaStore};

/// Decoders that nobody else needs from outside, for `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::sqlite::fuzzing::{columns, log_record};
}

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[path = "conformance_tests.rs"]
mod tests;
#[cfg(test)]
mod walk_tests;
