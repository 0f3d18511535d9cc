//! Parts of files. Each is one object in the bucket, and knows which pieces of it the local file has.

use crate::backup::container::{FRAME_BYTES, Kind, RangedReader};
use crate::backup::{BackupError, ObjectName, Repository, Stamp, objects};
use crate::storage::PackId;
use crate::types::PlainId;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

/// What is fetched at least: a frame of a container, so that none is fetched twice. Smaller in tests, so that parts have several.
pub(super) const PIECE_BYTES: u64 = if cfg!(test) { 32 << 10 } else { FRAME_BYTES as u64 };

/// A file that is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FileId {
    Pack(PackId),
    Plain(PlainId),
}

#[derive(Debug)]
pub(super) struct File {
    pub(super) id: FileId,
    /// In order, without a gap from 0.
    pub(super) parts: Vec<Arc<Part>>,
    /// Parts that are not local.
    pub(super) left: AtomicUsize,
}

impl File {
    pub(super) fn len(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.range.end)
    }

    /// The parts that hold something of a range.
    pub(super) fn touching(&self, range: &Range<u64>) -> &[Arc<Part>] {
        let first = self.parts.partition_point(|part| part.range.end <= range.start);
        let behind = self.parts.partition_point(|part| part.range.start < range.end);
        self.parts.get(first..behind).unwrap_or_default()
    }
}

/// Why pieces could not be fetched.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) at: Instant,
    pub(super) kind: std::io::ErrorKind,
    pub(super) why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Missing,
    /// Somebody fetches it.
    Coming,
    /// In the local file, and not more: a crash may take it.
    There,
}

#[derive(Debug)]
pub(super) struct State {
    pieces: Vec<Piece>,
    /// All of it is durable, checked and noted: from now on the file's bytes may change.
    pub(super) is_local: bool,
    /// Somebody has asked for it.
    pub(super) is_hot: bool,
    pub(super) failure: Option<Failure>,
}

impl State {
    pub(super) fn has(&self, pieces: &Range<usize>) -> bool {
        self.is_local || self.pieces[pieces.clone()].iter().all(|piece| *piece == Piece::There)
    }

    /// The first pieces in the range that nobody has fetched or fetches, at most so many: they are the caller's to fetch.
    pub(super) fn take_missing(&mut self, within: &Range<usize>, most: usize) -> Option<Range<usize>> {
        let is_missing = |piece: &Piece| *piece == Piece::Missing;
        let begin = within.start + self.pieces[within.clone()].iter().position(is_missing)?;
        let run = self.pieces[begin..within.end].iter().take(most).take_while(|piece| is_missing(piece));
        let run = begin..begin + run.count();
        self.pieces[run.clone()].fill(Piece::Coming);
        Some(run)
    }

    pub(super) fn came(&mut self, run: &Range<usize>) {
        self.pieces[run.clone()].fill(Piece::There);
        self.failure = None;
    }

    pub(super) fn failed(&mut self, run: &Range<usize>, failure: Failure) {
        self.pieces[run.clone()].fill(Piece::Missing);
        self.failure = Some(failure);
    }
}

/// A part of a file: one object.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) file: FileId,
    /// Of the file.
    pub(super) range: Range<u64>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Taken by whoever makes it local.
    pub(super) settling: Mutex<()>,
    /// Of the content, where it is known.
    pub(super) crc: Option<u32>,
    name: ObjectName,
    kind: Kind,
    stamp: Stamp,
    reader: Mutex<Option<RangedReader>>,
}

impl Part {
    pub(super) fn new(
        number: u32,
        file: FileId,
        range: Range<u64>,
        (name, stamp): (ObjectName, Stamp),
        crc: Option<u32>,
    ) -> Self {
        let kind = match file {
            FileId::Pack(_) => Kind::Extent,
            FileId::Plain(_) => Kind::Plain,
        };
        let pieces = (range.end - range.start).div_ceil(PIECE_BYTES) as usize;
        let pieces = vec![Piece::Missing; pieces];
        let state = Mutex::new(State { pieces, is_local: false, is_hot: false, failure: None });
        let (changed, settling, reader) = (Condvar::new(), Mutex::new(()), Mutex::new(None));
        Self { number, file, range, state, changed, settling, crc, name, kind, stamp, reader }
    }

    pub(super) fn name(&self) -> String {
        self.name.to_string()
    }

    pub(super) const fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) fn is_local(&self) -> bool {
        self.state.lock().is_local
    }

    pub(super) const fn all(&self) -> Range<usize> {
        0..self.len().div_ceil(PIECE_BYTES) as usize
    }

    /// The pieces that hold what the part has of a range of the file.
    pub(super) fn covering(&self, range: &Range<u64>) -> Range<usize> {
        let begin = self.range.start;
        let (start, end) = (range.start.max(begin) - begin, range.end.min(self.range.end) - begin);
        (start / PIECE_BYTES) as usize..end.div_ceil(PIECE_BYTES) as usize
    }

    /// What is fetched for these pieces: of a small part all of it, which is one request in place of two.
    pub(super) fn worthwhile(&self, wanted: &Range<usize>) -> Range<usize> {
        const SMALL_PIECES: usize = 2;
        let all = self.all();
        if all.len() <= SMALL_PIECES { all } else { wanted.clone() }
    }

    /// Where pieces are in the object's content.
    pub(super) fn content(&self, pieces: &Range<usize>) -> Range<u64> {
        pieces.start as u64 * PIECE_BYTES..(pieces.end as u64 * PIECE_BYTES).min(self.len())
    }

    /// As a note from before says. What it cannot be is left out: it is fetched again.
    pub(super) fn restore_pieces(&self, first: u32, count: u32) {
        let mut state = self.state.lock();
        let range = first as usize..(first as usize).saturating_add(count as usize);
        if let Some(pieces) = state.pieces.get_mut(range) {
            pieces.fill(Piece::There);
        }
    }

    pub(super) fn restore_all(&self) {
        let mut state = self.state.lock();
        state.pieces.fill(Piece::There);
        state.is_local = true;
    }

    /// What was written is not what was meant: all of it is fetched again.
    pub(super) fn forget(&self, failure: Failure) {
        let mut state = self.state.lock();
        let all = 0..state.pieces.len();
        state.failed(&all, failure);
    }

    /// A range of the content, verified. A part that is fetched at once is one request.
    pub(super) async fn read(
        &self,
        repository: &Arc<Repository>,
        range: Range<u64>,
    ) -> Result<Bytes, BackupError> {
        if range == (0..self.len()) {
            let bytes = objects::get(repository, self.name, self.kind, Some(self.stamp)).await?;
            return if bytes.len() as u64 == self.len() { Ok(bytes) } else { Err(self.other(bytes.len())) };
        }
        let known = self.reader.lock().clone();
        let reader = match known {
            Some(reader) => reader,
            None => self.open(repository).await?,
        };
        let read = reader.read(range).await.map_err(|why| objects::of(self.name, why));
        // A footer is believed as long as it leads to seals that match.
        *self.reader.lock() = read.is_ok().then_some(reader);
        Ok(read?.into())
    }

    async fn open(&self, repository: &Arc<Repository>) -> Result<RangedReader, BackupError> {
        let reader = objects::ranged(repository, self.name, self.kind, self.stamp.bytes).await?;
        if reader.nonce() != self.stamp.nonce.0 {
            let why = "it was written another time than the one that is meant".to_owned();
            return Err(BackupError::Content { name: self.name(), why });
        }
        if reader.length() != self.len() {
            return Err(self.other(reader.length() as usize));
        }
        Ok(reader)
    }

    fn other(&self, len: usize) -> BackupError {
        BackupError::Content { name: self.name(), why: format!("it holds {len} bytes") }
    }
}
