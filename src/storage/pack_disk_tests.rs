use super::{DiskPackStore, MAX_IDLE_HANDLES, parse_name};
use crate::storage::{PackId, PackStore, pack_conformance};
use crate::sys::{DirectoryEntry, DiskFile, FileSystem, RealFileSystem};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn store(dir: &tempfile::TempDir) -> DiskPackStore {
    DiskPackStore::open(Arc::new(RealFileSystem), dir.path().join("packs")).unwrap()
}

#[test]
fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    pack_conformance::run(&store(&dir));
}

#[test]
fn another_process_finds_the_same_packs() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir);
    first.create(PackId::new(7)).unwrap();
    first.write_at(PackId::new(7), 0, b"bytes").unwrap();
    first.sync(PackId::new(7)).unwrap();
    std::fs::write(dir.path().join("packs/notes.txt"), "not ours").unwrap();
    let second = store(&dir);
    let ids: Vec<_> = second.list().unwrap().into_iter().map(|pack| (pack.id, pack.len)).collect();
    assert_eq!(ids, [(PackId::new(7), 5)]);
    assert_eq!(&second.read_at(PackId::new(7), 0, 5).unwrap()[..], b"bytes");
}

#[test]
fn i5_open_files_are_bounded_and_unsynced_ones_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    for id in 0..2 * MAX_IDLE_HANDLES as u64 {
        store.create(PackId::new(id)).unwrap();
        store.write_at(PackId::new(id), 0, &id.to_le_bytes()).unwrap();
        if id != 3 {
            store.sync(PackId::new(id)).unwrap();
        }
    }
    let handles = store.handles.lock();
    assert!(handles.open.len() <= MAX_IDLE_HANDLES);
    assert!(handles.open.contains_key(&PackId::new(3)));
    drop(handles);
    for id in 0..2 * MAX_IDLE_HANDLES as u64 {
        assert_eq!(store.read_at(PackId::new(id), 0, 8).unwrap(), id.to_le_bytes()[..]);
    }
}

#[test]
fn what_is_read_once_takes_no_place_among_the_open_files() {
    let dir = tempfile::tempdir().unwrap();
    let (first, id) = (store(&dir), PackId::new(7));
    first.create(id).unwrap();
    first.write_at(id, 0, b"bytes").unwrap();
    first.sync(id).unwrap();
    let second = store(&dir);
    assert_eq!(&second.read_once(id, 1, 3).unwrap()[..], b"yte");
    assert!(second.handles.lock().open.is_empty());
}

#[test]
fn a_removed_pack_shrinks_bit_by_bit_but_not_under_a_reader() {
    const LEN: u64 = 9 << 20;
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    for (id, is_read) in [(PackId::new(1), false), (PackId::new(2), true)] {
        store.create(id).unwrap();
        store.write_at(id, LEN - 3, b"end").unwrap();
        let reader = is_read.then(|| store.to_read(id).unwrap());
        let seen = std::fs::File::open(store.path(id)).unwrap();
        store.remove(id).unwrap();
        assert!(store.read_at(id, 0, 1).is_err());
        match reader {
            Some(reader) => assert_eq!(reader.read_at(LEN - 3, 3).unwrap(), b"end"),
            None => assert!(seen.metadata().unwrap().len() < LEN / 2),
        }
    }
}

#[test]
fn i5_punched_packs_do_not_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    for id in (0..2 * MAX_IDLE_HANDLES as u64).map(PackId::new) {
        store.create(id).unwrap();
        store.write_at(id, 0, &[1; 8192]).unwrap();
        store.sync(id).unwrap();
        store.punch(id, 0, 4096).unwrap();
    }
    let open = store.handles.lock().open.len();
    assert!(open <= MAX_IDLE_HANDLES, "{open} packs are open");
}

#[test]
fn a_reloaded_pack_has_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir);
    store.create(PackId::new(1)).unwrap();
    store.write_at(PackId::new(1), 0, b"bytes").unwrap();
    store.reload(PackId::new(1)).unwrap();
    assert_eq!(&store.read_at(PackId::new(1), 0, 5).unwrap()[..], b"bytes");
}

/// The kernel tells of a failed write-back once; the next `fsync` succeeds.
#[derive(Debug, Clone, Default)]
struct OneBadSync(Arc<AtomicBool>);

#[derive(Debug)]
struct File(Arc<dyn DiskFile>, OneBadSync);

impl FileSystem for OneBadSync {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File(RealFileSystem.create_new(path)?, self.clone())))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File(RealFileSystem.open(path)?, self.clone())))
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
    fn available_bytes(&self, path: &Path) -> io::Result<u64> {
        RealFileSystem.available_bytes(path)
    }
}

impl DiskFile for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.1.0.swap(false, Ordering::SeqCst) { Err(io::Error::other("EIO")) } else { self.0.sync_data() }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn allocated_bytes(&self) -> io::Result<u64> {
        self.0.allocated_bytes()
    }
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.0.punch_hole(offset, len)
    }
}

#[test]
fn i1_after_a_failed_sync_no_retry_counts() {
    let dir = tempfile::tempdir().unwrap();
    let fs = OneBadSync::default();
    let store = DiskPackStore::open(Arc::new(fs.clone()), dir.path()).unwrap();
    for id in 0..2 * MAX_IDLE_HANDLES as u64 {
        store.create(PackId::new(id)).unwrap();
        store.write_at(PackId::new(id), 0, b"bytes").unwrap();
        fs.0.store(id == 0, Ordering::SeqCst);
        assert_eq!(store.sync(PackId::new(id)).is_err(), id == 0);
    }
    assert!(store.sync(PackId::new(0)).is_err());
    assert!(store.sync(PackId::new(1)).is_ok());
}

#[test]
fn only_its_own_names_are_packs() {
    assert_eq!(parse_name("00000000000000ff.pack"), Some(PackId::new(255)));
    for name in ["ff.pack", "00000000000000FF.pack", "+0000000000000ff.pack", "00000000000000ff", ".pack"] {
        assert_eq!(parse_name(name), None, "{name}");
    }
}
