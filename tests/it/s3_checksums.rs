//! Checksums of uploads, of their parts and of what they make, on the wire.

use super::support::wire::{Answer, Wire, request, start_with_bucket};

/// Each algorithm with its digest of `123456789`, and what an upload of that one part has.
const SUMS: [(&str, &str, &str, &str); 6] = [
    ("CRC32", "COMPOSITE", "y/Q5Jg==", "7kxlUA==-1"),
    ("CRC32C", "COMPOSITE", "4waSgw==", "pzJFoA==-1"),
    ("SHA1", "COMPOSITE", "98O8HYCOBHMq32eZZczDTKeuNEE=", "zGcEPHvP9e6lVmvZsfPHT9mlz10=-1"),
    (
        "SHA256",
        "COMPOSITE",
        "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        "KSsNAHVmgy25S/rmic1w0at3KBH9RLn0nYVQ7p6mpJQ=-1",
    ),
    ("CRC32", "FULL_OBJECT", "y/Q5Jg==", "y/Q5Jg=="),
    ("CRC64NVME", "FULL_OBJECT", "rosUhgp5mIg=", "rosUhgp5mIg="),
];

fn header(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase())
}

fn complete(wire: &Wire, id: &str, etag: &str, sums: &str, headers: &[(&str, &str)]) -> Answer {
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag>{sums}</Part></CompleteMultipartUpload>"
    );
    let post = request("POST", &format!("/bucket/k?uploadId={id}")).body(document);
    wire.send(&headers.iter().fold(post, |post, (name, value)| post.header(name, value)))
}

#[test]
fn parts_have_the_checksums_that_the_upload_announced() {
    let (_dir, _server, wire) = start_with_bucket();
    for (algorithm, kind, sum, whole) in SUMS {
        let header = header(algorithm);
        let create = request("POST", "/bucket/k?uploads=").header("x-amz-checksum-algorithm", algorithm);
        let created = wire.send(&create.header("x-amz-checksum-type", kind));
        assert_eq!(created.headers["x-amz-checksum-algorithm"], algorithm);
        assert_eq!(created.headers["x-amz-checksum-type"], kind);
        let id = created.element("UploadId");
        let target = format!("/bucket/k?partNumber=1&uploadId={id}");
        let part = wire.send(&request("PUT", &target).header(&header, sum).body(*b"123456789"));
        assert_eq!((part.status, part.headers[&header].as_str()), (200, sum), "{algorithm}");
        let etag = &part.headers["etag"];
        let element = format!("<Checksum{algorithm}>{sum}</Checksum{algorithm}>");
        let listed = wire.send(&request("GET", &format!("/bucket/k?uploadId={id}")));
        assert!(listed.body.contains(&element), "{}", listed.body);
        assert_eq!((listed.element("ChecksumAlgorithm"), listed.element("ChecksumType")), (algorithm, kind));
        let invalid = complete(&wire, id, etag, &element.replace(sum, "bad"), &[]);
        assert_eq!(
            (invalid.refusal(), invalid.element("ArgumentName")),
            ((400, "InvalidArgument"), "Checksum")
        );
        assert_eq!(invalid.element("ArgumentValue"), format!("{algorithm}:bad;"));
        let (name, value) = if algorithm == "SHA1" { ("SHA256", SUMS[3].2) } else { ("SHA1", SUMS[2].2) };
        let other = format!("<Checksum{name}>{value}</Checksum{name}>");
        let twice = complete(&wire, id, etag, &(element.clone() + &other), &[]);
        assert_eq!((twice.refusal(), twice.element("ArgumentName")), ((400, "InvalidArgument"), "Checksum"));
        assert_eq!(complete(&wire, id, etag, &other, &[]).refusal(), (400, "BadDigest"), "{algorithm}");
        let sized = complete(&wire, id, etag, &element, &[("x-amz-mp-object-size", "8")]);
        assert_eq!(sized.refusal(), (400, "InvalidRequest"));
        let negative = complete(&wire, id, etag, &element, &[("x-amz-mp-object-size", "-1")]);
        assert_eq!(negative.refusal(), (400, "InvalidRequest"));
        let wrong = complete(&wire, id, etag, &element, &[(&header, &format!("A{}", &whole[1..]))]);
        assert_eq!(wrong.refusal(), (400, "BadDigest"), "{algorithm}");
        let headers =
            [(header.as_str(), whole), ("x-amz-checksum-type", kind), ("x-amz-mp-object-size", "9")];
        let done = complete(&wire, id, etag, &element, &headers);
        assert_eq!((done.status, done.element("ChecksumType")), (200, kind), "{}", done.body);
        assert!(done.body.contains(&format!("<Checksum{algorithm}>{whole}<")), "{}", done.body);
        let head = |target: &str| {
            wire.send(&request("HEAD", target).header("x-amz-checksum-mode", "ENABLED")).headers
        };
        assert_eq!(head("/bucket/k")[&header], whole);
        let part = head("/bucket/k?partNumber=1");
        assert_eq!((part[&header].as_str(), part["x-amz-checksum-type"].as_str()), (sum, kind));
        assert!(!wire.send(&request("HEAD", "/bucket/k")).headers.contains_key(&header));
    }
}

#[test]
fn checksums_are_shown_for_exactly_the_bytes_that_are_sent() {
    let (_dir, _server, wire) = start_with_bucket();
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"123456789")).status, 200);
    let get = |range: &str, mode: &str| {
        wire.send(&request("GET", "/bucket/k").header("range", range).header("x-amz-checksum-mode", mode))
    };
    let whole = get("bytes=0-8", "ENABLED");
    assert_eq!((whole.status, whole.headers["x-amz-checksum-crc64nvme"].as_str()), (206, "rosUhgp5mIg="));
    assert_eq!(whole.headers["x-amz-checksum-type"], "FULL_OBJECT");
    let some = get("bytes=0-7", "ENABLED").headers;
    assert!(!some.keys().any(|name| name.starts_with("x-amz-checksum-")), "{some:?}");
    assert!(
        get("bytes=0-8", "enabled").headers.contains_key("x-amz-checksum-crc64nvme"),
        "as pyarrow writes it"
    );
    assert_eq!(get("bytes=0-8", "DISABLED").refusal(), (400, "InvalidRequest"));
}

#[test]
fn what_the_head_says_of_checksums_has_to_fit() {
    let (_dir, _server, wire) = start_with_bucket();
    let put = |lines: &[(&str, &str)]| {
        let put = request("PUT", "/bucket/k").body(*b"123456789");
        wire.send(&lines.iter().fold(put, |put, (name, value)| put.header(name, value)))
    };
    let invalid = put(&[("x-amz-checksum-sha256", "bad")]);
    assert_eq!(invalid.refusal(), (400, "InvalidRequest"));
    assert_eq!(invalid.element("Message"), "Value for x-amz-checksum-sha256 header is invalid.");
    assert_eq!(put(&[("x-amz-checksum-crc32", "z/Q5Jg==")]).refusal(), (400, "BadDigest"));
    let said =
        |name: &str| put(&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", name)]);
    assert_eq!(said("SHA1").refusal(), (400, "InvalidRequest"));
    assert_eq!(said("CRC32").status, 200);
    let create = |lines: &[(&str, &str)]| {
        let post = request("POST", "/bucket/k?uploads=");
        wire.send(&lines.iter().fold(post, |post, (name, value)| post.header(name, value)))
    };
    let named = |algorithm, kind| {
        create(&[("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]).status
    };
    assert_eq!(named("SHA1", "FULL_OBJECT"), 400);
    assert_eq!(named("CRC64NVME", "COMPOSITE"), 400);
    assert_eq!(named("CRC32", "OTHER"), 400);
    assert_eq!(create(&[("x-amz-checksum-type", "COMPOSITE")]).refusal(), (400, "InvalidRequest"));
    let id = create(&[("x-amz-checksum-algorithm", "CRC32C")]);
    let part = format!("/bucket/k?partNumber=1&uploadId={}", id.element("UploadId"));
    let part = request("PUT", &part).header("x-amz-checksum-crc32", "y/Q5Jg==").body(*b"123456789");
    let part = wire.send(&part);
    assert_eq!(part.refusal(), (400, "InvalidRequest"));
    assert!(part.element("Message").contains("expected checksum Type: crc32c, actual checksum Type: crc32"));
}
