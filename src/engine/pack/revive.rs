//! Taking marks of dead records back, in packs that come from a copy.
//!
//! A copy has each byte as it stood when it was copied: a record that lived then, and in the footer, which is copied last,
//! the mark that it got since. For a store as it was before, the record is alive. Whether anything needs it only the
//! manifests tell; what nothing needs is collected as ever.

use super::format::{FOOTER_ENTRY_BYTES, RECORD_HEADER_BYTES, RecordHeader, STATE_LIVE, STATE_OFFSET};
use super::read::verified;
use super::scan::{read_footer, unknown};
use super::set::{PackSet, from_io};
use crate::engine::EngineError;
use crate::storage::PackId;
use std::io;

impl PackSet {
    /// Makes records of a sealed pack live again that are marked dead and whose bytes are all there, durably. Nobody may
    /// collect meanwhile, and the index is to be built anew from it. Returns how many. Blocks.
    ///
    /// # Errors
    /// When the pack is not known, cannot be read, or the marks cannot be taken back durably.
    pub fn revive(&self, pack: PackId) -> Result<u64, EngineError> {
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        let Some(records) = known.sealed else { return Ok(0) };
        let entries = read_footer(self.store(), pack, known.end, records).map_err(from_io)?;
        let mut revived = 0;
        for (position, (offset, header)) in entries.unwrap_or_default().into_iter().enumerate() {
            if !header.dead || !self.is_whole(pack, offset, &header)? {
                continue;
            }
            let entry = u64::from(known.end) + (position * FOOTER_ENTRY_BYTES) as u64;
            for at in [u64::from(offset), entry + 4] {
                self.overwrite(pack, at + STATE_OFFSET as u64, &[STATE_LIVE])?;
            }
            revived += 1;
        }
        if revived > 0 {
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
