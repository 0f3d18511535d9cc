//! What can be saved of damaged packs: records whose headers are damaged but whose payloads prove their ids, and the
//! frames around the records, which say nothing that the records do not say themselves.

use super::content;
use super::format::{PACK_HEADER_BYTES, RECORD_HEADER_BYTES, TRAILER_BYTES, Trailer};
use super::format::{decode_gaps, decode_pack_header, encode_pack_header};
use super::scan::{read_footer, unknown, walk};
use super::seal::Unsealed;
use super::set::{Pack, PackSet, from_io};
use super::types::{Codec, Location, NewRecord, RecordKind};
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::sys::is_device_error;
use crate::types::ChunkId;
use bytes::Bytes;
use std::io;

const HEADER: &str = "its header";

impl PackSet {
    /// The record at a place, whatever its header says, if the payload is the content of that id.
    #[must_use]
    pub fn salvage(&self, id: ChunkId, location: &Location) -> Option<NewRecord> {
        let (at, len) = (u64::from(location.offset) + RECORD_HEADER_BYTES as u64, location.stored_len);
        let payload = self.store().read_at(location.pack, at, usize::try_from(len).ok()?).ok()?;
        NewRecord::proven(id, location, payload)
    }

    /// What is damaged of a pack beside its records: the header, and of a sealed pack footer and trailer. Nothing is
    /// lost with them: records are found without.
    ///
    /// # Errors
    /// When the pack is not known or cannot be read.
    pub fn damaged_frames(&self, pack: PackId) -> Result<Vec<&'static str>, EngineError> {
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        let mut damaged = Vec::new();
        let header = there(self.store().read_at(pack, 0, PACK_HEADER_BYTES))?;
        if header.is_none_or(|header| decode_pack_header(&header, pack).is_err()) {
            damaged.push(HEADER);
        }
        let Some(records) = known.sealed else { return Ok(damaged) };
        if !self.has_trailer(pack, &known, records)? {
            damaged.push("its trailer");
        }
        if there(read_footer(self.store(), pack, known.end, records))?.flatten().is_none() {
            damaged.push("its footer");
        }
        Ok(damaged)
    }

    /// Whether the trailer is the one that was read or written, its list of gaps included.
    fn has_trailer(&self, pack: PackId, known: &Pack, records: u32) -> Result<bool, EngineError> {
        let gaps = u32::try_from(known.gaps.len()).unwrap_or(u32::MAX);
        let expected = Trailer { records_end: known.end, records, gaps, gaps_crc: 0 };
        let (from, end) = (expected.gaps_offset(), expected.pack_len());
        let len = usize::try_from(end - from).unwrap_or(0);
        let Some(bytes) = there(self.store().read_at(pack, from, len))? else { return Ok(false) };
        let (list, trailer) = bytes.split_at(len.saturating_sub(TRAILER_BYTES));
        let trailer = Trailer::decode(trailer, pack, end);
        Ok(trailer.is_ok_and(|trailer| {
            (trailer.records_end, trailer.records, trailer.gaps) == (known.end, records, gaps)
                && decode_gaps(list, trailer.gaps_crc).is_ok_and(|list| list[..] == known.gaps[..])
        }))
    }

    /// Writes a pack's damaged header, footer and trailer anew, from its records. A footer only where a walk finds every
    /// record that it had. Returns whether all is whole now. Nobody else may write to the pack meanwhile.
    ///
    /// # Errors
    /// When the pack cannot be read or written.
    pub fn mend_frames(&self, pack: PackId) -> Result<bool, EngineError> {
        let damaged = self.damaged_frames(pack)?;
        let known = self.known(pack).ok_or_else(|| unknown(pack))?;
        if damaged == [HEADER] {
            self.overwrite(pack, 0, &encode_pack_header(pack))?;
            self.sync()?;
        } else if !damaged.is_empty() {
            let walked = walk(self.store(), pack, known.end).map_err(from_io)?;
            let found = u32::try_from(walked.entries.len()).unwrap_or(u32::MAX);
            if walked.is_unreadable || walked.end != known.end || Some(found) != known.sealed {
                return Ok(false);
            }
            Unsealed::found(pack, &walked).seal(self.store()).map_err(from_io)?;
        }
        Ok(self.damaged_frames(pack)?.is_empty())
    }
}

impl NewRecord {
    /// Of a payload that stood at a place, if it is the content of that id.
    pub(in crate::engine) fn proven(id: ChunkId, location: &Location, payload: Bytes) -> Option<Self> {
        let raw_len = location.raw_len;
        let forms = [
            (RecordKind::Chunk, Codec::Raw),
            (RecordKind::Chunk, Codec::Zstd),
            (RecordKind::Node, Codec::Raw),
            (RecordKind::Node, Codec::Zstd),
        ];
        let mut forms = forms.into_iter();
        let (kind, codec) =
            forms.find(|(kind, codec)| content::proves(id, *kind, *codec, raw_len, &payload))?;
        Some(Self { id, kind, codec, raw_len, payload })
    }
}

/// `None` for what stood behind a file's end, or where the device fails.
fn there<T>(read: io::Result<T>) -> Result<Option<T>, EngineError> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_device_error(&error) => Ok(None),
        read => read.map(Some).map_err(from_io),
    }
}
