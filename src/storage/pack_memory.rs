//! Packs in memory, in blocks that holes can be punched into: for tests, and for stores meant to be forgotten.

use super::{PackFile, PackId, PackStore};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;

const BLOCK_BYTES: usize = 4096;

/// Packs that live as long as the value. `sync` has nothing to do.
#[derive(Debug, Default)]
pub struct MemoryPackStore {
    packs: Mutex<BTreeMap<PackId, SparseFile>>,
}

/// A missing block reads as zeros, and so does what lies behind `len` in the last one.
#[derive(Debug, Default)]
struct SparseFile {
    len: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl MemoryPackStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, id: PackId, f: impl FnOnce(&mut SparseFile) -> io::Result<T>) -> io::Result<T> {
        f(self.packs.lock().get_mut(&id).ok_or(io::ErrorKind::NotFound)?)
    }
}

impl PackStore for MemoryPackStore {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        let packs = self.packs.lock();
        let pack = |(id, file): (&PackId, &SparseFile)| PackFile {
            id: *id,
            len: file.len,
            allocated: (file.blocks.len() * BLOCK_BYTES) as u64,
        };
        Ok(packs.iter().map(pack).collect())
    }

    fn create(&self, id: PackId) -> io::Result<()> {
        match self.packs.lock().entry(id) {
            std::collections::btree_map::Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(SparseFile::default());
                Ok(())
            }
        }
    }

    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(id, |file| {
            file.write(offset, bytes);
            Ok(())
        })
    }

    fn sync(&self, id: PackId) -> io::Result<()> {
        self.with(id, |_| Ok(()))
    }

    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.with(id, |file| file.read(offset, len).map(Bytes::from))
    }

    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.with(id, |file| {
            if len < file.len {
                file.zero(len, file.len - len);
                file.blocks.split_off(&len.div_ceil(BLOCK_BYTES as u64));
            }
            file.len = len;
            Ok(())
        })
    }

    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.with(id, |file| {
            file.zero(offset, len);
            Ok(true)
        })
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        self.packs.lock().remove(&id);
        Ok(())
    }
}

/// A range cut at the blocks' borders: block, place in the block, place in the range.
fn pieces(offset: u64, len: u64) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let end = offset.saturating_add(len);
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let start = (at % BLOCK_BYTES as u64) as usize;
        let piece = (BLOCK_BYTES - start).min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let item = (at / BLOCK_BYTES as u64, start..start + piece, (at - offset) as usize);
        at += piece as u64;
        Some(item)
    })
}

impl SparseFile {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (block, place, from) in pieces(offset, bytes.len() as u64) {
            let piece = &bytes[from..from + place.len()];
            let block = self.blocks.entry(block).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
            block[place].copy_from_slice(piece);
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        for (block, place, to) in pieces(offset, len as u64) {
            if let Some(block) = self.blocks.get(&block) {
                bytes[to..to + place.len()].copy_from_slice(&block[place]);
            }
        }
        Ok(bytes)
    }

    /// Zeros a range inside the file and gives whole blocks of it back. Never lengthens the file.
    fn zero(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.len);
        for (block, place, _) in pieces(offset, end.saturating_sub(offset)) {
            if place.len() == BLOCK_BYTES {
                self.blocks.remove(&block);
            } else if let Some(block) = self.blocks.get_mut(&block) {
                block[place].fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryPackStore;
    use crate::storage::pack_conformance;

    #[test]
    fn keeps_the_contract() {
        pack_conformance::run(&MemoryPackStore::new());
    }
}
