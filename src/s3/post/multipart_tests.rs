use super::{Boundary, Event, MalformedForm, NoBoundary, Splitter};
use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

const BOUNDARY: &str = "----x";

/// Heads and bodies, whatever pieces the form comes in; and whether it has ended.
type Parts = (Vec<(Vec<u8>, Vec<u8>)>, bool);

fn split(pieces: &[&[u8]]) -> Result<Parts, MalformedForm> {
    let mut splitter = Splitter::new(&Boundary::new(BOUNDARY).unwrap());
    let (mut parts, mut ended) = (Vec::new(), false);
    for piece in pieces {
        splitter.feed(Bytes::copy_from_slice(piece));
        while let Some(event) = splitter.event()? {
            assert!(!ended, "nothing comes behind the end");
            match event {
                Event::Head(head) => parts.push((head.to_vec(), Vec::new())),
                Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                Event::PartEnd => {}
                Event::End => ended = true,
            }
        }
    }
    Ok((parts, ended))
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, value) in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[test]
fn every_cut_of_a_form_gives_the_same_parts() {
    // Beginnings of the boundary in the values, and one that ends with a line end.
    let parts: [(&str, &[u8]); 4] =
        [("A: 1", b"one"), ("B: 2\r\nC: 3", b""), ("D: 4", b"\r\n------\r\n\r\n----"), ("E: 5", b"\r\n")];
    let body = form(&parts);
    let expected: Vec<_> =
        parts.iter().map(|(head, value)| (head.as_bytes().to_vec(), value.to_vec())).collect();
    let whole = split(&[&body]).unwrap();
    assert_eq!(whole, (expected, true));
    for first in 0..body.len() {
        assert_eq!(split(&[&body[..first], &body[first..]]).as_ref(), Ok(&whole), "cut at {first}");
    }
    let bytes: Vec<_> = body.chunks(1).collect();
    assert_eq!(split(&bytes), Ok(whole));
}

#[test]
fn preamble_padding_and_epilogue_mean_nothing() {
    let body =
        format!("hello\r\n--{BOUNDARY}  \t\r\nA: 1\r\n\r\nx\r\n--{BOUNDARY}-- bye\r\n--{BOUNDARY}\r\n");
    assert_eq!(split(&[body.as_bytes()]), Ok((vec![(b"A: 1".to_vec(), b"x".to_vec())], true)));
    let bare = format!("--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--");
    assert_eq!(split(&[bare.as_bytes()]), Ok((vec![(Vec::new(), b"x".to_vec())], true)));
}

#[test]
fn i2_a_form_cut_short_never_ends() {
    let body = form(&[("A: 1", b"some value")]);
    for length in 0..body.len() - 2 {
        assert!(!split(&[&body[..length]]).is_ok_and(|(_, ended)| ended), "{length}");
    }
}

#[test]
fn i5_junk_behind_a_boundary_and_endless_heads_are_refused() {
    for body in [format!("--{BOUNDARY}junk"), format!("--{BOUNDARY}\n"), format!("--{BOUNDARY} --")] {
        assert_eq!(split(&[body.as_bytes()]), Err(MalformedForm), "{body}");
    }
    let head = format!("--{BOUNDARY}\r\nA: {}", "a".repeat(9 << 10));
    assert_eq!(split(&[head.as_bytes()]), Err(MalformedForm));
    let whole = format!("{head}\r\n\r\nx\r\n--{BOUNDARY}--");
    assert_eq!(split(&[whole.as_bytes()]), Err(MalformedForm));
}

#[test]
fn i5_nothing_is_held_of_a_body() {
    let mut splitter = Splitter::new(&Boundary::new(BOUNDARY).unwrap());
    splitter.feed(Bytes::from(format!("--{BOUNDARY}\r\nA: 1\r\n\r\n")));
    let mut came = 0;
    for _ in 0..1000 {
        splitter.feed(Bytes::from_static(b"\r\n-\r\n--\r\n---\r\n----\r\n-----"));
        while let Some(event) = splitter.event().unwrap() {
            came += if let Event::Data(data) = event { data.len() } else { 0 };
        }
        assert!(splitter.pending() < BOUNDARY.len() + 4);
    }
    assert!(came > 24_000);
}

#[test]
fn boundaries_are_those_of_rfc_2046() {
    let of = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        Boundary::of(&headers)
    };
    let is = |text: &str| Ok(Boundary(text.to_owned()));
    assert_eq!(of("multipart/form-data; boundary=abc"), is("abc"));
    assert_eq!(of("Multipart/Form-Data;charset=utf-8; Boundary=\"a b?\""), is("a b?"));
    assert_eq!(of(&format!("multipart/form-data; boundary={}", "b".repeat(70))), is(&"b".repeat(70)));
    for wrong in [
        "multipart/form-data".to_owned(),
        "multipart/form-data; boundary=".to_owned(),
        "multipart/form-data; boundary=\"a \"".to_owned(),
        "multipart/form-data; boundary=a; boundary=b".to_owned(),
        "multipart/form-data; boundary=a*b".to_owned(),
        format!("multipart/form-data; boundary={}", "b".repeat(71)),
    ] {
        assert_eq!(of(&wrong), Err(NoBoundary::Malformed), "{wrong}");
    }
    for other in ["text/html", "multipart/mixed; boundary=a", "multipart/form-data2; boundary=a"] {
        assert_eq!(of(other), Err(NoBoundary::NotAForm), "{other}");
    }
    assert_eq!(Boundary::of(&HeaderMap::new()), Err(NoBoundary::NotAForm));
}

proptest! {
    #[test]
    fn any_cuts_of_any_values_give_the_same_parts(
        values in proptest::collection::vec("[x\r\n-]{0,40}", 1..4),
        cuts in proptest::collection::vec(1usize..9, 1..40),
    ) {
        prop_assume!(!values.iter().any(|value| format!("\r\n{value}\r\n").contains("\r\n------x")));
        let parts: Vec<_> = values.iter().map(|value| ("A: 1", value.as_bytes())).collect();
        let body = form(&parts);
        let mut pieces = Vec::new();
        let (mut rest, mut cuts) = (&body[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        let (found, ended) = split(&pieces).unwrap();
        prop_assert!(ended);
        prop_assert_eq!(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
            values.iter().map(|value| value.clone().into_bytes()).collect::<Vec<_>>());
    }
}
