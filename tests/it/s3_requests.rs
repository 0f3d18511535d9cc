//! What requests mean and who may make them, on the wire (I6).

use super::support::sediment::Sediment;
use super::support::wire::{Wire, request};

fn start(args: &[&str]) -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), args);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    assert_eq!(wire.send(&request("PUT", "/bucket/secret").body(*b"secret")).status, 200);
    (dir, server, wire)
}

fn body(wire: &Wire, key: &str) -> Option<String> {
    let got = wire.send(&request("GET", &format!("/bucket/{key}")));
    (got.status == 200).then_some(got.body)
}

#[test]
fn i6_nothing_can_be_added_to_a_presigned_url() {
    let (_dir, _server, wire) = start(&[]);
    let url = request("PUT", "/bucket/target").presigned(60);
    let copy = url.clone().unsigned("x-amz-copy-source", "/bucket/secret");
    assert_eq!(wire.send(&copy).refusal(), (403, "AccessDenied"));
    // The signature's name disguised, and a made-up header that covers what the URL does not.
    let mut signed = wire.sign(&url);
    signed.target = signed.target.replace("X-Amz-Signature", "X-Amz-%53ignature");
    let made_up = format!(
        "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-copy-source, Signature={}",
        "0".repeat(64)
    );
    let forged = copy.unsigned("authorization", &made_up);
    assert_eq!(wire.send_signed(&forged, &signed, b"").refusal(), (400, "InvalidArgument"));
    assert_eq!(body(&wire, "target"), None);
    assert_eq!(wire.send(&request("GET", "/bucket/secret").presigned(604_801)).status, 400);
}

#[test]
fn what_a_url_carries_for_a_header_counts_as_one() {
    let (_dir, _server, wire) = start(&[]);
    assert_eq!(wire.send(&request("PUT", "/bucket/dest").body(*b"precious")).status, 200);
    let copy = request("PUT", "/bucket/dest?x-amz-copy-source=%2Fbucket%2Fsecret").presigned(60);
    assert_eq!(wire.send(&copy).status, 200);
    assert_eq!(body(&wire, "dest").as_deref(), Some("secret"));
    let put = |query: &str| request("PUT", &format!("/bucket/hoisted?{query}")).presigned(60).body(*b"hello");
    assert_eq!(wire.send(&put("x-amz-meta-colour=blue&x-amz-sdk-checksum-algorithm=CRC32")).status, 200);
    assert_eq!(wire.send(&request("HEAD", "/bucket/hoisted")).headers["x-amz-meta-colour"], "blue");
    // Of a body that is not there yet, as the SDK for JavaScript presigns.
    assert_eq!(
        wire.send(&put("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32")).status,
        200
    );
    assert_eq!(wire.send(&put("x-amz-tagging=a%3Db%26c%3Dd")).status, 200);
    let tags = wire.send(&request("GET", "/bucket/hoisted?tagging="));
    assert!(tags.body.contains("<Key>c</Key><Value>d</Value>"), "{}", tags.body);
}

#[test]
fn a_copys_source_has_plus_for_a_space() {
    let (_dir, _server, wire) = start(&[]);
    for (target, content) in [("a%20b", "space"), ("a%2Bb", "plus")] {
        assert_eq!(wire.send(&request("PUT", &format!("/bucket/{target}")).body(content)).status, 200);
    }
    for (source, content) in [("a+b", "space"), ("a%20b", "space"), ("a%2Bb", "plus")] {
        let source = format!("bucket/{source}");
        assert_eq!(wire.send(&request("PUT", "/bucket/to").header("x-amz-copy-source", &source)).status, 200);
        assert_eq!(body(&wire, "to").as_deref(), Some(content), "{source}");
    }
}

#[test]
fn i6_a_sub_resource_that_is_not_there_is_never_the_plain_operation() {
    let (_dir, _server, wire) = start(&[]);
    const MISSING: (u16, &str) = (501, "NotImplemented");
    const NO_SUCH_METHOD: (u16, &str) = (405, "MethodNotAllowed");
    for (method, target, refusal) in [
        ("DELETE", "/bucket/secret?acl=", NO_SUCH_METHOD),
        ("DELETE", "/bucket?metadataConfiguration=", MISSING),
        ("DELETE", "/bucket?versioning=", NO_SUCH_METHOD),
        ("DELETE", "/bucket?ownershipControls=", MISSING),
        ("PUT", "/bucket/secret?renameObject=", MISSING),
        ("PUT", "/bucket/secret?uploadId=x", MISSING),
        ("PUT", "/bucket/secret?partNumber=1", MISSING),
        ("PUT", "/bucket/secret?tagging=", (400, "MissingRequestBodyError")),
        ("PUT", "/bucket2?metadataInventoryTable=", MISSING),
        ("PUT", "/bucket?website=", MISSING),
        ("GET", "/bucket?metadataConfiguration=", MISSING),
        ("GET", "/bucket/secret?torrent=", NO_SUCH_METHOD),
        ("POST", "/bucket/secret?restore=", (400, "MissingRequestBodyError")),
        ("POST", "/bucket/secret?acl=", NO_SUCH_METHOD),
    ] {
        let answer = wire.send(&request(method, target).body(*b""));
        assert_eq!(answer.refusal(), refusal, "{method} {target}: {}", answer.body);
    }
    let version = wire.send(&request("PUT", "/bucket/secret?versionId=null").body(*b"x"));
    assert_eq!(version.refusal(), (400, "InvalidArgument"));
    assert_eq!(body(&wire, "secret").as_deref(), Some("secret"));
    assert_eq!(wire.send(&request("HEAD", "/bucket2")).status, 404);
    let tags = wire.send(&request("GET", "/bucket/secret?tagging="));
    assert_eq!((tags.status, tags.element("TagSet")), (200, ""), "{}", tags.body);
    // What AWS does not know it does not mind, and neither is an object's body a document for it.
    let html = "<a>".repeat(50);
    assert_eq!(wire.send(&request("PUT", "/bucket/page?foo=1").body(html.as_str())).status, 200);
    assert_eq!(body(&wire, "page"), Some(html));
}

#[test]
fn i6_what_a_header_asks_for_is_done_or_refused() {
    let (_dir, _server, wire) = start(&[]);
    let put =
        |name: &str, value: &str| wire.send(&request("PUT", "/bucket/x").header(name, value).body(*b"x"));
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-object-lock-until-doomsday", "ON"),
    ] {
        assert_eq!(put(name, value).refusal(), (501, "NotImplemented"), "{name}");
    }
    for (name, value) in [
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z"),
    ] {
        assert_eq!(put(name, value).refusal(), (400, "InvalidArgument"), "half a lock: {name}");
    }
    assert_eq!(put("x-amz-acl", "public-read").refusal(), (400, "AccessControlListNotSupported"));
    assert_eq!(put("x-amz-grant-read", "id=1").refusal(), (400, "AccessControlListNotSupported"));
    assert_eq!(put("x-amz-expected-bucket-owner", "111122223333").refusal(), (403, "AccessDenied"));
    assert_eq!(put("x-amz-trailer", "x-amz-checksum-crc32").refusal(), (400, "InvalidRequest"));
    for (name, value) in [
        ("x-amz-checksum-sha512", "AAAA"),
        ("x-amz-checksum-xxhash64", "AAAA"),
        ("x-amz-sdk-checksum-algorithm", "MD5"),
        ("x-amz-trailer", "x-amz-checksum-xxhash64"),
    ] {
        assert_eq!(put(name, value).refusal(), (501, "NotImplemented"), "{name}");
    }
    assert_eq!(body(&wire, "x"), None);
    assert_eq!(put("x-amz-acl", "private").status, 200);
    assert_eq!(put("content-type", "multipart/form-data; boundary=x").status, 200);
}

#[test]
fn buckets_are_hosts_too() {
    let (_dir, _server, wire) = start(&["--set", "s3.domains=[\"s3.example.com\"]"]);
    let hosted = |host: &str, target: &str| wire.send(&request("GET", target).host(host));
    for host in ["bucket.s3.example.com", "bucket.s3.example.com:9000", "BUCKET.S3.example.com:9000"] {
        assert_eq!(hosted(host, "/secret").body, "secret", "{host}");
        assert_eq!(hosted(host, "/?list-type=2").element("Name"), "bucket", "{host}");
    }
    for host in ["s3.example.com:9000", "localhost:9000", "nas.local", "[::1]:9000"] {
        assert_eq!(hosted(host, "/bucket/secret").body, "secret", "{host}");
    }
    let put =
        request("PUT", "/by%20host?x-id=PutObject").host("bucket.s3.example.com:9000").body("<a>".repeat(99));
    assert_eq!(wire.send(&put).status, 200);
    assert_eq!(body(&wire, "by%20host"), Some("<a>".repeat(99)));
}

#[test]
fn i6_keys_are_never_paths() {
    let (_dir, _server, wire) = start(&[]);
    assert_eq!(wire.send(&request("PUT", "/other")).status, 200);
    for key in ["..%2Fother%2Fx", "../other/x", "%2e%2e/other/x", "a/../../other/x"] {
        assert_eq!(wire.send(&request("PUT", &format!("/bucket/{key}")).body(*b"x")).status, 200, "{key}");
        assert_eq!(body(&wire, key).as_deref(), Some("x"), "{key}");
    }
    let listed = wire.send(&request("GET", "/other?list-type=2"));
    assert_eq!(listed.element("KeyCount"), "0");
}
