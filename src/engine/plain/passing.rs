//! Looking at a plain body's file while its bytes pass by on the way elsewhere, and what can be had of one that is damaged.

use super::{BLOCK_BYTES, PlainStore, STRIDE_BYTES, TRAILER_BYTES, block_crc, decode_trailer, stored_len};
use crate::engine::EngineError;
use crate::sys::is_device_error;
use crate::types::PlainId;
use std::io;
use std::ops::Range;

/// How much is proven at a time.
const PROVE_BYTES: u64 = 1 << 20;
/// What a device fails to give at a time.
const DEVICE_BLOCK_BYTES: u64 = 4096;

/// Compares checksums in the bytes of a plain body's file, which come in order from its beginning.
#[derive(Debug)]
pub struct PassingBlocks {
    id: PlainId,
    /// Where the trailer begins.
    body_end: u64,
    at: u64,
    number: u64,
    /// Less than what is under one checksum.
    held: Vec<u8>,
}

impl PassingBlocks {
    /// `None`: a file of that length is none of a body.
    #[must_use]
    pub fn new(id: PlainId, file_len: u64) -> Option<Self> {
        let body_end = file_len.checked_sub(TRAILER_BYTES as u64)?;
        Some(Self { id, body_end, at: 0, number: 0, held: Vec::new() })
    }

    /// Whether everything that ends in these bytes is what its checksum says.
    pub fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_whole = true;
        while !bytes.is_empty() {
            let wanted = self.unit_bytes() - self.held.len();
            let (here, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if here.len() < wanted {
                self.held.extend_from_slice(here);
                return is_whole;
            }
            if self.held.is_empty() {
                is_whole &= self.unit(here);
            } else {
                let mut unit = std::mem::take(&mut self.held);
                unit.extend_from_slice(here);
                is_whole &= self.unit(&unit);
            }
        }
        is_whole
    }

    /// Of the block that comes next, or of the trailer.
    fn unit_bytes(&self) -> usize {
        match self.body_end.saturating_sub(self.at) {
            0 => TRAILER_BYTES,
            // A block at most.
            left => left.min(STRIDE_BYTES) as usize,
        }
    }

    fn unit(&mut self, unit: &[u8]) -> bool {
        let is_trailer = self.at >= self.body_end;
        self.at += unit.len() as u64;
        if is_trailer {
            let trailer: Result<[u8; TRAILER_BYTES], _> = unit.try_into();
            let size = trailer.ok().and_then(|trailer| decode_trailer(&trailer, self.id));
            return size.and_then(stored_len) == Some(self.body_end);
        }
        let number = self.number;
        self.number += 1;
        unit.split_last_chunk()
            .is_some_and(|(block, crc)| block_crc(self.id, number, block) == u32::from_le_bytes(*crc))
    }
}

impl PlainStore {
    /// Proves what touches a range of a body's file, and its trailer.
    ///
    /// # Errors
    /// `CorruptPlain` when it is damaged, `MissingPlain` when there is no such body; or as the device says.
    pub fn prove_raw(&self, id: PlainId, range: Range<u64>) -> Result<(), EngineError> {
        let reader = self.reader(id)?;
        let body = |place: u64| place.saturating_mul(BLOCK_BYTES as u64).min(reader.size());
        let (mut at, end) = (body(range.start / STRIDE_BYTES), body(range.end.div_ceil(STRIDE_BYTES)));
        while at < end {
            let until = end.min(at + PROVE_BYTES);
            reader.read_at(at..until)?;
            at = until;
        }
        Ok(())
    }

    /// As [`Self::read_raw`], with zeros for what the device cannot give.
    ///
    /// # Errors
    /// As there, but for those of the device; `MissingPlain` and whatever keeps the file from being opened.
    pub fn read_raw_around(&self, id: PlainId, range: Range<u64>) -> Result<Vec<u8>, EngineError> {
        let file = self.raw_file(id)?;
        let (mut at, mut bytes) = (range.start, Vec::new());
        while at < range.end {
            let next = ((at / DEVICE_BLOCK_BYTES + 1) * DEVICE_BLOCK_BYTES).min(range.end);
            // At most a block.
            match file.read_at(at, (next - at) as usize) {
                Ok(block) => bytes.extend_from_slice(&block),
                Err(error) if is_device_error(&error) || error.kind() == io::ErrorKind::UnexpectedEof => {
                    bytes.resize(bytes.len() + (next - at) as usize, 0);
                }
                Err(error) => return Err(error.into()),
            }
            at = next;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::PassingBlocks;
    use crate::engine::{EngineError, PlainStore};
    use crate::sys::{FileSystem, RealFileSystem, SeededRandom};
    use std::sync::Arc;

    /// Whether all of a file passes in pieces of a length.
    fn passes(id: crate::types::PlainId, bytes: &[u8], piece: usize) -> bool {
        let Some(mut passing) = PassingBlocks::new(id, bytes.len() as u64) else { return false };
        bytes.chunks(piece).all(|piece| passing.pass(piece))
    }

    #[test]
    fn i4_damage_to_a_body_is_seen_while_it_passes_in_pieces_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let store = PlainStore::open(Arc::new(RealFileSystem), dir.path()).unwrap();
        for len in [0, 1, 65_536, 65_537, 200_000] {
            let mut writer = store.create(&SeededRandom::new(len as u64)).unwrap();
            writer.write(&vec![7; len]).unwrap();
            let id = writer.finish().unwrap();
            let raw = store.raw_len(id).unwrap();
            let whole = store.read_raw(id, 0..raw).unwrap().to_vec();
            store.prove_raw(id, 0..raw).unwrap();
            assert!(store.read_raw_around(id, 0..raw).unwrap() == whole);
            for piece in [1, 4096, 65_540, 100_000, 1 << 20] {
                assert!(passes(id, &whole, piece), "{len} {piece}");
                for at in [0, whole.len() / 2, whole.len() - 1] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 1;
                    assert!(!passes(id, &bytes, piece), "{len} {piece} {at}");
                }
            }
            assert!(!passes(id, &whole[..whole.len() - 1], 4096) && !passes(id, &[], 1));
            let name = id.to_string();
            let file = RealFileSystem.open(&dir.path().join(&name[..2]).join(&name)).unwrap();
            file.write_all_at(&[whole[raw as usize / 2] ^ 1], raw / 2).unwrap();
            assert!(matches!(
                store.prove_raw(id, raw / 2..raw / 2 + 1),
                Err(EngineError::CorruptPlain { .. })
            ));
        }
    }
}
