//! Where the frames of a container are, and what some of them hold.

use super::format::{
    FRAME_HEADER_BYTES, FRAME_OVERHEAD, FrameHeader, FrameSeal, HEADER_BYTES, Header, Kind, SEAL_BYTES,
    decode_footer, footer_length,
};
use super::{Binding, ContainerError};
use std::ops::Range;

/// The parts of an object of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    header: Header,
    /// Payload lengths.
    table: Vec<u32>,
    /// Where each frame begins in the object, and where the last one ends.
    offsets: Vec<u64>,
}

/// The frames that hold a range of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    frames: Range<usize>,
    /// Of the content, inside these frames.
    within: Range<usize>,
    /// Of the object: what to read.
    pub bytes: Range<u64>,
}

impl Layout {
    /// How long the footer is, from the last 16 bytes of the object or more.
    ///
    /// # Errors
    /// When they are no footer's.
    pub fn footer_bytes(tail: &[u8]) -> Result<usize, ContainerError> {
        footer_length(tail)
    }

    /// From a whole footer of an object of so many bytes.
    ///
    /// # Errors
    /// When it is no footer, or not that of this object.
    pub fn read(binding: Binding<'_>, kind: Kind, bytes: u64, footer: &[u8]) -> Result<Self, ContainerError> {
        let (header, table) = decode_footer(footer)?;
        check(binding, kind, &header)?;
        let mut at = HEADER_BYTES as u64;
        let mut offsets = Vec::with_capacity(table.len() + 1);
        for stored in &table {
            offsets.push(at);
            at += FRAME_OVERHEAD + u64::from(*stored);
        }
        offsets.push(at);
        let is_whole = at + footer.len() as u64 == bytes;
        is_whole.then_some(Self { header, table, offsets }).ok_or(ContainerError::Short)
    }

    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What to read for a range of the content.
    ///
    /// # Errors
    /// When the range is empty or not inside the content.
    pub fn cover(&self, range: &Range<u64>) -> Result<Cover, ContainerError> {
        let len = self.header.length;
        if range.start >= range.end || range.end > len {
            return Err(ContainerError::Range { start: range.start, end: range.end, len });
        }
        let frame_bytes = u64::from(self.header.frame_bytes);
        let (first, end) = (range.start / frame_bytes, range.end.div_ceil(frame_bytes));
        let begin = first * frame_bytes;
        // A range of content is given in one piece, so it fits into memory.
        let place = |at: u64| usize::try_from(at - begin).map_err(|_| ContainerError::Length);
        let frames = first as usize..end as usize;
        let bytes = self.offsets[frames.start]..self.offsets[frames.end];
        Ok(Cover { within: place(range.start)?..place(range.end)?, frames, bytes })
    }

    /// The content of a range from the bytes that its cover names.
    ///
    /// # Errors
    /// When they are not these frames of this object.
    pub fn open(&self, binding: Binding<'_>, cover: &Cover, bytes: &[u8]) -> Result<Vec<u8>, ContainerError> {
        let key = binding.key.object_key(binding.name, &self.header.nonce);
        let (seal, mut rest) = (FrameSeal::new(&key, &self.header), bytes);
        // A footer may claim anything: memory grows with what is really there.
        let mut content = Vec::with_capacity(cover.within.end.min(bytes.len()));
        for frame in cover.frames.clone() {
            // Fewer than `MAX_FRAMES`.
            let (stored, behind) = take_frame(&self.header, &seal, frame as u32, rest, &mut content)?;
            if self.table.get(frame) != Some(&stored) {
                return Err(ContainerError::Field("the table of frames"));
            }
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(ContainerError::Length);
        }
        content.truncate(cover.within.end);
        content.drain(..cover.within.start);
        Ok(content)
    }
}

/// Whether the header is of what is looked for.
pub(super) fn check(binding: Binding<'_>, kind: Kind, header: &Header) -> Result<(), ContainerError> {
    if header.repository != binding.repository {
        return Err(ContainerError::OtherRepository(header.repository));
    }
    if header.kind != kind {
        return Err(ContainerError::Kind);
    }
    Ok(())
}

/// Appends the content of the frame that `bytes` begins with; gives its payload's length and what stands behind it.
pub(super) fn take_frame<'a>(
    header: &Header,
    seal: &FrameSeal,
    number: u32,
    bytes: &'a [u8],
    content: &mut Vec<u8>,
) -> Result<(u32, &'a [u8]), ContainerError> {
    let length = header.frame_length(number.into());
    let frame = FrameHeader::decode(bytes, length)?;
    let rest = &bytes[FRAME_HEADER_BYTES..];
    let (payload, rest) = rest.split_at_checked(frame.stored as usize).ok_or(ContainerError::Short)?;
    let (tag, rest) = rest.split_first_chunk::<SEAL_BYTES>().ok_or(ContainerError::Short)?;
    if frame.compressed {
        let mut payload = payload.to_vec();
        seal.open(number, frame, &mut payload, *tag)?;
        let raw =
            zstd::bulk::decompress(&payload, length).map_err(|_| ContainerError::Compression(number))?;
        if raw.len() != length {
            return Err(ContainerError::Compression(number));
        }
        content.extend_from_slice(&raw);
    } else {
        let begin = content.len();
        content.extend_from_slice(payload);
        seal.open(number, frame, &mut content[begin..], *tag)?;
    }
    Ok((frame.stored, rest))
}
