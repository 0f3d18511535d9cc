//! The files as they are here.

use super::part::{FileId, Part};
use crate::backup::restore::sparse;
use crate::engine::{EngineError, PlainStore};
use crate::storage::{PackId, PackStore};
use crate::sys::DiskFile;
use crate::types::PlainId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// How much is read at a time to check it.
const COMPARE_BYTES: u64 = 4 << 20;
/// Packs that are written to keep their handles until they are synced: so many may wait for that.
const MOST_UNSYNCED: usize = 64;

#[derive(Debug)]
pub(super) struct Local {
    pub(super) packs: Arc<dyn PackStore>,
    pub(super) plain: PlainStore,
    unsynced: Mutex<VecDeque<PackId>>,
}

impl Local {
    pub(super) fn new(packs: Arc<dyn PackStore>, plain: PlainStore) -> Self {
        Self { packs, plain, unsynced: Mutex::default() }
    }

    /// A file of so many zeros, durably. One that is there is emptied.
    pub(super) fn reserve(&self, id: FileId, len: u64) -> io::Result<()> {
        match id {
            FileId::Pack(id) => {
                match self.packs.create(id) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.packs.truncate(id, 0)?;
                    }
                    created => created?,
                }
                self.packs.truncate(id, len)?;
                self.packs.sync(id)
            }
            FileId::Plain(id) => self.plain.reserve(id, len).map_err(plain_error),
        }
    }

    pub(super) fn write(&self, id: FileId, at: u64, bytes: &Bytes) -> io::Result<()> {
        match id {
            FileId::Pack(id) => {
                sparse::write(&*self.packs, id, at, bytes)?;
                self.wrote(id)
            }
            FileId::Plain(id) => self.plain_file(id)?.write_all_at(bytes, at),
        }
    }

    pub(super) fn sync(&self, id: FileId) -> io::Result<()> {
        match id {
            FileId::Pack(id) => self.packs.sync(id),
            FileId::Plain(id) => self.plain_file(id)?.sync_data(),
        }
    }

    /// Whether the file holds what the part is.
    pub(super) fn is_whole(&self, part: &Part) -> io::Result<bool> {
        let (FileId::Pack(id), Some(expected)) = (part.file, part.crc) else { return Ok(true) };
        let (mut at, mut crc) = (part.range.start, 0);
        while at < part.range.end {
            let until = part.range.end.min(at + COMPARE_BYTES);
            // Bounded by `COMPARE_BYTES`.
            crc = crc32c::crc32c_append(crc, &self.packs.read_once(id, at, (until - at) as usize)?);
            at = until;
        }
        Ok(crc == expected)
    }

    fn wrote(&self, id: PackId) -> io::Result<()> {
        let oldest = {
            let mut unsynced = self.unsynced.lock();
            if !unsynced.contains(&id) {
                unsynced.push_back(id);
            }
            if unsynced.len() > MOST_UNSYNCED { unsynced.pop_front() } else { None }
        };
        oldest.map_or(Ok(()), |oldest| self.packs.sync(oldest))
    }

    fn plain_file(&self, id: PlainId) -> io::Result<Arc<dyn DiskFile>> {
        self.plain.raw_file(id).map_err(plain_error)
    }
}

fn plain_error(error: EngineError) -> io::Error {
    match error {
        EngineError::Io(error) => error,
        EngineError::Full => io::ErrorKind::StorageFull.into(),
        other => io::Error::other(other.to_string()),
    }
}
