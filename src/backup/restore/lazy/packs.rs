//! The packs of a store that is being restored: those that are not here yet are read from the bucket.

use super::fetching::Shared;
use super::part::{File, FileId};
use crate::storage::{PackFile, PackId, PackStore};
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// A decorator of the local packs. What is read is fetched before, what is changed is made local before.
#[derive(Debug)]
pub(super) struct LazyPacks(pub(super) Arc<Shared>);

impl LazyPacks {
    fn local(&self) -> &dyn PackStore {
        &*self.0.local.packs
    }

    fn file(&self, id: PackId) -> Option<Arc<File>> {
        self.0.file(FileId::Pack(id))
    }

    fn ensure(&self, id: PackId, offset: u64, len: usize) -> io::Result<()> {
        match self.file(id) {
            Some(file) => self.0.ensure(&file, &(offset..offset.saturating_add(len as u64))).map(drop),
            None => Ok(()),
        }
    }

    fn force(&self, id: PackId, offset: u64, len: u64) -> io::Result<()> {
        match self.file(id) {
            Some(file) => self.0.force(&file, &(offset..offset.saturating_add(len))),
            None => Ok(()),
        }
    }
}

impl PackStore for LazyPacks {
    fn list(&self) -> io::Result<Vec<PackFile>> {
        // All files were reserved with their lengths.
        self.local().list()
    }

    fn create(&self, id: PackId) -> io::Result<()> {
        self.local().create(id)
    }

    fn write_at(&self, id: PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.force(id, offset, bytes.len() as u64)?;
        self.local().write_at(id, offset, bytes)
    }

    fn write_vectored_at(&self, id: PackId, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.force(id, offset, slices.iter().map(|slice| slice.len() as u64).sum())?;
        self.local().write_vectored_at(id, offset, slices)
    }

    fn sync(&self, id: PackId) -> io::Result<()> {
        self.local().sync(id)
    }

    fn read_at(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.ensure(id, offset, len)?;
        self.local().read_at(id, offset, len)
    }

    fn read_exact_at(&self, id: PackId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.ensure(id, offset, buffer.len())?;
        self.local().read_exact_at(id, offset, buffer)
    }

    fn read_once(&self, id: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.ensure(id, offset, len)?;
        self.local().read_once(id, offset, len)
    }

    fn truncate(&self, id: PackId, len: u64) -> io::Result<()> {
        self.force(id, 0, u64::MAX)?;
        self.local().truncate(id, len)
    }

    fn punch(&self, id: PackId, offset: u64, len: u64) -> io::Result<bool> {
        self.force(id, offset, len)?;
        self.local().punch(id, offset, len)
    }

    fn reload(&self, id: PackId) -> io::Result<()> {
        self.local().reload(id)
    }

    fn remove(&self, id: PackId) -> io::Result<()> {
        // In this order: noted before, a crash would leave a file with holes that nothing fills.
        let file = self.file(id);
        self.local().remove(id)?;
        file.map_or(Ok(()), |file| self.0.drop_file(&file))
    }
}
