//! Connections that end at every byte of a request and of an answer: what was not sent whole is not there (I2), and what it held is
//! given back (I5).

use super::support::form::form;
use super::support::noise;
use super::support::target::{MIB, PATIENCE, Target, head};
use super::support::wire::{CHUNKED, Request, UNSIGNED, Wire, request};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Longer than what stands in a row, so that it goes through packs.
const BODY_BYTES: usize = 1100;
const THREADS: usize = 4;

/// One kind of upload, to a key of its own for every cut.
type Kind = fn(&Wire, &str) -> Vec<u8>;

fn whole(wire: &Wire, key: &str) -> Vec<u8> {
    let put = request("PUT", &format!("/good/{key}")).payload(UNSIGNED);
    [head(wire, &put, Some(BODY_BYTES)), noise(1, BODY_BYTES)].concat()
}

fn in_http_chunks(wire: &Wire, key: &str) -> Vec<u8> {
    let put =
        request("PUT", &format!("/good/{key}")).payload(UNSIGNED).header("transfer-encoding", "chunked");
    let body = noise(1, BODY_BYTES);
    let (first, rest) = body.split_at(600);
    let chunks = [
        format!("{:x}\r\n", first.len()).into_bytes(),
        first.to_vec(),
        format!("\r\n{:x}\r\n", rest.len()).into_bytes(),
    ];
    [head(wire, &put, None), chunks.concat(), rest.to_vec(), b"\r\n0\r\n\r\n".to_vec()].concat()
}

fn in_signed_chunks(wire: &Wire, key: &str) -> Vec<u8> {
    let put = request("PUT", &format!("/good/{key}")).payload(CHUNKED);
    let put = put
        .header("x-amz-decoded-content-length", &BODY_BYTES.to_string())
        .header("content-encoding", "aws-chunked");
    let signed = wire.sign(&put);
    let body = noise(1, BODY_BYTES);
    let (first, rest) = body.split_at(600);
    let chunks = wire.signed_chunks(&signed, &[first, rest], None);
    let mut bytes = format!("PUT {} HTTP/1.1\r\ncontent-length: {}\r\n", signed.target, chunks.len());
    signed.headers.iter().for_each(|(name, value)| bytes.push_str(&format!("{name}: {value}\r\n")));
    [bytes.as_bytes(), b"\r\n", &chunks].concat()
}

fn as_a_form(wire: &Wire, key: &str) -> Vec<u8> {
    form("good", key, &noise(1, BODY_BYTES)).signed("good", &[]).bytes(wire)
}

/// Runs the work for every number, on a few threads.
fn for_each(numbers: std::ops::Range<usize>, work: impl Fn(usize) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(number) =
                    Some(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).filter(|n| *n < numbers.end)
                {
                    work(number);
                }
            });
        }
    });
}

/// Sends so many bytes and goes. Every second one says so, the others are just gone; some look for an answer first.
fn cut(address: std::net::SocketAddr, bytes: &[u8], number: usize) {
    let mut connection = TcpStream::connect(address).unwrap();
    // A refusal may have closed it.
    let _ = connection.write_all(bytes);
    if number.is_multiple_of(2) {
        let _ = connection.shutdown(Shutdown::Write);
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = connection.read_to_end(&mut Vec::new());
    }
}

/// The beginning of the answer to all of a request.
fn answer(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(bytes).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut begun = [0; 12];
    connection.read_exact(&mut begun).unwrap();
    String::from_utf8_lossy(&begun).into_owned()
}

fn keys(target: &Target, prefix: &str) -> usize {
    let listed = target.wire.send(&request("GET", &format!("/good?list-type=2&prefix={prefix}")));
    assert_eq!(listed.status, 200);
    listed.body.matches("<Key>").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn i2_an_upload_cut_at_any_byte_is_not_there_and_holds_nothing() {
    let target = Target::start(&[]);
    let kinds: [(&str, Kind); 4] = [
        ("whole", whole),
        ("http-chunks", in_http_chunks),
        ("signed-chunks", in_signed_chunks),
        ("form", as_a_form),
    ];
    for (name, kind) in kinds {
        let length = kind(&target.wire, &format!("{name}-0000")).len();
        for_each(0..length, |at| {
            let bytes = kind(&target.wire, &format!("{name}-{at:04}"));
            // Signatures make it a byte or two longer or shorter.
            cut(target.address, &bytes[..at.min(bytes.len() - 1)], at);
        });
        target.comes_to_rest(name).await;
        assert_eq!(keys(&target, name), 0, "{name}: cut short, and there all the same");
        // Sent whole, and gone before the answer: there or not, and never a part of it.
        for_each(0..50, |at| cut(target.address, &kind(&target.wire, &format!("{name}-gone-{at}")), at));
        target.comes_to_rest(name).await;
        for at in 0..50 {
            let got = target.wire.send(&request("GET", &format!("/good/{name}-gone-{at}")));
            let length = got.headers.get("content-length").map(String::as_str);
            assert!(got.status == 404 || length == Some("1100"), "{name}: {} {length:?}", got.status);
        }
        let all = format!("{name}-all");
        assert!(answer(target.address, &kind(&target.wire, &all)).starts_with("HTTP/1.1 20"));
        assert_eq!(keys(&target, &all), 1, "{name}: sent whole, and not there");
        eprintln!("{name}: {length} cuts");
    }
}

/// What was there before stays what it was.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_part_cut_at_any_byte_is_not_there_and_leaves_the_old_one() {
    let target = Target::start(&[]);
    let created = target.wire.send(&request("POST", "/good/parts?uploads"));
    let id = created.element("UploadId").to_owned();
    let part: Request = request("PUT", &format!("/good/parts?partNumber=1&uploadId={id}")).payload(UNSIGNED);
    assert_eq!(target.wire.send(&part.clone().body(noise(2, 50))).status, 200);
    assert_eq!(target.wire.send(&request("PUT", "/good/old").body(noise(2, 50))).status, 200);
    let put = request("PUT", "/good/old").payload(UNSIGNED);
    for upload in [&part, &put] {
        let bytes = [head(&target.wire, upload, Some(BODY_BYTES)), noise(1, BODY_BYTES)].concat();
        for_each(0..bytes.len(), |at| cut(target.address, &bytes[..at], at));
    }
    let listed = target.wire.send(&request("GET", &format!("/good/parts?uploadId={id}")));
    assert_eq!((listed.element("PartNumber"), listed.element("Size")), ("1", "50"), "{}", listed.body);
    let old = target.wire.send(&request("HEAD", "/good/old"));
    assert_eq!(old.headers["content-length"], "50");
    assert_eq!(target.wire.send(&request("DELETE", &format!("/good/parts?uploadId={id}"))).status, 204);
    target.comes_to_rest("parts").await;
}

/// So many bytes are taken, and no more.
fn take(address: std::net::SocketAddr, bytes: &[u8], taken: usize) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(bytes).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.read_exact(&mut vec![0; taken]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_an_answer_given_up_at_any_byte_holds_nothing() {
    let target = Target::start(&[]);
    let long = noise(4, 4 * MIB);
    for (key, body) in [("short", &long[..BODY_BYTES]), ("long", &long[..])] {
        assert_eq!(target.wire.send(&request("PUT", &format!("/good/{key}")).body(body)).status, 200);
    }
    let get = |key: &str| {
        let whole = target.wire.send(&request("GET", &format!("/good/{key}")));
        assert_eq!(whole.status, 200);
        let head_bytes: usize = whole.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        (head(&target.wire, &request("GET", &format!("/good/{key}")), None), head_bytes)
    };
    let (short, head_bytes) = get("short");
    for_each(0..head_bytes + BODY_BYTES, |taken| take(target.address, &short, taken));
    let (bytes, _) = get("long");
    for_each(0..100, |n| take(target.address, &bytes, n * 4 * MIB / 100));
    let page = head(&target.wire, &request("GET", "/good?list-type=2"), None);
    for_each(0..400, |taken| take(target.address, &page, taken));
    target.comes_to_rest("answers given up").await;
    target.serves(1, "answers given up");
}
