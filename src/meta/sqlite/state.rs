//! The numbers that the writer carries from commit to commit, and their one row.

use super::columns::{millis, seq, unsigned};
use super::error::corrupt;
use super::sql;
use crate::meta::{MetaError, Totals};
use crate::types::{CommitSeq, UnixMillis};
use rusqlite::{Connection, params};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub last_seq: CommitSeq,
    pub last_at: UnixMillis,
    /// The newest time that the clock of locks showed at a record.
    pub reached: UnixMillis,
    pub last_bucket: u32,
    pub totals: Totals,
}

pub(super) fn load(db: &Connection) -> Result<State, MetaError> {
    let mut statement = db.prepare_cached(sql::STATE)?;
    let mut rows = statement.query([])?;
    let row = rows.next()?.ok_or_else(|| corrupt("the state row is gone"))?;
    let totals = Totals {
        buckets: unsigned(row, 3)?,
        versions: unsigned(row, 4)?,
        delete_markers: unsigned(row, 5)?,
        logical_bytes: unsigned(row, 6)?,
        uploads: unsigned(row, 7)?,
        parts: unsigned(row, 8)?,
        manifests: unsigned(row, 9)?,
        manifest_bytes: unsigned(row, 10)?,
        inline_bytes: unsigned(row, 11)?,
    };
    Ok(State {
        last_seq: seq(row, 0)?,
        last_at: millis(row, 1)?,
        reached: millis(row, 12)?,
        last_bucket: row.get(2)?,
        totals,
    })
}

pub(super) fn store(db: &Connection, state: &State) -> Result<(), MetaError> {
    let State { last_seq, last_at, reached, last_bucket, totals } = state;
    db.prepare_cached(sql::SET_STATE)?.execute(params![
        last_seq.get().cast_signed(),
        last_at.get(),
        last_bucket,
        totals.buckets.cast_signed(),
        totals.versions.cast_signed(),
        totals.delete_markers.cast_signed(),
        totals.logical_bytes.cast_signed(),
        totals.uploads.cast_signed(),
        totals.parts.cast_signed(),
        totals.manifests.cast_signed(),
        totals.manifest_bytes.cast_signed(),
        totals.inline_bytes.cast_signed(),
        reached.get(),
    ])?;
    Ok(())
}
