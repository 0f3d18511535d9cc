//! The `aws-chunked` framing: taken off while the bytes pass, checked as it says it was signed.
//!
//! A chunk is `size in hex [;chunk-signature=…] CRLF bytes CRLF`; one of size 0 ends the body, and trailing headers may
//! follow it, a line each. Nothing but the lines is ever buffered. Source: "Signature calculations for the
//! Authorization header: Transferring payload in multiple chunks" in Amazon S3's API reference.

use crate::s3::auth::ChunkSigner;
use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// The longest chunk header, and all trailing headers together, in bytes.
const MAX_LINE_BYTES: usize = 1 << 10;
const MAX_TRAILER_BYTES: usize = 8 << 10;

/// Why a body cannot be taken as one that is chunked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::s3) enum ChunkError {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the body ended before its last chunk")]
    Incomplete,
    #[error("a chunk or the trailer has another signature")]
    Signature,
    #[error("the trailing headers are not those announced")]
    Trailer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Data {
        left: u64,
    },
    /// The line end behind a chunk's bytes.
    DataEnd,
    Trailer,
}

/// Undoes the framing of one body.
#[derive(Debug)]
pub(in crate::s3) struct Decoder {
    state: State,
    /// What is not decoded yet of a line.
    line: BytesMut,
    signer: Option<ChunkSigner>,
    /// The names of the trailing headers that were announced, sorted; `None` where there may be none.
    announced: Option<Vec<String>>,
    /// Of the present chunk.
    hash: Sha256,
    signature: String,
    /// How many bytes the body may still have.
    left: u64,
}

/// Trailing headers, names in lower case.
pub(in crate::s3) type Trailers = Vec<(String, String)>;

impl Decoder {
    /// `length` is what the body has without the framing.
    pub(in crate::s3) fn new(
        signer: Option<ChunkSigner>,
        announced: Option<Vec<String>>,
        length: u64,
    ) -> Self {
        Self {
            state: State::Header,
            line: BytesMut::new(),
            signer,
            announced,
            hash: Sha256::new(),
            signature: String::new(),
            left: length,
        }
    }

    /// Takes what came and gives what is decoded of it, in slices of the same memory. The chunk's signature is known
    /// to be right only once the next chunk has begun.
    pub(in crate::s3) fn decode(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), ChunkError> {
        while !input.is_empty() {
            match self.state {
                State::Header => {
                    if let Some(line) = self.read_line(&mut input)? {
                        self.header(&line)?;
                    }
                }
                State::Data { left } => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(take);
                    if self.signer.is_some() {
                        self.hash.update(&data);
                    }
                    out.push(data);
                    let left = left - take as u64;
                    self.state = if left > 0 { State::Data { left } } else { State::DataEnd };
                }
                State::DataEnd => self.data_end(&mut input)?,
                State::Trailer => {
                    if self.line.len() + input.len() > MAX_TRAILER_BYTES {
                        return Err(ChunkError::Malformed("the trailing headers are too long"));
                    }
                    self.line.extend_from_slice(&input);
                    input.clear();
                }
            }
        }
        Ok(())
    }

    /// One line without its end, once it is all there.
    fn read_line(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let taken = input.split_to(end.map_or(input.len(), |end| end + 1));
        if self.line.len() + taken.len() > MAX_LINE_BYTES {
            return Err(ChunkError::Malformed("a chunk's header is too long"));
        }
        self.line.extend_from_slice(&taken);
        if end.is_none() {
            return Ok(None);
        }
        let line = self.line.split().freeze();
        let line =
            line.strip_suffix(b"\r\n").ok_or(ChunkError::Malformed("a chunk's header ends without CR LF"))?;
        Ok(Some(Bytes::copy_from_slice(line)))
    }

    fn header(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        const WRONG: ChunkError =
            ChunkError::Malformed("a chunk's header is not a size in hex with its signature");
        let line = std::str::from_utf8(line).map_err(|_| WRONG)?;
        let (size, extension) = line.split_once(';').map_or((line, None), |(size, rest)| (size, Some(rest)));
        let is_size = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = is_size.then(|| u64::from_str_radix(size, 16).ok()).flatten().ok_or(WRONG)?;
        if self.signer.is_some() {
            let signature = extension.and_then(|rest| rest.strip_prefix("chunk-signature=")).ok_or(WRONG)?;
            signature.clone_into(&mut self.signature);
        }
        self.left = self
            .left
            .checked_sub(size)
            .ok_or(ChunkError::Malformed("the chunks hold more than x-amz-decoded-content-length says"))?;
        if size > 0 {
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.state = State::Trailer;
        self.check_chunk()
    }

    fn data_end(&mut self, input: &mut Bytes) -> Result<(), ChunkError> {
        let expected = if self.line.is_empty() { b'\r' } else { b'\n' };
        if input.get_u8() != expected {
            return Err(ChunkError::Malformed("a chunk does not end where its size says"));
        }
        if expected == b'\r' {
            self.line.extend_from_slice(b"\r");
            return Ok(());
        }
        self.line.clear();
        self.state = State::Header;
        self.check_chunk()
    }

    fn check_chunk(&mut self) -> Result<(), ChunkError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let hash = self.hash.finalize_reset();
        if signer.accepts_chunk(&hash, &self.signature) { Ok(()) } else { Err(ChunkError::Signature) }
    }

    /// At the end of the body: its trailing headers, which are those announced, and signed where the chunks are.
    pub(in crate::s3) fn finish(&mut self) -> Result<Trailers, ChunkError> {
        if self.state != State::Trailer || self.left > 0 {
            return Err(ChunkError::Incomplete);
        }
        let mut trailers = parse_trailers(&self.line)?;
        let Some(announced) = &self.announced else {
            return if trailers.is_empty() { Ok(trailers) } else { Err(ChunkError::Trailer) };
        };
        if let Some(signer) = &mut self.signer {
            let is_signature = |(name, _): &(String, String)| name == "x-amz-trailer-signature";
            let at = trailers.iter().position(is_signature).ok_or(ChunkError::Signature)?;
            let (_, signature) = trailers.remove(at);
            let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            if !signer.accepts_trailer(&Sha256::digest(lines), &signature) {
                return Err(ChunkError::Signature);
            }
        }
        let are_announced = trailers.iter().map(|(name, _)| name).eq(announced);
        if are_announced { Ok(trailers) } else { Err(ChunkError::Trailer) }
    }
}

/// `name: value` on each line, sorted by name, each once.
fn parse_trailers(bytes: &[u8]) -> Result<Trailers, ChunkError> {
    const WRONG: ChunkError = ChunkError::Malformed("the trailing headers are malformed");
    let text = std::str::from_utf8(bytes).map_err(|_| WRONG)?;
    let mut trailers = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(WRONG)?;
        trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    trailers.sort();
    let is_repeated = trailers.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    if is_repeated { Err(WRONG) } else { Ok(trailers) }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
