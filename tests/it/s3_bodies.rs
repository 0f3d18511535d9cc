//! Bodies on the wire: framing, signatures inside, hashes. What is not whole and right is never stored (I2, I6).

use super::support::wire::{
    CHUNKED, CHUNKED_TRAILER, Request, UNSIGNED_TRAILER, Wire, plain_chunks, request, start_with_bucket,
};
use base64::Engine as _;
use md5::Md5;
use sha2::{Digest, Sha256};

const BODY: &[u8] = b"nineteen bytes here";

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn stored(wire: &Wire, key: &str) -> Option<String> {
    let got = wire.send(&request("GET", &format!("/bucket/{key}")));
    (got.status == 200).then_some(got.body)
}

fn trailing(key: &str, algorithm: &str) -> Request {
    request("PUT", &format!("/bucket/{key}"))
        .payload(UNSIGNED_TRAILER)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &BODY.len().to_string())
        .header("x-amz-trailer", &format!("x-amz-checksum-{algorithm}"))
}

#[test]
fn i6_unsigned_chunks_with_a_trailer_are_what_the_trailer_says() {
    let (_dir, _server, wire) = start_with_bucket();
    let sha256 = base64(&Sha256::digest(BODY));
    let crc32c = base64(&crc32c::crc32c(BODY).to_be_bytes());
    for (algorithm, value) in [("sha256", &sha256), ("crc32c", &crc32c)] {
        let trailer = format!("x-amz-checksum-{algorithm}:{value}\r\n");
        let chunks = plain_chunks(&[&BODY[..7], &BODY[7..]], &trailer);
        let put = wire.send(&trailing(algorithm, algorithm).body(chunks));
        assert_eq!(put.status, 200, "{}", put.body);
        assert_eq!(put.headers[&format!("x-amz-checksum-{algorithm}")], *value);
        assert_eq!(stored(&wire, algorithm).as_deref(), std::str::from_utf8(BODY).ok());
    }
    let wrong = format!("x-amz-checksum-crc32c:{}\r\n", base64(&[0; 4]));
    let put = wire.send(&trailing("wrong", "crc32c").body(plain_chunks(&[BODY], &wrong)));
    assert_eq!(put.refusal(), (400, "BadDigest"));
    let put = wire.send(&trailing("wrong", "crc32c").body(plain_chunks(&[BODY], "")));
    assert_eq!(put.refusal(), (400, "MalformedTrailerError"));
    let both = format!("{wrong}x-amz-checksum-sha256:{sha256}\r\n");
    let put = wire.send(&trailing("wrong", "sha256").body(plain_chunks(&[BODY], &both)));
    assert_eq!(put.refusal(), (400, "MalformedTrailerError"));
    let two = trailing("wrong", "sha256,x-amz-checksum-crc32c").body(plain_chunks(&[BODY], &both));
    assert_eq!(wire.send(&two).refusal(), (400, "InvalidRequest"));
    let known = trailing("wrong", "crc32c").header("x-amz-checksum-sha256", &sha256);
    assert_eq!(wire.send(&known.body(plain_chunks(&[BODY], &wrong))).refusal(), (400, "InvalidRequest"));
    let nonsense = "x-amz-checksum-crc32c:nonsense\r\n";
    let put = wire.send(&trailing("wrong", "crc32c").body(plain_chunks(&[BODY], nonsense)));
    assert_eq!(put.refusal(), (400, "InvalidRequest"));
    assert_eq!(stored(&wire, "wrong"), None);
}

#[test]
fn i2_a_body_that_is_cut_short_or_has_another_length_is_not_stored() {
    let (_dir, _server, wire) = start_with_bucket();
    let whole = plain_chunks(&[&BODY[..10], &BODY[10..]], "");
    let without_trailer = |body: &[u8], length: &str| {
        let put = request("PUT", "/bucket/cut").payload(UNSIGNED_TRAILER);
        put.header("x-amz-decoded-content-length", length).body(body)
    };
    for length in ["18", "20", "0"] {
        let put = wire.send(&without_trailer(&whole, length));
        assert_eq!(put.status, 400, "{length}: {}", put.body);
    }
    for cut in [3, 10, 17, whole.len() - 6] {
        let put = wire.send(&without_trailer(&whole[..cut], "19"));
        assert_eq!(put.refusal(), (400, "IncompleteBody"), "{cut}");
        // The same where HTTP's own framing ends well.
        let framed = [format!("{cut:x}\r\n").as_bytes(), &whole[..cut], b"\r\n0\r\n\r\n"].concat();
        let put = without_trailer(&framed, "19").header("transfer-encoding", "chunked");
        assert_eq!(wire.send(&put).refusal(), (400, "IncompleteBody"), "{cut}");
    }
    let unsaid = wire.send(&request("PUT", "/bucket/cut").payload(UNSIGNED_TRAILER).body(whole.clone()));
    assert_eq!(unsaid.refusal(), (411, "MissingContentLength"));
    assert_eq!(stored(&wire, "cut"), None);
    assert_eq!(wire.send(&without_trailer(&whole, "19")).status, 200);
    assert_eq!(stored(&wire, "cut").as_deref(), std::str::from_utf8(BODY).ok());
}

#[test]
fn i6_signed_chunks_are_checked_to_the_last_and_so_is_the_trailer() {
    let (_dir, _server, wire) = start_with_bucket();
    let plain = request("PUT", "/bucket/signed")
        .payload(CHUNKED)
        .header("content-encoding", "aws-chunked,gzip")
        .header("x-amz-decoded-content-length", "19");
    let signed = wire.sign(&plain);
    let good = wire.signed_chunks(&signed, &[&BODY[..9], &BODY[9..]], None);
    let mut forged = good.clone();
    let at = forged.windows(4).position(|window| window == b"byte").unwrap();
    forged[at] = b'B';
    assert_eq!(wire.send_signed(&plain, &signed, &forged).refusal(), (403, "SignatureDoesNotMatch"));
    let mut last = good.clone();
    let at = last.len() - 6;
    last[at] = if last[at] == b'0' { b'1' } else { b'0' };
    assert_eq!(wire.send_signed(&plain, &signed, &last).refusal(), (403, "SignatureDoesNotMatch"));
    assert_eq!(stored(&wire, "signed"), None);
    assert_eq!(wire.send_signed(&plain, &signed, &good).status, 200);
    let got = wire.send(&request("GET", "/bucket/signed"));
    assert_eq!((got.body.as_bytes(), got.headers["content-encoding"].as_str()), (BODY, "gzip"));

    let name = "x-amz-checksum-sha256";
    let trailer = request("PUT", "/bucket/trailer")
        .payload(CHUNKED_TRAILER)
        .header("x-amz-decoded-content-length", "19")
        .header("x-amz-trailer", name);
    let signed = wire.sign(&trailer);
    let value = base64(&Sha256::digest(BODY));
    let good = wire.signed_chunks(&signed, &[BODY], Some((name, &value)));
    let text = String::from_utf8(good.clone()).unwrap();
    let unsigned = text.split("x-amz-trailer-signature").next().unwrap().to_owned() + "\r\n";
    let forged = text.replace(&value, &base64(&[1; 32]));
    for bad in [unsigned, forged] {
        let put = wire.send_signed(&trailer, &signed, bad.as_bytes());
        assert_eq!(put.refusal(), (403, "SignatureDoesNotMatch"));
    }
    assert_eq!(stored(&wire, "trailer"), None);
    assert_eq!(wire.send_signed(&trailer, &signed, &good).status, 200);
}

#[test]
fn i6_bodies_are_what_was_signed_and_hashed() {
    let (_dir, _server, wire) = start_with_bucket();
    let hash = hex::encode(Sha256::digest(BODY));
    let put = |body: &[u8]| request("PUT", "/bucket/hashed").payload(&hash).body(body);
    assert_eq!(wire.send(&put(b"nineteen bytes her!")).refusal(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(stored(&wire, "hashed"), None);
    assert_eq!(wire.send(&put(BODY)).status, 200);
    let md5 = |value: &str| request("PUT", "/bucket/md5").header("content-md5", value).body(BODY);
    assert_eq!(wire.send(&md5(&base64(&[0; 16]))).refusal(), (400, "BadDigest"));
    assert_eq!(wire.send(&md5("nonsense")).refusal(), (400, "InvalidDigest"));
    assert_eq!(wire.send(&md5(&base64(&Md5::digest(BODY)))).status, 200);
    let bound = request("PUT", "/bucket/bound").presigned(60).unsigned("x-amz-content-sha256", &hash);
    assert_eq!(wire.send(&bound.clone().body(*b"x")).refusal(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(wire.send(&bound.body(BODY)).status, 200);
}

#[test]
fn i6_documents_are_what_was_signed_and_hashed() {
    let (_dir, _server, wire) = start_with_bucket();
    assert_eq!(wire.send(&request("PUT", "/bucket/kept").body(BODY)).status, 200);
    let xml = "<Delete><Object><Key>kept</Key></Object></Delete>";
    let delete = || request("POST", "/bucket?delete=").body(xml);
    let wrong = base64(&[0; 16]);
    assert_eq!(wire.send(&delete().header("content-md5", &wrong)).refusal(), (400, "BadDigest"));
    let crc = base64(&[0; 4]);
    assert_eq!(wire.send(&delete().header("x-amz-checksum-crc32", &crc)).refusal(), (400, "BadDigest"));
    let hash = hex::encode(Sha256::digest(b"other"));
    assert_eq!(wire.send(&delete().payload(&hash).with_md5()).refusal(), (400, "XAmzContentSHA256Mismatch"));
    let deep = "<a>".repeat(100_000);
    assert_eq!(
        wire.send(&request("POST", "/bucket?delete=").body(deep.as_str()).with_md5()).refusal(),
        (400, "MalformedXML")
    );
    let bomb = format!("<!DOCTYPE d [<!ENTITY k 'kept'>]>{}", xml.replace("kept", "&k;"));
    assert_eq!(
        wire.send(&request("POST", "/bucket?delete=").body(bomb.as_str()).with_md5()).refusal(),
        (400, "MalformedXML")
    );
    let mut keys = "<Object><Key>kept</Key></Object>".repeat(1000);
    keys.push_str(&format!("<Object><Key>{}</Key></Object>", "k".repeat(1025)));
    let many = request("POST", "/bucket?delete=").body(format!("<Delete>{keys}</Delete>")).with_md5();
    assert_eq!(wire.send(&many).refusal(), (400, "MalformedXML"));
    assert!(stored(&wire, "kept").is_some());
    let chunked = request("POST", "/bucket?delete=")
        .payload(UNSIGNED_TRAILER)
        .header("x-amz-decoded-content-length", &xml.len().to_string())
        .header("x-amz-trailer", "x-amz-checksum-sha256");
    let trailer = |digest: &[u8]| format!("x-amz-checksum-sha256:{}\r\n", base64(digest));
    let bad = plain_chunks(&[xml.as_bytes()], &trailer(&[0; 32]));
    assert_eq!(wire.send(&chunked.clone().body(bad)).refusal(), (400, "BadDigest"));
    let good = plain_chunks(&[xml.as_bytes()], &trailer(&Sha256::digest(xml)));
    let answer = wire.send(&chunked.body(good));
    assert_eq!((answer.status, answer.element("Key")), (200, "kept"), "{}", answer.body);
    assert_eq!(stored(&wire, "kept"), None);
}

#[test]
fn an_upload_without_any_length_is_refused() {
    let (_dir, server, wire) = start_with_bucket();
    let put = request("PUT", "/bucket/none");
    let signed = wire.sign(&put);
    let mut text = format!("PUT {} HTTP/1.1\r\nconnection: close\r\n", signed.target);
    signed.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    let address = server.s3.trim_start_matches("http://");
    let answer = super::support::sediment::exchange(address, format!("{text}\r\n").as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 411 ") && answer.contains("<Code>MissingContentLength</Code>"),
        "{answer}"
    );
}
