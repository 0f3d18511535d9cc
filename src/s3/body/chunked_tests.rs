use super::{ChunkError, Decoder, Trailers};
use crate::s3::auth::Payload;
use crate::s3::auth::testing::chunked_example;
use bytes::Bytes;
use proptest::prelude::*;

fn decode(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<(Vec<u8>, Trailers), ChunkError> {
    let mut out = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        decoder.decode(Bytes::copy_from_slice(piece), &mut out)?;
    }
    let trailers = decoder.finish()?;
    Ok((out.concat(), trailers))
}

fn unsigned(length: u64) -> Decoder {
    Decoder::new(None, Some(Vec::new()), length)
}

fn announcing(length: u64) -> Decoder {
    Decoder::new(None, Some(vec!["x-amz-checksum-crc32".to_owned()]), length)
}

fn framed(body: &[u8], chunk: usize, end: &str) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(chunk) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(format!("0\r\n{end}").as_bytes());
    framed
}

proptest! {
    #[test]
    fn i1_however_it_is_cut_the_body_is_the_same(
        body in proptest::collection::vec(any::<u8>(), 0..5000),
        chunk in 1..3000usize,
        piece in 1..2000usize,
    ) {
        let sent = framed(&body, chunk, "x-amz-checksum-crc32: AAAA\r\n\r\n");
        let (decoded, trailers) = decode(announcing(body.len() as u64), &sent, piece).unwrap();
        prop_assert_eq!(decoded, body);
        prop_assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "AAAA".to_owned())]);
    }

    #[test]
    fn i2_a_body_cut_short_is_never_whole(
        body in proptest::collection::vec(any::<u8>(), 1..3000),
        chunk in 1..1000usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let sent = framed(&body, chunk, "");
        let cut = cut.index(sent.len() - 1);
        prop_assert!(decode(unsigned(body.len() as u64), &sent[..cut], 700).is_err());
    }

    #[test]
    fn i5_no_bytes_make_it_panic_or_gather_memory(bytes in proptest::collection::vec(any::<u8>(), 0..2000), piece in 1..300usize) {
        let mut decoder = unsigned(1 << 40);
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            if decoder.decode(Bytes::copy_from_slice(piece), &mut out).is_err() {
                break;
            }
            prop_assert!(decoder.line.len() <= super::MAX_TRAILER_BYTES);
        }
    }
}

#[test]
fn a_length_that_is_not_the_announced_one_is_refused() {
    let sent = framed(b"0123456789", 4, "");
    assert!(decode(unsigned(10), &sent, 5).is_ok());
    assert_eq!(decode(unsigned(11), &sent, 5), Err(ChunkError::Incomplete));
    assert!(matches!(decode(unsigned(9), &sent, 5), Err(ChunkError::Malformed(_))));
}

#[test]
fn malformed_framing_is_refused() {
    let huge_line = "a".repeat(5000);
    for sent in [
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n0\r\n",
        " 1\r\na\r\n0\r\n",
        "11111111111111111\r\n",
        "\r\n",
        "1\nab\r\n0\r\n",
        "1\r\nab\r\n0\r\n",
        "1\r\na\n0\r\n",
        &huge_line,
        "0\r\nno-colon\r\n",
        "0\r\na:1\r\na:2\r\n",
    ] {
        assert!(
            matches!(
                decode(unsigned(if sent.starts_with('0') { 0 } else { 1 << 20 }), sent.as_bytes(), 7),
                Err(ChunkError::Malformed(_))
            ),
            "{sent:?}"
        );
    }
}

#[test]
fn i6_trailing_headers_are_those_announced() {
    let one = b"0\r\nx-amz-checksum-crc32:a\r\n\r\n";
    let two = b"0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-sha1:b\r\n\r\n";
    assert!(decode(announcing(0), one, 99).is_ok());
    for (decoder, body) in [
        (Decoder::new(None, None, 0), &one[..]),
        (unsigned(0), one),
        (announcing(0), two),
        (announcing(0), b"0\r\n\r\n"),
    ] {
        assert_eq!(decode(decoder, body, 99), Err(ChunkError::Trailer));
    }
}

/// The example of "Transferring payload in multiple chunks" in Amazon S3's API reference.
fn example() -> Vec<u8> {
    let mut sent =
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
            .to_vec();
    sent.extend(std::iter::repeat_n(b'a', 65_536));
    sent.extend(
        b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
    );
    sent.extend(std::iter::repeat_n(b'a', 1024));
    sent.extend(
        b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
    );
    sent
}

fn signed() -> Decoder {
    let Payload::Chunked { signer, .. } = chunked_example() else { panic!("it is chunked") };
    Decoder::new(signer, None, 66_560)
}

#[test]
fn i6_signed_chunks_are_those_of_the_signer() {
    let sent = example();
    let (decoded, _) = decode(signed(), &sent, 10_000).unwrap();
    assert_eq!(decoded, vec![b'a'; 66_560]);
    let mut changed = sent.clone();
    changed[40_000] = b'b';
    assert_eq!(decode(signed(), &changed, 10_000), Err(ChunkError::Signature));
    // The last chunk's signature counts too, and chunks cannot be left out.
    let mut changed = sent.clone();
    let at = changed.len() - 10;
    changed[at] ^= 1;
    assert_eq!(decode(signed(), &changed, 10_000), Err(ChunkError::Signature));
    let second = sent.windows(5).position(|window| window == b"400;c").unwrap();
    assert!(decode(signed(), &sent[second..], 10_000).is_err());
    let unsigned = framed(&[b'a'; 66_560], 65_536, "");
    assert!(matches!(decode(signed(), &unsigned, 10_000), Err(ChunkError::Malformed(_))));
}
