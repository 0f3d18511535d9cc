//! Sealing: the footer, which vouches for every record of its pack.
//!
//! A footer is written only when all records before it are durable. So a footer found at a start, synced or not,
//! is proof of them, whatever a kill or a power cut took.

use super::format::{
    FOOTER_ENTRY_BYTES, RecordHeader, Trailer, encode_footer_entry, encode_gaps, encode_pack_header,
};
use super::scan::Walked;
use super::set::{PackSet, from_io};
use crate::engine::EngineError;
use crate::storage::{PackId, PackStore};
use crate::sys::FailPoint;
use std::io;
use std::ops::Range;

/// A pack without a footer.
#[derive(Debug)]
pub(super) struct Unsealed {
    pub(super) id: PackId,
    pub(super) end: u32,
    pub(super) records: u32,
    /// The footer's entries so far, encoded.
    pub(super) entries: Vec<u8>,
    gaps: Vec<Range<u32>>,
}

impl Unsealed {
    pub(super) const fn new(id: PackId, end: u32) -> Self {
        Self { id, end, records: 0, entries: Vec::new(), gaps: Vec::new() }
    }

    pub(super) fn found(id: PackId, walked: &Walked) -> Self {
        let mut pack = Self { gaps: walked.gaps.clone(), ..Self::new(id, walked.end) };
        pack.entries.reserve(walked.entries.len() * FOOTER_ENTRY_BYTES);
        for (offset, header) in &walked.entries {
            pack.push(header, *offset);
        }
        pack
    }

    fn push(&mut self, header: &RecordHeader, offset: u32) {
        self.entries.extend_from_slice(&encode_footer_entry(header, self.id, offset));
        self.records += 1;
    }

    fn footer(&self) -> Vec<u8> {
        let (gaps, gaps_crc) = encode_gaps(&self.gaps);
        let count = u32::try_from(self.gaps.len()).unwrap_or(u32::MAX);
        let trailer = Trailer { records_end: self.end, records: self.records, gaps: count, gaps_crc };
        [&self.entries[..], &gaps, &trailer.encode(self.id)].concat()
    }

    /// Cuts off what stands behind the records, makes them durable, and writes the footer; and the header, which a power cut
    /// may have taken.
    pub(super) fn seal(&self, store: &dyn PackStore) -> io::Result<()> {
        store.truncate(self.id, u64::from(self.end))?;
        store.write_at(self.id, 0, &encode_pack_header(self.id))?;
        FailPoint::PacksRecoverCut.pass()?;
        store.sync(self.id)?;
        FailPoint::PacksRecoverSynced.pass()?;
        store.write_at(self.id, u64::from(self.end), &self.footer())?;
        FailPoint::PacksRecoverFooter.pass()?;
        store.sync(self.id)?;
        FailPoint::PacksRecovered.pass()
    }
}

impl PackSet {
    /// Seals packs that nothing is appended to any more. One that a full device leaves no room for waits for
    /// [`Self::seal_waiting`]; its records are as good without a footer.
    pub(super) fn seal_packs(&self, packs: Vec<Unsealed>) -> Result<(), EngineError> {
        for pack in packs {
            match self.seal_one(&pack) {
                Ok(()) => self.mark_sealed(pack.id, pack.records),
                Err(EngineError::Poisoned(why)) => return Err(EngineError::Poisoned(why)),
                Err(error) => {
                    tracing::warn!(pack = %pack.id, %error, "a pack could not be sealed; it is tried again");
                    self.wait_to_seal(pack);
                }
            }
        }
        Ok(())
    }

    fn seal_one(&self, pack: &Unsealed) -> Result<(), EngineError> {
        self.sync()?;
        FailPoint::PackSeal.pass()?;
        self.overwrite(pack.id, u64::from(pack.end), &pack.footer())?;
        FailPoint::PackFooter.pass()?;
        self.sync()?;
        FailPoint::PackSealed.pass_or_die();
        Ok(())
    }

    /// Tries again to seal the packs that could not be.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn seal_waiting(&self) -> Result<(), EngineError> {
        let mut ready = Vec::new();
        for pack in self.take_waiting() {
            // Half a footer, or half a record, may stand behind the records.
            match self.cut(pack.id, u64::from(pack.end)) {
                Ok(()) => ready.push(pack),
                Err(error) => {
                    tracing::warn!(pack = %pack.id, %error, "a pack could not be sealed; it is tried again");
                    self.wait_to_seal(pack);
                }
            }
        }
        self.seal_packs(ready)
    }

    fn cut(&self, pack: PackId, len: u64) -> Result<(), EngineError> {
        self.store().truncate(pack, len).map_err(from_io)?;
        self.wrote(pack);
        Ok(())
    }
}
