//! GetObjectAttributes on the wire.

use super::support::wire::{Answer, Wire, request, start_with_bucket};

const ALL: &str = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize";

fn attributes(wire: &Wire, target: &str, names: &str) -> Answer {
    wire.send(&request("GET", target).header("x-amz-object-attributes", names))
}

#[test]
fn attributes_are_those_that_are_named() {
    let (_dir, _server, wire) = start_with_bucket();
    let put = request("PUT", "/bucket/k").header("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    assert_eq!(wire.send(&put.body(*b"hello")).status, 200);
    let found = attributes(&wire, "/bucket/k?attributes=", ALL);
    assert_eq!(found.element("ETag"), "5d41402abc4b2a76b9719d911017c592", "without quotes");
    assert_eq!((found.element("ObjectSize"), found.element("StorageClass")), ("5", "STANDARD"));
    assert_eq!(found.element("ChecksumSHA1"), "qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    assert_eq!(found.element("ChecksumType"), "FULL_OBJECT");
    assert!(found.headers.contains_key("last-modified") && !found.body.contains("ObjectParts"));
    let some = request("GET", "/bucket/k?attributes=")
        .header("x-amz-object-attributes", "ObjectSize")
        .header("x-amz-object-attributes", " StorageClass");
    let some = wire.send(&some);
    assert_eq!((some.element("ObjectSize"), some.element("StorageClass")), ("5", "STANDARD"));
    assert!(!some.body.contains("ETag") && !some.body.contains("Checksum"), "{}", some.body);
    let unknown = attributes(&wire, "/bucket/k?attributes=", "ETag,ETags");
    assert_eq!((unknown.refusal(), unknown.element("ArgumentValue")), ((400, "InvalidArgument"), "ETags"));
    assert_eq!(attributes(&wire, "/bucket/k?attributes=", ",").refusal(), (400, "InvalidRequest"));
    assert_eq!(wire.send(&request("GET", "/bucket/k?attributes=")).refusal(), (400, "InvalidRequest"));
    assert_eq!(attributes(&wire, "/bucket/none?attributes=", ALL).refusal(), (404, "NoSuchKey"));
    let changed = request("GET", "/bucket/k?attributes=").header("x-amz-object-attributes", ALL);
    assert_eq!(wire.send(&changed.clone().header("if-match", "\"0\"")).status, 412);
    let tag = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(wire.send(&changed.header("if-none-match", tag)).status, 304);
}

#[test]
fn parts_are_listed_page_by_page() {
    let (_dir, _server, wire) = start_with_bucket();
    let created = wire.send(&request("POST", "/bucket/big?uploads="));
    let id = created.element("UploadId");
    let mut listed = String::new();
    for (number, body) in [(2, vec![b'a'; 5 << 20]), (5, vec![b'b'; 5 << 20]), (9, b"end".to_vec())] {
        let target = format!("/bucket/big?partNumber={number}&uploadId={id}");
        let etag = wire.send(&request("PUT", &target).body(body)).headers["etag"].clone();
        listed.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"));
    }
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let done = wire.send(&request("POST", &format!("/bucket/big?uploadId={id}")).body(document));
    assert_eq!(done.status, 200, "{}", done.body);
    let target = "/bucket/big?attributes=";
    let all = attributes(&wire, target, "ObjectParts");
    let of = |answer: &Answer, name: &str| answer.element(name).to_owned();
    assert_eq!((of(&all, "PartsCount"), of(&all, "MaxParts")), ("3".into(), "1000".into()));
    assert_eq!((of(&all, "IsTruncated"), of(&all, "NextPartNumberMarker")), ("false".into(), "9".into()));
    assert_eq!(all.body.matches("<ChecksumCRC64NVME>").count(), 3, "{}", all.body);
    let page = |marker: &str, most: &str| {
        let ask = request("GET", target).header("x-amz-object-attributes", "ObjectParts");
        wire.send(&ask.header("x-amz-part-number-marker", marker).header("x-amz-max-parts", most))
    };
    let one = page("2", "1");
    assert_eq!((of(&one, "PartNumber"), of(&one, "Size")), ("5".into(), (5 << 20).to_string()));
    assert_eq!((of(&one, "IsTruncated"), of(&one, "NextPartNumberMarker")), ("true".into(), "5".into()));
    assert_eq!((of(&one, "PartNumberMarker"), of(&one, "MaxParts")), ("2".into(), "1".into()));
    let last = page("5", "10");
    assert_eq!((of(&last, "PartNumber"), of(&last, "Size")), ("9".into(), "3".into()));
    assert_eq!(page("x", "-1").body.matches("<Part>").count(), 3, "what is no number does not count");
    // A part is read by its number; its checksum is its own, of the object's type.
    let part = request("GET", "/bucket/big?partNumber=9").header("x-amz-checksum-mode", "ENABLED");
    let part = wire.send(&part);
    assert_eq!((part.status, part.body.as_str()), (206, "end"));
    assert_eq!(part.headers["x-amz-mp-parts-count"], "3");
    assert_eq!(part.headers["x-amz-checksum-type"], "FULL_OBJECT");
    let missing = wire.send(&request("GET", "/bucket/big?partNumber=3"));
    assert_eq!(missing.refusal(), (416, "InvalidPartNumber"));
    assert_eq!((missing.element("PartNumberRequested"), missing.element("ActualPartCount")), ("3", "3"));
}
