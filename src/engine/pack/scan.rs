//! Finding the records of a pack: by its footer when it is sealed, else by walking from header to header.

use super::content;
use super::format::{
    FOOTER_ENTRY_BYTES, PACK_HEADER_BYTES, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader,
    decode_footer_entry,
};
use super::set::{PackSet, from_io};
use super::types::{ScanReport, ScannedRecord};
use crate::engine::EngineError;
use crate::storage::{PackId, PackStore};
use crate::sys::is_device_error;
use bytes::Bytes;
use std::io;
use std::ops::Range;

const READ_BYTES: u64 = 1 << 20;
/// Where the device fails, so much is tried at a time.
const BLOCK_BYTES: u64 = 4096;
/// So many failures of the device, each of which may take it seconds, and the rest of a pack is not tried.
const MAX_FAILURES: usize = 64;

impl PackSet {
    /// Visits every record of a pack in order of offset, tombstoned ones too.
    ///
    /// # Errors
    /// When the pack is not known or cannot be read.
    pub fn scan(
        &self,
        pack: PackId,
        visit: &mut dyn FnMut(ScannedRecord),
    ) -> Result<ScanReport, EngineError> {
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        let footer = match known.sealed {
            Some(records) => read_footer(self.store(), pack, known.end, records).map_err(from_io)?,
            None => None,
        };
        let walked = match footer {
            Some(entries) => {
                Walked { entries, gaps: known.gaps.to_vec(), end: known.end, is_unreadable: false }
            }
            None => walk(self.store(), pack, known.end).map_err(from_io)?,
        };
        let mut report = ScanReport {
            gaps: walked.gaps.iter().map(|gap| u64::from(gap.start)..u64::from(gap.end)).collect(),
            ..ScanReport::default()
        };
        if walked.end < known.end {
            report.gaps.push(u64::from(walked.end)..u64::from(known.end));
        }
        for (offset, header) in walked.entries {
            report.records += 1;
            report.dead += u64::from(header.dead);
            visit(ScannedRecord {
                id: header.id,
                kind: header.kind,
                codec: header.codec,
                location: header.location(pack, offset),
                dead: header.dead,
            });
        }
        Ok(report)
    }
}

pub(super) fn unknown(pack: PackId) -> EngineError {
    EngineError::Io(io::Error::new(io::ErrorKind::NotFound, format!("no pack {pack}")))
}

/// The entries of a sealed pack's footer; `None` when one of them is damaged or cannot be read.
pub(super) fn read_footer(
    store: &dyn PackStore,
    pack: PackId,
    records_end: u32,
    records: u32,
) -> io::Result<Option<Vec<(u32, RecordHeader)>>> {
    let mut entries = Vec::with_capacity(records as usize);
    let mut offset = u64::from(records_end);
    let end = offset + u64::from(records) * FOOTER_ENTRY_BYTES as u64;
    let piece = READ_BYTES / FOOTER_ENTRY_BYTES as u64 * FOOTER_ENTRY_BYTES as u64;
    while offset < end {
        let len = piece.min(end - offset);
        let bytes = match store.read_at(pack, offset, usize::try_from(len).unwrap_or(usize::MAX)) {
            Err(error) if is_device_error(&error) => return Ok(None),
            read => read?,
        };
        for entry in bytes.chunks_exact(FOOTER_ENTRY_BYTES) {
            let Ok(entry) = decode_footer_entry(entry, pack) else { return Ok(None) };
            entries.push(entry);
        }
        offset += len;
    }
    Ok(Some(entries))
}

/// What a walk found.
pub(super) struct Walked {
    pub(super) entries: Vec<(u32, RecordHeader)>,
    /// Without a valid record, but with one behind.
    pub(super) gaps: Vec<Range<u32>>,
    /// Behind the last valid record.
    pub(super) end: u32,
    /// The device could not give all bytes.
    pub(super) is_unreadable: bool,
}

/// Walks a pack up to `end`, checking every record's checksums. Where one is not valid the next valid one is
/// searched for; found like this, it must prove its id by its hash, because the bytes searched may hold anything.
/// What the device cannot give counts as zeros.
pub(super) fn walk(store: &dyn PackStore, pack: PackId, end: u32) -> io::Result<Walked> {
    let mut window = Window { store, pack, end: u64::from(end), start: 0, bytes: Bytes::new(), failures: 0 };
    let end_of_header = PACK_HEADER_BYTES as u32;
    let mut walked =
        Walked { entries: Vec::new(), gaps: Vec::new(), end: end_of_header, is_unreadable: false };
    loop {
        let found = match record_at(&mut window, walked.end, false)? {
            Some(header) => Some((walked.end, header)),
            None => resync(&mut window, walked.end)?,
        };
        let Some((offset, header)) = found else {
            walked.is_unreadable = window.failures > 0;
            return Ok(walked);
        };
        if offset > walked.end {
            walked.gaps.push(walked.end..offset);
        }
        // Inside the pack, as `record_at` has checked, and so inside 32 bits.
        walked.end = u32::try_from(header.location(pack, offset).end()).unwrap_or(end);
        walked.entries.push((offset, header));
    }
}

fn record_at(window: &mut Window<'_>, offset: u32, prove: bool) -> io::Result<Option<RecordHeader>> {
    let Some(bytes) = window.get(u64::from(offset), RECORD_HEADER_BYTES)? else { return Ok(None) };
    let Ok(header) = RecordHeader::decode(&bytes, window.pack, offset) else { return Ok(None) };
    let payload = u64::from(offset) + RECORD_HEADER_BYTES as u64;
    let len = header.stored_len;
    if header.dead {
        // Its payload may be punched.
        let inside = payload + u64::from(len) <= window.end;
        return Ok((inside && !prove).then_some(header));
    }
    let Some(payload) = window.get(payload, len as usize)? else { return Ok(None) };
    let valid = crc32c::crc32c(&payload) == header.payload_crc
        && (!prove || content::proves(header.id, header.kind, header.codec, header.raw_len, &payload));
    Ok(valid.then_some(header))
}

/// The first provable record behind `after`.
fn resync(window: &mut Window<'_>, after: u32) -> io::Result<Option<(u32, RecordHeader)>> {
    let mut at = u64::from(after) + 1;
    while at + RECORD_HEADER_BYTES as u64 <= window.end {
        let len = READ_BYTES.min(window.end - at);
        let Some(bytes) = window.get(at, usize::try_from(len).unwrap_or(0))? else { return Ok(None) };
        let mut from = 0;
        while let Some(hit) = find_magic(&bytes[from..]) {
            let offset = u32::try_from(at + (from + hit) as u64).unwrap_or(u32::MAX);
            if let Some(header) = record_at(window, offset, true)? {
                return Ok(Some((offset, header)));
            }
            from += hit + 1;
        }
        // The magic number may stand across two pieces.
        at += len.saturating_sub(RECORD_MAGIC.len() as u64 - 1).max(1);
    }
    Ok(None)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(RECORD_MAGIC.len()).position(|four| four == RECORD_MAGIC)
}

/// Reads a pack forward in large pieces.
struct Window<'a> {
    store: &'a dyn PackStore,
    pack: PackId,
    end: u64,
    start: u64,
    bytes: Bytes,
    /// Blocks that the device could not give.
    failures: usize,
}

impl Window<'_> {
    /// `None` when the range goes past the end.
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        let end = offset + len as u64;
        if end > self.end {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let read = (len as u64).max(READ_BYTES).min(self.end - offset);
            self.bytes = self.read(offset, usize::try_from(read).unwrap_or(len))?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(Some(self.bytes.slice(at..at + len)))
    }

    fn read(&mut self, offset: u64, len: usize) -> io::Result<Bytes> {
        match self.store.read_at(self.pack, offset, len) {
            Err(error) if is_device_error(&error) => self.read_around(offset, len),
            read => read,
        }
    }

    /// Block by block, with zeros for those that cannot be read.
    fn read_around(&mut self, offset: u64, len: usize) -> io::Result<Bytes> {
        let end = offset + len as u64;
        let (mut at, mut bytes) = (offset, Vec::with_capacity(len));
        while at < end {
            let next = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(end);
            let block = usize::try_from(next - at).unwrap_or(0);
            let is_tried = self.failures < MAX_FAILURES;
            match is_tried.then(|| self.store.read_at(self.pack, at, block)) {
                Some(Ok(read)) => bytes.extend_from_slice(&read),
                Some(Err(error)) if !is_device_error(&error) => return Err(error),
                _ => {
                    self.failures += 1;
                    bytes.resize(bytes.len() + block, 0);
                }
            }
            at = next;
        }
        Ok(bytes.into())
    }
}
