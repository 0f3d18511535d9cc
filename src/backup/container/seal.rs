//! Writing a container as a stream.

use super::format::{FRAME_BYTES, FrameHeader, FrameSeal, Header, Kind, encode_footer};
use super::{Binding, ContainerError};
use crate::engine::codec::encode;
use crate::engine::pack::Codec;
use crate::sys::Random;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub kind: Kind,
    /// Of the content, in bytes: known before, since the header says it.
    pub length: u64,
    pub encrypt: bool,
    /// zstd's; 0 stores everything as it is.
    pub level: i32,
    /// [`FRAME_BYTES`], but in tests.
    pub frame_bytes: u32,
}

impl Plan {
    #[must_use]
    pub const fn new(kind: Kind, length: u64, encrypt: bool, level: i32) -> Self {
        Self { kind, length, encrypt, level, frame_bytes: FRAME_BYTES }
    }
}

/// A container that was written whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub bytes: u64,
    /// Of all its bytes.
    pub sha256: [u8; 32],
    /// Of its header: with the key it tells this writing of the object from all others.
    pub nonce: [u8; 16],
}

/// Takes content piece by piece and gives the container's bytes. Holds a frame at most.
pub struct Sealer {
    header: Header,
    level: i32,
    seal: FrameSeal,
    frame: BytesMut,
    /// Content that is still to come.
    left: u64,
    table: Vec<u32>,
    hash: Sha256,
    written: u64,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("header", &self.header)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Appends the header to `out`.
    ///
    /// # Errors
    /// When the plan is beyond what the format has.
    pub fn new(
        binding: Binding<'_>,
        plan: &Plan,
        random: &dyn Random,
        out: &mut BytesMut,
    ) -> Result<Self, ContainerError> {
        let header = Header {
            kind: plan.kind,
            encrypted: plan.encrypt,
            frame_bytes: plan.frame_bytes,
            length: plan.length,
            nonce: random.id128(),
            repository: binding.repository,
        };
        header.check()?;
        let seal = FrameSeal::new(&binding.key.object_key(binding.name, &header.nonce), &header);
        let (table, hash, frame) = (Vec::new(), Sha256::new(), BytesMut::new());
        let mut sealer =
            Self { header, level: plan.level, seal, frame, left: plan.length, table, hash, written: 0 };
        sealer.emit(&header.encode(), out);
        Ok(sealer)
    }

    /// Takes content, and appends the frames that are full to `out`.
    ///
    /// # Errors
    /// When it is more than was planned.
    pub fn write(&mut self, mut content: &[u8], out: &mut BytesMut) -> Result<(), ContainerError> {
        self.left = self.left.checked_sub(content.len() as u64).ok_or(ContainerError::Length)?;
        while !content.is_empty() {
            let room = self.header.frame_bytes as usize - self.frame.len();
            let (now, later) = content.split_at(room.min(content.len()));
            self.frame.extend_from_slice(now);
            content = later;
            if now.len() == room {
                self.end_frame(out)?;
            }
        }
        Ok(())
    }

    /// Appends what is left and the footer to `out`.
    ///
    /// # Errors
    /// When less content came than was planned.
    pub fn finish(mut self, out: &mut BytesMut) -> Result<Sealed, ContainerError> {
        if self.left > 0 {
            return Err(ContainerError::Length);
        }
        if !self.frame.is_empty() || self.table.is_empty() {
            self.end_frame(out)?;
        }
        let footer = encode_footer(&self.header, &self.table);
        self.emit(&footer, out);
        Ok(Sealed { bytes: self.written, sha256: self.hash.finalize().into(), nonce: self.header.nonce })
    }

    fn end_frame(&mut self, out: &mut BytesMut) -> Result<(), ContainerError> {
        // Fewer than `MAX_FRAMES`.
        let number = self.table.len() as u32;
        let (codec, payload) = encode(&self.frame.split().freeze(), self.level);
        // At most `MAX_FRAME_BYTES`.
        let header = FrameHeader { compressed: codec == Codec::Zstd, stored: payload.len() as u32 };
        let mut payload = payload.to_vec();
        let seal = self.seal.seal(number, header, &mut payload)?;
        for bytes in [&header.encode()[..], &payload, &seal] {
            self.emit(bytes, out);
        }
        self.table.push(header.stored);
        Ok(())
    }

    fn emit(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        out.extend_from_slice(bytes);
    }
}

/// A whole container of content that is in memory.
///
/// # Errors
/// When it is beyond what the format has.
pub fn seal(
    binding: Binding<'_>,
    plan: &Plan,
    content: &[u8],
    random: &dyn Random,
) -> Result<(Bytes, Sealed), ContainerError> {
    let mut out = BytesMut::new();
    let mut sealer = Sealer::new(binding, plan, random, &mut out)?;
    sealer.write(content, &mut out)?;
    let sealed = sealer.finish(&mut out)?;
    Ok((out.freeze(), sealed))
}
