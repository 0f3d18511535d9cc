//! Another home of what packs and plain files hold, such as a backup: what a check finds damaged beyond saving is asked for there.

use super::Pass;
use crate::engine::EngineError;
use crate::engine::gc::PlainFiles;
use crate::engine::pack::{Location, NewRecord, RECORD_HEADER_BYTES};
use crate::storage::PackId;
use crate::types::{ChunkId, PlainId};
use bytes::Bytes;
use std::io;
use std::ops::Range;

/// Copies of a store's files, as they stood when they were copied. Nothing of what it gives is believed. Calls block, and never on an async
/// thread.
pub trait Elsewhere: Send + Sync + std::fmt::Debug {
    /// Bytes of a pack; `None` when they are not there.
    ///
    /// # Errors
    /// When that cannot be told now.
    fn pack(&self, pack: PackId, range: Range<u64>) -> io::Result<Option<Bytes>>;

    /// The file of a body stored whole, in order, piece by piece; `false` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read now, and what `take` says.
    fn plain(
        &self,
        id: PlainId,
        take: &mut dyn FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<bool, EngineError>;
}

impl Pass<'_> {
    /// The record that stood at a place, if the copy's payload is the content of that id.
    pub(super) fn kept_elsewhere(
        &mut self,
        id: ChunkId,
        at: &Location,
    ) -> Result<Option<NewRecord>, EngineError> {
        let Some(elsewhere) = &self.checker.elsewhere else { return Ok(None) };
        let payload = u64::from(at.offset) + RECORD_HEADER_BYTES as u64..at.end();
        let Some(payload) = elsewhere.pack(at.pack, payload)? else { return Ok(None) };
        let record = NewRecord::proven(id, at, payload);
        self.report.from_backup += u64::from(record.is_some());
        Ok(record)
    }

    /// Brings the file of a body back. Whether it is whole now.
    pub(super) fn plain_from_elsewhere(
        &mut self,
        id: PlainId,
        plain: &PlainFiles,
    ) -> Result<bool, EngineError> {
        let Some(elsewhere) = &self.checker.elsewhere else { return Ok(false) };
        let mut writer = plain.store.restore(id)?;
        if !elsewhere.plain(id, &mut |bytes| writer.write(bytes))? {
            return Ok(false);
        }
        writer.prove()?;
        writer.finish()?;
        self.report.from_backup += 1;
        Ok(true)
    }
}
