//! Bodies stored whole, each in a file of its own: the fallback when deduplication fails or is off.
//!
//! Rules: a file is written under a temporary name, synced, renamed into place, and its directory synced, so that
//! a body is there whole or not at all (I2); every 64 KiB carry a checksum that also names the body and the place,
//! and nothing is returned that does not match (I4). Bytes: `docs/format.md`. All calls block.

mod passing;
mod raw;

pub use passing::PassingBlocks;
pub use raw::RawPlainWriter;

use super::EngineError;
use crate::sys::{
    DiskFile, FailPoint, FileSystem, Random, create_durable_dir, lacks_descriptors, lacks_room,
};
use crate::types::PlainId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Body bytes under one checksum.
const BLOCK_BYTES: usize = 64 << 10;
const CRC_BYTES: usize = 4;
const STRIDE_BYTES: u64 = (BLOCK_BYTES + CRC_BYTES) as u64;
const TRAILER_BYTES: usize = 40;
const MAGIC: &[u8; 8] = b"SEDPLAIN";
const FORMAT: u32 = 1;
/// How much is gathered for one write to the file.
const WRITE_BYTES: usize = 1 << 20;
/// Files that are nobody's body yet.
const TEMPORARY: &str = ".tmp";

/// The directory of plain bodies. Clones share everything.
#[derive(Debug, Clone)]
pub struct PlainStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    /// The shard directories that this process made durable.
    shards: Mutex<Box<[bool; 256]>>,
    /// Why no body is taken any more.
    poisoned: OnceLock<String>,
}

impl PlainStore {
    /// Creates the directory when it is missing and clears away what a crash left half-written.
    ///
    /// # Errors
    /// When the directory cannot be created, read or made durable.
    pub fn open(fs: Arc<dyn FileSystem>, dir: &Path) -> Result<Self, EngineError> {
        let temporary = dir.join(TEMPORARY);
        create_durable_dir(fs.as_ref(), dir)?;
        create_durable_dir(fs.as_ref(), &temporary)?;
        for leftover in fs.read_dir(&temporary)? {
            allow_missing(fs.remove_file(&leftover.path))?;
            FailPoint::PlainCleared.pass()?;
        }
        let shards = Mutex::new(Box::new([false; 256]));
        let poisoned = OnceLock::new();
        Ok(Self(Arc::new(Shared { fs, dir: dir.to_owned(), shards, poisoned })))
    }

    /// Begins a body under a new id.
    ///
    /// # Errors
    /// When its file cannot be created.
    pub fn create(&self, random: &dyn Random) -> Result<PlainWriter, EngineError> {
        self.check()?;
        let id = PlainId::new(random.id128());
        let temporary = self.0.dir.join(TEMPORARY).join(id.to_string());
        let file = self.0.fs.create_new(&temporary).map_err(from_io)?;
        FailPoint::PlainCreated.pass()?;
        let (block, ready) = (Vec::with_capacity(BLOCK_BYTES), Vec::new());
        let store = self.clone();
        Ok(PlainWriter { store, id, file, temporary, block, ready, written: 0, size: 0, is_placed: false })
    }

    /// Whether bodies are taken. Does not block.
    ///
    /// # Errors
    /// `Poisoned` after a sync of a directory failed: names that others wait for may be lost with it, and their own sync would
    /// not tell.
    pub fn check(&self) -> Result<(), EngineError> {
        self.0.poisoned.get().map_or(Ok(()), |why| Err(EngineError::Poisoned(why.clone())))
    }

    /// Opens a body for reading. It stays readable until the reader is dropped, even when it is removed.
    ///
    /// # Errors
    /// `MissingPlain` when there is no such body, `CorruptPlain` when its end is damaged.
    pub fn reader(&self, id: PlainId) -> Result<PlainReader, EngineError> {
        match self.0.fs.open(&self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(EngineError::MissingPlain(id)),
            file => open_file(id, file?),
        }
    }

    /// Removes a body, durably. Removing what is not there succeeds.
    ///
    /// # Errors
    /// When the file or its directory does not let itself be changed.
    pub fn remove(&self, id: PlainId) -> Result<(), EngineError> {
        let path = self.path(id);
        allow_missing(self.0.fs.remove_file(&path))?;
        FailPoint::PlainRemoved.pass()?;
        Ok(allow_missing(path.parent().map_or(Ok(()), |shard| self.sync_dir(shard)))?)
    }

    /// The bytes that a body takes on its device; 0 when it is not there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn allocated_bytes(&self, id: PlainId) -> Result<u64, EngineError> {
        match self.0.fs.stat(&self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            stat => Ok(stat?.allocated),
        }
    }

    /// All bodies in place, in order of id: also those whose commit has not come yet, or never will.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn list(&self) -> Result<Vec<PlainId>, EngineError> {
        let mut ids = Vec::new();
        for shard in self.0.fs.read_dir(&self.0.dir)? {
            if shard.is_dir && !shard.path.ends_with(TEMPORARY) {
                let files = self.0.fs.read_dir(&shard.path)?;
                ids.extend(files.iter().filter_map(|file| parse(&file.path)));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn path(&self, id: PlainId) -> PathBuf {
        let name = id.to_string();
        self.0.dir.join(&name[..2]).join(name)
    }

    /// Renames a synced file to its place, durably.
    fn place(&self, temporary: &Path, id: PlainId) -> io::Result<()> {
        let path = self.path(id);
        let shard = path.parent().unwrap_or(&self.0.dir);
        let number = usize::from(id.as_bytes()[0]);
        if !self.0.shards.lock()[number] {
            self.0.fs.create_dir_all(shard)?;
            FailPoint::PlainShard.pass()?;
            self.sync_dir(&self.0.dir)?;
            self.0.shards.lock()[number] = true;
        }
        self.0.fs.rename(temporary, &path)?;
        FailPoint::PlainRenamed.pass()?;
        self.sync_dir(shard)?;
        FailPoint::PlainPlaced.pass()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.fs.sync_dir(dir).inspect_err(|error| {
            if !lacks_descriptors(error) && error.kind() != io::ErrorKind::NotFound {
                let _ = self.0.poisoned.set(format!("{}: {error}", dir.display()));
            }
        })
    }
}

/// A body being written. Dropped before [`Self::finish`] it leaves nothing.
#[derive(Debug)]
pub struct PlainWriter {
    store: PlainStore,
    id: PlainId,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    /// The begun block.
    block: Vec<u8>,
    /// Whole blocks with their checksums, not yet in the file.
    ready: Vec<u8>,
    written: u64,
    size: u64,
    is_placed: bool,
}

impl PlainWriter {
    /// # Errors
    /// When the bytes could not be written; then the body cannot be finished.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), EngineError> {
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.block.len() == BLOCK_BYTES {
                self.close_block();
            }
            if self.ready.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The body is durable when this returns; whoever does not commit it must remove it.
    ///
    /// # Errors
    /// When it could not be made durable; nothing of it stays then.
    pub fn finish(mut self) -> Result<PlainId, EngineError> {
        if !self.block.is_empty() {
            self.close_block();
        }
        self.ready.extend_from_slice(&encode_trailer(self.id, self.size));
        self.flush()?;
        let began = std::time::Instant::now();
        FailPoint::PlainSync.pass()?;
        self.file.sync_data().map_err(from_io)?;
        FailPoint::PlainSynced.pass()?;
        metrics::histogram!("sediment_fsync_seconds", "file" => "plain").record(began.elapsed());
        let placed = self.store.place(&self.temporary, self.id).map_err(from_io);
        // Behind its own sync: one that failed beside it may have taken its name along.
        if let Err(error) = placed.and_then(|()| self.store.check()) {
            // The rename may have happened without becoming durable: the body was never acknowledged.
            let _ = self.store.0.fs.remove_file(&self.store.path(self.id));
            return Err(error);
        }
        self.is_placed = true;
        Ok(self.id)
    }

    fn close_block(&mut self) {
        let crc = block_crc(self.id, self.size / BLOCK_BYTES as u64, &self.block);
        self.ready.extend_from_slice(&self.block);
        self.ready.extend_from_slice(&crc.to_le_bytes());
        self.size += self.block.len() as u64;
        self.block.clear();
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.file.write_all_at(&self.ready, self.written).map_err(from_io)?;
        FailPoint::PlainWritten.pass()?;
        self.written += self.ready.len() as u64;
        self.ready.clear();
        Ok(())
    }
}

impl Drop for PlainWriter {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = self.store.0.fs.remove_file(&self.temporary);
        }
    }
}

/// An open body.
#[derive(Debug, Clone)]
pub struct PlainReader {
    id: PlainId,
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl PlainReader {
    /// The body's length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What is read next comes from the device, not from memory.
    ///
    /// # Errors
    /// When the system does not let that be asked for.
    pub fn reload(&self) -> Result<(), EngineError> {
        Ok(self.file.drop_cached()?)
    }

    /// The bytes of a range, verified. Reads whole blocks: ranges at multiples of 64 KiB cost the least. Uses
    /// about twice the range's length in memory while it runs.
    ///
    /// # Errors
    /// `Range` when it is not inside the body, `CorruptPlain` when any block that it touches is damaged.
    pub fn read_at(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        if range.start > range.end || range.end > self.size {
            return Err(EngineError::Range);
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let corrupt = |why| EngineError::CorruptPlain { id: self.id, why };
        let too_long = |_| EngineError::Range;
        let first = range.start / BLOCK_BYTES as u64;
        let end = range.end.div_ceil(BLOCK_BYTES as u64);
        let from = first * BLOCK_BYTES as u64;
        let blocks = (end * BLOCK_BYTES as u64).min(self.size) - from + (end - first) * CRC_BYTES as u64;
        let stored = match self.file.read_at(first * STRIDE_BYTES, usize::try_from(blocks).map_err(too_long)?)
        {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(corrupt("its file ends early"));
            }
            stored => stored?,
        };
        let wanted = usize::try_from(range.start - from).map_err(too_long)?
            ..usize::try_from(range.end - from).map_err(too_long)?;
        let mut bytes = Vec::with_capacity(wanted.len());
        for (n, stored) in stored.chunks(BLOCK_BYTES + CRC_BYTES).enumerate() {
            let (block, crc) =
                stored.split_last_chunk::<CRC_BYTES>().ok_or(corrupt("a block is cut short"))?;
            if block_crc(self.id, first + n as u64, block) != u32::from_le_bytes(*crc) {
                return Err(corrupt("a block does not match its checksum"));
            }
            let at = n * BLOCK_BYTES;
            let within = |place: usize| place.saturating_sub(at).min(block.len());
            bytes.extend_from_slice(&block[within(wanted.start)..within(wanted.end)]);
        }
        Ok(Bytes::from(bytes))
    }
}

/// The body of a file, by its trailer.
fn open_file(id: PlainId, file: Arc<dyn DiskFile>) -> Result<PlainReader, EngineError> {
    let corrupt = |why| EngineError::CorruptPlain { id, why };
    let len = file.len()?;
    let body_end = len.checked_sub(TRAILER_BYTES as u64).ok_or(corrupt("its file is cut short"))?;
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, body_end)?;
    let size = decode_trailer(&trailer, id).ok_or(corrupt("its trailer is damaged"))?;
    if stored_len(size) != Some(body_end) {
        return Err(corrupt("its file is not as long as its trailer says"));
    }
    Ok(PlainReader { id, file, size })
}

/// Covers whose block it is and which one: a block at another place or of another body does not pass.
fn block_crc(id: PlainId, number: u64, block: &[u8]) -> u32 {
    let crc = crc32c::crc32c(id.as_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &number.to_le_bytes()), block)
}

fn encode_trailer(id: PlainId, size: u64) -> Vec<u8> {
    let mut trailer = Vec::with_capacity(TRAILER_BYTES);
    trailer.extend_from_slice(MAGIC);
    trailer.extend_from_slice(&FORMAT.to_le_bytes());
    trailer.extend_from_slice(id.as_bytes());
    trailer.extend_from_slice(&size.to_le_bytes());
    trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
    trailer
}

/// The body's size, if the trailer is exactly that of the body.
fn decode_trailer(trailer: &[u8; TRAILER_BYTES], id: PlainId) -> Option<u64> {
    let size = u64::from_le_bytes(trailer[28..36].try_into().ok()?);
    (encode_trailer(id, size) == trailer).then_some(size)
}

/// The first 16 bytes are the id that is asked for.
pub(super) fn fuzz(bytes: &[u8]) {
    let Some((id, trailer)) = bytes.split_first_chunk::<16>() else { return };
    let Some(trailer) = trailer.first_chunk::<TRAILER_BYTES>() else { return };
    if let Some(size) = decode_trailer(trailer, PlainId::new(*id)) {
        assert!(stored_len(size).is_none_or(|stored| stored >= size));
    }
}

/// What a body of so many bytes takes before its trailer.
fn stored_len(size: u64) -> Option<u64> {
    size.div_ceil(BLOCK_BYTES as u64).checked_mul(CRC_BYTES as u64)?.checked_add(size)
}

fn parse(path: &Path) -> Option<PlainId> {
    let bytes = hex::decode(path.file_name()?.to_str()?).ok()?;
    Some(PlainId::new(bytes.try_into().ok()?))
}

fn from_io(error: io::Error) -> EngineError {
    if lacks_room(&error) { EngineError::Full } else { EngineError::Io(error) }
}

fn allow_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
#[path = "plain_crash_tests.rs"]
mod crash_tests;
#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
