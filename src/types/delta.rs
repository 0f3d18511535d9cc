//! A body as a delta: chunks that its reader's store has are named by their ids, the rest stands there as it is.
//! Bytes: `docs/delta.md`.
//!
//! The decoder holds no more than one record's head: literal bytes pass through in slices of what came.

use super::ChunkId;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Says that a body is a delta, and how long what it stands for is, in bytes.
pub const DELTA_HEADER: &str = "x-sediment-delta";
/// The parameter of the request that asks which chunks are there, and the type of its answer.
pub const CHUNKS_PARAMETER: &str = "x-sediment-chunks";
pub const CHUNKS_ANSWER: &str = "application/x-sediment-chunks";
/// The most chunks that one such request asks for.
pub const MAX_ASKED_CHUNKS: usize = 4096;
/// The most bytes that one record stands for: the longest chunk that any store makes.
pub const MAX_DELTA_RECORD_BYTES: u32 = 16 << 20;

const LITERAL: u8 = 0;
const COPY: u8 = 1;
const LITERAL_HEAD: usize = 1 + 4;
const COPY_HEAD: usize = LITERAL_HEAD + ID_BYTES;
const ID_BYTES: usize = 32;

/// Why bytes are no delta of the announced length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    #[error("a delta's record is of no known kind")]
    Kind,
    #[error("a delta's record stands for no bytes, or for more than a chunk may have")]
    Length,
    #[error("the delta stands for more bytes than announced")]
    TooLong,
    #[error("the delta ended early")]
    Incomplete,
}

/// What a record, or a part of one, stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaPiece {
    Literal(Bytes),
    /// A whole chunk of so many bytes.
    Copy {
        id: ChunkId,
        bytes: u32,
    },
}

/// Appends the bytes as they are: 1 to [`MAX_DELTA_RECORD_BYTES`].
pub fn put_literal(into: &mut BytesMut, bytes: &[u8]) {
    into.put_u8(LITERAL);
    into.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    into.put_slice(bytes);
}

/// Appends the name of a chunk of so many bytes.
pub fn put_copy(into: &mut BytesMut, id: &ChunkId, bytes: u32) {
    into.put_u8(COPY);
    into.put_u32_le(bytes);
    into.put_slice(id.as_bytes());
}

/// How long a record is that carries its bytes.
#[must_use]
pub const fn literal_record_bytes(bytes: u64) -> u64 {
    LITERAL_HEAD as u64 + bytes
}

/// How long a record is that names a chunk.
pub const COPY_RECORD_BYTES: u64 = COPY_HEAD as u64;

#[derive(Debug)]
enum State {
    /// What came of a record's head.
    Head(BytesMut),
    Literal {
        left: usize,
    },
}

/// Takes a delta apart.
#[derive(Debug)]
pub struct DeltaDecoder {
    state: State,
    /// How many bytes may still be stood for.
    left: u64,
}

impl DeltaDecoder {
    /// `length`: of what the delta stands for.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self { state: State::Head(BytesMut::new()), left: length }
    }

    /// Takes what came, however it is cut, and appends what it stands for.
    ///
    /// # Errors
    /// All but `Incomplete`. Nothing may be decoded behind an error.
    pub fn decode(&mut self, mut input: Bytes, out: &mut Vec<DeltaPiece>) -> Result<(), DeltaError> {
        while !input.is_empty() {
            match &mut self.state {
                State::Literal { left } => {
                    let bytes = input.split_to((*left).min(input.len()));
                    *left -= bytes.len();
                    if *left == 0 {
                        self.state = State::Head(BytesMut::new());
                    }
                    out.push(DeltaPiece::Literal(bytes));
                }
                State::Head(head) => {
                    let wanted = head_bytes(*head.first().unwrap_or(&input[0]))?;
                    head.put(input.split_to((wanted - head.len()).min(input.len())));
                    if head.len() == wanted {
                        let head = head.split().freeze();
                        self.begin(head, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, mut head: Bytes, out: &mut Vec<DeltaPiece>) -> Result<(), DeltaError> {
        let (kind, bytes) = (head.get_u8(), head.get_u32_le());
        if !(1..=MAX_DELTA_RECORD_BYTES).contains(&bytes) {
            return Err(DeltaError::Length);
        }
        self.left = self.left.checked_sub(bytes.into()).ok_or(DeltaError::TooLong)?;
        if kind == LITERAL {
            self.state = State::Literal { left: bytes as usize };
            return Ok(());
        }
        let id: [u8; ID_BYTES] = head[..].try_into().map_err(|_| DeltaError::Incomplete)?;
        out.push(DeltaPiece::Copy { id: ChunkId::new(id), bytes });
        Ok(())
    }

    /// At the end of the bytes.
    ///
    /// # Errors
    /// `Incomplete` in the middle of a record, or when fewer bytes are stood for than announced.
    pub fn finish(&self) -> Result<(), DeltaError> {
        match &self.state {
            State::Head(head) if head.is_empty() && self.left == 0 => Ok(()),
            _ => Err(DeltaError::Incomplete),
        }
    }
}

const fn head_bytes(kind: u8) -> Result<usize, DeltaError> {
    match kind {
        LITERAL => Ok(LITERAL_HEAD),
        COPY => Ok(COPY_HEAD),
        _ => Err(DeltaError::Kind),
    }
}

/// The ids of a question.
///
/// # Errors
/// When there is none, there are more than [`MAX_ASKED_CHUNKS`], or the last is cut short.
pub fn parse_asked(bytes: &[u8]) -> Result<Vec<ChunkId>, &'static str> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    if !rest.is_empty() || !(1..=MAX_ASKED_CHUNKS).contains(&ids.len()) {
        return Err("the body must be 1 to 4,096 chunk ids of 32 bytes");
    }
    Ok(ids.iter().map(|id| ChunkId::new(*id)).collect())
}

/// An answer: a bit for each id, the lowest of the first byte for the first.
#[must_use]
pub fn encode_there(there: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, is_there| byte << 1 | u8::from(*is_there));
    there.chunks(8).map(byte).collect()
}

/// `None` where it is no answer to a question for so many.
#[must_use]
pub fn decode_there(bytes: &[u8], count: usize) -> Option<Vec<bool>> {
    let bits: Vec<bool> = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect();
    let (there, rest) = bits.split_at_checked(count)?;
    (bytes.len() == count.div_ceil(8) && !rest.contains(&true)).then(|| there.to_vec())
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
