//! Why metadata could not be read or written.

use crate::types::{CommitSeq, PartNumber, UnixMillis};

/// The store itself failed. Nothing was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    #[error("metadata database: {0}")]
    Database(String),
    #[error("metadata row is corrupt: {0}")]
    Corrupt(String),
    /// The database itself, not one row: what else is wrong with it is not known.
    #[error("the metadata database is damaged, see docs/runbooks/corrupt-database.md: {0}")]
    Damaged(String),
    /// A sync failed, or the database is damaged: no write counts until the store is opened anew.
    #[error("the store stopped accepting writes {0}")]
    Poisoned(String),
    /// It is closing, or waited for too long and did not begin; try again.
    #[error("the metadata is not to be had: {0}")]
    Unavailable(&'static str),
    /// The consumer fell behind what the log still holds: it has to start over from a recount.
    #[error("the change log begins behind {0}: older records were trimmed")]
    Trimmed(CommitSeq),
    #[error("{0}")]
    Incompatible(String),
    #[error("metadata I/O: {0}")]
    Io(#[from] std::io::Error),
}

/// Why a commit did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("the bucket exists")]
    BucketExists,
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// Abort them first, one by one: a commit must not grow with what a bucket holds.
    #[error("the bucket has open uploads")]
    UploadsOpen,
    #[error("no such key")]
    NoSuchKey,
    #[error("the version is a delete marker")]
    IsDeleteMarker,
    #[error("the bucket has no object lock")]
    NoObjectLock,
    /// It would protect nothing: by the clock that locks go by, the date has come.
    #[error("the retention is over")]
    RetentionOver(UnixMillis),
    #[error("a lock keeps the version")]
    Locked,
    #[error("no such upload")]
    NoSuchUpload,
    #[error("the condition does not hold")]
    ConditionFailed,
    /// Decide again, by the rules as they are now.
    #[error("the bucket's lifecycle rules have changed")]
    RulesChanged,
    #[error("part {} is not the one named", .0.get())]
    PartGone(PartNumber),
    /// The shared body was deleted meanwhile: read the source again.
    #[error("the body to share is gone")]
    BodyGone,
    /// Nothing was changed: this store is not what the record's was, or the record is damaged.
    #[error("record {seq} of the log cannot be replayed: {why}")]
    NotReplayed { seq: CommitSeq, why: String },
    #[error("not allowed from the present state: {0}")]
    InvalidState(&'static str),
    #[error(transparent)]
    Store(#[from] MetaError),
}
