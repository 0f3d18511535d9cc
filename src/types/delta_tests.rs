use super::{
    COPY_RECORD_BYTES, DeltaDecoder, DeltaError, DeltaPiece, MAX_ASKED_CHUNKS, MAX_DELTA_RECORD_BYTES,
    decode_there, encode_there, literal_record_bytes, parse_asked, put_copy, put_literal,
};
use crate::types::ChunkId;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

fn decode(bytes: &[u8], length: u64, cut: usize) -> Result<Vec<DeltaPiece>, DeltaError> {
    let (mut decoder, mut out) = (DeltaDecoder::new(length), Vec::new());
    for bytes in bytes.chunks(cut.max(1)) {
        decoder.decode(Bytes::copy_from_slice(bytes), &mut out)?;
    }
    decoder.finish().map(|()| out)
}

/// Literals that were cut are one again.
fn joined(pieces: Vec<DeltaPiece>) -> (Vec<u8>, Vec<(usize, ChunkId, u32)>) {
    let (mut literal, mut copies) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            DeltaPiece::Literal(bytes) => literal.extend_from_slice(&bytes),
            DeltaPiece::Copy { id, bytes } => copies.push((literal.len(), id, bytes)),
        }
    }
    (literal, copies)
}

fn pieces() -> impl Strategy<Value = Vec<DeltaPiece>> {
    let literal =
        prop::collection::vec(any::<u8>(), 1..300).prop_map(|bytes| DeltaPiece::Literal(bytes.into()));
    let copy = (any::<[u8; 32]>(), 1..=MAX_DELTA_RECORD_BYTES)
        .prop_map(|(id, bytes)| DeltaPiece::Copy { id: ChunkId::new(id), bytes });
    prop::collection::vec(prop_oneof![literal, copy], 0..20)
}

/// The delta, and how long what it stands for is.
fn encoded(pieces: &[DeltaPiece]) -> (Vec<u8>, u64) {
    let (mut delta, mut length, mut bytes_of_delta) = (BytesMut::new(), 0, 0);
    for piece in pieces {
        match piece {
            DeltaPiece::Literal(bytes) => {
                put_literal(&mut delta, bytes);
                length += bytes.len() as u64;
                bytes_of_delta += literal_record_bytes(bytes.len() as u64);
            }
            DeltaPiece::Copy { id, bytes } => {
                put_copy(&mut delta, id, *bytes);
                length += u64::from(*bytes);
                bytes_of_delta += COPY_RECORD_BYTES;
            }
        }
    }
    assert_eq!(delta.len() as u64, bytes_of_delta, "its length is known before it is written");
    (delta.to_vec(), length)
}

proptest! {
    #[test]
    fn i1_however_it_is_cut_a_delta_stands_for_the_same(pieces in pieces(), cut in 1..400usize) {
        let (delta, length) = encoded(&pieces);
        prop_assert_eq!(decode(&delta, length, cut).map(joined), Ok(joined(pieces)));
    }

    #[test]
    fn i2_a_delta_that_is_cut_short_or_of_another_length_is_none(pieces in pieces(), more in 1..1_000u64) {
        let (delta, length) = encoded(&pieces);
        for end in 0..delta.len() {
            prop_assert_eq!(decode(&delta[..end], length, 64), Err(DeltaError::Incomplete), "{}", end);
        }
        prop_assert_eq!(decode(&delta, length + more, 64), Err(DeltaError::Incomplete));
        if length > 0 {
            prop_assert_eq!(decode(&delta, length - 1, 64), Err(DeltaError::TooLong));
        }
    }

    #[test]
    fn i5_no_bytes_make_it_panic_or_gather_memory(
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..600),
        cut in 1..300usize,
    ) {
        let (mut decoder, mut out) = (DeltaDecoder::new(1 << 40), Vec::new());
        for bytes in bytes.chunks(cut) {
            if decoder.decode(Bytes::copy_from_slice(bytes), &mut out).is_err() {
                break;
            }
            if let super::State::Head(head) = &decoder.state {
                prop_assert!((head.len() as u64) < COPY_RECORD_BYTES);
            }
        }
    }

    #[test]
    fn an_answer_says_of_each_chunk_whether_it_is_there(
        there in prop::collection::vec(any::<bool>(), 1..200),
        count in 1..200usize,
    ) {
        let answer = encode_there(&there);
        prop_assert_eq!(decode_there(&answer, there.len()), Some(there.clone()));
        if count.div_ceil(8) != there.len().div_ceil(8) {
            prop_assert_eq!(decode_there(&answer, count), None, "an answer to another question");
        }
    }
}

#[test]
fn malformed_records_are_refused() {
    let record = |kind: u8, bytes: u32, rest: &[u8]| [&[kind], &bytes.to_le_bytes()[..], rest].concat();
    for (delta, error) in [
        (record(2, 1, b"x"), DeltaError::Kind),
        (record(0, 0, b""), DeltaError::Length),
        (record(1, 0, &[7; 32]), DeltaError::Length),
        (record(0, MAX_DELTA_RECORD_BYTES + 1, b"x"), DeltaError::Length),
        (record(1, u32::MAX, &[7; 32]), DeltaError::Length),
        (record(0, 11, b"more than ten"), DeltaError::TooLong),
        (record(0, 10, b"0123456789behind it"), DeltaError::Kind),
    ] {
        for cut in [1, 4, 100] {
            assert_eq!(decode(&delta, 10, cut), Err(error), "{delta:?}");
        }
    }
}

/// Byte for byte as `docs/delta.md` has it: two versions of the server have to understand each other.
#[test]
fn a_delta_is_written_as_documented() {
    let mut delta = BytesMut::new();
    put_literal(&mut delta, b"abc");
    put_copy(&mut delta, &ChunkId::new([0xAB; 32]), 0x4001);
    assert_eq!(hex::encode(&delta), format!("0003000000616263{}{}", "0101400000", "ab".repeat(32)));
    assert_eq!(encode_there(&[true, false, false, true, false, false, false, false, true]), [0b1001, 1]);
}

#[test]
fn a_question_has_a_few_whole_ids() {
    let id = [7; 32];
    assert_eq!(parse_asked(&id), Ok(vec![ChunkId::new(id)]));
    assert_eq!(parse_asked(&id.repeat(MAX_ASKED_CHUNKS)).map(|ids| ids.len()), Ok(MAX_ASKED_CHUNKS));
    for wrong in [Vec::new(), vec![7; 31], vec![7; 33], id.repeat(MAX_ASKED_CHUNKS + 1)] {
        assert!(parse_asked(&wrong).is_err(), "{}", wrong.len());
    }
    assert_eq!(decode_there(&[0b1000], 3), None, "a bit for what was not asked for");
}
