//! Where packs live.

use crate::sys::joined;
use bytes::Bytes;
use std::io::{self, IoSlice};

/// A pack's name. Ids are never used twice, so that a stale location can never name new bytes: 42 bits of
/// creation time in milliseconds, then 22 random ones. Order is roughly that of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(u64);

impl PackId {
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for PackId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A pack as the store sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFile {
    pub id: PackId,
    pub len: u64,
    /// Bytes really occupied; less than `len` after punching.
    pub allocated: u64,
}

/// Files of packs. All calls block: they belong on the engine's own threads. The store knows nothing of records.
/// Written bytes are durable after `sync`, a created or removed name when the call returns.
pub trait PackStore: Send + Sync + std::fmt::Debug {
    fn list(&self) -> io::Result<Vec<PackFile>>;
    /// Fails with `AlreadyExists` when the id is taken.
    fn create(&self, id: PackId) -> io::Result<()>;
    /// Writes everything or fails; on failure any part of it may have been written.
    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// As one write of all slices, the one behind the other. Leaves any slices behind.
    fn write_vectored_at(&self, id: PackId, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.write_at(id, offset, &joined(slices))
    }
    fn sync(&self, id: PackId) -> io::Result<()>;
    /// Exactly `len` bytes or an error; `NotFound` when the pack is gone. A read that began before `remove`
    /// may finish after it.
    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes>;
    /// As [`Self::read_at`], into memory that is there.
    fn read_exact_at(&self, id: PackId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.copy_from_slice(&self.read_at(id, offset, buffer.len())?);
        Ok(())
    }
    /// As [`Self::read_at`], of bytes that nobody will ask for again soon: memory keeps what others need.
    fn read_once(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.read_at(id, offset, len)
    }
    fn truncate(&self, id: PackId, len: u64) -> io::Result<()>;
    /// Gives whole blocks inside the range back: the range reads as zeros, `len` stays. Where that is not
    /// supported nothing changes: `false`.
    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool>;
    /// Forgets what memory holds of the pack and the device may not: reads that follow see what the device has.
    /// Writes that the device still takes are made durable; that some are lost is no error here, it shows in what
    /// is read. Where nothing stands between, nothing happens.
    fn reload(&self, id: PackId) -> io::Result<()> {
        let _ = id;
        Ok(())
    }
    /// Removing what is not there succeeds.
    fn remove(&self, id: PackId) -> io::Result<()>;
}
