//! `aws-chunked` framing with an unsigned trailer: lengths in hex around pieces of the body, the checksum behind it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) const TRAILER: &str = "x-amz-checksum-crc64nvme";

/// What stands before a chunk of so many bytes.
pub(super) fn head(len: usize) -> String {
    format!("{len:x}\r\n")
}

pub(super) const TAIL: &[u8] = b"\r\n";

/// What stands behind the last chunk.
pub(super) fn end(crc: u64) -> String {
    format!("0\r\n{TRAILER}:{}\r\n\r\n", STANDARD.encode(crc.to_be_bytes()))
}

/// How long a body of `len` bytes becomes, in chunks of `chunk`.
pub(super) fn framed_len(len: u64, chunk: u64) -> u64 {
    let framed = |len: u64| head(len as usize).len() as u64 + len + TAIL.len() as u64;
    let rest = len % chunk;
    let whole = len / chunk * framed(chunk);
    whole + if rest > 0 { framed(rest) } else { 0 } + end(0).len() as u64
}
