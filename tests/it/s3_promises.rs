//! What a request asks for is done or refused, never passed over (I1, I2).

use super::support::sediment::Sediment;
use super::support::wire::{Answer, Request, UNSIGNED_TRAILER, Wire, plain_chunks, request};

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"precious")).status, 200);
    (dir, server, wire)
}

fn text(wire: &Wire, key: &str) -> Option<String> {
    let got = wire.send(&request("GET", &format!("/bucket/{key}")));
    (got.status == 200).then_some(got.body)
}

fn upload(wire: &Wire) -> String {
    wire.send(&request("POST", "/bucket/big?uploads=")).element("UploadId").to_owned()
}

fn complete(wire: &Wire, id: &str, parts: &[(u16, &str)], headers: &[(&str, &str)]) -> Answer {
    let parts = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
    let parts: String = parts.collect();
    let post = request("POST", &format!("/bucket/big?uploadId={id}"))
        .body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"));
    wire.send(&headers.iter().fold(post, |post, (name, value)| post.header(name, value)))
}

#[test]
fn i1_a_condition_of_a_write_is_carried_out_or_refused() {
    let (_dir, _server, wire) = start();
    const PAST: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    let id = upload(&wire);
    let part = format!("/bucket/big?partNumber=1&uploadId={id}");
    let sent = wire.send(&request("PUT", &part).body(*b"part"));
    let etag = sent.headers["etag"].as_str();
    let copy = || request("PUT", "/bucket/k").header("x-amz-copy-source", "/bucket/other");
    let tags = "<Tagging><TagSet/></Tagging>";
    let keys = "<Delete><Object><Key>k</Key></Object></Delete>";
    let put = |target: &str| request("PUT", target).body(*b"new");
    let delete = |target: &str| request("DELETE", target);
    let refused: Vec<(Request, &str, &str)> = vec![
        (put("/bucket/k"), "if-unmodified-since", PAST),
        (put("/bucket/k"), "if-modified-since", PAST),
        (put(&part), "if-match", "\"x\""),
        (put("/bucket/k?tagging=").body(tags).with_md5(), "if-match", "\"x\""),
        (copy(), "if-unmodified-since", PAST),
        (request("POST", "/bucket/k?uploads="), "if-match", "\"x\""),
        (request("POST", "/bucket?delete=").body(keys).with_md5(), "if-match", "\"x\""),
        (delete("/bucket/k"), "if-none-match", "*"),
        (delete("/bucket/k"), "if-unmodified-since", PAST),
        (delete("/bucket/k?tagging="), "if-match", "\"x\""),
        (delete(&format!("/bucket/big?uploadId={id}")), "x-amz-if-match-initiated-time", PAST),
        (delete("/bucket"), "if-match", "\"x\""),
    ];
    for (request, name, value) in refused {
        let (method, target) = (request.method, request.target.clone());
        let answer = wire.send(&request.header(name, value));
        assert_eq!(answer.refusal(), (501, "NotImplemented"), "{method} {target} {name}: {}", answer.body);
        assert_eq!(answer.element("Header"), name);
    }
    let late = complete(&wire, &id, &[(1, etag)], &[("if-unmodified-since", PAST)]);
    assert_eq!(late.refusal(), (501, "NotImplemented"));
    assert_eq!(text(&wire, "k").as_deref(), Some("precious"));
    assert_eq!(complete(&wire, &id, &[(1, etag)], &[("if-none-match", "*")]).status, 200);
}

#[test]
fn i1_only_a_repetition_of_a_completion_is_acknowledged_again() {
    let (_dir, _server, wire) = start();
    let id = upload(&wire);
    let part = |number: u16, body: Vec<u8>| {
        let put = request("PUT", &format!("/bucket/big?partNumber={number}&uploadId={id}")).body(body);
        wire.send(&put).headers["etag"].clone()
    };
    let (first, second) = (part(1, vec![1; 5 << 20]), part(2, vec![2; 9]));
    let both = [(1, first.as_str()), (2, second.as_str())];
    let done = complete(&wire, &id, &both[..1], &[]);
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(complete(&wire, &id, &both[..1], &[]).element("ETag"), done.element("ETag"));
    assert_eq!(complete(&wire, &id, &both, &[]).refusal(), (404, "NoSuchUpload"));
    let sized = complete(&wire, &id, &both[..1], &[("x-amz-mp-object-size", "9")]);
    assert_eq!(sized.refusal(), (404, "NoSuchUpload"));
}

#[test]
fn i1_a_checksum_that_is_named_has_to_come() {
    let (_dir, _server, wire) = start();
    const NAMED: &str = "x-amz-sdk-checksum-algorithm";
    let put = || request("PUT", "/bucket/k").header(NAMED, "CRC32").body(*b"123456789");
    let part = format!("/bucket/big?partNumber=1&uploadId={}", upload(&wire));
    let tags = "<Tagging><TagSet/></Tagging>";
    let tagging = || request("PUT", "/bucket/k?tagging=").header(NAMED, "CRC32").body(tags);
    for bare in [put(), put().with_md5(), request("PUT", &part).header(NAMED, "CRC32").body(*b"x"), tagging()]
    {
        let answer = wire.send(&bare);
        assert_eq!(answer.refusal(), (400, "InvalidRequest"), "{}", bare.target);
        let message = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
                       x-amz-trailer headers were found.";
        assert_eq!(answer.element("Message"), message);
    }
    assert_eq!(text(&wire, "k").as_deref(), Some("precious"));
    assert_eq!(wire.send(&tagging().with_md5()).status, 200);
    assert_eq!(wire.send(&put().header("x-amz-checksum-crc32", "y/Q5Jg==")).status, 200);
    let trailing = put()
        .payload(UNSIGNED_TRAILER)
        .header("x-amz-decoded-content-length", "9")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    let body = plain_chunks(&[b"123456789"], "x-amz-checksum-crc32:y/Q5Jg==\r\n");
    let answer = wire.send_signed(&trailing, &wire.sign(&trailing), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let create = request("POST", "/bucket/big?uploads=").header(NAMED, "CRC32");
    assert_eq!(wire.send(&create).status, 200);
}

/// An empty header is one that was asked for, not one that is absent.
#[test]
fn i1_a_promise_without_a_value_is_refused() {
    let (_dir, _server, wire) = start();
    let id = upload(&wire);
    let part = format!("/bucket/big?partNumber=1&uploadId={id}");
    let sent = wire.send(&request("PUT", &part).body(vec![1; 9]));
    let completion = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        sent.headers["etag"]
    );
    let put = || request("PUT", "/bucket/k").body(*b"new");
    let delete = || request("DELETE", "/bucket/k");
    let complete = || request("POST", &format!("/bucket/big?uploadId={id}")).body(completion.as_str());
    let copy = |target: &str| request("PUT", target).header("x-amz-copy-source", "/bucket/k");
    let named = || put().header("x-amz-sdk-checksum-algorithm", "CRC32");
    let held = || put().header("x-amz-object-lock-legal-hold", "OFF");
    let refused: Vec<(Request, &str)> = vec![
        (delete(), "x-amz-if-match-size"),
        (delete(), "x-amz-if-match-last-modified-time"),
        (delete(), "if-match"),
        (put(), "if-match"),
        (put(), "if-none-match"),
        (put(), "x-amz-checksum-crc32"),
        (named(), "x-amz-checksum-crc32"),
        (held(), "x-amz-checksum-crc32"),
        (put(), "x-amz-object-lock-legal-hold"),
        (copy("/bucket/copy"), "x-amz-copy-source-if-match"),
        (copy("/bucket/copy"), "x-amz-copy-source-if-none-match"),
        (copy("/bucket/copy"), "x-amz-copy-source-if-unmodified-since"),
        (copy(&part), "x-amz-copy-source-range"),
        (complete(), "x-amz-mp-object-size"),
        (complete(), "x-amz-checksum-crc64nvme"),
        (complete(), "if-none-match"),
        (request("POST", "/bucket/big?uploads="), "x-amz-checksum-algorithm"),
        (request("PUT", "/locked"), "x-amz-bucket-object-lock-enabled"),
    ];
    for (request, name) in refused {
        let (method, target) = (request.method, request.target.clone());
        let answer = wire.send(&request.header(name, ""));
        assert_eq!(answer.status, 400, "{method} {target} {name}: {}", answer.body);
        if answer.element("ArgumentName") != name {
            assert!(name.starts_with("x-amz-checksum-"), "{method} {target} {name}: {}", answer.body);
        }
    }
    assert_eq!(wire.send(&put().header("content-md5", "")).refusal(), (400, "InvalidDigest"));
    assert_eq!(wire.send(&put().header("x-amz-trailer", "")).refusal(), (501, "NotImplemented"));
    assert_eq!(text(&wire, "k").as_deref(), Some("precious"));
    assert_eq!((text(&wire, "copy"), text(&wire, "big")), (None, None));
    assert_eq!(wire.send(&request("HEAD", "/locked")).status, 404);
    assert_eq!(wire.send(&complete()).status, 200);
}

#[test]
fn i2_a_piece_is_never_taken_for_an_object() {
    let (_dir, _server, wire) = start();
    let part = format!("/bucket/big?partNumber=1&uploadId={}", upload(&wire));
    for target in ["/bucket/k", &part] {
        let put = request("PUT", target).header("content-range", "bytes 0-2/8").body(*b"pre");
        assert_eq!(wire.send(&put).refusal(), (400, "InvalidRequest"), "{target}");
    }
    let ranged = |target: &str| request("PUT", target).header("x-amz-copy-source-range", "bytes=0-2");
    let copy = ranged("/bucket/k").header("x-amz-copy-source", "/bucket/k");
    for refused in [copy, ranged("/bucket/k").body(*b"pre"), ranged(&part).body(*b"pre")] {
        assert_eq!(wire.send(&refused).refusal(), (501, "NotImplemented"), "{}", refused.target);
    }
    assert_eq!(text(&wire, "k").as_deref(), Some("precious"));
    let copied = wire.send(&ranged(&part).header("x-amz-copy-source", "/bucket/k"));
    assert_eq!(copied.status, 200, "{}", copied.body);
}

#[test]
fn a_directory_bucket_is_not_made_a_plain_one() {
    let (_dir, _server, wire) = start();
    let create = |inside: &str| {
        let document = format!("<CreateBucketConfiguration>{inside}</CreateBucketConfiguration>");
        wire.send(&request("PUT", "/directory").body(document))
    };
    let zone = "<Location><Name>use1-az4</Name><Type>AvailabilityZone</Type></Location>";
    let kind =
        "<Bucket><DataRedundancy>SingleAvailabilityZone</DataRedundancy><Type>Directory</Type></Bucket>";
    for inside in [zone, kind] {
        assert_eq!(create(inside).refusal(), (501, "NotImplemented"), "{inside}");
    }
    assert_eq!(wire.send(&request("HEAD", "/directory")).status, 404);
    assert_eq!(create("").status, 200);
}
