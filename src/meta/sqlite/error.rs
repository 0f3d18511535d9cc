//! What SQLite's errors mean to the room.

use crate::meta::{CommitError, MetaError};
use rusqlite::{ErrorCode, ffi};
use std::sync::OnceLock;

/// By a process that reads a backup of it, or a person with a shell.
pub(super) const LOCKED: &str = "another process has the database locked";

impl From<rusqlite::Error> for MetaError {
    fn from(error: rusqlite::Error) -> Self {
        // A full disk heals when space is freed, so callers tell it apart.
        if lacks_room(&error) {
            return Self::Io(std::io::ErrorKind::StorageFull.into());
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Unavailable(LOCKED),
            _ => Self::Database(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A write that found no room. SQLite knows a full disk by its name; an exhausted quota (`EDQUOT`) is to it a write
/// that failed. Either way the bytes did not get there, unlike with a sync that failed.
///
/// Where the log's index cannot grow, all of the transaction is in the log already, and after a crash it would be found
/// there: whole. The next transaction is written over it.
pub(super) fn lacks_room(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    let is_write = matches!(code, Some(ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE));
    is_write || error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

pub(super) fn corrupt(what: impl std::fmt::Display) -> MetaError {
    MetaError::Corrupt(what.to_string())
}

/// Why nothing is written any more.
pub(super) fn after_failed_sync(why: &str) -> String {
    format!("after a failed sync; restart it once the disk is healthy: {why}")
}

/// As [`after_failed_sync`]. A write to a damaged database may damage more of it.
pub(super) fn damaged(why: &str) -> String {
    format!("because the metadata database is damaged, see docs/runbooks/corrupt-database.md: {why}")
}

/// The first reason counts, and is told once.
pub(super) fn poison(poisoned: &OnceLock<String>, why: &str) {
    if poisoned.set(why.to_owned()).is_ok() {
        tracing::error!(why, "the metadata store stopped accepting writes");
        metrics::counter!("sediment_meta_poisoned_total").increment(1);
    }
}
