//! What a restore has to bring back and what is back, in two files of the data directory: `restore.plan` is written once, and as long as it
//! is there the restore is not finished; `restore.local` is a list that grows. Bytes: `docs/format.md`.

use crate::backup::{BackupError, Contents, Epoch, RepositoryId};
use crate::sys::{DiskFile, FileSystem, parent};
use crate::types::CommitSeq;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PLAN: &str = "restore.plan";
const LOCAL: &str = "restore.local";
const FORMAT: u32 = 1;
const CRC_BYTES: usize = 4;
const NOTE_BYTES: usize = 20;

/// What is to be brought back, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    format: u32,
    pub(super) repository: RepositoryId,
    /// Where the rows are from.
    pub(super) epoch: Epoch,
    pub(super) seq: CommitSeq,
    pub(super) contents: Contents,
}

impl Saved {
    pub(super) const fn new(
        repository: RepositoryId,
        epoch: Epoch,
        seq: CommitSeq,
        contents: Contents,
    ) -> Self {
        Self { format: FORMAT, repository, epoch, seq, contents }
    }

    /// Replaces what an earlier restore left, durably.
    pub(super) fn save(&self, fs: &dyn FileSystem, dir: &Path) -> Result<(), BackupError> {
        remove(fs, &dir.join(PLAN))?;
        fs.sync_dir(dir)?;
        remove(fs, &dir.join(LOCAL))?;
        let mut bytes = rmp_serde::to_vec_named(self).map_err(io::Error::other)?;
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let temporary = dir.join(PLAN).with_extension("tmp");
        remove(fs, &temporary)?;
        let file = fs.create_new(&temporary)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        fs.rename(&temporary, &dir.join(PLAN))?;
        Ok(fs.sync_dir(dir)?)
    }

    /// `None`: no restore is under way.
    pub(super) fn load(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Self>, BackupError> {
        let path = dir.join(PLAN);
        let file = match fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let bytes = file.read_at(0, usize::try_from(file.len()?).map_err(io::Error::other)?)?;
        let unfit = |why: &str| BackupError::Unfit(format!("{}: {why}; restore anew", path.display()));
        let (bytes, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(|| unfit("it is cut short"))?;
        if crc32c::crc32c(bytes).to_le_bytes() != *crc {
            return Err(unfit("it does not match its checksum"));
        }
        let saved: Self = rmp_serde::from_slice(bytes).map_err(|error| unfit(&error.to_string()))?;
        if saved.format > FORMAT {
            return Err(unfit("it is of a newer version: start that one"));
        }
        Ok(Some(saved))
    }

    pub(super) fn is_there(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
        match fs.open(&dir.join(PLAN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            file => file.map(|_| true),
        }
    }

    /// Nothing is left to do: the store is one like any other.
    pub(super) fn remove(fs: &dyn FileSystem, dir: &Path) -> io::Result<()> {
        remove(fs, &dir.join(PLAN))?;
        fs.sync_dir(dir)?;
        remove(fs, &dir.join(LOCAL))?;
        fs.sync_dir(dir)
    }
}

fn remove(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// What is durable when it is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// All files are there, with their lengths.
    Reserved,
    /// Every record that the rows name is live.
    Revived,
    /// A part of a file is back, whole and checked.
    Part(u32),
    /// Pieces of one are.
    Pieces { part: u32, first: u32, count: u32 },
}

impl Note {
    fn encode(self) -> [u8; NOTE_BYTES] {
        let fields = match self {
            Self::Reserved => [1, 0, 0, 0],
            Self::Revived => [2, 0, 0, 0],
            Self::Part(part) => [3, part, 0, 0],
            Self::Pieces { part, first, count } => [4, part, first, count],
        };
        let mut bytes = [0; NOTE_BYTES];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..NOTE_BYTES - CRC_BYTES]);
        bytes[NOTE_BYTES - CRC_BYTES..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        if crc32c::crc32c(fields).to_le_bytes() != *crc {
            return None;
        }
        let (fields, _) = fields.as_chunks::<4>();
        match fields.iter().map(|field| u32::from_le_bytes(*field)).collect::<Vec<_>>()[..] {
            [1, 0, 0, 0] => Some(Self::Reserved),
            [2, 0, 0, 0] => Some(Self::Revived),
            [3, part, 0, 0] => Some(Self::Part(part)),
            [4, part, first, count] => Some(Self::Pieces { part, first, count }),
            _ => None,
        }
    }
}

/// The list of notes.
#[derive(Debug)]
pub(super) struct Journal {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    end: u64,
    has_failed: bool,
}

impl Journal {
    /// Opens the list, or begins it. What a crash left half-written behind its last whole note is cut off.
    pub(super) fn open(fs: &dyn FileSystem, dir: &Path) -> io::Result<(Self, Vec<Note>)> {
        let path = dir.join(LOCAL);
        let file = match fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = fs.create_new(&path)?;
                fs.sync_dir(parent(&path))?;
                file
            }
            file => file?,
        };
        let bytes = file.read_at(0, usize::try_from(file.len()?).map_err(io::Error::other)?)?;
        let notes: Vec<_> = bytes.chunks_exact(NOTE_BYTES).map_while(Note::decode).collect();
        let end = (notes.len() * NOTE_BYTES) as u64;
        if end < bytes.len() as u64 {
            file.set_len(end)?;
            file.sync_data()?;
        }
        Ok((Self { file, path, end, has_failed: false }, notes))
    }

    /// Durable when it returns. What could not be noted is not noted later: after a sync that failed nobody knows.
    pub(super) fn append(&mut self, notes: &[Note]) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other(format!("{}: an earlier write failed", self.path.display())));
        }
        let bytes: Vec<u8> = notes.iter().flat_map(|note| note.encode()).collect();
        let written = self.file.write_all_at(&bytes, self.end).and_then(|()| self.file.sync_data());
        self.has_failed = written.is_err();
        self.end += bytes.len() as u64;
        written
    }
}

#[cfg(test)]
mod tests {
    use super::{Journal, NOTE_BYTES, Note, Saved};
    use crate::backup::{Contents, Epoch, RepositoryId};
    use crate::sys::RealFileSystem;
    use crate::types::CommitSeq;

    #[test]
    fn a_plan_is_there_until_it_is_removed_and_its_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Saved::load(&RealFileSystem, dir.path()).unwrap(), None);
        let saved =
            Saved::new(RepositoryId::new([7; 16]), Epoch::FIRST, CommitSeq::new(9), Contents::default());
        saved.save(&RealFileSystem, dir.path()).unwrap();
        assert_eq!(Saved::load(&RealFileSystem, dir.path()).unwrap(), Some(saved));
        assert!(Saved::is_there(&RealFileSystem, dir.path()).unwrap());
        let path = dir.path().join("restore.plan");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(Saved::load(&RealFileSystem, dir.path()).is_err(), "{at}");
        }
        Saved::remove(&RealFileSystem, dir.path()).unwrap();
        assert!(!Saved::is_there(&RealFileSystem, dir.path()).unwrap());
    }

    #[test]
    fn i2_a_note_counts_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, notes) = Journal::open(&RealFileSystem, dir.path()).unwrap();
        assert_eq!(notes, []);
        let all =
            [Note::Reserved, Note::Part(7), Note::Pieces { part: 3, first: 1, count: 2 }, Note::Revived];
        journal.append(&all[..1]).unwrap();
        journal.append(&all[1..]).unwrap();
        let path = dir.path().join("restore.local");
        let whole = std::fs::read(&path).unwrap();
        for len in (0..=whole.len()).rev() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut journal, notes) = Journal::open(&RealFileSystem, dir.path()).unwrap();
            assert_eq!(notes, all[..len / NOTE_BYTES]);
            journal.append(&[Note::Part(len as u32)]).unwrap();
            let (_, again) = Journal::open(&RealFileSystem, dir.path()).unwrap();
            assert_eq!(again.last(), Some(&Note::Part(len as u32)));
        }
    }
}
