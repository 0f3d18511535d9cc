//! Reads that go around s3s: their answers are those that s3s gives. A header that means nothing and is not known sends
//! the same request through s3s, so that both ways can be compared on one server.

use super::support::wire::{Answer, Request, Wire, request, start_with_bucket};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// Of the request, not of the object.
const OF_THE_REQUEST: [&str; 2] = ["x-amz-request-id", "date"];
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a client can tell one answer from another by.
pub(super) fn told(answer: &Answer) -> (u16, BTreeMap<String, String>, String) {
    let mut headers = answer.headers.clone();
    OF_THE_REQUEST.iter().for_each(|name| drop(headers.remove(*name)));
    let mut body = answer.body.clone();
    if let Some((before, after)) = body.clone().split_once("<RequestId>") {
        body = before.to_owned() + after.split_once("</RequestId>").unwrap().1;
        headers.remove("content-length");
    }
    (answer.status, headers, body)
}

fn same_both_ways(wire: &Wire, request: &Request) -> Answer {
    let direct = wire.send(request);
    let by_s3s = wire.send(&request.clone().unsigned("x-sent-through", "s3s"));
    assert_eq!(told(&direct), told(&by_s3s), "{} {} {:?}", request.method, request.target, request.headers);
    direct
}

#[test]
fn a_part_of_an_object_is_told_partial() {
    let (_dir, _server, wire) = start_with_bucket();
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"0123456789")).status, 200);
    for method in ["GET", "HEAD"] {
        let range = request(method, "/bucket/k").header("range", "bytes=2-5");
        for request in [range, request(method, "/bucket/k?partNumber=1")] {
            assert_eq!(same_both_ways(&wire, &request).status, 206, "{method} {}", request.target);
        }
        assert_eq!(same_both_ways(&wire, &request(method, "/bucket/k")).status, 200);
    }
}

/// Objects of every kind that a put can make.
fn put_all(wire: &Wire) {
    let objects: [(&str, &[(&str, &str)]); 8] = [
        ("plain", &[]),
        ("xml", &[("content-type", "application/xml")]),
        (
            "all",
            &[
                ("content-type", "text/plain; charset=utf-8"),
                ("cache-control", "no-cache"),
                ("content-disposition", "attachment; filename=\"a b\""),
                ("content-encoding", "gzip"),
                ("content-language", "en"),
                ("expires", "not a date"),
                ("x-amz-website-redirect-location", "/other"),
                ("x-amz-storage-class", "GLACIER"),
                ("x-amz-meta-one", "1"),
                ("x-amz-meta-two", "a, b"),
            ],
        ),
        ("standard", &[("x-amz-storage-class", "STANDARD"), ("expires", "Wed, 21 Oct 2015 07:28:00 GMT")]),
        ("tagged", &[("x-amz-tagging", "a=b&c=d")]),
        ("encoded", &[("x-amz-meta-name", "a\tb")]),
        ("summed", &[("x-amz-checksum-sha256", "LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=")]),
        ("dir/a%20b%2Bc", &[]),
    ];
    for (key, headers) in objects {
        let put = request("PUT", &format!("/bucket/{key}")).body("foo");
        let put = headers.iter().fold(put, |put, (name, value)| put.header(name, value));
        let answer = wire.send(&put);
        assert_eq!(answer.status, 200, "{key}: {}", answer.body);
    }
}

#[test]
fn i6_a_read_around_s3s_is_answered_and_refused_as_by_s3s() {
    let (_dir, server, wire) = start_with_bucket();
    put_all(&wire);
    let stranger = Wire::signing(&server, "stranger", "secret");
    let wrong = Wire::signing(&server, super::support::sediment::USER, "wrong");
    let keys = [
        "plain",
        "xml",
        "all",
        "standard",
        "tagged",
        "encoded",
        "summed",
        "dir/a%20b%2Bc",
        "missing",
        "a%00b",
    ];
    let header = prop::sample::select(vec![
        ("range", "bytes=0-1"),
        ("range", "bytes=9-"),
        ("range", "bytes=-2"),
        ("range", "nonsense"),
        ("if-match", "*"),
        ("if-match", "\"acbd18db4cc2f85cedef654fccc4a4d8\""),
        ("if-none-match", "acbd18db4cc2f85cedef654fccc4a4d8"),
        ("if-none-match", "\"other\""),
        ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("if-modified-since", "tomorrow"),
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-amz-checksum-mode", "enabled"),
        ("x-amz-checksum-mode", "OFF"),
        ("x-amz-expected-bucket-owner", "somebody"),
        ("x-amz-expected-bucket-owner", ""),
        ("x-amz-copy-source", "/bucket/plain"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-server-side-encryption", "AES256"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("content-length", "0"),
        ("accept-encoding", "gzip"),
        ("origin", "https://a.test"),
    ]);
    let query = prop::sample::select(vec![
        "",
        "",
        "",
        "?x-id=GetObject",
        "?versionId=null",
        "?versionId=none",
        "?partNumber=1",
        "?partNumber=x",
        "?response-content-type=a/b",
        "?acl",
        "?torrent",
        "?x-id=a&x-id=b",
        "?unknown=1",
    ]);
    let asked = (
        prop::sample::select(vec!["GET", "HEAD", "HEAD", "GET", "POST"]),
        prop::sample::select(vec!["bucket", "bucket", "bucket", "none", "In_valid"]),
        prop::sample::select(keys.to_vec()),
        query,
        prop::collection::vec(header, 0..4),
        prop::sample::select(vec![
            "UNSIGNED-PAYLOAD",
            EMPTY,
            EMPTY,
            "0",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        ]),
        proptest::option::weighted(0.2, 1..600_u64),
        prop::sample::select(vec![0, 0, 0, 0, 0, 1, 2, 3]),
    );
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let outcome = runner.run(&asked, |(method, bucket, key, query, headers, payload, presigned, signer)| {
        let mut asked = request(method, &format!("/{bucket}/{key}{query}")).payload(payload);
        asked = headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
        if let Some(seconds) = presigned {
            asked = asked.payload("UNSIGNED-PAYLOAD").presigned(seconds);
        }
        match signer {
            1 => drop(same_both_ways(&stranger, &asked)),
            // What was signed, and when, stands in this answer.
            2 => {
                let by_s3s = wrong.send(&asked.clone().unsigned("x-sent-through", "s3s"));
                let direct = wrong.send(&asked);
                prop_assert_eq!(direct.refusal(), by_s3s.refusal());
                prop_assert!(by_s3s.status >= 400);
            }
            3 => {
                let direct = wire.send_anonymous(&asked);
                let by_s3s = wire.send_anonymous(&asked.clone().header("x-sent-through", "s3s"));
                prop_assert_eq!(told(&direct), told(&by_s3s));
                prop_assert!(direct.status >= 400);
            }
            _ => drop(same_both_ways(&wire, &asked)),
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn what_goes_around_s3s_is_counted_as_everything_is() {
    let (_dir, server, wire) = start_with_bucket();
    put_all(&wire);
    assert_eq!(same_both_ways(&wire, &request("GET", "/bucket/plain")).body, "foo");
    assert_eq!(same_both_ways(&wire, &request("HEAD", "/bucket/plain")).headers["content-length"], "3");
    let (_, metrics) = server.admin_get("/metrics");
    for line in [
        "sediment_s3_requests_total{operation=\"GetObject\",code=\"200\"} 2",
        "sediment_s3_requests_total{operation=\"HeadObject\",code=\"200\"} 2",
        "sediment_s3_sent_bytes_total{operation=\"GetObject\"} 6",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
