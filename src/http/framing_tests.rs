use super::{Framing, Phase, State, Violation};
use proptest::prelude::*;

const MAX: u32 = 4096;

fn check(bytes: &[u8]) -> Result<Phase, Violation> {
    let mut framing = Framing::new(MAX);
    framing.advance(bytes)?;
    Ok(framing.phase())
}

#[test]
fn requests_of_every_framing_follow_each_other() {
    let requests: [&[u8]; 6] = [
        b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\nPUT /b HTTP/1.1\r\nhost: h\r\nContent-Length: 5\r\n\r\n\n\rabc",
        b"PUT /c HTTP/1.1\r\nTransfer-Encoding:\t Chunked \r\n\r\n4\r\nwiki\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
        b"PUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-amz-checksum-crc32: AAAA\r\nb: c\r\n\r\n",
        b"PUT /e HTTP/1.1\r\nContent-Length:0\r\nx: GET / HTTP/1.1\r\n\r\n",
        b"GET /f HTTP/1.1\r\n\r\n",
    ];
    for request in requests {
        assert_eq!(check(request), Ok(Phase::Idle), "{}", request.escape_ascii());
    }
    assert_eq!(check(&requests.concat()), Ok(Phase::Idle));
}

#[test]
fn a_length_said_twice_is_refused_at_the_second() {
    let smuggling = [
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding|: chunked\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length|: 5\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length|: 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: 5\r\nCONTENT-LENGTH|: 6\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding|: chunked\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked|, identity\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5, 5|\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: +5|\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: |\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nContent-Length: 18446744073709551616|\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length| : 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nx: y\r\n| folded: 1\r\n\r\n",
        "PUT / HTTP/1.1|\nContent-Length: 5\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 5|\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n|;\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5|\nhello\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello|!\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000|0\r\n",
    ];
    for marked in smuggling {
        let bytes = marked.replace('|', "");
        let refused = check(bytes.as_bytes()).expect_err(marked).at;
        let at = marked.find('|').unwrap();
        // A value is judged when its line ends.
        assert!(
            refused >= at && bytes.as_bytes()[at..refused].iter().all(|b| !b"\n".contains(b)),
            "{marked:?} was refused at {refused}, not {at}"
        );
    }
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX as usize));
    assert!(check(long.as_bytes()).is_err());
    let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(MAX as usize / 4));
    assert!(check(many.as_bytes()).is_err());
    // Each request has the whole allowance.
    let two = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX as usize / 2)).repeat(4);
    assert_eq!(check(two.as_bytes()), Ok(Phase::Idle));
}

#[test]
fn phases_tell_idle_from_slow() {
    assert_eq!(check(b""), Ok(Phase::Idle));
    assert_eq!(check(b"G"), Ok(Phase::Head));
    assert_eq!(check(b"GET / HTTP/1.1\r\n"), Ok(Phase::Head));
    assert_eq!(check(b"GET / HTTP/1.1\r\n\r"), Ok(Phase::Head));
    assert_eq!(check(b"PUT / HTTP/1.1\r\ncontent-length: 2\r\n\r\na"), Ok(Phase::Body));
    assert_eq!(check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\n"), Ok(Phase::Http2));
    // Only a connection's first request can be the preface.
    assert!(check(b"GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n").is_err());
}

/// As it is written down: one byte after the other, none skipped.
fn by_bytes(framing: &mut Framing, bytes: &[u8]) -> Result<(), Violation> {
    for (at, byte) in bytes.iter().enumerate() {
        let is_body = matches!(framing.state, State::Body(_) | State::ChunkData(_) | State::Http2);
        if is_body {
            framing.advance(&[*byte]).map_err(|_| Violation { at })?;
        } else {
            framing.state = framing.next(*byte).ok_or(Violation { at })?;
        }
    }
    Ok(())
}

proptest! {
    /// What is skipped would have changed nothing: the verdict and the whole state are those of looking at every byte.
    #[test]
    fn i6_skipping_sees_what_looking_at_every_byte_sees(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "GET /a/rather/long/path?with=a&query=too HTTP/1.1\r\n", "GET / HTTP/1.1", "PRI * HTTP/2.0\r\n", "\r",
                "\n", "\r\n", "Content-Length: 3\r\n", "content-length", "Content-Lengthy: 3\r\n", "CONTENT-LENGTH:",
                "Transfer-Encoding: chunked\r\n", "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n", "abc", ":", " ", "\t",
                "3\r\nabc\r\n", "0\r\n\r\n", "a: b\r\n", "Authorization:  a long value, of\tmany words \r\n",
            ]).prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
        ], 0..12),
        cut in 0_usize..400,
        max_head_bytes in 1_u32..300,
    ) {
        let bytes = pieces.concat();
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut slow = Framing::new(max_head_bytes);
        let looked = by_bytes(&mut slow, &bytes);
        let mut fast = Framing::new(max_head_bytes);
        let skipped = fast.advance(first).and_then(|()| {
            fast.advance(second).map_err(|violation| Violation { at: violation.at + first.len() })
        });
        prop_assert_eq!(skipped, looked);
        prop_assert_eq!(fast.phase(), slow.phase());
        prop_assert_eq!(fast.is_head_full(), slow.is_head_full());
        prop_assert_eq!((fast.state, fast.length, fast.chunked), (slow.state, slow.length, slow.chunked));
        prop_assert_eq!((fast.line_len, fast.head_bytes_left), (slow.line_len, slow.head_bytes_left));
        prop_assert_eq!(fast.kept(), slow.kept());
    }

    /// However the bytes are cut into reads, the verdict is the same.
    #[test]
    fn reads_may_be_cut_anywhere(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "abc",
            "3\r\nabc\r\n", "0\r\n\r\n", "a: b\r\n", "\n", " ", "PRI * HTTP/2.0\r\n", "x",
        ]), 0..12),
        cut in 0_usize..200,
    ) {
        let bytes = pieces.concat().into_bytes();
        let cut = cut.min(bytes.len());
        let whole = check(&bytes);
        let mut framing = Framing::new(MAX);
        let split = framing
            .advance(&bytes[..cut])
            .and_then(|()| framing.advance(&bytes[cut..]).map_err(|v| Violation { at: v.at + cut }))
            .map(|()| framing.phase());
        prop_assert_eq!(whole, split);
    }
}
