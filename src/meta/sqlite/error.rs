//! What SQLite's errors mean to the room.

use crate::meta::{CommitError, MetaError};
use rusqlite::ErrorCode;

impl From<rusqlite::Error> for MetaError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // A full disk heals when space is freed, so callers tell it apart.
            Some(ErrorCode::DiskFull) => Self::Io(std::io::ErrorKind::StorageFull.into()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

pub(super) fn corrupt(what: impl std::fmt::Display) -> MetaError {
    MetaError::Corrupt(what.to_string())
}
