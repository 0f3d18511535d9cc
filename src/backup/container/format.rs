//! The bytes of a container. Numbers are little-endian.

use super::ContainerError;
use crate::backup::RepositoryId;
use aes_gcm::{AeadInOut, Aes256Gcm, Key, KeyInit, Nonce, Tag};
use zeroize::Zeroizing;

pub const FORMAT: u16 = 1;
/// How much content a frame holds, all but the last.
pub const FRAME_BYTES: u32 = 1 << 20;
/// What a reader takes.
pub(super) const MAX_FRAME_BYTES: u32 = 16 << 20;
pub(super) const MIN_FRAME_BYTES: u32 = 1 << 10;
/// Frames of one object.
pub(super) const MAX_FRAMES: u64 = 1 << 16;

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const FRAME_HEADER_BYTES: usize = 8;
pub(super) const SEAL_BYTES: usize = 16;
/// What a frame takes beside its payload.
pub(super) const FRAME_OVERHEAD: u64 = (FRAME_HEADER_BYTES + SEAL_BYTES) as u64;
/// The footer behind its table: a copy of the header, the number of frames, a checksum, the magic number.
pub(super) const FOOTER_TAIL_BYTES: usize = HEADER_BYTES + 4 + 4 + 8;
pub(super) const TABLE_ENTRY_BYTES: usize = 4;

const MAGIC: [u8; 8] = *b"SedBack\n";
const FOOTER_MAGIC: [u8; 8] = *b"SedBEnd\n";
const FLAG_ENCRYPTED: u8 = 1;

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records of the change log.
    Log,
    /// Bytes of a pack.
    Extent,
    /// Bytes of a plain body's file.
    Plain,
    /// Bytes of a base image of the metadata.
    Base,
    /// What is in the bucket.
    Inventory,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Log, Self::Extent, Self::Plain, Self::Base, Self::Inventory];

    const fn byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Extent => 2,
            Self::Plain => 3,
            Self::Base => 4,
            Self::Inventory => 5,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The first bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub encrypted: bool,
    /// Content of each frame but the last.
    pub frame_bytes: u32,
    /// Of the content.
    pub length: u64,
    pub nonce: [u8; 16],
    pub repository: RepositoryId,
}

impl Header {
    /// An object has at least one frame, so that the seal covers an empty one too.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.length.div_ceil(self.frame_bytes.into()).max(1)
    }

    /// How much content the frame holds.
    pub(super) fn frame_length(&self, frame: u64) -> usize {
        let begin = frame.saturating_mul(self.frame_bytes.into());
        let length = self.length.saturating_sub(begin).min(self.frame_bytes.into());
        // At most `frame_bytes`.
        usize::try_from(length).unwrap_or(0)
    }

    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[10] = self.kind.byte();
        bytes[11] = if self.encrypted { FLAG_ENCRYPTED } else { 0 };
        bytes[12..16].copy_from_slice(&self.frame_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.nonce);
        bytes[40..56].copy_from_slice(self.repository.as_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Magic, checksum, format: in this order, so that noise is never called a new format.
    ///
    /// # Errors
    /// When the bytes are no header that this version reads.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContainerError> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>().ok_or(ContainerError::Short)?;
        if bytes[..8] != MAGIC {
            return Err(ContainerError::Magic);
        }
        if u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Err(ContainerError::Checksum("header"));
        }
        match u16::from_le_bytes([bytes[8], bytes[9]]) {
            FORMAT => {}
            other => return Err(ContainerError::Version(other)),
        }
        let (mut nonce, mut repository, mut length) = ([0; 16], [0; 16], [0; 8]);
        length.copy_from_slice(&bytes[16..24]);
        nonce.copy_from_slice(&bytes[24..40]);
        repository.copy_from_slice(&bytes[40..56]);
        let header = Self {
            kind: Kind::of(bytes[10]).ok_or(ContainerError::Field("kind"))?,
            encrypted: bytes[11] == FLAG_ENCRYPTED,
            frame_bytes: u32_at(bytes, 12),
            length: u64::from_le_bytes(length),
            nonce,
            repository: RepositoryId::new(repository),
        };
        if bytes[11] > FLAG_ENCRYPTED || bytes[56..60] != [0; 4] {
            return Err(ContainerError::Field("flags"));
        }
        header.check()?;
        Ok(header)
    }

    pub(super) fn check(&self) -> Result<(), ContainerError> {
        if !(MIN_FRAME_BYTES..=MAX_FRAME_BYTES).contains(&self.frame_bytes) {
            return Err(ContainerError::Field("frame size"));
        }
        if self.frames() > MAX_FRAMES {
            return Err(ContainerError::Field("length"));
        }
        Ok(())
    }
}

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) compressed: bool,
    /// Of the payload.
    pub(super) stored: u32,
}

impl FrameHeader {
    pub(super) fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.stored.to_le_bytes());
        bytes[4] = u8::from(self.compressed);
        bytes
    }

    /// Of a frame with so much content.
    pub(super) fn decode(bytes: &[u8], content: usize) -> Result<Self, ContainerError> {
        let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(ContainerError::Short)?;
        let header = Self { compressed: bytes[4] == 1, stored: u32_at(bytes, 0) };
        // Compressed is stored only where it is shorter.
        let is_right = match header.compressed {
            true => (header.stored as usize) < content,
            false => header.stored as usize == content,
        };
        let is_known = bytes[4] <= 1 && bytes[5..] == [0; 3];
        if is_right && is_known { Ok(header) } else { Err(ContainerError::Field("frame header")) }
    }
}

/// The seals of one object's frames.
pub(super) struct FrameSeal {
    cipher: Aes256Gcm,
    header: [u8; HEADER_BYTES],
    encrypted: bool,
}

impl FrameSeal {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>, header: &Header) -> Self {
        let key: &Key<Aes256Gcm> = (&**key).into();
        Self { cipher: Aes256Gcm::new(key), header: header.encode(), encrypted: header.encrypted }
    }

    /// Seals a payload, encrypting it in its place if the object is encrypted.
    pub(super) fn seal(
        &self,
        frame: u32,
        header: FrameHeader,
        payload: &mut [u8],
    ) -> Result<[u8; SEAL_BYTES], ContainerError> {
        let (nonce, mut covered) = (nonce(frame), self.covered(frame, header));
        let sealed = if self.encrypted {
            self.cipher.encrypt_inout_detached(&nonce, &covered, payload.into())
        } else {
            covered.extend_from_slice(payload);
            let nothing: &mut [u8] = &mut [];
            self.cipher.encrypt_inout_detached(&nonce, &covered, nothing.into())
        };
        sealed.map(Into::into).map_err(|_| ContainerError::Seal(frame))
    }

    /// Verifies a payload, and decrypts it in its place. After an error the payload is no content.
    pub(super) fn open(
        &self,
        frame: u32,
        header: FrameHeader,
        payload: &mut [u8],
        seal: [u8; SEAL_BYTES],
    ) -> Result<(), ContainerError> {
        let (nonce, mut covered, seal) = (nonce(frame), self.covered(frame, header), Tag::from(seal));
        let opened = if self.encrypted {
            self.cipher.decrypt_inout_detached(&nonce, &covered, payload.into(), &seal)
        } else {
            covered.extend_from_slice(payload);
            let nothing: &mut [u8] = &mut [];
            self.cipher.decrypt_inout_detached(&nonce, &covered, nothing.into(), &seal)
        };
        opened.map_err(|_| ContainerError::Seal(frame))
    }

    /// What a seal covers beside the content: the object's header, the frame's number and its header.
    fn covered(&self, frame: u32, header: FrameHeader) -> Vec<u8> {
        let mut covered = self.header.to_vec();
        covered.extend_from_slice(&frame.to_le_bytes());
        covered.extend_from_slice(&header.encode());
        covered
    }
}

/// The key is for one object alone, so its frames' numbers are used once each.
fn nonce(frame: u32) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&frame.to_le_bytes());
    nonce.into()
}

/// The end of an object: the frames' payload lengths, and where to begin reading without the beginning.
pub(super) fn encode_footer(header: &Header, table: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(table.len() * TABLE_ENTRY_BYTES + FOOTER_TAIL_BYTES);
    for stored in table {
        bytes.extend_from_slice(&stored.to_le_bytes());
    }
    bytes.extend_from_slice(&header.encode());
    // At most `MAX_FRAMES`.
    bytes.extend_from_slice(&(table.len() as u32).to_le_bytes());
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&FOOTER_MAGIC);
    bytes
}

/// How long the footer is whose last bytes these are.
pub(super) fn footer_length(tail: &[u8]) -> Result<usize, ContainerError> {
    let tail = tail.last_chunk::<16>().ok_or(ContainerError::Short)?;
    if tail[8..] != FOOTER_MAGIC {
        return Err(ContainerError::Magic);
    }
    let frames = u32_at(tail, 0);
    if frames == 0 || u64::from(frames) > MAX_FRAMES {
        return Err(ContainerError::Field("number of frames"));
    }
    Ok(frames as usize * TABLE_ENTRY_BYTES + FOOTER_TAIL_BYTES)
}

/// Header and table of a whole footer.
pub(super) fn decode_footer(footer: &[u8]) -> Result<(Header, Vec<u32>), ContainerError> {
    if footer.len() != footer_length(footer)? {
        return Err(ContainerError::Short);
    }
    let (covered, end) = footer.split_at(footer.len() - 12);
    if u32_at(end, 0) != crc32c::crc32c(covered) {
        return Err(ContainerError::Checksum("footer"));
    }
    let (table, rest) = covered.split_at(footer.len() - FOOTER_TAIL_BYTES);
    let table: Vec<u32> = table.chunks_exact(TABLE_ENTRY_BYTES).map(|entry| u32_at(entry, 0)).collect();
    let header = Header::decode(rest)?;
    if header.frames() != table.len() as u64 {
        return Err(ContainerError::Field("number of frames"));
    }
    Ok((header, table))
}

/// The number at a place that is there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}
