//! The tree of files.

use super::change::Change;
use super::faults::CallKind;
use super::file::SimulatedFile;
use super::names::{Node, plain};
use super::{DirectoryEntry, SimulatedFileSystem};
use crate::sys::{DiskFile, FileSystem};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl FileSystem for SimulatedFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut disk = self.0.lock();
        disk.change(Change::Create(plain(path)))?;
        Ok(Arc::new(SimulatedFile::new(self, disk.number(path)?, disk.boot)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut disk = self.0.lock();
        disk.check_power()?;
        let number = disk.number(path)?;
        disk.check_fault(CallKind::Open)?;
        Ok(Arc::new(SimulatedFile::new(self, number, disk.boot)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().change(Change::Rename { from: plain(from), to: plain(to) })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change(Change::Remove(plain(path)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change(Change::MakeDirs(plain(path)))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let disk = self.0.lock();
        disk.check_power()?;
        disk.names.check_directory(&plain(path))?;
        let entry = |(name, node): (&PathBuf, &Node)| DirectoryEntry {
            path: path.join(name.file_name().unwrap_or_default()),
            is_dir: *node == Node::Directory,
        };
        Ok(disk.names.inside(&plain(path)).map(entry).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change(Change::SyncDir(plain(path)))
    }

    fn available_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.lock().available())
    }
}
