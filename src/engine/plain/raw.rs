//! Files of plain bodies as they stand, for whoever copies them elsewhere, and back.

use super::{PlainStore, TEMPORARY, allow_missing, from_io, open_file, parse};
use crate::engine::EngineError;
use crate::sys::DiskFile;
use crate::types::PlainId;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl PlainStore {
    /// The length of a body's file. It never changes.
    ///
    /// # Errors
    /// `MissingPlain` when there is no such body.
    pub fn raw_len(&self, id: PlainId) -> Result<u64, EngineError> {
        match self.0.fs.stat(&self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(EngineError::MissingPlain(id)),
            stat => Ok(stat?.len),
        }
    }

    /// Bytes of a body's file. Nothing is verified; memory is spared for other readers.
    ///
    /// # Errors
    /// `MissingPlain` when there is no such body.
    pub fn read_raw(&self, id: PlainId, range: Range<u64>) -> Result<Bytes, EngineError> {
        let file = self.raw_file(id)?;
        // Advice: without it the bytes are the same.
        let _ = file.expect_no_reuse();
        let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| EngineError::Range)?;
        Ok(file.read_at(range.start, len)?.into())
    }

    /// Puts a file of so many zeros in a body's place, durably, for whoever fills it before it is read. One that is there is
    /// replaced.
    ///
    /// # Errors
    /// When it cannot be created or made durable.
    pub fn reserve(&self, id: PlainId, len: u64) -> Result<(), EngineError> {
        let mut reserved = self.restore(id)?;
        reserved.file.set_len(len).map_err(from_io)?;
        reserved.file.sync_data().map_err(from_io)?;
        self.place(&reserved.temporary, id).map_err(from_io)?;
        reserved.is_placed = true;
        Ok(())
    }

    /// A body's file as it stands. Nothing is verified.
    ///
    /// # Errors
    /// `MissingPlain` when there is no such body.
    pub fn raw_file(&self, id: PlainId) -> Result<Arc<dyn DiskFile>, EngineError> {
        match self.0.fs.open(&self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(EngineError::MissingPlain(id)),
            file => Ok(file?),
        }
    }

    /// Whose file a path is the place of.
    #[must_use]
    pub fn body_at(&self, path: &Path) -> Option<PlainId> {
        parse(path).filter(|id| self.path(*id) == path)
    }

    /// Begins the file of a body that was copied from another store. One that is there already is replaced.
    ///
    /// # Errors
    /// When its file cannot be created.
    pub fn restore(&self, id: PlainId) -> Result<RawPlainWriter, EngineError> {
        let temporary = self.0.dir.join(TEMPORARY).join(id.to_string());
        allow_missing(self.0.fs.remove_file(&temporary))?;
        let file = self.0.fs.create_new(&temporary).map_err(from_io)?;
        Ok(RawPlainWriter { store: self.clone(), id, file, temporary, written: 0, is_placed: false })
    }
}

/// The file of a body being written as it stood elsewhere. Dropped before [`Self::finish`] it leaves nothing.
#[derive(Debug)]
pub struct RawPlainWriter {
    store: PlainStore,
    id: PlainId,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    written: u64,
    is_placed: bool,
}

impl RawPlainWriter {
    /// # Errors
    /// When the bytes could not be written; then the body cannot be finished.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.file.write_all_at(bytes, self.written).map_err(from_io)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file ends as that of the body does.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn has_its_end(&self) -> Result<bool, EngineError> {
        match open_file(self.id, Arc::clone(&self.file)) {
            Err(EngineError::CorruptPlain { .. }) => Ok(false),
            opened => opened.map(|_| true),
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// `CorruptPlain` when something of it is not what its checksums say.
    pub fn prove(&self) -> Result<(), EngineError> {
        const PIECE_BYTES: u64 = 1 << 20;
        let reader = open_file(self.id, Arc::clone(&self.file))?;
        let mut at = 0;
        while at < reader.size() {
            let end = reader.size().min(at + PIECE_BYTES);
            reader.read_at(at..end)?;
            at = end;
        }
        Ok(())
    }

    /// The body is durable and in its place when this returns. Its blocks are verified when they are read.
    ///
    /// # Errors
    /// `CorruptPlain` when the file is not that of the body from beginning to end; nothing of it stays then.
    pub fn finish(self) -> Result<(), EngineError> {
        open_file(self.id, Arc::clone(&self.file))?;
        self.finish_as_it_stands()
    }

    /// As [`Self::finish`], of a file that was damaged already where it was copied from: readers are refused what is not whole.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn finish_as_it_stands(mut self) -> Result<(), EngineError> {
        self.file.sync_data().map_err(from_io)?;
        self.store.place(&self.temporary, self.id).map_err(from_io)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for RawPlainWriter {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = self.store.0.fs.remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PlainStore;
    use crate::engine::EngineError;
    use crate::sys::{RealFileSystem, SeededRandom};
    use crate::types::PlainId;
    use std::path::Path;
    use std::sync::Arc;

    fn open(dir: &Path) -> PlainStore {
        PlainStore::open(Arc::new(RealFileSystem), dir).unwrap()
    }

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    fn stored(store: &PlainStore, len: usize) -> PlainId {
        let mut writer = store.create(&SeededRandom::new(len as u64)).unwrap();
        writer.write(&body(len)).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn i1_a_body_copied_as_it_stands_is_the_body_in_another_store() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (open(&dir.path().join("from")), open(&dir.path().join("to")));
        for len in [0, 1, 65_536, 200_000] {
            let id = stored(&from, len);
            let raw = from.raw_len(id).unwrap();
            let mut writer = to.restore(id).unwrap();
            for start in (0..raw).step_by(50_000) {
                writer.write(&from.read_raw(id, start..raw.min(start + 50_000)).unwrap()).unwrap();
            }
            writer.finish().unwrap();
            let reader = to.reader(id).unwrap();
            assert_eq!(reader.read_at(0..reader.size()).unwrap(), body(len));
        }
        assert_eq!(to.list().unwrap(), from.list().unwrap());
    }

    #[test]
    fn i2_a_body_that_was_not_copied_whole_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (open(&dir.path().join("from")), open(&dir.path().join("to")));
        let id = stored(&from, 70_000);
        let raw = from.read_raw(id, 0..from.raw_len(id).unwrap()).unwrap();
        for part in [&raw[..0], &raw[..raw.len() - 1], &raw[1..]] {
            let mut writer = to.restore(id).unwrap();
            writer.write(part).unwrap();
            assert!(matches!(writer.finish(), Err(EngineError::CorruptPlain { .. })));
        }
        assert_eq!(to.list().unwrap(), []);
        let missing = PlainId::new([9; 16]);
        assert!(matches!(from.raw_len(missing), Err(EngineError::MissingPlain(_))));
        assert!(matches!(from.read_raw(missing, 0..1), Err(EngineError::MissingPlain(_))));
    }
}
