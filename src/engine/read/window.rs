//! A window of a body: planned, loaded, handed on in frames.

use super::FRAME_BYTES;
use super::budget::{Share, shrink};
use super::chunks::{self, Chunks, Guard};
use super::walk::Piece;
use crate::engine::pack::RecordKind;
use crate::engine::{Admission, EngineError, PlainReader};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Smaller pieces are copied together into frames.
const WHOLE_PIECE_BYTES: usize = 64 << 10;

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

    pub(super) async fn load(self, memory: Share, admission: Admission) -> Result<Window, EngineError> {
        match self {
            Self::Plain { reader, range } => {
                let held = Arc::clone(&memory);
                let bytes = chunks::blocking(move || {
                    let _held = held;
                    reader.read_at(range)
                });
                let bytes = bytes.await.inspect_err(chunks::count_corrupt)?;
                Ok(Window { pieces: VecDeque::from([bytes]), memory })
            }
            Self::Chunked { chunks, pieces, hold } => {
                let wanted: Vec<_> = pieces.iter().map(Piece::wanted).collect();
                // Who loads goes on when the stream is dropped: so do its hold and its memory.
                let guard: Guard = Arc::new((hold, Arc::clone(&memory)));
                let whole = chunks.get(&wanted, RecordKind::Chunk, admission, &guard).await?;
                let cut = pieces.iter().zip(whole).map(|(piece, bytes)| cut(piece, &bytes));
                Ok(Window { pieces: cut.collect::<Result<_, _>>()?, memory })
            }
        }
    }
}

fn cut(piece: &Piece, bytes: &Bytes) -> Result<Bytes, EngineError> {
    if bytes.len() as u64 == piece.len {
        return Ok(bytes.slice(piece.wanted.clone()));
    }
    let error = EngineError::Corrupt { id: piece.id, why: "its length is not that in the manifest" };
    chunks::count_corrupt(&error);
    Err(error)
}

/// Loaded bytes, with the memory that they were promised.
#[derive(Debug)]
pub(super) struct Window {
    pieces: VecDeque<Bytes>,
    memory: Share,
}

impl Window {
    /// What was handed on is no longer this reader's.
    pub(super) fn next_frame(&mut self) -> Option<Bytes> {
        let frame = self.join()?;
        let left = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        shrink(&mut self.memory, left);
        Some(frame)
    }

    /// Small pieces are joined, so that the layers above are not paid for every chunk.
    fn join(&mut self) -> Option<Bytes> {
        let front = self.pieces.front_mut()?;
        if front.len() > FRAME_BYTES {
            return Some(front.split_to(FRAME_BYTES));
        }
        let first = self.pieces.pop_front()?;
        let is_alone = self.pieces.front().is_none_or(|next| first.len() + next.len() > FRAME_BYTES);
        if is_alone || first.len() >= WHOLE_PIECE_BYTES {
            return Some(first);
        }
        let mut len = first.len();
        let joined = self.pieces.iter().take_while(|piece| {
            len += piece.len();
            len <= FRAME_BYTES && piece.len() < WHOLE_PIECE_BYTES
        });
        let joined = joined.count();
        let total = first.len() + self.pieces.iter().take(joined).map(Bytes::len).sum::<usize>();
        let mut frame = BytesMut::with_capacity(total);
        frame.extend_from_slice(&first);
        for piece in self.pieces.drain(..joined) {
            frame.extend_from_slice(&piece);
        }
        Some(frame.freeze())
    }
}
