//! The files of plain bodies of a store that is being restored: those that are not here yet are read from the bucket.

use super::fetching::Shared;
use super::part::{File, FileId};
use crate::sys::{DirectoryEntry, DiskFile, FileStat, FileSystem};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A decorator of the file system that plain bodies are on.
#[derive(Debug)]
pub(super) struct LazyFiles {
    pub(super) inner: Arc<dyn FileSystem>,
    pub(super) shared: Arc<Shared>,
}

impl LazyFiles {
    fn file(&self, path: &Path) -> Option<Arc<File>> {
        let id = self.shared.local.plain.body_at(path)?;
        self.shared.file(FileId::Plain(id))
    }
}

impl FileSystem for LazyFiles {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let opened = self.inner.open(path)?;
        let Some(file) = self.file(path) else { return Ok(opened) };
        Ok(Arc::new(LazyFile { inner: opened, shared: Arc::clone(&self.shared), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        // In this order: noted before, a crash would leave a file with holes that nothing fills.
        let file = self.file(path);
        self.inner.remove_file(path)?;
        file.map_or(Ok(()), |file| self.shared.drop_file(&file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.read_dir(path)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.inner.stat(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn available_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.available_bytes(path)
    }
}

/// One such file.
#[derive(Debug)]
struct LazyFile {
    inner: Arc<dyn DiskFile>,
    shared: Arc<Shared>,
    file: Arc<File>,
}

impl LazyFile {
    fn force(&self, range: &Range<u64>) -> io::Result<()> {
        self.shared.force(&self.file, range)
    }
}

impl DiskFile for LazyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.shared.ensure(&self.file, &(offset..offset.saturating_add(buffer.len() as u64)))?;
        self.inner.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.force(&(offset..offset.saturating_add(bytes.len() as u64)))?;
        self.inner.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.force(&(0..u64::MAX))?;
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.inner.allocated_bytes()
    }

    fn drop_cached(&self) -> io::Result<()> {
        self.inner.drop_cached()
    }

    fn expect_no_reuse(&self) -> io::Result<()> {
        self.inner.expect_no_reuse()
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.force(&(offset..offset.saturating_add(len)))?;
        self.inner.punch_hole(offset, len)
    }
}
