//! Windows of a body, a few of them loading ahead, handed on in frames.

use super::chunks::{self, Chunks, Guard};
use super::walk::{Piece, Step, Walk};
use super::{FRAME_BYTES, ReadBudget};
use crate::engine::pack::RecordKind;
use crate::engine::{Admission, BodyStream, EngineError, PlainReader};
use crate::sys::Queued;
use crate::types::ResolvedRange;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

/// The first window is small, so that the first byte comes soon; so are all while memory is scarce.
const SMALL_WINDOW_BYTES: u64 = 256 << 10;
const WINDOW_BYTES: u64 = 1 << 20;
const MAX_WINDOW_PIECES: usize = 1024;
/// Windows loading while another is handed on.
const WINDOWS_AHEAD: usize = 3;
/// Longer ranges leave no trace in the cache.
const SCAN_BYTES: u64 = 8 << 20;
/// Smaller pieces are copied together into frames.
const WHOLE_PIECE_BYTES: usize = 64 << 10;

/// What a stream reads from.
#[derive(Debug)]
pub(super) enum Source {
    Chunked { chunks: Chunks, walk: Walk, hold: Guard },
    Plain { reader: PlainReader, rest: Range<u64> },
}

impl Source {
    pub(super) fn chunked(chunks: Chunks, walk: Walk) -> Self {
        let hold = Arc::from(chunks.locate.hold());
        Self::Chunked { chunks, walk, hold }
    }

    pub(super) const fn plain(reader: PlainReader, range: ResolvedRange) -> Self {
        Self::Plain { reader, rest: range.start..range.end }
    }
}

/// What to load next.
#[derive(Debug)]
enum Plan {
    Chunked { chunks: Chunks, pieces: Vec<Piece>, hold: Guard },
    Plain { reader: PlainReader, range: Range<u64> },
}

impl Plan {
    /// Twice the bytes: as stored and decoded.
    fn memory_kib(&self, budget: &ReadBudget) -> u32 {
        let bytes = match self {
            Self::Chunked { pieces, .. } => pieces.iter().map(|piece| piece.len).sum(),
            Self::Plain { range, .. } => range.end - range.start,
        };
        u32::try_from((2 * bytes).div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, budget.total_kib.max(1))
    }

    async fn load(self, memory: OwnedSemaphorePermit, admission: Admission) -> Result<Window, EngineError> {
        let memory = Arc::new(memory);
        match self {
            Self::Plain { reader, range } => {
                let held = Arc::clone(&memory);
                let bytes = chunks::blocking(move || {
                    let _held = held;
                    reader.read_at(range)
                });
                let bytes = bytes.await.inspect_err(chunks::count_corrupt)?;
                Ok(Window { pieces: VecDeque::from([bytes]), _memory: memory })
            }
            Self::Chunked { chunks, pieces, hold } => {
                let wanted: Vec<_> = pieces.iter().map(Piece::wanted).collect();
                // Who loads goes on when the stream is dropped: so do its hold and its memory.
                let guard: Guard = Arc::new((hold, Arc::clone(&memory)));
                let whole = chunks.get(&wanted, RecordKind::Chunk, admission, &guard).await?;
                let cut = pieces.iter().zip(whole).map(|(piece, bytes)| cut(piece, &bytes));
                Ok(Window { pieces: cut.collect::<Result<_, _>>()?, _memory: memory })
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
struct Window {
    pieces: VecDeque<Bytes>,
    _memory: Arc<OwnedSemaphorePermit>,
}

impl Window {
    /// Small pieces are joined, so that the layers above are not paid for every chunk.
    fn next_frame(&mut self) -> Option<Bytes> {
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

#[derive(Debug)]
pub(super) struct Reading {
    source: Source,
    budget: ReadBudget,
    admission: Admission,
    /// What is being handed on.
    current: Option<Window>,
    /// Planned, and not begun for want of memory; or what planning failed with.
    pending: Option<Result<Plan, EngineError>>,
    ahead: VecDeque<AbortOnDropHandle<Result<Window, EngineError>>>,
}

impl Reading {
    pub(super) fn new(source: Source, budget: ReadBudget, len: u64) -> Self {
        let admission = if len > SCAN_BYTES { Admission::Scan } else { Admission::Admit };
        Self { source, budget, admission, current: None, pending: None, ahead: VecDeque::new() }
    }

    /// Loads the first window.
    pub(super) async fn begin(&mut self) -> Result<(), EngineError> {
        self.current = self.load_now().await?;
        Ok(())
    }

    pub(super) fn into_stream(self) -> BodyStream {
        // After an error the state is gone, and with it the stream.
        stream::try_unfold(self, |mut reading| async {
            Ok(reading.next_frame().await?.map(|frame| (frame, reading)))
        })
        .boxed()
    }

    async fn next_frame(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            if let Some(window) = &mut self.current {
                if let Some(frame) = window.next_frame() {
                    self.read_ahead().await;
                    return Ok(Some(frame));
                }
                // Its memory goes back before more is asked for: a waiting stream holds none.
                self.current = None;
            }
            self.current = match self.ahead.pop_front() {
                Some(loading) => Some(loading.await.map_err(std::io::Error::other)??),
                None => self.load_now().await?,
            };
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }

    /// Loads the next window, waiting for memory.
    async fn load_now(&mut self) -> Result<Option<Window>, EngineError> {
        let plan = match self.pending.take() {
            Some(plan) => Some(plan?),
            None => self.plan(SMALL_WINDOW_BYTES).await?,
        };
        let Some(plan) = plan else { return Ok(None) };
        let memory = Arc::clone(&self.budget.memory).acquire_many_owned(plan.memory_kib(&self.budget));
        let queued = Queued::in_queue("memory");
        let memory = tokio::time::timeout(self.budget.wait, memory).await;
        drop(queued);
        let memory = memory.map_err(|_| EngineError::Busy("the memory for bodies is used up"))?;
        plan.load(memory.map_err(std::io::Error::other)?, self.admission).await.map(Some)
    }

    /// Begins to load what comes next, as long as half of the memory is left to others.
    async fn read_ahead(&mut self) {
        while self.ahead.len() < WINDOWS_AHEAD {
            if self.budget.memory.available_permits() < self.budget.total_kib as usize / 2 {
                return;
            }
            let plan = match self.pending.take() {
                Some(plan) => plan,
                None => match self.plan(WINDOW_BYTES).await {
                    Ok(None) => return,
                    Ok(Some(plan)) => Ok(plan),
                    Err(error) => Err(error),
                },
            };
            let plan = match plan {
                Ok(plan) => plan,
                Err(error) => {
                    self.pending = Some(Err(error));
                    return;
                }
            };
            let kib = plan.memory_kib(&self.budget);
            let Ok(memory) = Arc::clone(&self.budget.memory).try_acquire_many_owned(kib) else {
                self.pending = Some(Ok(plan));
                return;
            };
            self.ahead.push_back(AbortOnDropHandle::new(tokio::spawn(plan.load(memory, self.admission))));
        }
    }

    /// The next window, or `None` at the end of the range.
    async fn plan(&mut self, bytes: u64) -> Result<Option<Plan>, EngineError> {
        match &mut self.source {
            Source::Plain { rest, .. } if rest.is_empty() => Ok(None),
            Source::Plain { reader, rest } => {
                // Ends at a multiple of the window, so that no block is read twice.
                let end = ((rest.start / bytes + 1) * bytes).min(rest.end);
                let range = rest.start..end;
                rest.start = end;
                Ok(Some(Plan::Plain { reader: reader.clone(), range }))
            }
            Source::Chunked { chunks, walk, hold } => {
                let pieces = pieces(chunks, walk, hold, bytes).await?;
                if pieces.is_empty() {
                    return Ok(None);
                }
                Ok(Some(Plan::Chunked { chunks: chunks.clone(), pieces, hold: Arc::clone(hold) }))
            }
        }
    }
}

/// Pieces of at least so many bytes together, unless the range ends before.
async fn pieces(
    chunks: &Chunks,
    walk: &mut Walk,
    hold: &Guard,
    bytes: u64,
) -> Result<Vec<Piece>, EngineError> {
    let mut pieces = Vec::new();
    let mut total = 0;
    while total < bytes && pieces.len() < MAX_WINDOW_PIECES {
        match walk.step()? {
            Step::End => break,
            Step::Piece(piece) => {
                total += piece.len;
                pieces.push(piece);
            }
            Step::Node(entry) => {
                let node = chunks.node(&entry, hold).await?;
                walk.enter(&entry, node)?;
            }
        }
    }
    Ok(pieces)
}
