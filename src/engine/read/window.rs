//! A window of a body: planned, loaded, handed on in frames.

use super::FRAME_BYTES;
use super::budget::{Share, shrink};
use super::chunks::{self, Chunks, Guard, Running};
use super::walk::Piece;
use crate::engine::pack::RecordKind;
use crate::engine::{EngineError, PlainReader};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Smaller pieces are copied together: to hand on costs as much as to copy this.
const SMALL_PIECE_BYTES: usize = 4 << 10;

/// Whether a read leaves its chunks in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Chunks move up into memory.
    Admit,
    /// A long sequential read: takes from memory what is there, and leaves no trace.
    Scan,
}

/// What to load next.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Chunked { chunks: Chunks, pieces: Vec<Piece>, hold: Guard },
    Plain { reader: PlainReader, range: Range<u64> },
}

impl Plan {
    /// As decoded.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Chunked { pieces, .. } => pieces.iter().map(|piece| piece.len).sum(),
            Self::Plain { range, .. } => range.end - range.start,
        }
    }

    /// Twice the bytes: as stored and decoded.
    pub(super) fn memory_bytes(&self) -> u64 {
        2 * self.bytes()
    }

    /// Begins to load. What may run on a blocking thread as a whole does, without a way through other tasks.
    pub(super) fn start(self, memory: Share, admission: Admission) -> Running<Window> {
        if matches!((&self, admission), (Self::Chunked { .. }, Admission::Admit)) {
            return tokio::spawn(self.load(memory, admission));
        }
        chunks::try_blocking(move || self.load_blocking(memory))
            .unwrap_or_else(|waits| tokio::spawn(chunks::blocking(waits)))
    }

    pub(super) async fn load(self, memory: Share, admission: Admission) -> Result<Window, EngineError> {
        match (self, admission) {
            (Self::Chunked { chunks, pieces, hold }, Admission::Admit) => {
                let wanted: Vec<_> = pieces.iter().map(Piece::wanted).collect();
                // Who loads goes on when the stream is dropped: so do its hold and its memory.
                let guard: Guard = Arc::new((hold, Arc::clone(&memory)));
                let whole = chunks.get(&wanted, RecordKind::Chunk, &guard).await?;
                drop(guard);
                Window::cut(&pieces, whole, memory)
            }
            (plan, _) => chunks::blocking(move || plan.load_blocking(memory)).await,
        }
    }

    /// As [`Self::load`], for what is not admitted.
    fn load_blocking(self, memory: Share) -> Result<Window, EngineError> {
        match self {
            Self::Plain { reader, range } => {
                let bytes = reader.read_at(range).inspect_err(chunks::count_corrupt)?;
                Ok(Window::new(VecDeque::from([bytes]), memory))
            }
            Self::Chunked { chunks, pieces, hold: _hold } => {
                let wanted: Vec<_> = pieces.iter().map(Piece::wanted).collect();
                let whole = chunks.scan(&wanted)?;
                Window::cut(&pieces, whole, memory)
            }
        }
    }
}

fn cut(piece: &Piece, bytes: Bytes) -> Result<Bytes, EngineError> {
    if bytes.len() as u64 == piece.len {
        return Ok(if piece.wanted.len() == bytes.len() { bytes } else { bytes.slice(piece.wanted.clone()) });
    }
    let error = EngineError::Corrupt { id: piece.id, why: "its length is not that in the manifest" };
    chunks::count_corrupt(&error);
    Err(error)
}

/// Loaded bytes, with the memory that they were promised.
#[derive(Debug)]
pub(super) struct Window {
    pieces: VecDeque<Bytes>,
    /// More than one frame: its pieces are slices of one buffer, and all of that is kept until the last has left the
    /// process. What was handed on of a small one is no longer this reader's.
    is_large: bool,
    memory: Option<Share>,
}

impl Window {
    /// What was needed only to load is given back.
    fn new(pieces: VecDeque<Bytes>, mut memory: Share) -> Self {
        let bytes = bytes_of(&pieces);
        shrink(&mut memory, bytes);
        Self { pieces, is_large: bytes > FRAME_BYTES as u64, memory: Some(memory) }
    }

    fn cut(pieces: &[Piece], whole: Vec<Bytes>, memory: Share) -> Result<Self, EngineError> {
        let pieces = pieces.iter().zip(whole).map(|(piece, bytes)| cut(piece, bytes));
        Ok(Self::new(pieces.collect::<Result<_, _>>()?, memory))
    }

    /// Pieces of at most so many bytes together, unless one is larger: that is cut. Empty at the end.
    pub(super) fn next_frames(&mut self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut room = FRAME_BYTES;
        while let Some(piece) = self.next_piece(room, frames.is_empty()) {
            room -= piece.len();
            frames.push(piece);
        }
        if !self.is_large {
            let left = bytes_of(&self.pieces);
            self.memory = self.memory.take().filter(|_| left > 0);
            self.memory.iter_mut().for_each(|memory| shrink(memory, left));
        } else if self.pieces.is_empty()
            && let (Some(memory), Some(last)) = (self.memory.take(), frames.last_mut())
        {
            let bytes = std::mem::take(last);
            *last = Bytes::from_owner(Held { bytes, _memory: memory });
        }
        frames
    }

    fn next_piece(&mut self, room: usize, is_first: bool) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        if front.len() > room {
            return (is_first && front.len() > FRAME_BYTES).then(|| front.split_to(FRAME_BYTES));
        }
        let first = self.pieces.pop_front()?;
        let mut len = first.len();
        let small = self.pieces.iter().take_while(|piece| {
            len += piece.len();
            len <= room.min(FRAME_BYTES / 4) && piece.len() < SMALL_PIECE_BYTES
        });
        let small = if first.len() < SMALL_PIECE_BYTES { small.count() } else { 0 };
        if small == 0 {
            return Some(first);
        }
        let total = first.len() + self.pieces.iter().take(small).map(Bytes::len).sum::<usize>();
        let mut joined = BytesMut::with_capacity(total);
        joined.extend_from_slice(&first);
        for piece in self.pieces.drain(..small) {
            joined.extend_from_slice(&piece);
        }
        Some(joined.freeze())
    }
}

fn bytes_of(pieces: &VecDeque<Bytes>) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// The end of a window: when it has left, so has everything before it.
struct Held {
    bytes: Bytes,
    _memory: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
