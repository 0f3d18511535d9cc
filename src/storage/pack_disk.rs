//! Packs as files `<16 hex digits>.pack` in one directory.

use super::{PackFile, PackId, PackStore};
use crate::sys::{DiskFile, FailPoint, FileSystem, create_durable_dir, lacks_descriptors, pause};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The most handles kept open that have nothing left to sync.
const MAX_IDLE_HANDLES: usize = 128;

const SUFFIX: &str = ".pack";

/// Packs on a local disk.
#[derive(Debug)]
pub struct DiskPackStore {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    handles: Mutex<Handles>,
    /// A sync of the directory failed: from then on no name in it is sure.
    lost_names: AtomicBool,
}

/// Open files, the least recently used closed first. One with unsynced writes stays open: an error of the
/// device is reported to the handle that was open when it happened, and to it once.
#[derive(Debug, Default)]
struct Handles {
    open: HashMap<PackId, Handle>,
    tick: u64,
}

#[derive(Debug)]
struct Handle {
    file: Arc<dyn DiskFile>,
    /// Taken for a sync; true once one has failed, and then for ever: a second sync that succeeds would say
    /// nothing of the bytes that the first one lost.
    failed: Arc<Mutex<bool>>,
    /// Writes begun, and how many of them the last good sync covers.
    writes: u64,
    synced: u64,
    used: u64,
}

impl DiskPackStore {
    /// Creates the directory when it is missing.
    ///
    /// # Errors
    /// When it cannot be created or made durable.
    pub fn open(fs: Arc<dyn FileSystem>, dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        create_durable_dir(fs.as_ref(), &dir)?;
        Ok(Self { fs, dir, handles: Mutex::default(), lost_names: AtomicBool::new(false) })
    }

    fn path(&self, id: PackId) -> PathBuf {
        self.dir.join(format!("{id}{SUFFIX}"))
    }

    /// Opening happens under the lock, so that a pack being removed is never put back into the cache.
    fn with_handle<T>(&self, id: PackId, f: impl FnOnce(&mut Handle) -> T) -> io::Result<T> {
        let mut handles = self.handles.lock();
        if !handles.open.contains_key(&id) {
            let file = self.fs.open(&self.path(id))?;
            handles.insert(id, file);
        }
        Ok(f(handles.touch(id)))
    }

    fn to_read(&self, id: PackId) -> io::Result<Arc<dyn DiskFile>> {
        self.with_handle(id, |handle| Arc::clone(&handle.file))
    }

    fn to_write(&self, id: PackId) -> io::Result<Arc<dyn DiskFile>> {
        self.with_handle(id, |handle| {
            handle.writes += 1;
            Arc::clone(&handle.file)
        })
    }

    /// Names that others wait for may be lost with a sync that fails, and their own sync of the directory would not tell.
    fn sync_names(&self) -> io::Result<()> {
        self.fs.sync_dir(&self.dir).inspect_err(|error| {
            if !lacks_descriptors(error) {
                self.lost_names.store(true, Ordering::Release);
            }
        })
    }
}

impl Handles {
    fn insert(&mut self, id: PackId, file: Arc<dyn DiskFile>) {
        while self.open.len() >= MAX_IDLE_HANDLES {
            let idle = self.open.iter().filter(|(_, handle)| handle.writes == handle.synced);
            let Some(oldest) = idle.min_by_key(|(_, handle)| handle.used).map(|(id, _)| *id) else { break };
            self.open.remove(&oldest);
        }
        self.open.insert(id, Handle { file, failed: Arc::default(), writes: 0, synced: 0, used: self.tick });
    }

    #[expect(clippy::expect_used, reason = "stated invariant: the caller has just found or inserted it")]
    fn touch(&mut self, id: PackId) -> &mut Handle {
        self.tick += 1;
        let handle = self.open.get_mut(&id).expect("an open handle");
        handle.used = self.tick;
        handle
    }
}

impl PackStore for DiskPackStore {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        let mut packs = Vec::new();
        for entry in self.fs.read_dir(&self.dir)? {
            let Some(id) = entry.path.file_name().and_then(|name| parse_name(name.to_str()?)) else {
                continue;
            };
            match self.fs.stat(&entry.path) {
                Ok(stat) => packs.push(PackFile { id, len: stat.len, allocated: stat.allocated }),
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        packs.sort_unstable_by_key(|pack| pack.id);
        Ok(packs)
    }

    fn create(&self, id: PackId) -> io::Result<()> {
        let file = self.fs.create_new(&self.path(id))?;
        FailPoint::PackNamed.pass()?;
        if let Err(error) = self.sync_names() {
            let _ = self.fs.remove_file(&self.path(id));
            return Err(error);
        }
        self.handles.lock().insert(id, file);
        Ok(())
    }

    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.to_write(id)?.write_all_at(bytes, offset)
    }

    fn write_vectored_at(&self, id: PackId, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.to_write(id)?.write_all_vectored_at(slices, offset)
    }

    fn sync(&self, id: PackId) -> io::Result<()> {
        if self.lost_names.load(Ordering::Acquire) {
            return Err(io::Error::other("a sync of the packs' directory failed"));
        }
        let (file, failed) =
            self.with_handle(id, |handle| (Arc::clone(&handle.file), Arc::clone(&handle.failed)))?;
        let mut failed = failed.lock();
        if *failed {
            return Err(io::Error::other(format!("an earlier sync of pack {id} failed")));
        }
        let covered = self.with_handle(id, |handle| handle.writes)?;
        let result = file.sync_data();
        *failed = result.is_err();
        if let Some(handle) = self.handles.lock().open.get_mut(&id) {
            match &result {
                Ok(()) => handle.synced = handle.synced.max(covered),
                // Never equal again: the handle that knows of the failure stays open.
                Err(_) => handle.writes = u64::MAX / 2,
            }
        }
        result
    }

    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.to_read(id)?.read_at(offset, len).map(Bytes::from)
    }

    fn read_exact_at(&self, id: PackId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.to_read(id)?.read_exact_at(buffer, offset)
    }

    fn read_once(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        // By a handle of its own, so that none goes from the cache for it, and others read as before.
        let file = self.fs.open(&self.path(id))?;
        // Advice: without it the bytes are the same.
        let _ = file.expect_no_reuse();
        file.read_at(offset, len).map(Bytes::from)
    }

    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.to_write(id)?.set_len(len)
    }

    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        if len == 0 {
            return Ok(true);
        }
        // Nothing to sync: what is punched is dead, and a hole that a power cut takes back costs only room.
        self.to_read(id)?.punch_hole(offset, len)
    }

    fn reload(&self, id: PackId) -> io::Result<()> {
        // By a handle of its own: an error that it is told of is told to those that are open, too.
        let file = self.fs.open(&self.path(id))?;
        if let Err(error) = file.sync_data() {
            tracing::error!(pack = %id, %error, "what was written to a pack could not be made durable");
        }
        file.drop_cached()
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        // The last one to close a removed file gives its blocks back, which takes a while: not under the lock.
        let last = self.to_read(id);
        {
            let mut handles = self.handles.lock();
            handles.open.remove(&id);
            match self.fs.remove_file(&self.path(id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        FailPoint::PackUnlinked.pass()?;
        self.sync_names()?;
        if let Ok(last) = last {
            give_back(last);
        }
        Ok(())
    }
}

/// Shortens a removed file bit by bit. The next sync of any file may wait until the file system has noted, and the device
/// dropped, what was given back: so never much at once. A reader that shares this handle keeps all of the file. One whose handle
/// had left the cache meets its shortened end: it looks again, and finds the chunk elsewhere.
fn give_back(mut file: Arc<dyn DiskFile>) {
    const STEP: u64 = 4 << 20;
    const PAUSE: Duration = Duration::from_millis(10);
    let mut len = file.len().unwrap_or(0);
    while len > STEP && Arc::get_mut(&mut file).is_some() {
        len -= STEP;
        if file.set_len(len).is_err() {
            // It goes as a whole when it is closed.
            return;
        }
        pause(PAUSE);
    }
}

/// Only the names that this store makes, in their one spelling.
fn parse_name(name: &str) -> Option<PackId> {
    let digits = name.strip_suffix(SUFFIX)?;
    let id = PackId::new(u64::from_str_radix(digits, 16).ok()?);
    (id.to_string() == digits).then_some(id)
}

pub(super) fn fuzz(name: &str) {
    if let Some(id) = parse_name(name) {
        assert_eq!(format!("{id}{SUFFIX}"), name);
    }
}

#[cfg(test)]
#[path = "pack_disk_tests.rs"]
mod tests;
