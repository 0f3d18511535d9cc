//! Which chunks of a body are stored again although they are there.
//!
//! A file that changes a little every day is, after ten days, read from ten places: what was new on each day stands
//! together, and nothing of it beside its neighbours in the file. So a body says of each block how many reads it would take, as a
//! reader joins them ([`read_together`]). Where it comes to more than [`MOST_READS`] for each MiB, the smallest pieces
//! are appended once more, beside what is new: they cost a read each, and little to store. The index then names the new copies, for all
//! bodies, and the old ones are garbage that collection gives back. So disorder falls on older versions, and the
//! price is writing: no more than a set share of each body.
//!
//! Which pieces are chosen depends on the body and on where its chunks are, on nothing else: a body that was put in order is
//! in order when it comes again, and costs nothing.

use super::catalog::Moved;
use crate::engine::pack::{Location, read_together};
use crate::storage::PackId;
use crate::types::ChunkId;
use std::collections::{HashMap, VecDeque};

/// Reads for each MiB, on average over [`RECENT_BLOCKS`], that a body may take.
const MOST_READS: u64 = 3;
const MIB: u64 = 1 << 20;
/// Single blocks may take more.
const RECENT_BLOCKS: usize = 8;
/// The index is told when so many chunks were stored again.
const MAX_MOVES: usize = 1024;

/// A chunk of a block, and where it is, if it is anywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) id: ChunkId,
    pub(super) bytes: u64,
    pub(super) at: Option<Location>,
}

/// One body's choices.
#[derive(Debug)]
pub(super) struct Rewrite {
    percent: u64,
    /// Bytes that may still be stored again.
    credit: u64,
    /// Bytes and reads of the last blocks.
    recent: VecDeque<(u64, u64)>,
    /// Where the first record of this body was appended: what stands behind is as new.
    begins: Option<(PackId, u32)>,
    /// Stored again, and not known to the index.
    moves: HashMap<ChunkId, (Location, Location)>,
}

/// Pieces that one read each gets.
struct Piece {
    /// Of the block's chunks.
    chunks: Vec<usize>,
    bytes: u64,
}

impl Rewrite {
    pub(super) fn new(percent: u32) -> Self {
        let (recent, moves) = (VecDeque::with_capacity(RECENT_BLOCKS), HashMap::new());
        Self { percent: u64::from(percent), credit: 0, recent, begins: None, moves }
    }

    /// For each chunk of the next block, each of them once, whether it is to be stored again.
    pub(super) fn choose(&mut self, chunks: &[Placed]) -> Vec<bool> {
        let mut again = vec![false; chunks.len()];
        let bytes = chunks.iter().map(|chunk| chunk.bytes).sum::<u64>();
        self.credit += bytes * self.percent / 100;
        let pieces = pieces(chunks);
        let appends = chunks.iter().any(|chunk| chunk.at.is_none());
        let reads = pieces.len() as u64 + u64::from(appends);
        let chosen = match self.excess(bytes, reads) {
            0 => Vec::new(),
            excess => self.smallest(pieces, chunks, excess + u64::from(!appends)),
        };
        // What is alone in being stored again takes a read as before.
        let saved = (chosen.len() as u64).saturating_sub(u64::from(!appends));
        if saved > 0 {
            self.credit -= chosen.iter().map(|piece| piece.bytes).sum::<u64>();
            chosen.iter().flat_map(|piece| &piece.chunks).for_each(|chunk| again[*chunk] = true);
        }
        self.note(bytes, reads - saved);
        again
    }

    /// Where a record of this body was appended, in place of what the index named, if it did.
    pub(super) fn appended(&mut self, id: ChunkId, from: Option<Location>, to: Location) {
        self.begins.get_or_insert((to.pack, to.offset));
        if let Some(from) = from {
            self.moves.insert(id, (from, to));
        }
    }

    /// What the index has to be told once it is durable, if that is `due`, or much.
    pub(super) fn take_moves(&mut self, due: bool) -> Vec<Moved> {
        if !due && self.moves.len() < MAX_MOVES {
            return Vec::new();
        }
        self.moves.drain().map(|(id, (from, to))| Moved { id, from, to }).collect()
    }

    /// How many reads too many it is, with those of this block.
    fn excess(&self, bytes: u64, reads: u64) -> u64 {
        let sum = |(b, r): (u64, u64), recent: &(u64, u64)| (b + recent.0, r + recent.1);
        let (bytes, reads) = self.recent.iter().fold((bytes, reads), sum);
        reads.saturating_sub((bytes * MOST_READS / MIB).max(MOST_READS))
    }

    fn note(&mut self, bytes: u64, reads: u64) {
        if self.recent.len() == RECENT_BLOCKS - 1 {
            self.recent.pop_front();
        }
        self.recent.push_back((bytes, reads));
    }

    /// Up to so many of the pieces, as long as the credit lasts.
    fn smallest(&self, pieces: Vec<Piece>, chunks: &[Placed], most: u64) -> Vec<Piece> {
        let is_old = |piece: &Piece| piece.chunks.iter().all(|chunk| self.is_old(&chunks[*chunk]));
        let mut pieces: Vec<_> = pieces.into_iter().filter(is_old).collect();
        pieces.sort_by_key(|piece| piece.bytes);
        let mut credit = self.credit;
        let affordable = pieces.into_iter().take_while(|piece| {
            let left = credit.checked_sub(piece.bytes);
            credit = left.unwrap_or(0);
            left.is_some()
        });
        affordable.take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
    }

    /// Whether a chunk was there before this body; what the body repeats is moved once.
    fn is_old(&self, chunk: &Placed) -> bool {
        let Some(at) = chunk.at else { return false };
        let is_before = self.begins.is_none_or(|begins| (at.pack, at.offset) < begins);
        is_before && !self.moves.contains_key(&chunk.id)
    }
}

fn pieces(chunks: &[Placed]) -> Vec<Piece> {
    let (known, places): (Vec<_>, Vec<_>) =
        chunks.iter().enumerate().filter_map(|(i, chunk)| Some((i, chunk.at?))).unzip();
    let piece = |run: Vec<usize>| {
        let chunks_of: Vec<_> = run.into_iter().map(|i| known[i]).collect();
        let bytes = chunks_of.iter().map(|chunk| chunks[*chunk].bytes).sum();
        Piece { chunks: chunks_of, bytes }
    };
    read_together(&places).into_iter().map(piece).collect()
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
