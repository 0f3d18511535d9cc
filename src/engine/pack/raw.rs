//! The bytes of packs as they stand, for whoever copies them elsewhere.
//!
//! # In which order to copy
//! Read the end of the log; then [`PackSet::given_back`]; then [`PackSet::extents`], and copy what is new in them. All bytes
//! that the log up to there names are durable, so they are among these. But collection may move some of them to another
//! pack and give the first place back before it is read. So ask for `given_back` again: if it is another number, take the
//! extents anew and copy what is new, until it is not. Then look whether the cursor is still there (`Commit::ForgetConsumer`):
//! while it is, nothing was collected that it lacks. Only then may the log be copied.
//!
//! What was copied stays true: a byte of an extent changes only where a record is marked dead, or given back to the file
//! system after that, and then it reads as zero ([`zeros`]).

use super::format::Trailer;
use super::set::PackSet;
use crate::engine::EngineError;
use crate::storage::PackId;
use bytes::Bytes;
use std::io;
use std::ops::Range;

/// The unit in which file systems give space back.
const BLOCK_BYTES: usize = 4096;

/// How far a pack can be copied. It begins at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackExtent {
    pub id: PackId,
    /// Behind the last record that is durable; of a sealed pack the end of its file, footer included.
    pub end: u64,
    /// Nothing is appended to it any more.
    pub sealed: bool,
}

impl PackSet {
    /// All packs of which something is durable, in order of id. What was committed before the call is in them.
    ///
    /// # Errors
    /// When there is a pack that could not be made durable when the store was opened: the log may name what is in it.
    pub fn extents(&self) -> Result<Vec<PackExtent>, EngineError> {
        self.each_extent().into_iter().map(|(_, extent)| extent).collect()
    }

    /// As [`Self::extents`], with an error for each pack that cannot be copied.
    #[must_use]
    pub fn each_extent(&self) -> Vec<(PackId, Result<PackExtent, EngineError>)> {
        let extent = |id: PackId| {
            let pack = self.known(id)?;
            if pack.in_doubt {
                return Some((id, Err(in_doubt(id))));
            }
            let end = match pack.sealed {
                Some(records) => {
                    let gaps = u32::try_from(pack.gaps.len()).ok()?;
                    Trailer { records_end: pack.end, records, gaps, gaps_crc: 0 }.pack_len()
                }
                None => u64::from(pack.durable),
            };
            (pack.durable > 0).then_some((id, Ok(PackExtent { id, end, sealed: pack.sealed.is_some() })))
        };
        self.ids().into_iter().filter_map(extent).collect()
    }

    /// How far a pack can be copied that [`Self::each_extent`] has an error for: to the end of what is known of it, durable or not. `None`: it is
    /// gone.
    #[must_use]
    pub fn extent_as_it_stands(&self, id: PackId) -> Option<PackExtent> {
        self.known(id).map(|pack| PackExtent { id, end: pack.end.into(), sealed: false })
    }

    /// A range cut into pieces of at most `most` bytes, wherever its records are: of a pack that cannot be scanned.
    #[must_use]
    pub fn pieces_anywhere(range: &Range<u64>, most: u64) -> Vec<Range<u64>> {
        cut(range, most, &[])
    }

    /// How often space of packs was given back so far: whenever it is the same number again, nothing has gone meanwhile.
    #[must_use]
    pub fn given_back(&self) -> u64 {
        self.gave_back().load(std::sync::atomic::Ordering::Acquire)
    }

    /// The bytes of a range that [`Self::extents`] told of. Nothing is verified; memory is spared for other readers.
    /// Blocks.
    ///
    /// # Errors
    /// `Io` with `NotFound` when the pack was removed meanwhile; else when it cannot be read.
    pub fn read_raw(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, EngineError> {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.store().read_once(pack, range.start, len).map_err(|error| {
            // A removed file shrinks bit by bit.
            let is_gone = error.kind() == io::ErrorKind::UnexpectedEof && self.known(pack).is_none();
            EngineError::Io(if is_gone { io::ErrorKind::NotFound.into() } else { error })
        })
    }

    /// A range cut into pieces of whole records, of at most `most` bytes but for a record that is longer, and for the
    /// footer, which follows the last record. Cheap when one piece will do, else it finds the records. Blocks.
    ///
    /// # Errors
    /// When the pack is not known or cannot be scanned.
    pub fn pieces(&self, pack: PackId, range: Range<u64>, most: u64) -> Result<Vec<Range<u64>>, EngineError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut ends = Vec::new();
        if range.end - range.start > most {
            self.scan(pack, &mut |record| ends.push(record.location.end()))?;
        }
        Ok(cut(&range, most, &ends))
    }
}

fn in_doubt(pack: PackId) -> EngineError {
    EngineError::Io(io::Error::other(format!(
        "pack {pack} could not be made durable when the store was opened, so it cannot be copied: look at the disk, then restart"
    )))
}

/// Cuts a range at some of the `ends` of its records, and what stands behind the last one as it comes.
fn cut(range: &Range<u64>, most: u64, ends: &[u64]) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    let (mut start, mut last) = (range.start, range.start);
    for end in ends.iter().copied().filter(|end| range.start < *end && *end <= range.end) {
        if end - start > most && last > start {
            pieces.push(start..last);
            start = last;
        }
        last = end;
    }
    if range.end - start > most && last > start {
        pieces.push(start..last);
        start = last;
    }
    while start < range.end {
        let end = range.end.min(start.saturating_add(most.max(1)));
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// Runs of whole blocks of zeros, counted from where `bytes` begin: what was given back, or never needs to be stored.
#[must_use]
pub fn zeros(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (n, block) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            continue;
        }
        let (start, end) = (n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES);
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}
