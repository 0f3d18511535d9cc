//! Files whose device is watched: what it fails is counted by call, and the last of it remembered for the operator.

use super::{DirectoryEntry, DiskFile, FileStat, FileSystem, is_device_error};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a device failed so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DeviceFaults(Arc<Mutex<Option<Last>>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    count: u64,
    what: String,
}

impl DeviceFaults {
    /// The last fault, if it is no older than that, and how many there were in all.
    #[must_use]
    pub fn within(&self, age: Duration) -> Option<String> {
        let last = self.0.lock();
        let last = last.as_ref().filter(|last| last.at.elapsed() <= age)?;
        Some(format!("{} ({} faults since the start)", last.what, last.count))
    }

    fn note(&self, call: &'static str, path: &Path, error: &io::Error) {
        if !is_device_error(error) {
            return;
        }
        metrics::counter!("sediment_device_errors_total", "call" => call).increment(1);
        let what = format!("{call} {}: {error}", path.display());
        tracing::error!(%what, "the device failed");
        let mut last = self.0.lock();
        let count = last.as_ref().map_or(0, |last| last.count) + 1;
        *last = Some(Last { at: Instant::now(), count, what });
    }
}

/// Passes every call on.
#[derive(Debug)]
pub struct WatchedFileSystem {
    inner: Arc<dyn FileSystem>,
    faults: DeviceFaults,
}

impl WatchedFileSystem {
    #[must_use]
    pub fn new(inner: Arc<dyn FileSystem>, faults: DeviceFaults) -> Self {
        Self { inner, faults }
    }

    fn seen<T>(&self, call: &'static str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.faults.note(call, path, error))
    }

    fn file(&self, path: &Path, opened: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.seen("open", path, opened)?;
        Ok(Arc::new(WatchedFile { inner, path: path.to_owned(), faults: self.faults.clone() }))
    }
}

impl FileSystem for WatchedFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.file(path, self.inner.create_new(path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.file(path, self.inner.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.seen("change", to, self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.seen("change", path, self.inner.remove_file(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.seen("change", path, self.inner.create_dir_all(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.seen("read", path, self.inner.read_dir(path))
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.seen("read", path, self.inner.stat(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.seen("sync", path, self.inner.sync_dir(path))
    }

    fn available_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.available_bytes(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    faults: DeviceFaults,
}

impl WatchedFile {
    fn seen<T>(&self, call: &'static str, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.faults.note(call, &self.path, error))
    }
}

impl DiskFile for WatchedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.seen("read", self.inner.read_exact_at(buffer, offset))
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.seen("read", self.inner.read_at(offset, len))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.seen("write", self.inner.write_all_at(bytes, offset))
    }

    fn write_all_vectored_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.seen("write", self.inner.write_all_vectored_at(slices, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.seen("sync", self.inner.sync_data())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.seen("write", self.inner.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.seen("read", self.inner.len())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.seen("read", self.inner.allocated_bytes())
    }

    fn drop_cached(&self) -> io::Result<()> {
        self.seen("read", self.inner.drop_cached())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.seen("write", self.inner.punch_hole(offset, len))
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceFaults, WatchedFileSystem};
    use crate::sys::{CallKind, Fault, FaultPlan, FileSystem, SimulatedFileSystem};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn i5_what_the_device_fails_is_told_and_what_has_other_reasons_is_not() {
        let (fs, faults) = (SimulatedFileSystem::new(1), DeviceFaults::default());
        let watched = WatchedFileSystem::new(Arc::new(fs.clone()), faults.clone());
        let file = watched.create_new(Path::new("a")).unwrap();
        let told = || faults.within(Duration::from_secs(3600));
        let fail = |kind, fault| fs.inject(FaultPlan { kind: Some(kind), after: 0, times: 1, fault });
        fail(CallKind::Write, Fault::Full);
        file.write_all_at(b"1", 0).unwrap_err();
        watched.open(Path::new("b")).unwrap_err();
        assert_eq!(told(), None, "a full disk and a missing file are no faults of the device");
        file.write_all_at(b"1", 0).unwrap();
        fail(CallKind::Read, Fault::Io);
        file.read_at(0, 1).unwrap_err();
        fail(CallKind::Sync, Fault::Io);
        file.sync_data().unwrap_err();
        assert!(told().unwrap().starts_with("sync a: "), "{:?}", told());
        assert!(told().unwrap().contains("2 faults"), "{:?}", told());
        assert_eq!(faults.within(Duration::ZERO), None, "long ago");
    }
}
