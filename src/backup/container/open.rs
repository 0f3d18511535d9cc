//! Reading a container whole.

use super::format::{FrameSeal, HEADER_BYTES, Header, Kind, decode_footer};
use super::layout::{check, take_frame};
use super::{Binding, ContainerError};

/// The content of an object, every byte of which is checked.
///
/// # Errors
/// When the bytes are not this object, whole.
pub fn open(binding: Binding<'_>, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let header = Header::decode(bytes)?;
    check(binding, kind, &header)?;
    let length = usize::try_from(header.length).map_err(|_| ContainerError::Length)?;
    let key = binding.key.object_key(binding.name, &header.nonce);
    let (seal, mut rest) = (FrameSeal::new(&key, &header), &bytes[HEADER_BYTES..]);
    // A header may claim anything: memory grows with what is really there.
    let (mut content, mut table) = (Vec::with_capacity(length.min(bytes.len())), Vec::new());
    for frame in 0..header.frames() {
        // Fewer than `MAX_FRAMES`.
        let (stored, behind) = take_frame(&header, &seal, frame as u32, rest, &mut content)?;
        table.push(stored);
        rest = behind;
    }
    let (copy, listed) = decode_footer(rest)?;
    if copy != header || listed != table {
        return Err(ContainerError::Field("the table of frames"));
    }
    Ok(content)
}
