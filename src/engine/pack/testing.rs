//! Packs in memory that can fail and lose what was not synced.

use crate::storage::{PackFile, PackId, PackStore};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;

#[derive(Debug, Default)]
pub(crate) struct TestPacks {
    files: Mutex<BTreeMap<PackId, File>>,
    pub(crate) fail_syncs: Mutex<usize>,
    /// The next write stops after so many bytes and fails.
    pub(crate) tear_write: Mutex<Option<usize>>,
    pub(crate) syncs: Mutex<usize>,
    pub(crate) reads: Mutex<usize>,
}

#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

impl TestPacks {
    /// What a power cut leaves: only synced bytes.
    pub(crate) fn after_power_cut(&self) -> Self {
        let cut = |f: &File| File { bytes: f.synced.clone(), synced: f.synced.clone() };
        let files = self.files.lock().iter().map(|(id, file)| (*id, cut(file))).collect();
        Self { files: Mutex::new(files), ..Self::default() }
    }

    /// What a killed process leaves: every byte written.
    pub(crate) fn after_kill(&self) -> Self {
        Self { files: Mutex::new(self.files.lock().clone()), ..Self::default() }
    }

    pub(crate) fn bytes(&self, id: PackId) -> Vec<u8> {
        self.files.lock()[&id].bytes.clone()
    }

    pub(crate) fn set_bytes(&self, id: PackId, bytes: Vec<u8>) {
        self.files.lock().insert(id, File { synced: bytes.clone(), bytes });
    }
}

fn range(file: &File, offset: u64, len: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let end = start.checked_add(len).filter(|end| *end <= file.bytes.len());
    end.map(|end| start..end).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl PackStore for TestPacks {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        let info = |(id, file): (&PackId, &File)| PackFile {
            id: *id,
            len: file.bytes.len() as u64,
            allocated: file.bytes.iter().filter(|b| **b != 0).count() as u64,
        };
        Ok(self.files.lock().iter().map(info).collect())
    }

    fn create(&self, id: PackId) -> io::Result<()> {
        match self.files.lock().entry(id) {
            std::collections::btree_map::Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(File::default());
                Ok(())
            }
        }
    }

    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let tear = self.tear_write.lock().take();
        let bytes = &bytes[..tear.unwrap_or(bytes.len()).min(bytes.len())];
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[start..end].copy_from_slice(bytes);
        if tear.is_some() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, id: PackId) -> io::Result<()> {
        *self.syncs.lock() += 1;
        let mut fail = self.fail_syncs.lock();
        if *fail > 0 {
            *fail -= 1;
            return Err(io::Error::other("injected"));
        }
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        file.synced = file.bytes.clone();
        Ok(())
    }

    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        *self.reads.lock() += 1;
        let files = self.files.lock();
        let file = files.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Bytes::copy_from_slice(&file.bytes[range(file, offset, len)?]))
    }

    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        file.bytes.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let range = range(file, offset, len)?;
        file.bytes[range].fill(0);
        Ok(true)
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        self.files.lock().remove(&id);
        Ok(())
    }
}
