//! Space kept back for the moment when there is none: a file that is removed then.
//!
//! Deleting and collecting write before they free: a row, a record in the log, a batch of the index. On a device
//! that others have filled to the last block, what this file gives back lets them.

use super::disk::Disk;
use crate::sys::FileSystem;
use std::io;
use std::path::Path;

pub(super) const RESERVE_BYTES: u64 = 16 << 20;
/// With less than this, writing may fail at any moment.
const NEARLY_NOTHING: u64 = 4 << 20;
const NAME: &str = "reserve";
const PIECE: usize = 1 << 20;

/// Keeps the file, or gives it back, as there is space. Blocks.
pub(super) fn tend(fs: &dyn FileSystem, dir: &Path, disk: &Disk) {
    let path = dir.join(NAME);
    let is_there = fs.stat(&path).is_ok_and(|stat| stat.len == RESERVE_BYTES);
    let free = disk.free_bytes();
    let done = if is_there && free < NEARLY_NOTHING {
        tracing::error!(
            free,
            "the disk is full: what was kept back is used; delete something and collect garbage"
        );
        fs.remove_file(&path)
    } else if !is_there && free.saturating_sub(2 * RESERVE_BYTES) > disk.min_free_bytes() {
        write(fs, &path)
    } else {
        Ok(())
    };
    if let Err(error) = done {
        tracing::warn!(%error, path = %path.display(), "the reserve of space cannot be kept");
    }
}

/// For a verb that is going to free space on a device that may be full. Blocks.
pub(super) fn release_when_full(fs: &dyn FileSystem, dir: &Path) {
    let is_full = fs.available_bytes(dir).is_ok_and(|free| free < NEARLY_NOTHING);
    if is_full {
        // Where it is not, it was used before.
        let _ = fs.remove_file(&dir.join(NAME));
    }
}

/// Noise: a hole would keep nothing, and what compresses little.
fn write(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create_new(path)?;
    let mut state = 1u64;
    let written = (0..RESERVE_BYTES / PIECE as u64).try_for_each(|piece| {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..PIECE).map(next).collect();
        file.write_all_at(&noise, piece * PIECE as u64)
    });
    let kept = written.and_then(|()| file.sync_data());
    if kept.is_err() {
        let _ = fs.remove_file(path);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{NAME, RESERVE_BYTES, release_when_full, tend};
    use crate::app::disk::Disk;
    use crate::sys::{DirectoryEntry, DiskFile, FileSystem, RealFileSystem};
    use std::io;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A device that says how much space it has.
    #[derive(Debug)]
    struct Device(AtomicU64);

    impl FileSystem for Device {
        fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealFileSystem.create_new(path)
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
            RealFileSystem.open(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            RealFileSystem.rename(from, to)
        }
        fn remove_file(&self, path: &Path) -> io::Result<()> {
            RealFileSystem.remove_file(path)
        }
        fn create_dir_all(&self, path: &Path) -> io::Result<()> {
            RealFileSystem.create_dir_all(path)
        }
        fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
            RealFileSystem.read_dir(path)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            RealFileSystem.sync_dir(path)
        }
        fn available_bytes(&self, _: &Path) -> io::Result<u64> {
            Ok(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn i5_space_is_kept_back_and_given_when_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let device = Arc::new(Device(AtomicU64::new(1 << 30)));
        let disk = Disk::new(Arc::<Device>::clone(&device), dir.path().to_owned(), 256 << 20);
        let size = || std::fs::metadata(dir.path().join(NAME)).ok().map(|file| file.len());
        let steps = [
            (1 << 30, Some(RESERVE_BYTES)),
            // Refusing bodies comes first.
            (100 << 20, Some(RESERVE_BYTES)),
            (1 << 20, None),
            (RESERVE_BYTES, None),
            (1 << 30, Some(RESERVE_BYTES)),
        ];
        for (free, expected) in steps {
            device.0.store(free, Ordering::SeqCst);
            disk.look();
            tend(device.as_ref(), dir.path(), &disk);
            assert_eq!(size(), expected, "with {free} bytes free");
        }
        release_when_full(device.as_ref(), dir.path());
        assert_eq!(size(), Some(RESERVE_BYTES), "there is space");
        device.0.store(0, Ordering::SeqCst);
        release_when_full(device.as_ref(), dir.path());
        assert_eq!(size(), None);
    }
}
