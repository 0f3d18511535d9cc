//! What a stream reads from, and how far it has been planned.

use super::chunks::{Chunks, Guard};
use super::walk::{Piece, Step, Walk};
use super::window::Plan;
use crate::engine::{EngineError, PlainReader, ReadHold};
use crate::types::ResolvedRange;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

const MAX_WINDOW_PIECES: usize = 1024;

#[derive(Debug)]
pub(super) enum Source {
    Chunked {
        chunks: Chunks,
        walk: Walk,
        hold: Guard,
        /// Found, and not yet planned or planned in vain.
        found: VecDeque<Piece>,
    },
    Plain {
        reader: PlainReader,
        rest: Range<u64>,
    },
}

impl Source {
    pub(super) fn chunked(chunks: Chunks, walk: Walk, hold: ReadHold) -> Self {
        Self::Chunked { chunks, walk, hold: Arc::from(hold), found: VecDeque::new() }
    }

    pub(super) const fn plain(reader: PlainReader, range: ResolvedRange) -> Self {
        Self::Plain { reader, rest: range.start..range.end }
    }

    /// Whether everything is planned.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Chunked { walk, found, .. } => found.is_empty() && walk.is_done(),
            Self::Plain { rest, .. } => rest.is_empty(),
        }
    }

    /// The next window, of at most so many bytes unless one chunk is longer; `None` at the end of the range.
    pub(super) async fn plan(&mut self, bytes: u64) -> Result<Option<Plan>, EngineError> {
        match self {
            Self::Plain { rest, .. } if rest.is_empty() => Ok(None),
            Self::Plain { reader, rest } => {
                // Ends at a multiple of the window, so that no block is read twice.
                let end = ((rest.start / bytes + 1) * bytes).min(rest.end);
                let range = rest.start..end;
                rest.start = end;
                Ok(Some(Plan::Plain { reader: reader.clone(), range }))
            }
            Self::Chunked { chunks, walk, hold, found } => {
                let (mut pieces, mut total) = (Vec::new(), 0);
                while pieces.len() < MAX_WINDOW_PIECES {
                    let piece = match next_piece(chunks, walk, hold, found).await {
                        Ok(Some(piece)) => piece,
                        Ok(None) => break,
                        // What stands before it is served first; then it fails again.
                        Err(_) if !pieces.is_empty() => break,
                        Err(error) => return Err(error),
                    };
                    total += piece.len;
                    if total > bytes && !pieces.is_empty() {
                        found.push_front(piece);
                        break;
                    }
                    pieces.push(piece);
                }
                let plan = Plan::Chunked { chunks: chunks.clone(), pieces, hold: Arc::clone(hold) };
                Ok(Some(plan).filter(|plan| plan.bytes() > 0))
            }
        }
    }

    /// The last plan that was made, to be planned anew.
    pub(super) fn put_back(&mut self, plan: Plan) {
        match (self, plan) {
            (Self::Chunked { found, .. }, Plan::Chunked { pieces, .. }) => {
                pieces.into_iter().rev().for_each(|piece| found.push_front(piece));
            }
            (Self::Plain { rest, .. }, Plan::Plain { range, .. }) => rest.start = range.start,
            // A source makes only plans of its own kind.
            (Self::Chunked { .. }, Plan::Plain { .. }) | (Self::Plain { .. }, Plan::Chunked { .. }) => {}
        }
    }
}

pub(super) async fn next_piece(
    chunks: &Chunks,
    walk: &mut Walk,
    hold: &Guard,
    found: &mut VecDeque<Piece>,
) -> Result<Option<Piece>, EngineError> {
    if let Some(piece) = found.pop_front() {
        return Ok(Some(piece));
    }
    loop {
        match walk.step()? {
            Step::End => return Ok(None),
            Step::Piece(piece) => return Ok(Some(piece)),
            Step::Node(entry) => {
                let node = chunks.node(&entry, hold).await?;
                walk.enter(&entry, node)?;
            }
        }
    }
}
