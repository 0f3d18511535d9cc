//! Chunks that follow each other in a pack as they do in a body: found by two look-ups and one read, however many. What
//! a change has put between them stands elsewhere, and so do the pieces of other changes; pieces of one pack that stand near each
//! other are read together.

use super::chunks::Chunks;
use crate::engine::buffers::Buffers;
use crate::engine::codec::decode_into;
use crate::engine::pack::{Codec, Location, RECORD_HEADER_BYTES, Record, RecordKind, read_together};
use crate::engine::{EngineError, Wanted};
use bytes::Bytes;
use std::ops::Range;

/// So few are looked up one by one.
const FEW: usize = 4;

/// A search for the records of chunks.
#[derive(Debug)]
pub(super) struct Along<'a> {
    chunks: &'a Chunks,
    wanted: &'a [Wanted],
    /// Of those that were looked up.
    places: Vec<Option<Location>>,
    /// What may stand together, in order.
    runs: Vec<Range<usize>>,
}

/// What was found, in the order asked for. What was not may be there all the same.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<Option<Record>>,
    pub(super) places: Vec<Option<Location>>,
}

impl<'a> Along<'a> {
    /// Blocks.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(super) fn find(
        chunks: &'a Chunks,
        wanted: &'a [Wanted],
        kind: RecordKind,
    ) -> Result<Found, EngineError> {
        let mut along = Self { chunks, wanted, places: vec![None; wanted.len()], runs: Vec::new() };
        along.search(0..wanted.len())?;
        let mut records = vec![None; wanted.len()];
        for runs in along.stretches() {
            along.take(&runs, kind, &mut records);
        }
        Ok(Found { records, places: along.places })
    }

    /// A range whose ends stand too far apart for what should be between them is halved.
    fn search(&mut self, range: Range<usize>) -> Result<(), EngineError> {
        if range.len() <= FEW {
            for i in range {
                self.place(i)?;
                self.join(i..i + 1);
            }
            return Ok(());
        }
        self.place(range.start)?;
        self.place(range.end - 1)?;
        if self.is_run(&range) {
            self.join(range);
            return Ok(());
        }
        let middle = range.start + range.len() / 2;
        self.search(range.start..middle)?;
        self.search(middle..range.end)
    }

    /// Joins a range with the one before where they stand together.
    fn join(&mut self, range: Range<usize>) {
        let joined = self.runs.last().filter(|run| run.end == range.start).map(|run| run.start..range.end);
        match joined.filter(|joined| self.is_run(joined)) {
            Some(joined) => {
                self.runs.pop();
                self.runs.push(joined);
            }
            None => self.runs.push(range),
        }
    }

    fn is_run(&self, range: &Range<usize>) -> bool {
        let (Some(first), Some(last)) = (self.places[range.start], self.places[range.end - 1]) else {
            return false;
        };
        let raw_bytes = self.wanted[range.clone()].iter().map(|wanted| wanted.max_bytes as u64).sum();
        self.chunks.packs.is_stretch(&first, &last, raw_bytes, range.len())
    }

    /// Runs that are read at once, in the order of their pack. What stands alone is left to the look-up.
    fn stretches(&self) -> Vec<Vec<Range<usize>>> {
        let runs = self.runs.iter().filter(|run| self.is_run(run));
        let (runs, extents): (Vec<_>, Vec<_>) =
            runs.filter_map(|run| Some((run.clone(), self.extent(run)?))).unzip();
        let stretches = read_together(&extents).into_iter();
        let stretches = stretches.map(|some| some.into_iter().map(|i| runs[i].clone()).collect::<Vec<_>>());
        stretches.filter(|some| some.iter().map(Range::len).sum::<usize>() > 1).collect()
    }

    /// From the first record of a run to the end of the last, as if it were one.
    fn extent(&self, run: &Range<usize>) -> Option<Location> {
        let (first, last) = (self.places[run.start]?, self.places[run.end - 1]?);
        let len = last.end().checked_sub(u64::from(first.offset) + RECORD_HEADER_BYTES as u64)?;
        Some(Location { stored_len: u32::try_from(len).ok()?, ..first })
    }

    fn take(&self, runs: &[Range<usize>], kind: RecordKind, records: &mut [Option<Record>]) {
        let first = runs.first().and_then(|run| self.places[run.start]);
        let last = runs.iter().filter_map(|run| self.places[run.end - 1]).max_by_key(Location::end);
        let (Some(first), Some(last)) = (first, last) else { return };
        // Whatever is wrong shows again when each is looked up, and is told then.
        let Ok(mut stretch) = self.chunks.packs.read_stretch(&first, &last) else { return };
        let mut useful = 0;
        for i in runs.iter().cloned().flatten() {
            let wanted = &self.wanted[i];
            records[i] = stretch.take(&wanted.id, kind, wanted.max_bytes);
            useful += records[i].as_ref().map_or(0, |record| record.payload.len());
        }
        // What is kept must not be much more than what is wanted of it.
        if stretch.read_bytes() > useful + useful / 4 {
            for run in runs {
                for record in records[run.clone()].iter_mut().flatten() {
                    record.payload = Bytes::copy_from_slice(&record.payload);
                }
            }
        }
    }

    fn place(&mut self, i: usize) -> Result<(), EngineError> {
        if self.places[i].is_none() {
            self.places[i] = self.chunks.locate.locate(&[self.wanted[i].id])?.pop().flatten();
        }
        Ok(())
    }
}

/// What the records hold, where they can be decoded. Content that is stored as it is stays where it was read; as soon as some is
/// compressed, all goes into one buffer, so that no more than that is kept.
pub(super) fn content(
    records: Vec<Option<Record>>,
    wanted: &[Wanted],
    buffers: &Buffers,
) -> Vec<Option<Bytes>> {
    let is_stored_raw =
        |record: &Record| record.codec == Codec::Raw && record.payload.len() == record.raw_len as usize;
    if records.iter().flatten().all(is_stored_raw) {
        return records.into_iter().map(|record| record.map(|record| record.payload)).collect();
    }
    let found = || records.iter().zip(wanted).filter(|(record, _)| record.is_some());
    let mut buffer = buffers.of(found().map(|(_, wanted)| wanted.max_bytes).sum());
    let mut ranges: Vec<Option<Range<usize>>> = Vec::with_capacity(records.len());
    let mut at = 0;
    for (record, wanted) in records.iter().zip(wanted) {
        let range = at..at + wanted.max_bytes;
        let decoded = record.as_ref().map(|record| decode_into(record, &mut buffer[range.clone()]));
        at = if decoded.is_some() { range.end } else { at };
        ranges.push(matches!(decoded, Some(Ok(()))).then_some(range));
    }
    let whole = Bytes::from_owner(buffer);
    ranges.into_iter().map(|range| range.map(|range| whole.slice(range))).collect()
}
