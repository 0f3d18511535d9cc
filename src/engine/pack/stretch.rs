//! A stretch of a pack: read at once, and taken apart by the headers that stand in it.
//!
//! Bodies are written in order, so the next chunks of a body usually stand behind the one before. Records say of
//! themselves what they are, and so need no look-up each. A record that is taken here may be one that the index does not name:
//! a copy that lost a race, or one that a collection has just moved elsewhere. It is as good: its header's checksum
//! binds id, kind, lengths and payload checksum to this place of this pack, and what was appended under an id has
//! its content for ever. What is marked dead is never taken: it may have been condemned, and packs in which that
//! could not be marked are not read in this way. Where collection rewrites or punches meanwhile: it rewrites by copying, and
//! removes the old pack as a whole, which a read either precedes or finds gone; it punches only what was marked dead before,
//! and bytes that become zeros under a read fail their checksum, as they do behind a look-up. So the reader's hold is not
//! even needed for what is taken here; it is for what is not: whatever is not taken, for whatever reason, is
//! looked up, and only what was looked up is condemned (I4).

use super::format::{RECORD_HEADER_BYTES, RecordHeader};
use super::read::verified;
use super::set::PackSet;
use super::types::{Location, Record, RecordKind};
use crate::types::ChunkId;
use bytes::Bytes;
use std::io;

/// The longest stretch: a window of 1 MiB with its headers.
const MAX_BYTES: u64 = (1 << 20) + (64 << 10);

/// Records that were read together, in order.
#[derive(Debug)]
pub struct Stretch {
    bytes: Bytes,
    /// Headers and where their payloads begin.
    records: Vec<(RecordHeader, usize)>,
    /// Behind the one that was taken last.
    next: usize,
}

impl PackSet {
    /// Whether what is between these records, themselves included, may be no more than `raw_bytes` in so many records,
    /// and a little.
    #[must_use]
    pub fn is_stretch(&self, first: &Location, last: &Location, raw_bytes: u64, records: usize) -> bool {
        let most = raw_bytes + raw_bytes / 8 + (records * RECORD_HEADER_BYTES) as u64;
        let bytes = last.end().checked_sub(u64::from(first.offset));
        let is_short = bytes.is_some_and(|bytes| bytes <= most.min(MAX_BYTES));
        first.pack == last.pack && is_short && !self.is_suspect(first.pack)
    }

    /// Reads from the one record to the end of the other, which stands behind it in the same pack. Blocks.
    ///
    /// # Errors
    /// When the pack is gone or cannot be read.
    pub fn read_stretch(&self, first: &Location, last: &Location) -> io::Result<Stretch> {
        let start = u64::from(first.offset);
        let len = usize::try_from(last.end().saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = self.read_bytes(first.pack, start, len)?;
        let mut records = Vec::new();
        let mut at = 0;
        // Ends at a hole, or where no record begins: what stands behind is looked up.
        while let Some(header) = bytes.get(at..) {
            let offset = first.offset.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            let Ok(header) = RecordHeader::decode(header, first.pack, offset) else { break };
            records.push((header, at + RECORD_HEADER_BYTES));
            at += RECORD_HEADER_BYTES + header.stored_len as usize;
        }
        Ok(Stretch { bytes, records, next: 0 })
    }
}

impl Stretch {
    /// How many bytes were read.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The live and intact record of that id, kind and length. Its payload is a slice of what was read.
    pub fn take(&mut self, id: &ChunkId, kind: RecordKind, raw_len: usize) -> Option<Record> {
        let is_it = |(header, _): &(RecordHeader, usize)| header.id == *id && !header.dead;
        // The next one, mostly.
        let behind = self.records.iter().skip(self.next).position(is_it).map(|at| at + self.next);
        let at = behind.or_else(|| self.records.iter().take(self.next).position(is_it))?;
        let (header, payload_at) = self.records[at];
        if header.kind != kind || header.raw_len as usize != raw_len {
            return None;
        }
        let payload = verified(&self.bytes, payload_at, &header)?;
        self.next = at + 1;
        let RecordHeader { id, kind, codec, raw_len, .. } = header;
        Some(Record { id, kind, codec, raw_len, payload })
    }
}

#[cfg(test)]
#[path = "stretch_tests.rs"]
mod tests;
