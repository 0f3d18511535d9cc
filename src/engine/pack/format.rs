//! The bytes of a pack. `docs/format.md` is the specification; numbers are little-endian.
//!
//! Every checksum of a record covers the pack's id and the record's offset, so that bytes of another pack or
//! place, stale or uploaded by a client, never pass for a record. The one byte that changes after writing, a
//! record's state, stands outside the checksum: a tombstone is one byte and can never be half written.

use super::types::{Codec, Location, MAX_PAYLOAD_BYTES, RecordKind};
use crate::storage::PackId;
use crate::types::ChunkId;
use std::ops::Range;

pub const PACK_HEADER_BYTES: usize = 32;
pub const RECORD_HEADER_BYTES: usize = 56;
pub const FOOTER_ENTRY_BYTES: usize = 4 + RECORD_HEADER_BYTES;
pub const FOOTER_GAP_BYTES: usize = 8;
pub const TRAILER_BYTES: usize = 40;
/// The offset of the state byte in a record's header.
pub const STATE_OFFSET: usize = 15;
pub const STATE_DEAD: u8 = 0xDD;
pub(super) const RECORD_MAGIC: [u8; 4] = *b"SRec";

pub(super) const STATE_LIVE: u8 = 0;
const PACK_MAGIC: [u8; 8] = *b"SedPack\n";
const TRAILER_MAGIC: [u8; 8] = *b"SedFoot\n";
const VERSION: u16 = 1;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("cut short")]
    Short,
    #[error("the magic number is missing")]
    Magic,
    #[error("the header does not match its checksum")]
    Checksum,
    #[error("a field has a value out of its range")]
    Field,
    #[error("it belongs to another pack")]
    OtherPack,
    #[error("format {0} is not known to this version")]
    Version(u16),
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    pub id: ChunkId,
    pub kind: RecordKind,
    pub codec: Codec,
    pub stored_len: u32,
    pub raw_len: u32,
    pub payload_crc: u32,
    pub dead: bool,
}

impl RecordHeader {
    #[must_use]
    pub const fn location(&self, pack: PackId, offset: u32) -> Location {
        Location { pack, offset, stored_len: self.stored_len, raw_len: self.raw_len }
    }

    #[must_use]
    pub fn encode(&self, pack: PackId, offset: u32) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[12] = match self.codec {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        };
        bytes[13] = match self.kind {
            RecordKind::Chunk => 0,
            RecordKind::Node => 1,
        };
        // bytes[14]: flags, all reserved.
        bytes[16..48].copy_from_slice(self.id.as_bytes());
        bytes[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(&bytes, pack, offset);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes[STATE_OFFSET] = if self.dead { STATE_DEAD } else { STATE_LIVE };
        bytes
    }

    /// # Errors
    /// When the bytes are not the header of a record at this place.
    pub fn decode(bytes: &[u8], pack: PackId, offset: u32) -> Result<Self, FormatError> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_BYTES>().ok_or(FormatError::Short)?;
        if bytes[..4] != RECORD_MAGIC {
            return Err(FormatError::Magic);
        }
        if u32_at(bytes, 52) != header_crc(bytes, pack, offset) {
            return Err(FormatError::Checksum);
        }
        let codec = match bytes[12] {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(FormatError::Field),
        };
        let kind = match bytes[13] {
            0 => RecordKind::Chunk,
            1 => RecordKind::Node,
            _ => return Err(FormatError::Field),
        };
        let dead = match bytes[STATE_OFFSET] {
            STATE_LIVE => false,
            STATE_DEAD => true,
            _ => return Err(FormatError::Field),
        };
        let stored_len = u32_at(bytes, 4);
        if bytes[14] != 0 || stored_len > MAX_PAYLOAD_BYTES {
            return Err(FormatError::Field);
        }
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[16..48]);
        Ok(Self {
            id: ChunkId::new(id),
            kind,
            codec,
            stored_len,
            raw_len: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 48),
            dead,
        })
    }
}

fn header_crc(bytes: &[u8; RECORD_HEADER_BYTES], pack: PackId, offset: u32) -> u32 {
    let mut covered = [0; 12 + 52];
    covered[..8].copy_from_slice(&pack.get().to_le_bytes());
    covered[8..12].copy_from_slice(&offset.to_le_bytes());
    covered[12..].copy_from_slice(&bytes[..52]);
    covered[12 + STATE_OFFSET] = 0;
    crc32c::crc32c(&covered)
}

#[must_use]
pub fn encode_pack_header(pack: PackId) -> [u8; PACK_HEADER_BYTES] {
    let mut bytes = [0; PACK_HEADER_BYTES];
    bytes[..8].copy_from_slice(&PACK_MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&pack.get().to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// # Errors
/// When the bytes are not the header of this pack, or of a version not known here.
pub fn decode_pack_header(bytes: &[u8], pack: PackId) -> Result<(), FormatError> {
    let bytes = bytes.first_chunk::<PACK_HEADER_BYTES>().ok_or(FormatError::Short)?;
    check_frame(bytes, &PACK_MAGIC)?;
    if u64_at(bytes, 16) == pack.get() { Ok(()) } else { Err(FormatError::OtherPack) }
}

/// The last bytes of a sealed pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Where the records end and the footer begins.
    pub records_end: u32,
    pub records: u32,
    pub gaps: u32,
    /// Of the encoded gaps.
    pub gaps_crc: u32,
}

impl Trailer {
    /// The length of a pack with this trailer.
    #[must_use]
    pub const fn pack_len(&self) -> u64 {
        self.gaps_offset() + self.gaps as u64 * FOOTER_GAP_BYTES as u64 + TRAILER_BYTES as u64
    }

    /// Where the footer's list of gaps begins.
    #[must_use]
    pub const fn gaps_offset(&self) -> u64 {
        self.records_end as u64 + self.records as u64 * FOOTER_ENTRY_BYTES as u64
    }

    #[must_use]
    pub fn encode(&self, pack: PackId) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(&TRAILER_MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.gaps.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.records_end.to_le_bytes());
        bytes[24..32].copy_from_slice(&pack.get().to_le_bytes());
        bytes[32..36].copy_from_slice(&self.gaps_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the trailer of a pack that is `pack_len` bytes long.
    ///
    /// # Errors
    /// When the bytes are not the trailer of this pack at this length.
    pub fn decode(bytes: &[u8], pack: PackId, pack_len: u64) -> Result<Self, FormatError> {
        let bytes = bytes.first_chunk::<TRAILER_BYTES>().ok_or(FormatError::Short)?;
        check_frame(bytes, &TRAILER_MAGIC)?;
        if u64_at(bytes, 24) != pack.get() {
            return Err(FormatError::OtherPack);
        }
        let trailer = Self {
            gaps: u32_at(bytes, 12),
            records: u32_at(bytes, 16),
            records_end: u32_at(bytes, 20),
            gaps_crc: u32_at(bytes, 32),
        };
        let whole = (trailer.records_end as usize) >= PACK_HEADER_BYTES && trailer.pack_len() == pack_len;
        if whole { Ok(trailer) } else { Err(FormatError::Field) }
    }
}

/// Magic, checksum in the last four bytes, version: in this order, so that noise is never called a new version.
fn check_frame(bytes: &[u8], magic: &[u8; 8]) -> Result<(), FormatError> {
    if bytes[..8] != *magic {
        return Err(FormatError::Magic);
    }
    let body = bytes.len() - 4;
    if u32_at(bytes, body) != crc32c::crc32c(&bytes[..body]) {
        return Err(FormatError::Checksum);
    }
    match u16::from_le_bytes([bytes[8], bytes[9]]) {
        VERSION => Ok(()),
        other => Err(FormatError::Version(other)),
    }
}

/// One entry of a footer: the record's offset and a copy of its header.
#[must_use]
pub fn encode_footer_entry(header: &RecordHeader, pack: PackId, offset: u32) -> [u8; FOOTER_ENTRY_BYTES] {
    let mut bytes = [0; FOOTER_ENTRY_BYTES];
    bytes[..4].copy_from_slice(&offset.to_le_bytes());
    bytes[4..].copy_from_slice(&header.encode(pack, offset));
    bytes
}

/// # Errors
/// When the bytes are not an entry of this pack's footer.
pub fn decode_footer_entry(bytes: &[u8], pack: PackId) -> Result<(u32, RecordHeader), FormatError> {
    let (offset, header) = bytes.split_first_chunk::<4>().ok_or(FormatError::Short)?;
    let offset = u32::from_le_bytes(*offset);
    Ok((offset, RecordHeader::decode(header, pack, offset)?))
}

/// The footer's list of gaps with its checksum.
#[must_use]
pub fn encode_gaps(gaps: &[Range<u32>]) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(gaps.len() * FOOTER_GAP_BYTES);
    for gap in gaps {
        bytes.extend_from_slice(&gap.start.to_le_bytes());
        bytes.extend_from_slice(&gap.end.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    (bytes, crc)
}

/// # Errors
/// When the bytes are not the list that the trailer's checksum was made of.
pub fn decode_gaps(bytes: &[u8], crc: u32) -> Result<Vec<Range<u32>>, FormatError> {
    if crc32c::crc32c(bytes) != crc {
        return Err(FormatError::Checksum);
    }
    if !bytes.len().is_multiple_of(FOOTER_GAP_BYTES) {
        return Err(FormatError::Short);
    }
    Ok(bytes.chunks_exact(FOOTER_GAP_BYTES).map(|gap| u32_at(gap, 0)..u32_at(gap, 4)).collect())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::{
        RecordHeader, STATE_DEAD, STATE_OFFSET, Trailer, decode_footer_entry, decode_gaps,
        decode_pack_header, encode_footer_entry, encode_gaps, encode_pack_header,
    };
    use crate::engine::pack::{Codec, MAX_PAYLOAD_BYTES, RecordKind};
    use crate::storage::PackId;
    use crate::types::ChunkId;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = RecordHeader> {
        (any::<[u8; 32]>(), any::<bool>(), any::<bool>(), 0..=MAX_PAYLOAD_BYTES, any::<u32>(), any::<u32>())
            .prop_map(|(id, node, zstd, stored_len, raw_len, payload_crc)| RecordHeader {
                id: ChunkId::new(id),
                kind: if node { RecordKind::Node } else { RecordKind::Chunk },
                codec: if zstd { Codec::Zstd } else { Codec::Raw },
                stored_len,
                raw_len,
                payload_crc,
                dead: false,
            })
    }

    proptest! {
        #[test]
        fn a_header_decodes_to_itself_and_only_at_its_place(h in header(), pack: u64, offset: u32) {
            let id = PackId::new(pack);
            let bytes = h.encode(id, offset);
            prop_assert_eq!(RecordHeader::decode(&bytes, id, offset), Ok(h));
            prop_assert!(RecordHeader::decode(&bytes, id, offset ^ 1).is_err());
            prop_assert!(RecordHeader::decode(&bytes, PackId::new(pack ^ 1), offset).is_err());
            let entry = encode_footer_entry(&h, id, offset);
            prop_assert_eq!(decode_footer_entry(&entry, id), Ok((offset, h)));
        }

        #[test]
        fn i4_a_flipped_bit_is_noticed(h in header(), pack: u64, offset: u32, bit in 0usize..56 * 8) {
            let mut bytes = h.encode(PackId::new(pack), offset);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(RecordHeader::decode(&bytes, PackId::new(pack), offset).is_err());
        }

        #[test]
        fn one_byte_is_a_tombstone(h in header(), pack: u64, offset: u32) {
            let mut bytes = h.encode(PackId::new(pack), offset);
            bytes[STATE_OFFSET] = STATE_DEAD;
            let dead = RecordHeader { dead: true, ..h };
            prop_assert_eq!(RecordHeader::decode(&bytes, PackId::new(pack), offset), Ok(dead));
        }

        #[test]
        fn a_footer_decodes_to_itself(pack: u64, records in 0u32..1000, end in 32u32..1 << 30, gaps in proptest::collection::vec((0u32..9, 9u32..99), 0..5)) {
            let gaps: Vec<_> = gaps.into_iter().map(|(start, end)| start..end).collect();
            let (encoded, gaps_crc) = encode_gaps(&gaps);
            prop_assert_eq!(decode_gaps(&encoded, gaps_crc).unwrap(), gaps.clone());
            let trailer = Trailer { records_end: end, records, gaps: u32::try_from(gaps.len()).unwrap(), gaps_crc };
            let bytes = trailer.encode(PackId::new(pack));
            prop_assert_eq!(Trailer::decode(&bytes, PackId::new(pack), trailer.pack_len()), Ok(trailer));
            prop_assert!(Trailer::decode(&bytes, PackId::new(pack), trailer.pack_len() + 1).is_err());
            prop_assert!(Trailer::decode(&bytes, PackId::new(pack ^ 1), trailer.pack_len()).is_err());
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..99), pack: u64, offset: u32) {
            let pack = PackId::new(pack);
            let _ = RecordHeader::decode(&bytes, pack, offset);
            let _ = Trailer::decode(&bytes, pack, u64::from(offset));
            let _ = decode_footer_entry(&bytes, pack);
            let _ = decode_gaps(&bytes, offset);
            prop_assert!(decode_pack_header(&bytes, pack).is_err());
        }
    }

    #[test]
    fn a_pack_header_names_its_pack() {
        let bytes = encode_pack_header(PackId::new(7));
        assert_eq!(decode_pack_header(&bytes, PackId::new(7)), Ok(()));
        assert!(decode_pack_header(&bytes, PackId::new(8)).is_err());
    }
}
