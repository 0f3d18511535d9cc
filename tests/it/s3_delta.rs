//! Bodies that come as deltas, and the question which chunks are there: `docs/delta.md`.

use super::support::form::form;
use super::support::noise;
use super::support::sediment::{Sediment, run};
use super::support::wire::{Answer, Request, UNSIGNED_TRAILER, Wire, plain_chunks, request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use md5::Md5;
use sediment::types::{ChunkId, put_copy, put_literal};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

const DELTA: &str = "x-sediment-delta";
const QUESTION: &str = "/bucket/k?x-sediment-chunks=";
const SECRET: &str = "the-secret-of-ada";

/// A server whose bucket has two objects of one chunk each: they are shorter than the shortest chunk.
struct World {
    dir: tempfile::TempDir,
    server: Sediment,
    wire: Wire,
    one: String,
    two: String,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let ada = format!(
        "s3.accounts=[{{id=\"1\", name=\"Ada\", access_key=\"key-of-ada\", secret_key=\"{SECRET}\"}}]"
    );
    let server = Sediment::serve(dir.path(), &["--set", &ada]);
    let wire = Wire::new(&server);
    let text = |seed, len| hex::encode(noise(seed, len));
    let (one, two) = (text(1, 1_500), text(2, 1_700));
    for target in ["/bucket", "/bucket/one", "/bucket/two", "/bucket/k"] {
        let body = match target {
            "/bucket/one" => one.clone(),
            "/bucket/two" => two.clone(),
            "/bucket" => String::new(),
            _ => "as it was".to_owned(),
        };
        assert_eq!(wire.send(&request("PUT", target).body(body)).status, 200, "{target}");
    }
    World { dir, server, wire, one, two }
}

fn id(chunk: &str) -> ChunkId {
    ChunkId::new(Sha256::digest(chunk).into())
}

impl World {
    fn data(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What the delta of the test stands for.
    fn whole(&self) -> String {
        format!("{}in between{}{}", self.one, self.two, self.one)
    }

    fn delta(&self) -> Vec<u8> {
        let mut delta = BytesMut::new();
        copy(&mut delta, &self.one);
        put_literal(&mut delta, b"in ");
        put_literal(&mut delta, b"between");
        copy(&mut delta, &self.two);
        copy(&mut delta, &self.one);
        delta.to_vec()
    }

    /// A put of `delta`, said to stand for so many bytes.
    fn put(&self, delta: Vec<u8>, length: usize) -> Request {
        request("PUT", "/bucket/k").header(DELTA, &length.to_string()).body(delta)
    }

    fn is_as_it_was(&self, why: &str) {
        assert_eq!(self.wire.send(&request("GET", "/bucket/k")).body, "as it was", "{why}");
    }

    fn ask(&self, chunks: &[ChunkId]) -> Answer {
        self.wire.send(&question(chunks))
    }
}

fn copy(delta: &mut BytesMut, chunk: &str) {
    put_copy(delta, &id(chunk), chunk.len() as u32);
}

fn question(chunks: &[ChunkId]) -> Request {
    let ids: Vec<u8> = chunks.iter().flat_map(|id| *id.as_bytes()).collect();
    request("POST", QUESTION).body(ids)
}

#[test]
fn i1_a_put_of_a_delta_is_the_put_of_its_bytes() {
    let world = world();
    let (whole, delta) = (world.whole(), world.delta());
    let plain = world.wire.send(&request("PUT", "/bucket/plain").body(whole.clone()));
    let md5 = BASE64.encode(Md5::digest(&whole));
    let trailer = format!("x-amz-checksum-sha256:{}\r\n", BASE64.encode(Sha256::digest(&whole)));
    let pieces: Vec<&[u8]> = delta.chunks(50).collect();
    let framed = plain_chunks(&pieces, &trailer);
    let put = |delta: &[u8]| world.put(delta.to_vec(), whole.len());
    let puts = [
        put(&delta),
        put(&delta).header("content-md5", &md5).payload(&hex::encode(Sha256::digest(&delta))),
        put(&framed)
            .payload(UNSIGNED_TRAILER)
            .header("x-amz-trailer", "x-amz-checksum-sha256")
            .header("x-amz-decoded-content-length", &delta.len().to_string()),
    ];
    for put in puts {
        let answer = world.wire.send(&put);
        assert_eq!(
            (answer.status, &answer.headers["etag"]),
            (200, &plain.headers["etag"]),
            "{}",
            answer.body
        );
        assert!(world.wire.send(&request("GET", "/bucket/k")).body == whole);
    }
    let of = |key| world.wire.send(&request("HEAD", key).header("x-amz-checksum-mode", "ENABLED"));
    let (first, again) = (of("/bucket/plain"), world.wire.send(&put(&delta)));
    assert_eq!(first.headers["x-amz-checksum-crc64nvme"], again.headers["x-amz-checksum-crc64nvme"]);
    assert_eq!(of("/bucket/k").headers["content-length"], whole.len().to_string());

    let begun = world.wire.send(&request("POST", "/bucket/k?uploads="));
    let part = format!("/bucket/k?partNumber=1&uploadId={}", begun.element("UploadId"));
    let part = request("PUT", &part).header(DELTA, &whole.len().to_string()).body(delta);
    let part = world.wire.send(&part);
    assert_eq!((part.status, &part.headers["etag"]), (200, &plain.headers["etag"]), "{}", part.body);
}

#[test]
fn the_question_is_answered_for_each_chunk() {
    let world = world();
    let answer = world.ask(&[id(&world.one), id("nowhere"), id(&world.two)]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "\u{5}"), "the first and the third bit");
    assert_eq!(answer.headers["content-type"], "application/x-sediment-chunks");
    let (_, metrics) = world.server.admin_get("/metrics");
    assert!(metrics.contains("sediment_s3_requests_total{operation=\"AskForChunks\",code=\"200\"} 1"));
    for body in [vec![], vec![7; 31], vec![7; 32 * 4_097]] {
        let answer = world.wire.send(&request("POST", QUESTION).body(body));
        assert_eq!(answer.refusal(), (400, "InvalidArgument"), "{}", answer.body);
    }
    let signed = question(&[id("x")]).payload(&hex::encode(Sha256::digest(b"something else")));
    assert_eq!(world.wire.send(&signed).refusal(), (400, "XAmzContentSHA256Mismatch"));
    let elsewhere = request("POST", "/nowhere/k?x-sediment-chunks=").body([7; 32]);
    assert_eq!(world.wire.send(&elsewhere).refusal(), (404, "NoSuchBucket"));
}

#[test]
fn i6_only_the_root_user_asks_for_chunks_and_names_them_and_only_in_signed_heads() {
    let world = world();
    let ada = Wire::signing(&world.server, "key-of-ada", SECRET);
    assert_eq!(ada.send(&request("PUT", "/of-ada")).status, 200);
    let length = world.whole().len();
    let named = |target: &str| request("PUT", target).header(DELTA, &length.to_string()).body(world.delta());
    let asked = |target: &str| request("POST", target).body(*id(&world.one).as_bytes());
    let own = "/of-ada/k?x-sediment-chunks=";
    let refused = [
        ("an account names", ada.send(&named("/of-ada/k"))),
        ("an account asks", ada.send(&asked(own))),
        ("nobody names", world.wire.send_anonymous(&named("/of-ada/k"))),
        ("nobody asks", world.wire.send_anonymous(&asked(own))),
        ("a URL names", world.wire.send(&named("/of-ada/k").presigned(60))),
        ("a URL asks", world.wire.send(&asked(own).presigned(60))),
        (
            "an unsigned header",
            world.wire.send(&request("PUT", "/of-ada/k").body(world.delta()).unsigned(DELTA, "9")),
        ),
        (
            "a form names",
            form("of-ada", "k", &world.delta()).header(DELTA, "9").signed("of-ada", &[]).send(&world.wire),
        ),
    ];
    for (who, answer) in refused {
        assert_eq!(answer.refusal(), (403, "AccessDenied"), "{who}: {}", answer.body);
    }
    assert_eq!(world.wire.send(&request("HEAD", "/of-ada/k")).status, 404);
    let field = form("of-ada", "k", &world.delta()).field(DELTA, "9").signed("of-ada", &[]).send(&world.wire);
    assert_eq!(field.refusal(), (501, "NotImplemented"), "{}", field.body);
    assert_eq!(world.wire.send(&request("HEAD", "/of-ada/k")).status, 404);
}

#[test]
fn i2_a_delta_that_is_wrong_leaves_what_is_there() {
    let world = world();
    let (delta, length) = (world.delta(), world.whole().len());
    let literal = |bytes: &[u8]| {
        let mut delta = BytesMut::new();
        put_literal(&mut delta, bytes);
        delta.to_vec()
    };
    let mut unknown = BytesMut::from(&literal(b"before it")[..]);
    put_copy(&mut unknown, &id("nowhere"), 7);
    let mut too_short = BytesMut::new();
    put_copy(&mut too_short, &id(&world.one), 100);
    let cut = delta[..delta.len() - 1].to_vec();
    let hash = hex::encode(Sha256::digest(world.whole()));
    let wrong = [
        ("a chunk that is nowhere", world.put(unknown.to_vec(), 16), (409, "NoSuchChunk")),
        ("another length of a chunk", world.put(too_short.to_vec(), 100), (400, "InvalidRequest")),
        ("an unknown record", world.put(vec![9; 40], 9), (400, "InvalidRequest")),
        ("more than announced", world.put(delta.clone(), length - 1), (400, "InvalidRequest")),
        ("less than announced", world.put(delta.clone(), length + 1), (400, "IncompleteBody")),
        ("cut off", world.put(cut, length), (400, "IncompleteBody")),
        ("no length", request("PUT", "/bucket/k").header(DELTA, "ten").body("x"), (400, "InvalidArgument")),
        (
            "another MD5",
            world.put(delta.clone(), length).header("content-md5", &BASE64.encode(Md5::digest(&delta))),
            (400, "BadDigest"),
        ),
        (
            "another checksum",
            world.put(delta.clone(), length).header("x-amz-checksum-crc32", "AAAAAA=="),
            (400, "BadDigest"),
        ),
        (
            "the bytes' hash",
            world.put(delta.clone(), length).payload(&hash),
            (400, "XAmzContentSHA256Mismatch"),
        ),
    ];
    for (why, put, refusal) in wrong {
        let answer = world.wire.send(&put);
        assert_eq!(answer.refusal(), refusal, "{why}: {}", answer.body);
        world.is_as_it_was(why);
    }
    assert_eq!(world.wire.send(&world.put(delta, length)).status, 200);
}

#[test]
fn i3_nothing_is_kept_between_question_and_put() {
    let world = world();
    assert_eq!(world.ask(&[id(&world.one), id(&world.two)]).body, "\u{3}");
    assert_eq!(world.wire.send(&request("DELETE", "/bucket/two")).status, 204);
    assert!(run(&world.data(), &["gc"]).status.success());
    let refused = world.wire.send(&world.put(world.delta(), world.whole().len()));
    assert_eq!(refused.refusal(), (409, "NoSuchChunk"), "{}", refused.body);
    world.is_as_it_was("a chunk was collected");
    assert_eq!(world.ask(&[id(&world.one), id(&world.two)]).body, "\u{1}");
}

#[test]
fn i6_what_is_no_upload_and_no_question_takes_neither() {
    let world = world();
    for (method, target) in [
        ("GET", "/bucket/k"),
        ("HEAD", "/bucket/k"),
        ("DELETE", "/bucket/k"),
        ("GET", "/bucket"),
        ("PUT", "/another"),
        ("POST", "/bucket/k?uploads="),
        ("PUT", "/bucket/k?tagging="),
    ] {
        let answer = world.wire.send(&request(method, target).header(DELTA, "1"));
        assert_eq!(answer.status, 501, "{method} {target}: {}", answer.body);
    }
    let copied = request("PUT", "/bucket/k").header("x-amz-copy-source", "/bucket/one").header(DELTA, "1");
    assert_eq!(world.wire.send(&copied).refusal(), (501, "NotImplemented"));
    let both = request("POST", "/bucket/k?uploads=&x-sediment-chunks=").body([7; 32]);
    assert_eq!(world.wire.send(&both).refusal(), (501, "NotImplemented"));
    for method in ["GET", "PUT", "DELETE"] {
        let answer = world.wire.send(&request(method, QUESTION));
        assert_eq!(answer.refusal(), (405, "MethodNotAllowed"), "{method}");
    }
    assert_eq!(world.wire.send(&request("HEAD", QUESTION)).status, 501);
    world.is_as_it_was("nothing was done");
}
