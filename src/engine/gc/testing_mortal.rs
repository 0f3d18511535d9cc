//! Packs of a process that dies.

use crate::storage::{PackFile, PackId, PackStore};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Packs whose process dies at a chosen write: that one and all later ones fail.
#[derive(Debug)]
pub(crate) struct Mortal {
    inner: Arc<dyn PackStore>,
    /// Writes left to live; `u64::MAX`: for ever.
    left: AtomicU64,
}

impl Mortal {
    pub(crate) fn new(inner: Arc<dyn PackStore>) -> Self {
        Self { inner, left: AtomicU64::new(u64::MAX) }
    }

    pub(crate) fn die_after(&self, writes: u64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn write(&self) -> io::Result<()> {
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            u64::MAX => Some(u64::MAX),
            left => left.checked_sub(1),
        });
        spent.map(|_| ()).map_err(|_| io::Error::other("dead"))
    }
}

impl PackStore for Mortal {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        self.inner.list()
    }
    fn create(&self, id: PackId) -> io::Result<()> {
        self.write()?;
        self.inner.create(id)
    }
    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write()?;
        self.inner.write_at(id, offset, bytes)
    }
    fn sync(&self, id: PackId) -> io::Result<()> {
        self.write()?;
        self.inner.sync(id)
    }
    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.inner.read_at(id, offset, len)
    }
    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.write()?;
        self.inner.truncate(id, len)
    }
    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.write()?;
        self.inner.punch(id, offset, len)
    }
    fn reload(&self, id: PackId) -> io::Result<()> {
        self.inner.reload(id)
    }
    fn remove(&self, id: PackId) -> io::Result<()> {
        self.write()?;
        self.inner.remove(id)
    }
}
