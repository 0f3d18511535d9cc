//! Reading records, neighbours together.

use super::format::{RECORD_HEADER_BYTES, RecordHeader};
use super::set::PackSet;
use super::types::{Location, Record};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::is_device_error;
use crate::types::ChunkId;
use bytes::Bytes;
use std::io;

/// Records with no more than this between them are read together.
const MAX_GAP_BYTES: u64 = 64 << 10;
/// The most that is read at once, unless a single record is longer.
const MAX_READ_BYTES: u64 = 1 << 20;
/// Places that the device could not give, remembered until the process ends.
const MOST_UNREADABLE: usize = 1 << 16;

/// Which of the places one read gets each time, as numbers of theirs, in order of pack and offset.
pub(in crate::engine) fn read_together(places: &[Location]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_unstable_by_key(|&i| (places[i].pack, places[i].offset));
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut end = 0;
    for i in order {
        let place = &places[i];
        let joins = |run: &Vec<usize>| {
            let first = &places[run[0]];
            place.pack == first.pack
                && u64::from(place.offset) <= end + MAX_GAP_BYTES
                && place.end().max(end) - u64::from(first.offset) <= MAX_READ_BYTES
        };
        match runs.last_mut().filter(|run| joins(run)) {
            Some(run) => {
                end = place.end().max(end);
                run.push(i);
            }
            None => {
                end = place.end();
                runs.push(vec![i]);
            }
        }
    }
    runs
}

impl PackSet {
    /// Reads records; results stand in the order of `wanted`. Payloads share the buffer of the read that got
    /// them, unless more than a fifth of it is of no use. Tombstoned records are readable as long as their bytes are there.
    #[must_use]
    pub fn read(&self, wanted: &[(ChunkId, Location)]) -> Vec<Result<Record, EngineError>> {
        let mut results: Vec<Option<Result<Record, EngineError>>> = wanted.iter().map(|_| None).collect();
        let places: Vec<_> = wanted.iter().map(|(_, place)| *place).collect();
        for run in read_together(&places) {
            let end = run.iter().map(|&i| places[i].end()).max().unwrap_or(0);
            self.read_run(wanted, &run, u64::from(places[run[0]].offset)..end, &mut results);
        }
        results
            .into_iter()
            .zip(wanted)
            .map(|(r, (id, _))| r.unwrap_or(Err(EngineError::Missing(*id))))
            .collect()
    }

    /// Of places where chunks were found, marks those that the device could not give. The bytes may come back, so nobody
    /// forgets them; but who has the same bytes must not rely on them.
    pub(in crate::engine) fn mark_unreadable(&self, places: &[Option<Location>], again: &mut [bool]) {
        let unreadable = self.unreadable().read();
        if !unreadable.is_empty() {
            for (again, at) in again.iter_mut().zip(places) {
                *again |= at.is_some_and(|at| unreadable.contains(&(at.pack, at.offset)));
            }
        }
    }

    pub(in crate::engine) fn note_unreadable(&self, at: &Location) {
        let mut unreadable = self.unreadable().write();
        if unreadable.len() < MOST_UNREADABLE {
            unreadable.insert((at.pack, at.offset));
        }
    }

    /// What is read next comes from the device, not from memory.
    ///
    /// # Errors
    /// When the pack is gone or cannot be opened.
    pub fn reload(&self, pack: PackId) -> Result<(), EngineError> {
        Ok(self.store().reload(pack)?)
    }

    pub(super) fn read_bytes(&self, pack: PackId, offset: u64, len: usize) -> io::Result<Bytes> {
        match self.buffers().take(len) {
            Some(mut buffer) => {
                self.store().read_exact_at(pack, offset, &mut buffer)?;
                Ok(Bytes::from_owner(buffer))
            }
            None => self.store().read_at(pack, offset, len),
        }
    }

    fn read_run(
        &self,
        wanted: &[(ChunkId, Location)],
        run: &[usize],
        range: std::ops::Range<u64>,
        results: &mut [Option<Result<Record, EngineError>>],
    ) {
        let pack = wanted[run[0]].1.pack;
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        match self.read_bytes(pack, range.start, len) {
            Ok(bytes) => {
                let useful: u64 = run.iter().map(|&i| wanted[i].1.record_len()).sum();
                let is_wasteful = len as u64 - useful.min(len as u64) > useful / 4;
                for &i in run {
                    let (id, location) = &wanted[i];
                    let at = usize::try_from(u64::from(location.offset) - range.start).unwrap_or(usize::MAX);
                    let mut record = decode(&bytes, at, *id, location);
                    // Small records far apart must not keep sixteen times their size alive.
                    if let (Ok(record), true) = (&mut record, is_wasteful) {
                        record.payload = Bytes::copy_from_slice(&record.payload);
                    }
                    results[i] = Some(record);
                }
            }
            // One bad neighbour must not fail the others.
            Err(_) if run.len() > 1 => {
                for &i in run {
                    self.read_run(wanted, &[i], wanted[i].1.range(), results);
                }
            }
            Err(error) => {
                let (id, location) = &wanted[run[0]];
                if is_device_error(&error) {
                    self.note_unreadable(location);
                }
                results[run[0]] = Some(Err(read_error(*id, error)));
            }
        }
    }
}

fn read_error(id: ChunkId, error: io::Error) -> EngineError {
    match error.kind() {
        io::ErrorKind::NotFound => EngineError::Missing(id),
        io::ErrorKind::UnexpectedEof => EngineError::Corrupt { id, why: "its pack ends before it does" },
        _ => EngineError::Io(error),
    }
}

fn decode(bytes: &Bytes, at: usize, id: ChunkId, location: &Location) -> Result<Record, EngineError> {
    let corrupt = |why| EngineError::Corrupt { id, why };
    let payload_at = at + RECORD_HEADER_BYTES;
    let header = bytes.get(at..payload_at).ok_or(corrupt("the read is short"))?;
    let header = RecordHeader::decode(header, location.pack, location.offset)
        .map_err(|_| corrupt("its header is damaged"))?;
    if header.id != id {
        return Err(corrupt("another record stands in its place"));
    }
    if (header.stored_len, header.raw_len) != (location.stored_len, location.raw_len) {
        return Err(corrupt("its length is not the one indexed"));
    }
    if payload_at + header.stored_len as usize > bytes.len() {
        return Err(corrupt("the read is short"));
    }
    let payload = verified(bytes, payload_at, &header);
    let payload = payload.ok_or(corrupt("its payload does not match its checksum"))?;
    Ok(Record { id, kind: header.kind, codec: header.codec, raw_len: header.raw_len, payload })
}

/// The payload that begins there, if it is all there and matches its checksum.
pub(super) fn verified(bytes: &Bytes, at: usize, header: &RecordHeader) -> Option<Bytes> {
    let range = at..at + header.stored_len as usize;
    let is_intact = crc_fast::crc32_iscsi(bytes.get(range.clone())?) == header.payload_crc;
    is_intact.then(|| bytes.slice(range))
}

#[cfg(test)]
mod tests {
    use crate::sys::{Random, SeededRandom};
    use proptest::prelude::*;

    proptest! {
        /// A start's search for damage and reading compute it by different code.
        #[test]
        fn the_checksum_is_that_of_recovery(seed: u64, len in 0..70_000usize, from in 0..64usize) {
            let mut bytes = vec![0; len];
            SeededRandom::new(seed).fill(&mut bytes);
            let bytes = bytes.get(from..).unwrap_or_default();
            prop_assert_eq!(crc_fast::crc32_iscsi(bytes), crc32c::crc32c(bytes));
        }
    }
}
