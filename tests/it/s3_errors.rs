//! What errors say, on the wire: status, code, and the elements beside them.

use super::support::sediment::{Sediment, exchange};
use super::support::wire::{Request, Wire, request, start_with_bucket};

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let started = start_with_bucket();
    assert_eq!(started.2.send(&request("PUT", "/bucket/k").body(*b"0123456789")).status, 200);
    started
}

/// A request, and what its refusal is made of.
struct Row<'a> {
    request: Request,
    status: u16,
    code: &'a str,
    elements: &'a [(&'a str, &'a str)],
}

fn row<'a>(request: Request, status: u16, code: &'a str, elements: &'a [(&'a str, &'a str)]) -> Row<'a> {
    Row { request, status, code, elements }
}

fn check(wire: &Wire, rows: Vec<Row<'_>>) {
    for Row { request, status, code, elements } in rows {
        let what = format!("{} {:.80} {:?}", request.method, request.target, request.headers);
        let answer = wire.send(&request);
        assert_eq!(answer.refusal(), (status, code), "{what}: {}", answer.body);
        for (name, value) in elements {
            assert_eq!(answer.element(name), *value, "{name} of {what}: {}", answer.body);
        }
        assert!(answer.element("Message").len() > 8, "{what}: {}", answer.body);
        assert_eq!(answer.element("RequestId"), answer.headers["x-amz-request-id"], "{what}");
        assert_eq!(answer.element("HostId"), answer.headers["x-amz-id-2"], "{what}");
        assert_eq!(answer.element("Resource"), request.target.split('?').next().unwrap(), "{what}");
        assert_eq!(answer.headers["content-type"], "application/xml", "{what}");
    }
}

#[test]
fn methods_that_are_not_allowed() {
    let (_dir, _server, wire) = start();
    let not_allowed = |method: &'static str, target: &str, elements: &'static [(&str, &str)]| {
        row(request(method, target).body(*b""), 405, "MethodNotAllowed", elements)
    };
    let form = "Bucket POST must be of the enclosure-type multipart/form-data";
    check(
        &wire,
        vec![
            not_allowed("POST", "/", &[("Method", "POST"), ("ResourceType", "SERVICE")]),
            not_allowed("PUT", "/", &[("Method", "PUT"), ("ResourceType", "SERVICE")]),
            not_allowed("DELETE", "/", &[("Method", "DELETE"), ("ResourceType", "SERVICE")]),
            not_allowed("PATCH", "/bucket", &[("Method", "PATCH"), ("ResourceType", "BUCKET")]),
            not_allowed("BREW", "/bucket/k", &[("Method", "BREW"), ("ResourceType", "OBJECT")]),
            not_allowed("POST", "/bucket/k", &[("Method", "POST"), ("ResourceType", "OBJECT")]),
            not_allowed("DELETE", "/bucket?acl=", &[("Method", "DELETE"), ("ResourceType", "ACL")]),
            not_allowed("PUT", "/bucket?location=", &[("ResourceType", "LOCATION")]),
            not_allowed("PUT", "/bucket/k?torrent=", &[("ResourceType", "TORRENT")]),
            not_allowed("GET", "/bucket/k?torrent=", &[("Method", "GET"), ("ResourceType", "TORRENT")]),
            row(request("POST", "/bucket").body(*b""), 412, "PreconditionFailed", &[("Condition", form)]),
        ],
    );
}

#[test]
fn names_and_parameters() {
    let (_dir, _server, wire) = start();
    let long = format!("/bucket/{}", "k".repeat(1025));
    let get = |target: &str| request("GET", target);
    let invalid = |target: &str, elements| row(get(target), 400, "InvalidArgument", elements);
    check(
        &wire,
        vec![
            row(get(&long), 400, "KeyTooLongError", &[("Size", "1025"), ("MaxSizeAllowed", "1024")]),
            row(request("PUT", &long).body(*b"x"), 400, "KeyTooLongError", &[("Size", "1025")]),
            row(get("/Bad_Name"), 400, "InvalidBucketName", &[("BucketName", "Bad_Name")]),
            row(get("/bucket/%zz"), 400, "InvalidURI", &[]),
            row(get("/nowhere-at-all"), 404, "NoSuchBucket", &[("BucketName", "nowhere-at-all")]),
            row(get("/bucket/none"), 404, "NoSuchKey", &[("Key", "none")]),
            invalid("/bucket?max-keys=abc", &[("ArgumentName", "max-keys"), ("ArgumentValue", "abc")]),
            invalid("/bucket?max-keys=-1", &[("ArgumentValue", "-1")]),
            invalid("/bucket?list-type=2&max-keys=99999999999", &[("ArgumentName", "max-keys")]),
            invalid("/bucket?uploads=&max-uploads=x", &[("ArgumentName", "max-uploads")]),
            invalid("/bucket?prefix=a&prefix=b", &[("ArgumentName", "prefix")]),
            invalid(
                "/bucket?encoding-type=b64",
                &[("ArgumentName", "encoding-type"), ("ArgumentValue", "b64")],
            ),
            invalid(
                "/bucket/k?versionId=nonsense%21",
                &[("ArgumentName", "versionId"), ("ArgumentValue", "nonsense!")],
            ),
            invalid("/bucket/k?versionId=null&versionId=null", &[("ArgumentName", "versionId")]),
            invalid("/bucket/k?partNumber=0", &[("ArgumentName", "partNumber"), ("ArgumentValue", "0")]),
            row(
                get("/bucket/k?partNumber=2"),
                416,
                "InvalidPartNumber",
                &[("PartNumberRequested", "2"), ("ActualPartCount", "1")],
            ),
            row(
                get("/bucket/k").header("range", "bytes=100-200"),
                416,
                "InvalidRange",
                &[("RangeRequested", "bytes=100-200"), ("ActualObjectSize", "10")],
            ),
            row(
                get("/bucket/k").header("if-match", "\"0\""),
                412,
                "PreconditionFailed",
                &[("Condition", "If-Match")],
            ),
        ],
    );
    let clamped = wire.send(&get("/bucket?max-keys=5000"));
    assert_eq!((clamped.status, clamped.element("MaxKeys")), (200, "1000"));
}

#[test]
fn limits_of_uploads() {
    let (_dir, _server, wire) = start();
    let put = || request("PUT", "/bucket/new");
    let five_gib = 5u64 << 30;
    let too_large = (five_gib + 1).to_string();
    let metadata = "m".repeat(2048);
    let upload = wire.send(&request("POST", "/bucket/parts?uploads=")).element("UploadId").to_owned();
    let part = |number: &str| request("PUT", &format!("/bucket/parts?partNumber={number}&uploadId={upload}"));
    let wrong_number =
        |number| row(part(number).body(*b"x"), 400, "InvalidArgument", &[("ArgumentName", "partNumber")]);
    let five = five_gib.to_string();
    let sizes: &[(&str, &str)] = &[("ProposedSize", &too_large), ("MaxSizeAllowed", &five)];
    check(
        &wire,
        vec![
            row(put().header("content-length", &too_large), 400, "EntityTooLarge", sizes),
            row(part("1").header("content-length", &too_large), 400, "EntityTooLarge", sizes),
            row(
                put().header("x-amz-meta-a", &metadata).body(*b"x"),
                400,
                "MetadataTooLarge",
                &[("Size", "2049"), ("MaxSizeAllowed", "2048")],
            ),
            row(
                put().header("x-amz-storage-class", "WARM").body(*b"x"),
                400,
                "InvalidStorageClass",
                &[("StorageClassRequested", "WARM")],
            ),
            row(
                put().header("content-md5", "nonsense").body(*b"x"),
                400,
                "InvalidDigest",
                &[("Content-MD5", "nonsense")],
            ),
            row(put().header("content-md5", "").body(*b"x"), 400, "InvalidDigest", &[]),
            row(
                put().header("content-md5", "CY9rzUYh03PK3k6DJie09g==").body(*b"x"),
                400,
                "BadDigest",
                &[
                    ("ExpectedDigest", "098f6bcd4621d373cade4e832627b4f6"),
                    ("CalculatedDigest", "ndTkYSaMgDT1yFZOFVxnpg=="),
                ],
            ),
            wrong_number("0"),
            wrong_number("10001"),
            wrong_number("x"),
            row(
                request("PUT", "/bucket/parts?partNumber=1&uploadId=nonsense").body(*b"x"),
                404,
                "NoSuchUpload",
                &[("UploadId", "nonsense")],
            ),
        ],
    );
    let complete = |parts: &str| {
        let target = format!("/bucket/parts?uploadId={upload}");
        request("POST", &target).body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"))
    };
    let named = |number: u32, etag: &str| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
    };
    let etags =
        ["1", "2"].map(|number| wire.send(&part(number).body(*b"small")).headers["etag"].replace('"', ""));
    let none = "0".repeat(32);
    check(
        &wire,
        vec![
            row(
                complete(&(named(1, &etags[0]) + &named(2, &etags[1]))),
                400,
                "EntityTooSmall",
                &[
                    ("PartNumber", "1"),
                    ("ETag", &etags[0]),
                    ("ProposedSize", "5"),
                    ("MinSizeAllowed", "5242880"),
                ],
            ),
            row(
                complete(&named(1, &none)),
                400,
                "InvalidPart",
                &[("PartNumber", "1"), ("ETag", &none), ("UploadId", &upload)],
            ),
            row(complete(&named(3, &none)), 400, "InvalidPart", &[("PartNumber", "3")]),
            row(
                complete(&(named(2, &etags[1]) + &named(1, &etags[0]))),
                400,
                "InvalidPartOrder",
                &[("UploadId", &upload)],
            ),
            row(complete(""), 400, "MalformedXML", &[]),
            row(complete(&named(10_001, &none)), 400, "InvalidArgument", &[]),
            row(complete(&named(1, &none).repeat(10_001)), 400, "MalformedXML", &[]),
        ],
    );
}

#[test]
fn documents() {
    let (_dir, _server, wire) = start();
    let delete = |xml: String| request("POST", "/bucket?delete=").body(xml);
    let object = "<Object><Key>k</Key></Object>";
    let versioning = |xml: &str| request("PUT", "/bucket?versioning=").body(xml);
    let insisted = delete(format!("<Delete>{object}</Delete>"));
    let unanswered = wire.send(&insisted);
    let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    assert_eq!(unanswered.element("Message"), message);
    check(
        &wire,
        vec![
            row(insisted, 400, "InvalidRequest", &[]),
            row(delete(format!("<Delete>{}</Delete>", object.repeat(1001))).with_md5(), 400, "MalformedXML", &[]),
            row(delete("<Delete><Object>".to_owned()).with_md5(), 400, "MalformedXML", &[]),
            row(delete("nonsense".to_owned()).with_md5(), 400, "MalformedXML", &[]),
            row(delete(String::new()).with_md5(), 400, "MissingRequestBodyError", &[]),
            row(versioning("<VersioningConfiguration/>"), 400, "IllegalVersioningConfigurationException", &[]),
            row(
                versioning("<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"),
                400,
                "MalformedXML",
                &[],
            ),
            row(
                request("PUT", "/elsewhere").body("<CreateBucketConfiguration><LocationConstraint>eu-west-9</LocationConstraint></CreateBucketConfiguration>"),
                400,
                "IllegalLocationConstraintException",
                &[],
            ),
        ],
    );
}

#[test]
fn markers_are_not_read() {
    let (_dir, _server, wire) = start();
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(wire.send(&request("PUT", "/bucket?versioning=").body(enabled)).status, 200);
    let marker = wire.send(&request("DELETE", "/bucket/k")).headers["x-amz-version-id"].clone();
    let of =
        |method: &'static str, query: &str| request(method, &format!("/bucket/k?{query}versionId={marker}"));
    check(
        &wire,
        vec![
            row(request("GET", "/bucket/k"), 404, "NoSuchKey", &[("Key", "k")]),
            row(
                of("GET", ""),
                405,
                "MethodNotAllowed",
                &[("Method", "GET"), ("ResourceType", "DeleteMarker")],
            ),
            row(
                of("PUT", "acl=&").header("x-amz-acl", "private").body(*b""),
                405,
                "MethodNotAllowed",
                &[("Method", "PUT"), ("ResourceType", "DeleteMarker")],
            ),
        ],
    );
    assert_eq!(wire.send(&of("GET", "")).headers["x-amz-delete-marker"], "true");
}

#[test]
fn a_wrong_signature_shows_what_was_to_be_signed() {
    let (_dir, _server, wire) = start();
    let get = request("GET", "/bucket/k");
    let mut signed = wire.sign(&get);
    signed.target = "/bucket/other".to_owned();
    let forged = wire.send_signed(&get, &signed, b"");
    assert_eq!(forged.refusal(), (403, "SignatureDoesNotMatch"));
    assert_eq!(forged.element("SignatureProvided"), signed.signature);
    assert!(forged.element("StringToSign").starts_with("AWS4-HMAC-SHA256\n"), "{}", forged.body);
    assert!(forged.element("CanonicalRequest").starts_with("GET\n/bucket/other\n"), "{}", forged.body);
    assert!(!forged.body.contains(super::support::sediment::PASSWORD));
}

/// Nobody but the listener sees these.
#[test]
fn what_is_no_request_gets_a_document_too() {
    let (_dir, server, wire) = start();
    let address = server.s3.trim_start_matches("http://");
    let headers = |count: usize, length: usize| -> String {
        (0..count).map(|number| format!("x-{number}: {}\r\n", "v".repeat(length))).collect()
    };
    let long = headers(1, 40 << 10);
    let many = headers(101, 1);
    for (why, head, code) in [
        ("a long header", format!("GET / HTTP/1.1\r\nhost: h\r\n{long}\r\n"), "RequestHeaderSectionTooLarge"),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: h\r\n{many}\r\n"), "RequestHeaderSectionTooLarge"),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(40 << 10)),
            "RequestHeaderSectionTooLarge",
        ),
        ("no version", "GET /\r\n\r\n".to_owned(), "BadRequest"),
        ("no HTTP", "\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), "BadRequest"),
        ("no header", "GET / HTTP/1.1\r\nhost h\r\n\r\n".to_owned(), "BadRequest"),
        ("no length", "PUT /a/b HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n".to_owned(), "BadRequest"),
        (
            "an empty length",
            "PUT /a/b HTTP/1.1\r\nhost: h\r\ncontent-length:\r\n\r\n".to_owned(),
            "BadRequest",
        ),
        (
            "two lengths",
            "PUT /a/b HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_owned(),
            "BadRequest",
        ),
        ("a tunnel", "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n".to_owned(), "MethodNotAllowed"),
    ] {
        let answer = exchange(address, head.as_bytes());
        let (head, document) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 4"), "{why}: {answer}");
        assert!(document.contains(&format!("<Code>{code}</Code>")), "{why}: {answer}");
        assert!(document.ends_with("</Error>"), "{why}: {answer}");
        for name in ["x-amz-request-id: ", "x-amz-id-2: ", "date: ", "content-type: application/xml"] {
            assert!(head.contains(name), "{name} of {why}: {answer}");
        }
        assert!(head.contains(&format!("content-length: {}", document.len())), "{why}: {answer}");
    }
    // Behind a request that is one, which is answered whole.
    let get = request("GET", "/bucket/k");
    let signed = wire.sign(&get);
    let mut text = format!("GET {} HTTP/1.1\r\n", signed.target);
    signed.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    let answer = exchange(address, format!("{text}\r\nnonsense\r\n\r\n").as_bytes());
    let (first, rest) = answer.split_once("0123456789").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 ") && rest.starts_with("HTTP/1.1 400 "), "{answer}");
}
