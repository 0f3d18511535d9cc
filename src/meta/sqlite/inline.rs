//! Inline bodies in their column: the bytes and their CRC32C, for SQLite's pages carry none (I4).

use super::columns::{INLINE, INLINE_BARE};
use super::error::corrupt;
use crate::meta::MetaError;
use bytes::Bytes;

const CRC_BYTES: usize = 4;

pub(super) fn encode(body: &[u8]) -> Vec<u8> {
    [body, &crc32c::crc32c(body).to_le_bytes()].concat()
}

/// The body in a column of a row of that kind.
pub(super) fn decode(kind: i64, column: &[u8]) -> Result<Bytes, MetaError> {
    if kind == INLINE_BARE {
        return Ok(Bytes::copy_from_slice(column));
    }
    let (body, crc) = column.split_last_chunk().ok_or_else(|| corrupt("an inline body cut short"))?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(corrupt("an inline body does not match its checksum"));
    }
    Ok(Bytes::copy_from_slice(body))
}

/// How long the body is in a column of so many bytes; 0 in a row of another kind.
pub(super) const fn len(kind: i64, column: u64) -> u64 {
    match kind {
        INLINE => column.saturating_sub(CRC_BYTES as u64),
        INLINE_BARE => column,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, len};
    use crate::meta::sqlite::columns::{CHUNKED, INLINE, INLINE_BARE};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn i4_bodies_decode_to_themselves_and_damage_is_noticed(
            body in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, flip in 1..=255u8,
        ) {
            let mut column = encode(&body);
            prop_assert_eq!(decode(INLINE, &column).unwrap(), body.clone());
            prop_assert_eq!(len(INLINE, column.len() as u64), body.len() as u64);
            prop_assert!(decode(INLINE, &column[..at.index(column.len())]).is_err());
            let at = at.index(column.len());
            column[at] ^= flip;
            prop_assert!(decode(INLINE, &column).is_err());
        }
    }

    #[test]
    fn rows_from_before_the_checksum_are_read() {
        assert_eq!(decode(INLINE_BARE, b"old").unwrap(), &b"old"[..]);
        assert_eq!((len(INLINE_BARE, 3), len(CHUNKED, 3)), (3, 0));
    }
}
