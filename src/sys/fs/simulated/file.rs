//! An open file.

use super::SimulatedFileSystem;
use super::change::Change;
use super::contents::Edit;
use super::disk::Disk;
use super::faults::{CallKind, Fault};
use crate::sys::DiskFile;
use std::io;

#[derive(Debug)]
pub(super) struct SimulatedFile {
    disk: SimulatedFileSystem,
    number: usize,
    boot: u64,
}

impl SimulatedFile {
    pub(super) fn new(disk: &SimulatedFileSystem, number: usize, boot: u64) -> Self {
        Self { disk: disk.clone(), number, boot }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.0.lock();
        disk.check_power()?;
        if disk.boot != self.boot {
            return Err(io::Error::other("the file was opened before the power cut"));
        }
        f(&mut disk)
    }

    fn edit(&self, edit: Edit) -> io::Result<()> {
        self.with(|disk| disk.change(Change::Edit { file: self.number, edit }))
    }
}

impl DiskFile for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|disk| {
            disk.check_fault(CallKind::Read)?;
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let file = &disk.files[self.number];
            if file.is_unreadable(start, buffer.len()) {
                disk.stats.count("rest: a read of an unreadable sector");
                return Err(Fault::Io.error());
            }
            let bytes = file.now.bytes.get(start..).unwrap_or_default();
            let bytes = bytes.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.edit(Edit::Write { at, bytes: bytes.to_vec() })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| disk.change(Change::Sync(self.number)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.edit(Edit::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.files[self.number].now.bytes.len() as u64))
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.files[self.number].now.allocated()))
    }

    fn drop_cached(&self) -> io::Result<()> {
        self.with(|disk| {
            disk.take(Change::DropCached(self.number));
            Ok(())
        })
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        let (at, len) = (usize::try_from(offset), usize::try_from(len));
        let (at, len) = (at.map_err(io::Error::other)?, len.map_err(io::Error::other)?);
        self.edit(Edit::Punch { at, len })?;
        Ok(true)
    }
}
