//! Giving space back: tombstones, holes, removal. Only garbage collection calls these, and only after the index
//! that no longer names the records is durable.

use super::format::{FOOTER_ENTRY_BYTES, STATE_DEAD, STATE_OFFSET};
use super::scan::{read_footer, unknown};
use super::set::{PackSet, from_io};
use super::types::Location;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::FailPoint;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;

impl PackSet {
    /// Marks records of sealed packs as dead, in place and in the footer, durably: a later rebuild of the index
    /// leaves them out. Returns how many were marked; records of packs not sealed are left alone.
    ///
    /// # Errors
    /// When the marks could not be made durable.
    pub fn tombstone(&self, dead: &[Location]) -> Result<usize, EngineError> {
        let mut by_pack: BTreeMap<PackId, Vec<&Location>> = BTreeMap::new();
        for location in dead {
            by_pack.entry(location.pack).or_default().push(location);
        }
        let mut marked = 0;
        for (pack, locations) in by_pack {
            let known = self.known(pack).ok_or_else(|| unknown(pack))?;
            let Some(records) = known.sealed else { continue };
            let entries = read_footer(self.store(), pack, known.end, records).map_err(from_io)?;
            for location in locations {
                if !self.is_valid(location) {
                    continue;
                }
                self.mark(pack, u64::from(location.offset) + STATE_OFFSET as u64)?;
                let position = entries.as_ref().and_then(|entries| {
                    entries.binary_search_by_key(&location.offset, |(offset, _)| *offset).ok()
                });
                if let Some(position) = position {
                    let entry = u64::from(known.end) + (position * FOOTER_ENTRY_BYTES) as u64;
                    self.mark(pack, entry + 4 + STATE_OFFSET as u64)?;
                }
                marked += 1;
            }
            FailPoint::PackMarked.pass()?;
            self.sync_aside(pack)?;
            FailPoint::PackMarksSynced.pass()?;
        }
        Ok(marked)
    }

    fn mark(&self, pack: PackId, offset: u64) -> Result<(), EngineError> {
        self.check()?;
        self.store().write_at(pack, offset, &[STATE_DEAD]).map_err(from_io)
    }

    /// Marks a damaged record as dead, whatever it takes: nobody may come upon it by its neighbours. Where that fails,
    /// nobody goes by neighbours in its pack any more, for as long as this process runs. Returns whether it is marked.
    ///
    /// # Errors
    /// When the mark could not be made durable.
    pub fn bury(&self, damaged: &Location) -> Result<bool, EngineError> {
        let is_open = self.sealed_records(damaged.pack).is_none();
        let sealed = if is_open { self.seal() } else { Ok(()) };
        let marked = sealed.and_then(|()| self.tombstone(std::slice::from_ref(damaged)));
        if !matches!(marked, Ok(1)) {
            self.suspect(damaged.pack);
        }
        marked.map(|marked| marked == 1)
    }

    /// Gives the whole blocks inside a range of dead records back; `false` where that is not supported. Their marks are
    /// durable before: a power cut must not leave a hole that looks alive.
    ///
    /// # Errors
    /// When the pack is not known, the range goes past its records, or the marks could not be made durable.
    pub fn punch(&self, pack: PackId, range: Range<u64>) -> Result<bool, EngineError> {
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        if range.start >= range.end || range.end > u64::from(known.end) || known.sealed.is_none() {
            return Err(EngineError::Io(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "only dead records of sealed packs can be punched",
            )));
        }
        self.sync_marks(pack)?;
        self.gave_back().fetch_add(1, Ordering::AcqRel);
        FailPoint::PackPunch.pass()?;
        let punched = self.store().punch(pack, range.start, range.end - range.start).map_err(from_io)?;
        FailPoint::PackPunched.pass()?;
        Ok(punched)
    }

    /// Removes a pack. From now on its locations are not valid.
    ///
    /// # Errors
    /// When the store cannot remove it; it is forgotten all the same.
    pub fn remove(&self, pack: PackId) -> Result<(), EngineError> {
        self.gave_back().fetch_add(1, Ordering::AcqRel);
        self.forget(pack);
        self.store().remove(pack).map_err(from_io)
    }
}
