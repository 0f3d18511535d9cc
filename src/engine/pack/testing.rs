//! Packs in memory that can fail and lose what was not synced.
//!
//! `bytes` is what a reader sees, `device` what a power cut leaves, `pending` the writes in between. A sync that fails
//! behaves as the kernel's does: the writes are lost, and readers still see them.

use crate::storage::{PackFile, PackId, PackStore};
use crate::sys::{Random, SeededRandom};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::mpsc;

const PAGE: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct TestPacks {
    files: Mutex<BTreeMap<PackId, File>>,
    pub(crate) fail_syncs: Mutex<usize>,
    /// So many find no descriptor for the pack.
    pub(crate) unopened_syncs: Mutex<u32>,
    /// This one and all later syncs fail, counted from the first of the store.
    pub(crate) fail_syncs_at: Mutex<Option<usize>>,
    /// So many writes find no room.
    pub(crate) full_writes: Mutex<usize>,
    /// The next write stops after so many bytes and fails.
    pub(crate) tear_write: Mutex<Option<usize>>,
    pub(crate) syncs: Mutex<usize>,
    pub(crate) reads: Mutex<usize>,
    /// A range that the device cannot read.
    pub(crate) bad: Mutex<Option<(PackId, Range<u64>)>>,
    pub(crate) beside_read: Mutex<Option<Beside>>,
}

/// What somebody else does while the next read is under way.
pub(crate) struct Beside(pub(crate) Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beside")
    }
}

#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    device: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(start, bytes) => {
                image.resize(image.len().max(start + bytes.len()), 0);
                image[*start..start + bytes.len()].copy_from_slice(bytes);
            }
            Self::Truncate(len) => image.resize(*len, 0),
        }
    }

    /// Page by page, as the kernel writes.
    fn pages(&self) -> Vec<Self> {
        let Self::Write(start, bytes) = self else { return vec![self.clone()] };
        let (mut at, end) = (*start, start + bytes.len());
        let mut pages = Vec::new();
        while at < end {
            let next = ((at / PAGE + 1) * PAGE).min(end);
            pages.push(Self::Write(at, bytes[at - start..next - start].to_vec()));
            at = next;
        }
        pages
    }
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        Self { device: bytes.clone(), bytes, pending: Vec::new() }
    }

    fn change(&mut self, change: Pending) {
        change.apply(&mut self.bytes);
        self.pending.push(change);
    }

    fn write_back(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.device);
        }
    }

    fn after_power_cut(&self, survives: &mut dyn FnMut() -> bool) -> Self {
        let mut image = self.device.clone();
        for page in self.pending.iter().flat_map(Pending::pages).filter(|_| survives()) {
            page.apply(&mut image);
        }
        Self::new(image)
    }
}

impl TestPacks {
    /// What a power cut leaves: only synced bytes.
    pub(crate) fn after_power_cut(&self) -> Self {
        self.cut(&mut || false)
    }

    /// A power cut that some pages survive that were written and not synced, in no order.
    pub(crate) fn after_power_cut_with_luck(&self, seed: u64) -> Self {
        let random = SeededRandom::new(seed);
        self.cut(&mut || random.u64().is_multiple_of(2))
    }

    fn cut(&self, survives: &mut dyn FnMut() -> bool) -> Self {
        let files = self.files.lock();
        let files = files.iter().map(|(id, file)| (*id, file.after_power_cut(survives))).collect();
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
        self.files.lock().insert(id, File::new(bytes));
    }
}

fn range(file: &File, offset: u64, len: usize) -> io::Result<Range<usize>> {
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
        let mut full = self.full_writes.lock();
        if *full > 0 {
            *full -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let tear = self.tear_write.lock().take();
        let bytes = &bytes[..tear.unwrap_or(bytes.len()).min(bytes.len())];
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        file.change(Pending::Write(start, bytes.to_vec()));
        if tear.is_some() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, id: PackId) -> io::Result<()> {
        *self.syncs.lock() += 1;
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let mut unopened = self.unopened_syncs.lock();
        if *unopened > 0 {
            *unopened -= 1;
            return Err(rustix::io::Errno::MFILE.into());
        }
        let mut fail = self.fail_syncs.lock();
        let is_stopped = self.fail_syncs_at.lock().is_some_and(|at| *self.syncs.lock() >= at);
        if is_stopped {
            return Err(io::Error::other("stopped"));
        }
        if *fail > 0 {
            *fail -= 1;
            file.pending.clear();
            return Err(io::Error::other("injected"));
        }
        file.write_back();
        Ok(())
    }

    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        *self.reads.lock() += 1;
        let beside = self.beside_read.lock().take();
        if let Some(Beside(act)) = beside {
            act();
        }
        let touches = |(bad, range): &(PackId, Range<u64>)| {
            *bad == id && range.start < offset + len as u64 && offset < range.end
        };
        if self.bad.lock().as_ref().is_some_and(touches) {
            return Err(rustix::io::Errno::IO.into());
        }
        let files = self.files.lock();
        let file = files.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Bytes::copy_from_slice(&file.bytes[range(file, offset, len)?]))
    }

    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        file.change(Pending::Truncate(usize::try_from(len).map_err(io::Error::other)?));
        Ok(())
    }

    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let range = range(file, offset, len)?;
        file.change(Pending::Write(range.start, vec![0; range.len()]));
        Ok(true)
    }

    fn reload(&self, id: PackId) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        file.write_back();
        // The length is the inode's, not a page's.
        let len = file.bytes.len();
        file.device.resize(len, 0);
        file.bytes.clone_from(&file.device);
        Ok(())
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        self.files.lock().remove(&id);
        Ok(())
    }
}

/// Packs of which one's syncs can be held up.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) inner: TestPacks,
    held: Mutex<Option<(PackId, mpsc::Sender<()>)>>,
    released: Condvar,
}

impl Held {
    pub(crate) fn new(inner: TestPacks) -> Self {
        Self { inner, ..Self::default() }
    }

    /// Until [`Self::release`]. Whoever waits is told of here.
    pub(crate) fn hold(&self, pack: PackId) -> mpsc::Receiver<()> {
        let (waits, told) = mpsc::channel();
        *self.held.lock() = Some((pack, waits));
        told
    }

    pub(crate) fn release(&self) {
        *self.held.lock() = None;
        self.released.notify_all();
    }
}

impl PackStore for Held {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        self.inner.list()
    }
    fn create(&self, id: PackId) -> io::Result<()> {
        self.inner.create(id)
    }
    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(id, offset, bytes)
    }
    fn sync(&self, id: PackId) -> io::Result<()> {
        let mut held = self.held.lock();
        while let Some((pack, waits)) = held.as_ref()
            && *pack == id
        {
            waits.send(()).map_err(io::Error::other)?;
            self.released.wait(&mut held);
        }
        drop(held);
        self.inner.sync(id)
    }
    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.inner.read_at(id, offset, len)
    }
    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.inner.truncate(id, len)
    }
    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.punch(id, offset, len)
    }
    fn remove(&self, id: PackId) -> io::Result<()> {
        self.inner.remove(id)
    }
}
