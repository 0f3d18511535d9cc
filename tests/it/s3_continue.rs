//! `Expect: 100-continue`: a client that waits to be told sends nothing of an upload that is refused.

use super::support::sediment::Sediment;
use super::support::wire::{CHUNKED, Request, UNSIGNED_TRAILER, Wire, request};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

struct Fixture {
    _dir: tempfile::TempDir,
    server: Sediment,
    wire: Wire,
    upload: String,
}

/// What a client that waits saw.
struct Seen {
    was_asked: bool,
    head: String,
    /// Up to the end of the connection, where the answer says that it ends.
    rest: String,
}

impl Seen {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Fixture {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Sediment::serve(dir.path(), &[]);
        let wire = Wire::new(&server);
        assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
        assert_eq!(wire.send(&request("PUT", "/bucket/there").body(*b"x")).status, 200);
        let upload = wire.send(&request("POST", "/bucket/parts?uploads=")).element("UploadId").to_owned();
        Self { _dir: dir, server, wire, upload }
    }

    /// Sends the head, and the body only when asked for it.
    fn expect(&self, request: &Request, length: u64) -> Seen {
        let signed = self.wire.sign(request);
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, signed.target);
        for (name, value) in signed.headers.iter().chain(&request.unsigned) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {length}\r\nexpect: 100-continue\r\n\r\n"));
        let mut stream = TcpStream::connect(self.server.s3.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = read_head(&mut stream);
        let was_asked = answer.starts_with("HTTP/1.1 100 ");
        if was_asked {
            stream.write_all(&request.body).unwrap();
            answer = read_head(&mut stream);
        }
        let mut rest = String::new();
        if answer.contains("connection: close") {
            stream.read_to_string(&mut rest).unwrap();
        }
        Seen { was_asked, head: answer, rest }
    }
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase().replace("http/", "HTTP/")
}

const SIX_GIB: u64 = 6 << 30;

#[test]
fn what_is_refused_is_never_asked_for() {
    let fixture = Fixture::start();
    let put = |key: &str| request("PUT", &format!("/bucket/{key}"));
    let part = |upload: &str, number: u32| {
        request("PUT", &format!("/bucket/parts?partNumber={number}&uploadId={upload}"))
    };
    let large = SIX_GIB.to_string();
    for (why, request, length, code) in [
        ("no such bucket", request("PUT", "/nowhere-at-all/key"), 10, "NoSuchBucket"),
        ("too large", put("k"), SIX_GIB, "EntityTooLarge"),
        (
            "too large without its framing",
            put("k").payload(CHUNKED).header("x-amz-decoded-content-length", &large),
            10,
            "EntityTooLarge",
        ),
        ("a precondition", put("there").header("if-none-match", "*"), 10, "PreconditionFailed"),
        ("another precondition", put("there").header("if-match", "\"0\""), 10, "PreconditionFailed"),
        ("a precondition on nothing", put("missing").header("if-match", "*"), 10, "NoSuchKey"),
        ("a long key", put(&"k".repeat(1025)), 10, "KeyTooLongError"),
        ("much metadata", put("k").header("x-amz-meta-m", &"m".repeat(2048)), 10, "MetadataTooLarge"),
        ("a storage class", put("k").header("x-amz-storage-class", "WARM"), 10, "InvalidStorageClass"),
        ("no digest", put("k").header("content-md5", "nonsense"), 10, "InvalidDigest"),
        ("no checksum", put("k").header("x-amz-checksum-crc32", "nonsense"), 10, "InvalidRequest"),
        ("no payload hash", put("k").payload("nonsense"), 10, "InvalidArgument"),
        ("a feature", put("k").header("x-amz-server-side-encryption", "AES256"), 10, "NotImplemented"),
        ("an owner", put("k").header("x-amz-expected-bucket-owner", "111122223333"), 10, "AccessDenied"),
        ("unsigned headers", put("k").unsigned("x-amz-meta-m", "m"), 10, "AccessDenied"),
        ("a signature", put("k").unsigned("host", "elsewhere"), 10, "InvalidRequest"),
        ("no such upload", part("nonsense", 1), 10, "NoSuchUpload"),
        ("a part number", part(&fixture.upload, 10_001), 10, "InvalidArgument"),
        ("a large part", part(&fixture.upload, 1), SIX_GIB, "EntityTooLarge"),
    ] {
        let seen = fixture.expect(&request, length);
        assert!(!seen.was_asked, "{why}");
        assert!(seen.rest.contains(&format!("<Code>{code}</Code>")), "{why}: {} {}", seen.head, seen.rest);
        assert!(seen.status() >= 400, "{why}");
        assert!(seen.head.contains("x-amz-request-id"), "{why}: {}", seen.head);
    }
}

#[test]
fn i6_what_is_signed_by_somebody_else_is_never_asked_for() {
    let fixture = Fixture::start();
    let mut request = request("PUT", "/bucket/key");
    let signed = fixture.wire.sign(&request);
    // The same target with a signature that is another request's.
    request.target = "/bucket/other".to_owned();
    request.unsigned = signed.headers.into_iter().filter(|(name, _)| name == "authorization").collect();
    let seen = fixture.expect(&request, 10);
    assert!(!seen.was_asked && seen.status() == 400, "{}", seen.head);
    let anonymous =
        "PUT /bucket/key HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = TcpStream::connect(fixture.server.s3.trim_start_matches("http://")).unwrap();
    stream.write_all(anonymous.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 403 "));
}

#[test]
fn what_is_good_is_asked_for_once_the_head_was_looked_at() {
    let fixture = Fixture::start();
    let body = b"0123456789";
    let part = format!("/bucket/parts?partNumber=1&uploadId={}", fixture.upload);
    for request in [
        request("PUT", "/bucket/key").body(*body),
        request("PUT", "/bucket/new").header("if-none-match", "*").body(*body),
        request("PUT", &part).body(*body),
        request("PUT", "/bucket/presigned").presigned(60).body(*body),
    ] {
        let seen = fixture.expect(&request, 10);
        assert!(seen.was_asked && seen.status() == 200, "{} {}", request.target, seen.head);
        assert!(!seen.head.contains("connection: close"), "{}", seen.head);
    }
    let chunks = super::support::wire::plain_chunks(&[body], "");
    let length = chunks.len() as u64;
    let chunked = request("PUT", "/bucket/chunked")
        .payload(UNSIGNED_TRAILER)
        .header("x-amz-decoded-content-length", "10")
        .body(chunks);
    let seen = fixture.expect(&chunked, length);
    assert!(seen.was_asked && seen.status() == 200, "{}", seen.head);
    assert_eq!(fixture.wire.send(&request("GET", "/bucket/chunked")).body.as_bytes(), body);
}

/// There is nothing to send, but some clients wait all the same.
#[test]
fn an_empty_upload_is_asked_for_only_where_it_is_taken() {
    let fixture = Fixture::start();
    let taken = fixture.expect(&request("PUT", "/bucket/empty"), 0);
    assert!(taken.was_asked && taken.status() == 200, "{}", taken.head);
    let refused = fixture.expect(&request("PUT", "/nowhere-at-all/empty"), 0);
    assert!(!refused.was_asked && refused.status() == 404, "{}", refused.head);
}
