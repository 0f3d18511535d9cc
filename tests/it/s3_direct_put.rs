//! Plain puts go around s3s. A header that is not known sends the same request through s3s: both must be answered alike,
//! and must leave the same object.

use super::s3_direct::told;
use super::support::wire::{
    Answer, Request, UNSIGNED, UNSIGNED_TRAILER, Wire, plain_chunks, request, start_with_bucket,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sha2::{Digest, Sha256};

const BODY: &str = "foo";

/// How the body comes.
#[derive(Debug, Clone, Copy)]
enum Form {
    Unsigned,
    Hashed,
    WrongHash,
    /// With a trailer, whose value may be another one.
    Trailer(&'static str),
    CutShort,
}

fn put(form: Form, key: &str, query: &str) -> Request {
    let put = request("PUT", &format!("/bucket/{key}{query}"));
    match form {
        Form::Unsigned => put.payload(UNSIGNED).body(BODY),
        Form::Hashed => put.payload(&hex::encode(Sha256::digest(BODY))).body(BODY),
        Form::WrongHash => put.payload(&hex::encode(Sha256::digest("bar"))).body(BODY),
        Form::Trailer(sum) => {
            let framed = plain_chunks(&[BODY.as_bytes()], &format!("x-amz-checksum-crc32:{sum}\r\n"));
            let put = put.payload(UNSIGNED_TRAILER).header("x-amz-trailer", "x-amz-checksum-crc32");
            put.header("x-amz-decoded-content-length", "3")
                .header("content-encoding", "aws-chunked")
                .body(framed)
        }
        Form::CutShort => {
            put.payload(UNSIGNED_TRAILER).header("x-amz-decoded-content-length", "3").body("3\r\nfoo\r\n")
        }
    }
}

/// What the put is answered, and what stands there then.
fn done(wire: &Wire, is_there: bool, put: &Request) -> (Answer, Answer) {
    let path = put.target.split('?').next().unwrap();
    let method = if is_there { "PUT" } else { "DELETE" };
    assert!(wire.send(&request(method, path).body(if is_there { "old" } else { "" })).status < 300);
    let answer = wire.send(put);
    let mut head = wire.send(&request("HEAD", path).header("x-amz-checksum-mode", "ENABLED"));
    head.headers.remove("last-modified");
    (answer, head)
}

#[test]
fn i6_a_put_around_s3s_is_answered_and_refused_as_by_s3s() {
    let (_dir, _server, wire) = start_with_bucket();
    let header = prop::sample::select(vec![
        ("content-type", "text/plain; charset=utf-8"),
        ("content-type", "application/xml"),
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-encoding", "gzip, aws-chunked"),
        ("content-language", "en"),
        ("content-md5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("content-md5", "x"),
        ("expires", "not a date"),
        ("if-match", "*"),
        ("if-match", "\"149603e6c03516362a8da23f624db945\""),
        ("if-none-match", "*"),
        ("if-none-match", "nonsense"),
        ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("x-amz-acl", "private"),
        ("x-amz-acl", "public-read"),
        ("x-amz-checksum-crc32", "jHNlIQ=="),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-sha256", "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564="),
        ("x-amz-checksum-sha1", "x"),
        ("x-amz-expected-bucket-owner", "somebody"),
        ("x-amz-meta-one", "1"),
        ("x-amz-meta-two", "a, b"),
        ("x-amz-meta-three", "=?UTF-8?Q?=C3=A4?="),
        ("x-amz-object-lock-legal-hold", "ON"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-tagging", "a=b"),
        ("content-range", "bytes 0-2/3"),
    ]);
    let forms = vec![
        Form::Unsigned,
        Form::Unsigned,
        Form::Hashed,
        Form::WrongHash,
        Form::Trailer("jHNlIQ=="),
        Form::Trailer("AAAAAA=="),
        Form::CutShort,
    ];
    let asked = (
        prop::sample::select(forms),
        prop::sample::select(vec!["k", "dir/a%20b%2Bc", "a%C3%A4"]),
        prop::sample::select(vec![
            "",
            "",
            "",
            "?x-id=PutObject",
            "?partNumber=1",
            "?versionId=null",
            "?unknown=1",
        ]),
        prop::collection::vec(header, 0..4),
        any::<bool>(),
        proptest::option::weighted(0.2, 1..600_u64),
    );
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let outcome = runner.run(&asked, |(form, key, query, headers, is_there, presigned)| {
        let mut asked = put(form, key, query);
        asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
        if let (Some(seconds), Form::Unsigned) = (presigned, form) {
            asked = asked.presigned(seconds);
        }
        let (direct, stored) = done(&wire, is_there, &asked);
        let (by_s3s, stored_by_s3s) = done(&wire, is_there, &asked.clone().unsigned("x-sent-through", "s3s"));
        prop_assert_eq!(told(&direct), told(&by_s3s));
        prop_assert_eq!(told(&stored), told(&stored_by_s3s));
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn i6_nobody_puts_without_a_key() {
    let (_dir, server, wire) = start_with_bucket();
    let asked = put(Form::Unsigned, "k", "");
    let stranger = Wire::signing(&server, "stranger", "secret");
    for answer in [stranger.send(&asked), wire.send_anonymous(&asked)] {
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    assert_eq!(wire.send(&request("HEAD", "/bucket/k")).status, 404);
}

#[test]
fn what_is_put_around_s3s_is_counted_as_everything_is() {
    let (_dir, server, wire) = start_with_bucket();
    assert_eq!(wire.send(&put(Form::Unsigned, "k", "")).status, 200);
    assert_eq!(wire.send(&put(Form::Unsigned, "k", "").unsigned("x-sent-through", "s3s")).status, 200);
    let (_, metrics) = server.admin_get("/metrics");
    for line in [
        "sediment_s3_requests_total{operation=\"PutObject\",code=\"200\"} 2",
        "sediment_s3_received_bytes_total{operation=\"PutObject\"} 6",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
