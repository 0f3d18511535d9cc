//! Repeating the records of another store's log: what both stores do alike.
//!
//! A record is turned back into the steps that its command took, with the numbers, times, salts and locks that stand in
//! it. What the command required is not asked again: it happened. The record that the steps give must be the one given,
//! byte for byte: else the two stores are not the same, and nothing is changed. Except that a damaged row of a manifest that
//! goes tells one of them less.
//!
//! The end of an upload is one commit of several records. Its first one repeats all of it, with the `Released` records
//! that follow; those are compared when they come. So a store stands between two commits after every record, also where
//! a log was cut off in the middle of one.

use super::times::Times;
use super::{
    Change, CommitError, LogRecord, LoggedObject, LoggedPart, LoggedVersion, ManifestRow, NewBody, NewObject,
    NewPart,
};
use crate::types::{Body, CommitSeq, UnixMillis, VersionId};
use std::fmt::Display;

/// Why a record is not the next one.
pub(super) const ANOTHER: &str = "another record stands there";
pub(super) const DIFFERS: &str = "what it does here is not what it says";
pub(super) const ALONE: &str = "it belongs to the end of an upload, and that released less";

pub(super) fn refused(seq: CommitSeq, why: impl Display) -> CommitError {
    CommitError::NotReplayed { seq, why: why.to_string() }
}

/// A failure of the store itself stays one; whatever else a step says, the record does not belong here.
pub(super) fn refuse(seq: CommitSeq, error: CommitError) -> CommitError {
    match error {
        CommitError::Store(_) | CommitError::NotReplayed { .. } => error,
        other => refused(seq, other),
    }
}

/// # Errors
/// When the record does not stand behind `last`.
pub(super) fn check_place(record: &LogRecord, last: CommitSeq, at: UnixMillis) -> Result<(), CommitError> {
    if record.seq != last.next() {
        return Err(refused(record.seq, format_args!("the next one is {}", last.next())));
    }
    if record.at < at {
        return Err(refused(record.seq, "it is older than the one before"));
    }
    if record.change == Change::Released {
        return Err(refused(record.seq, ALONE));
    }
    Ok(())
}

/// Whether two stores did the same. What a manifest named that was dropped, one of them may not have been able to read.
pub(super) fn agree(one: &LogRecord, other: &LogRecord) -> bool {
    let is_same = |(one, other): (&ManifestRow, &ManifestRow)| {
        one.id == other.id && (one.root == other.root || one.is_unknown() || other.is_unknown())
    };
    (one.seq, one.at, &one.change) == (other.seq, other.at, &other.change)
        && one.added == other.added
        && one.dropped.len() == other.dropped.len()
        && one.dropped.iter().zip(&other.dropped).all(is_same)
}

/// The times of its command. The clock of locks is not in a record: it goes on to the record's time, but never past what it
/// shows here, and never back.
pub(super) fn times(record: &LogRecord, now: Times, reached: UnixMillis) -> Times {
    Times::recorded(record.at, reached.max(now.locks.min(record.at)))
}

/// What its command drew for the id of the version that it wrote.
pub(super) const fn salt(change: &Change) -> u64 {
    match change {
        Change::VersionPut { version, .. } | Change::UploadCompleted { version, .. } => match version.id {
            VersionId::Id { salt, .. } => salt,
            VersionId::Null => 0,
        },
        _ => 0,
    }
}

/// `None` for a delete marker.
pub(super) fn object(version: &LoggedVersion, added: &[ManifestRow]) -> Option<NewObject> {
    let LoggedObject { body: logged, size, etag, checksum, attributes, parts, tags, lock } =
        version.object.clone()?;
    let body = body(logged, added);
    Some(NewObject { body, size, etag, checksum, attributes, parts, tags, lock })
}

pub(super) fn part(part: &LoggedPart, added: &[ManifestRow]) -> NewPart {
    let LoggedPart { body: logged, size, etag, checksum, .. } = part.clone();
    NewPart { body: body(logged, added), size, etag, checksum }
}

/// A manifest that was added is new here, too; any other has its row.
pub(super) fn body(logged: Body, added: &[ManifestRow]) -> NewBody {
    match logged {
        Body::Inline(bytes) => NewBody::Inline(bytes),
        Body::Chunked(id) => match added.iter().find(|row| row.id == id) {
            Some(row) => NewBody::Manifest(row.root.clone()),
            None => NewBody::SharedManifest(id),
        },
        Body::Plain(id) => NewBody::Plain(id),
    }
}
