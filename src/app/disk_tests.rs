use super::Disk;
use crate::app::reserve::{NAME, RESERVE_BYTES, release_when_full};
use crate::sys::{DirectoryEntry, DiskFile, FileSystem, RealFileSystem};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A device that says how much space it has, and may have a quota of which it says nothing.
#[derive(Debug)]
struct Device(AtomicU64, AtomicBool);

impl Device {
    fn new(free: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(free), AtomicBool::new(false)))
    }
}

impl FileSystem for Device {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
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
    let device = Device::new(1 << 30);
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
        disk.tend_reserve();
        assert_eq!(size(), expected, "with {free} bytes free");
    }
    release_when_full(device.as_ref(), dir.path());
    assert_eq!(size(), Some(RESERVE_BYTES), "there is space");
    device.0.store(0, Ordering::SeqCst);
    release_when_full(device.as_ref(), dir.path());
    assert_eq!(size(), None);
}

#[test]
fn i5_a_quota_that_no_number_shows_turns_bodies_away_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::new(1 << 30);
    let disk = Disk::new(Arc::<Device>::clone(&device), dir.path().to_owned(), 256 << 20);
    let reserve = dir.path().join(NAME);
    disk.tend_reserve();
    assert!(reserve.exists() && disk.trouble().is_none());
    device.1.store(true, Ordering::SeqCst);
    disk.ran_out();
    assert!(disk.is_full() && disk.trouble().unwrap().contains("quota"), "{:?}", disk.trouble());
    for _ in 0..20 {
        disk.look();
        disk.tend_reserve();
        assert!(disk.is_full() && !reserve.exists(), "deletes have what was kept back");
    }
    device.1.store(false, Ordering::SeqCst);
    let looks = (1..40).find(|_| {
        disk.look();
        !disk.is_full()
    });
    assert!(looks.is_some_and(|looks| looks <= 16), "{looks:?}");
    assert!(reserve.exists() && disk.trouble().is_none());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
}

/// What the margin leaves free is free, be it ever so little.
#[test]
fn i5_bodies_are_taken_again_with_little_more_free_than_the_margin() {
    const MARGIN: u64 = 256 << 20;
    for spare in [1, 5 << 20, 2 * RESERVE_BYTES, 3 * RESERVE_BYTES] {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::new(MARGIN + spare);
        let disk = Disk::new(Arc::<Device>::clone(&device), dir.path().to_owned(), MARGIN);
        device.1.store(true, Ordering::SeqCst);
        disk.ran_out();
        (0..20).for_each(|_| disk.look());
        assert!(disk.is_full(), "{spare}: nothing can be written");
        device.1.store(false, Ordering::SeqCst);
        let looks = (1..40).find(|_| {
            disk.look();
            !disk.is_full()
        });
        assert!(looks.is_some_and(|looks| looks <= 16), "{spare}: {looks:?}");
        disk.tend_reserve();
        assert_eq!(dir.path().join(NAME).exists(), spare > 2 * RESERVE_BYTES, "{spare}: not from the margin");
        assert!(!dir.path().join("reserve.probe").exists());
        device.0.store(MARGIN - 1, Ordering::SeqCst);
        disk.look();
        assert!(disk.is_full(), "{spare}: the margin is kept all the same");
    }
}
