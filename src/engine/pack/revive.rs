//! Taking marks of dead records back, in packs that come from a copy.
//!
//! A copy has each byte as it stood when it was copied: a record that lived then, and in the footer, which is copied last,
//! the mark that it got since. For a store as it was before, the record is alive. Whether anything needs it only the
//! manifests tell; what nothing needs is collected as ever.

use super::format::{FOOTER_ENTRY_BYTES, RECORD_HEADER_BYTES, RecordHeader, STATE_LIVE, STATE_OFFSET};
use super::read::verified;
use super::scan::{read_footer, unknown};
use super::set::{PackSet, from_io};
use super::types::ScannedRecord;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::types::ChunkId;
use std::io;

impl PackSet {
    /// Makes records of a sealed pack live again that are marked dead and whose bytes are all there, durably. Nobody may
    /// collect meanwhile, and the index is to be built anew from it. Returns how many. Blocks.
    ///
    /// # Errors
    /// When the pack is not known, cannot be read, or the marks cannot be taken back durably.
    pub fn revive(&self, pack: PackId) -> Result<u64, EngineError> {
        Ok(self.revive_those(pack, &|_| true)?.len() as u64)
    }

    /// As [`Self::revive`], of records of some ids alone: for the others nothing is read. Returns those that live again; an index
    /// that was built before is to be told of them.
    ///
    /// # Errors
    /// As [`Self::revive`].
    pub fn revive_those(
        &self,
        pack: PackId,
        is_wanted: &dyn Fn(&ChunkId) -> bool,
    ) -> Result<Vec<ScannedRecord>, EngineError> {
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        let Some(records) = known.sealed else { return Ok(Vec::new()) };
        let entries = read_footer(self.store(), pack, known.end, records).map_err(from_io)?;
        let mut revived = Vec::new();
        for (position, (offset, header)) in entries.unwrap_or_default().into_iter().enumerate() {
            if !header.dead || !is_wanted(&header.id) || !self.is_whole(pack, offset, &header)? {
                continue;
            }
            let entry = u64::from(known.end) + (position * FOOTER_ENTRY_BYTES) as u64;
            for at in [u64::from(offset), entry + 4] {
                self.overwrite(pack, at + STATE_OFFSET as u64, &[STATE_LIVE])?;
            }
            let RecordHeader { id, kind, codec, .. } = header;
            let location = header.location(pack, offset);
            revived.push(ScannedRecord { id, kind, codec, location, dead: false });
        }
        if !revived.is_empty() {
            self.sync()?;
        }
        Ok(revived)
    }

    fn is_whole(&self, pack: PackId, offset: u32, entry: &RecordHeader) -> Result<bool, EngineError> {
        let len = RECORD_HEADER_BYTES + entry.stored_len as usize;
        let bytes = match self.store().read_at(pack, u64::from(offset), len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read.map_err(from_io)?,
        };
        let Ok(header) = RecordHeader::decode(&bytes, pack, offset) else { return Ok(false) };
        let is_same = RecordHeader { dead: true, ..header } == *entry;
        Ok(is_same && verified(&bytes, RECORD_HEADER_BYTES, &header).is_some())
    }
}
