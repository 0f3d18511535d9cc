//! Files in memory that lose at a power cut what was not synced, and whatever a seed says of what was on its way.
//!
//! It keeps the promises of [`FileSystem`] and no more: of the writes to a file since its last `sync_data`, any may
//! be lost, whole or from some byte on; of the names that changed in a directory since its last `sync_dir`, each is
//! as before or as after; what stands below a lost directory is lost with it.

use super::{DirectoryEntry, DiskFile, FileSystem, parent};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Clones are one disk.
#[derive(Debug, Clone)]
pub struct SimulatedFileSystem(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct Disk {
    random: u64,
    /// Changing calls until the power fails.
    calls_left: Option<u64>,
    /// Files opened before the last cut stay unusable.
    boot: u64,
    names: Names,
    durable: Names,
    files: Vec<Contents>,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Length(len) => contents.resize(*len, 0),
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                contents.resize(contents.len().max(end), 0);
                contents[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl SimulatedFileSystem {
    /// An empty disk, mounted at `/` and at the working directory.
    pub fn new(seed: u64) -> Self {
        let names = Names::from([(PathBuf::new(), Node::Directory), ("/".into(), Node::Directory)]);
        let (durable, files) = (names.clone(), Vec::new());
        Self(Arc::new(Mutex::new(Disk { random: seed, calls_left: None, boot: 0, names, durable, files })))
    }

    /// The power fails within the changing call after so many: it and all later calls fail.
    pub fn cut_after(&self, calls: u64) {
        self.0.lock().calls_left = Some(calls);
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().calls_left == Some(0)
    }

    /// The power fails now if it has not yet, and comes back.
    pub fn crash(&self) {
        let disk = &mut *self.0.lock();
        disk.calls_left = None;
        disk.boot += 1;
        let changed: Vec<PathBuf> = disk.names.keys().chain(disk.durable.keys()).cloned().collect();
        for path in changed {
            if disk.names.get(&path) != disk.durable.get(&path) && disk.toss(2) == 0 {
                set(&mut disk.durable, &path, disk.names.get(&path).copied());
            }
        }
        let kept = disk.durable.clone();
        let is_reachable = |path: &Path| path.ancestors().all(|above| kept.contains_key(above));
        disk.durable.retain(|path, _| is_reachable(path));
        disk.names.clone_from(&disk.durable);
        for n in 0..disk.files.len() {
            for change in std::mem::take(&mut disk.files[n].pending) {
                let survived = match (disk.toss(3), change) {
                    (0, _) => continue,
                    (1, Change::Write { at, mut bytes }) => {
                        bytes.truncate(disk.toss(bytes.len() + 1));
                        Change::Write { at, bytes }
                    }
                    (_, change) => change,
                };
                survived.apply(&mut disk.files[n].durable);
            }
            disk.files[n].now = disk.files[n].durable.clone();
        }
    }
}

fn set(names: &mut Names, path: &Path, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(path.to_owned(), node)),
        None => drop(names.remove(path)),
    }
}

/// Without `.`, as the disk knows it.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk {
    /// SplitMix64.
    fn toss(&mut self, sides: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn check_power(&self) -> io::Result<()> {
        match self.calls_left {
            Some(0) => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    /// Runs a changing call. What the power cut interrupts may have begun; a sync has not ended.
    fn change<T>(&mut self, call: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.check_power()?;
        match &mut self.calls_left {
            Some(1) => {
                if self.toss(2) == 0 {
                    let _ = call(self);
                }
                self.calls_left = Some(0);
                self.check_power()?;
                Err(missing())
            }
            Some(left) => {
                *left -= 1;
                call(self)
            }
            None => call(self),
        }
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(missing()),
        }
    }
}

impl FileSystem for SimulatedFileSystem {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let path = plain(path);
        let mut disk = self.0.lock();
        let number = disk.change(|disk| {
            disk.directory(&plain(parent(&path)))?;
            if disk.names.contains_key(&path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.files.push(Contents::default());
            disk.names.insert(path, Node::File(disk.files.len() - 1));
            Ok(disk.files.len() - 1)
        })?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number, boot: disk.boot }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let disk = self.0.lock();
        disk.check_power()?;
        match disk.names.get(&plain(path)) {
            Some(Node::File(number)) => {
                Ok(Arc::new(SimulatedFile { disk: self.clone(), number: *number, boot: disk.boot }))
            }
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        self.0.lock().change(|disk| {
            disk.directory(&plain(parent(&to)))?;
            let node = disk.names.remove(&from).ok_or_else(missing)?;
            disk.names.insert(to, node);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change(|disk| disk.names.remove(&plain(path)).map(drop).ok_or_else(missing))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        self.0.lock().change(|disk| {
            for above in path.ancestors() {
                match disk.names.entry(above.to_owned()).or_insert(Node::Directory) {
                    Node::Directory => {}
                    Node::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            Ok(())
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let disk = self.0.lock();
        disk.check_power()?;
        disk.directory(&plain(path))?;
        let inside = disk.names.iter().filter(|(name, _)| name.parent() == Some(&plain(path)));
        let entry = |(name, node): (&PathBuf, &Node)| DirectoryEntry {
            path: path.join(name.file_name().unwrap_or_default()),
            is_dir: *node == Node::Directory,
        };
        Ok(inside.map(entry).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = plain(path);
        let mut disk = self.0.lock();
        let is_last = disk.calls_left == Some(1);
        disk.change(|disk| {
            disk.directory(&path)?;
            let Disk { names, durable, .. } = disk;
            if !is_last {
                durable.retain(|name, _| name.parent() != Some(&path));
                let inside = names.iter().filter(|(name, _)| name.parent() == Some(&path));
                durable.extend(inside.map(|(name, node)| (name.clone(), *node)));
            }
            Ok(())
        })
    }

    fn available_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedFileSystem,
    number: usize,
    boot: u64,
}

impl SimulatedFile {
    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.0.lock();
        disk.check_power()?;
        if disk.boot != self.boot {
            return Err(io::Error::other("the file was opened before the power cut"));
        }
        f(&mut disk)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|disk| {
            disk.change(|disk| {
                let file = &mut disk.files[self.number];
                change.apply(&mut file.now);
                file.pending.push(change);
                Ok(())
            })
        })
    }
}

impl DiskFile for SimulatedFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|disk| {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = disk.files[self.number].now.get(start..).unwrap_or_default();
            let bytes = bytes.get(..buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change::Write { at, bytes: bytes.to_vec() })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            let is_last = disk.calls_left == Some(1);
            disk.change(|disk| {
                let file = &mut disk.files[self.number];
                if !is_last {
                    file.durable.clone_from(&file.now);
                    file.pending.clear();
                }
                Ok(())
            })
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.files[self.number].now.len() as u64))
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.len()
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<bool> {
        let (at, len) = (usize::try_from(offset), usize::try_from(len));
        let bytes = vec![0; len.map_err(io::Error::other)?];
        self.change(Change::Write { at: at.map_err(io::Error::other)?, bytes })?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::SimulatedFileSystem;
    use crate::sys::{FileSystem, create_durable_dir};
    use std::collections::HashSet;
    use std::path::Path;

    #[test]
    fn what_was_synced_stays_and_of_the_rest_anything_may() {
        let mut outcomes = HashSet::new();
        for seed in 0..200 {
            let fs = SimulatedFileSystem::new(seed);
            let file = fs.create_new(Path::new("a")).unwrap();
            file.write_all_at(b"synced", 0).unwrap();
            file.sync_data().unwrap();
            fs.sync_dir(Path::new(".")).unwrap();
            file.write_all_at(b"123", 6).unwrap();
            drop(fs.create_new(Path::new("b")).unwrap());
            fs.crash();
            assert!(file.len().is_err(), "a file survived the cut open");
            let file = fs.open(Path::new("a")).unwrap();
            let bytes = file.read_at(0, usize::try_from(file.len().unwrap()).unwrap()).unwrap();
            assert!(bytes.starts_with(b"synced"));
            outcomes.insert((bytes, fs.open(Path::new("b")).is_ok()));
        }
        assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    }

    #[test]
    fn i1_a_directory_made_durable_is_there_whatever_was_missing_above_it() {
        for (seed, path) in (0..60).flat_map(|seed| ["data", "./x/y/z", "/p/q/r"].map(|path| (seed, path))) {
            let fs = SimulatedFileSystem::new(seed);
            create_durable_dir(&fs, Path::new(path)).unwrap();
            fs.crash();
            assert!(fs.read_dir(Path::new(path)).is_ok(), "{path} is lost with seed {seed}");
        }
    }
}
