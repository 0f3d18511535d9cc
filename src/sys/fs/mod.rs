//! Files, as the storage rooms need them: positioned reads and writes, explicit durability, no cursors.
//!
//! All calls block: they belong on dedicated or blocking threads, never on the async ones.
//! What is written is durable only after `sync_data`; a name created, renamed or removed is durable only after
//! `sync_dir` on its directory. The tests' simulated file system keeps exactly these
//! promises and no more.

mod directories;
mod real;
#[cfg(test)]
mod simulated;
mod trouble;
mod watched;

pub use directories::{create_durable_dir, parent, replace_file};
pub use real::RealFileSystem;
#[cfg(test)]
pub use simulated::{CallKind, Damage, Fault, FaultCounts, FaultPlan, SimulatedFileSystem};

pub use trouble::{is_device_error, lacks_descriptors, lacks_room};
pub use watched::{DeviceFaults, WatchedFileSystem};

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub path: PathBuf,
    pub is_dir: bool,
}

/// What a file's directory entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    pub len: u64,
    /// The bytes that the file occupies on its device: less than `len` after punching.
    pub allocated: u64,
}

/// A tree of files. Paths are given whole.
pub trait FileSystem: Send + Sync + std::fmt::Debug {
    /// Creates a new file for reading and writing; fails with `AlreadyExists` when the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Replaces `to` atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory in no order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;
    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let file = self.open(path)?;
        Ok(FileStat { len: file.len()?, allocated: file.allocated_bytes()? })
    }
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that an ordinary user can still write here.
    fn available_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file, shared between threads.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Fills the buffer or fails; `UnexpectedEof` past the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Exactly `len` bytes or an error; `UnexpectedEof` past the end.
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        self.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }
    /// Writes everything or fails; on failure any part of it may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// As one write of all slices, the one behind the other, without moving them together first. Leaves any slices
    /// behind.
    fn write_all_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.write_all_at(&joined(slices), offset)
    }
    /// Makes the contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// The bytes that the file occupies on its device: less than `len` after punching.
    fn allocated_bytes(&self) -> io::Result<u64>;
    /// Asks for reads to come from the device again, not from memory. What is not synced stays in memory.
    fn drop_cached(&self) -> io::Result<()> {
        Ok(())
    }
    /// What is read by this handle is not kept in memory at the cost of what others read.
    fn expect_no_reuse(&self) -> io::Result<()> {
        Ok(())
    }
    /// Gives the blocks of a range back to the file system; it reads as zeros. Where holes are not supported
    /// the range is left as it is: `Ok(false)`.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool>;
}

/// The bytes of all slices.
#[must_use]
pub fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
    slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
    bytes
}
