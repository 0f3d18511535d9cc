//! Looking at records while their bytes pass by on the way elsewhere.

use super::format::{RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader};
use super::read::verified;
use super::set::{PackSet, from_io};
use crate::engine::EngineError;
use crate::storage::PackId;
use std::io;
use std::ops::Range;

/// Compares checksums of records in bytes of a pack that come in order, from anywhere on. What is no record, or begins before, is skipped.
#[derive(Debug)]
pub struct PassingRecords {
    pack: PackId,
    /// Of what is in `held`, or comes next.
    at: u64,
    /// Less than a header.
    held: Vec<u8>,
    payload: Option<Payload>,
}

#[derive(Debug)]
struct Payload {
    record: u32,
    left: usize,
    crc: u32,
    header: RecordHeader,
}

impl PassingRecords {
    #[must_use]
    pub const fn new(pack: PackId, from: u64) -> Self {
        Self { pack, at: from, held: Vec::new(), payload: None }
    }

    /// Where records stand that end in these bytes, live, with other bytes than their headers say. Some may have been marked dead and given
    /// back since their headers were read: [`PackSet::is_damaged`].
    pub fn pass(&mut self, mut bytes: &[u8]) -> Vec<u32> {
        let mut suspect = Vec::new();
        while !bytes.is_empty() {
            let taken = match self.payload.take() {
                Some(payload) => self.pass_payload(payload, bytes, &mut suspect),
                None => self.pass_header(bytes),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        suspect
    }

    fn pass_payload(&mut self, mut payload: Payload, bytes: &[u8], suspect: &mut Vec<u32>) -> usize {
        let here = bytes.get(..payload.left).unwrap_or(bytes);
        payload.crc = crc32c::crc32c_append(payload.crc, here);
        payload.left -= here.len();
        self.at += here.len() as u64;
        if payload.left > 0 {
            self.payload = Some(payload);
        } else if !payload.header.dead && payload.crc != payload.header.payload_crc {
            suspect.push(payload.record);
        }
        here.len()
    }

    fn pass_header(&mut self, bytes: &[u8]) -> usize {
        let wanted = RECORD_HEADER_BYTES - self.held.len();
        let here = bytes.get(..wanted).unwrap_or(bytes);
        self.held.extend_from_slice(here);
        if self.held.len() < RECORD_HEADER_BYTES {
            return here.len();
        }
        // Packs are shorter than 4 GiB.
        let record = u32::try_from(self.at).unwrap_or(u32::MAX);
        match RecordHeader::decode(&self.held, self.pack, record) {
            Ok(header) => {
                let left = header.stored_len as usize;
                self.payload = Some(Payload { record, left, crc: 0, header });
                self.skip(RECORD_HEADER_BYTES);
            }
            Err(_) => self.skip(next_magic(&self.held)),
        }
        here.len()
    }

    fn skip(&mut self, bytes: usize) {
        self.held.drain(..bytes);
        self.at += bytes as u64;
    }
}

/// Behind the first byte, where a record may begin.
fn next_magic(held: &[u8]) -> usize {
    let begins = |at: &usize| held[*at..].iter().zip(&RECORD_MAGIC).all(|(one, other)| one == other);
    (1..held.len()).find(begins).unwrap_or(held.len())
}

impl PackSet {
    /// Whether a live record stands there, and its bytes are not what its header says. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_damaged(&self, pack: PackId, record: u32) -> Result<bool, EngineError> {
        let Some(known) = self.known(pack) else { return Ok(false) };
        if known.sealed.is_some() {
            let mut is_live = false;
            self.scan(pack, &mut |found| is_live |= found.location.offset == record && !found.dead)?;
            if !is_live {
                return Ok(false);
            }
        }
        let header = || {
            let bytes =
                self.store().read_at(pack, u64::from(record), RECORD_HEADER_BYTES).map_err(from_io)?;
            Ok::<_, EngineError>(
                RecordHeader::decode(&bytes, pack, record).ok().filter(|header| !header.dead),
            )
        };
        let Some(found) = header()? else { return Ok(false) };
        let len = RECORD_HEADER_BYTES + found.stored_len as usize;
        let bytes = self.store().read_at(pack, u64::from(record), len).map_err(from_io)?;
        // Marked dead and given back between the two: then the mark is seen now.
        Ok(verified(&bytes, RECORD_HEADER_BYTES, &found).is_none() && header()?.is_some())
    }

    /// As [`Self::read_raw`], with zeros for what the device cannot give, or the file of a pack that is still known has not. Blocks.
    ///
    /// # Errors
    /// As there, but for those.
    pub fn read_raw_around(&self, pack: PackId, range: Range<u64>) -> Result<Vec<u8>, EngineError> {
        const BLOCK_BYTES: u64 = 4096;
        let (mut at, mut bytes) = (range.start, Vec::new());
        while at < range.end {
            let next = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(range.end);
            match self.read_raw(pack, at..next) {
                Ok(block) => bytes.extend_from_slice(&block),
                Err(EngineError::Io(error)) if self.is_lost(pack, &error) => {
                    // At most a block.
                    bytes.resize(bytes.len() + (next - at) as usize, 0);
                }
                Err(error) => return Err(error),
            }
            at = next;
        }
        Ok(bytes)
    }

    /// Whether an error says that bytes of a pack are lost here: neither that the pack was removed, nor that the process may not read them.
    #[must_use]
    pub fn is_lost(&self, pack: PackId, error: &io::Error) -> bool {
        let is_cut = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound);
        crate::sys::is_device_error(error) || (is_cut && self.known(pack).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPacks;
    use super::super::tests::{append, chunk, open};
    use super::{PassingRecords, RECORD_HEADER_BYTES};
    use crate::storage::PackStore;
    use std::sync::Arc;

    #[test]
    fn i4_damage_is_seen_while_it_passes_in_pieces_of_any_length() {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let records: Vec<_> = (0..30u64).map(|n| chunk(n, 300 * n as usize + 1)).collect();
        let kept = append(&packs, &records);
        packs.seal().unwrap();
        packs.tombstone(&[kept[3].1, kept[4].1]).unwrap();
        let pack = kept[0].1.pack;
        let whole = store.bytes(pack);
        let offsets = [3, 7, 20].map(|n| kept[n].1.offset);
        let mut bytes = whole.clone();
        for offset in offsets {
            bytes[offset as usize + RECORD_HEADER_BYTES] ^= 1;
        }
        for len in [1, 7, 56, 1000, bytes.len()] {
            let pass = |bytes: &[u8], from: usize| {
                let mut passing = PassingRecords::new(pack, from as u64);
                bytes[from..].chunks(len).flat_map(|piece| passing.pass(piece)).collect::<Vec<_>>()
            };
            assert_eq!(pass(&whole, 0), [] as [u32; 0], "pieces of {len}");
            assert_eq!(pass(&bytes, 0), offsets[1..], "pieces of {len}: dead ones do not count");
            assert_eq!(pass(&bytes, offsets[1] as usize + 1), offsets[2..], "from the middle of a record");
        }
        let at = offsets[1] as usize + RECORD_HEADER_BYTES;
        store.write_at(pack, at as u64, &[!whole[at]]).unwrap();
        assert!(packs.is_damaged(pack, offsets[1]).unwrap());
        assert!(!packs.is_damaged(pack, offsets[2]).unwrap(), "whole");
        assert!(!packs.is_damaged(pack, offsets[0]).unwrap(), "dead");
        packs.bury(&kept[7].1).unwrap();
        assert!(!packs.is_damaged(pack, offsets[1]).unwrap(), "buried");
    }

    #[test]
    fn what_the_device_cannot_give_is_zeros_and_the_rest_is_what_it_was() {
        let store = Arc::new(TestPacks::default());
        let (packs, _) = open(&store);
        let kept = append(&packs, &[chunk(1, 30_000)]);
        packs.seal().unwrap();
        let (pack, len) = (kept[0].1.pack, store.bytes(kept[0].1.pack).len() as u64);
        let whole = store.bytes(pack);
        *store.bad.lock() = Some((pack, 9_000..9_001));
        assert!(packs.read_raw(pack, 0..len).is_err());
        let around = packs.read_raw_around(pack, 5..len).unwrap();
        assert!(around[..8192 - 5] == whole[5..8192] && around[12288 - 5..] == whole[12288..]);
        assert!(around[8192 - 5..12288 - 5].iter().all(|byte| *byte == 0));
    }
}
