//! Objects that are XML: their bytes are nobody's document but the client's (I1).

use super::support::wire::{request, start_with_bucket};

/// With what the server's own documents would have referenced, not written.
fn xml(len: usize) -> String {
    let lines = (0..).flat_map(|n| format!("<line n=\"{n}\">\r\n\u{1}</line>").into_bytes());
    String::from_utf8(lines.take(len).collect()).unwrap()
}

#[test]
fn i1_an_object_of_any_type_is_read_as_it_was_stored() {
    let (_dir, _server, wire) = start_with_bucket();
    for kind in ["application/xml", "text/plain"] {
        for len in [1, 100, 5_000, 300_000] {
            let bytes = xml(len);
            let put = request("PUT", "/bucket/k").header("content-type", kind).body(bytes.as_str());
            assert_eq!(wire.send(&put).status, 200);
            for target in ["/bucket/k", "/bucket/k?response-content-type=application%2Fxml"] {
                let got = wire.send(&request("GET", target));
                assert_eq!((got.status, got.body == bytes), (200, true), "{kind} {len} {target}");
                assert_eq!(got.headers["content-length"], len.to_string());
                let last = format!("bytes={}-{}", len / 2, len - 1);
                let range = wire.send(&request("GET", target).header("range", &last));
                assert_eq!(
                    (range.status, range.body == bytes[len / 2..]),
                    (206, true),
                    "{kind} {len} {target}"
                );
            }
        }
    }
}

#[test]
fn i1_a_part_of_an_xml_object_is_read_as_it_was_stored() {
    let (_dir, _server, wire) = start_with_bucket();
    let create = request("POST", "/bucket/k?uploads=").header("content-type", "application/xml");
    let created = wire.send(&create);
    let id = created.element("UploadId");
    let bytes = xml(2_000);
    let part =
        wire.send(&request("PUT", &format!("/bucket/k?partNumber=1&uploadId={id}")).body(bytes.as_str()));
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.headers["etag"]
    );
    let done = wire.send(&request("POST", &format!("/bucket/k?uploadId={id}")).body(document));
    assert_eq!(done.status, 200, "{}", done.body);
    let got = wire.send(&request("GET", "/bucket/k?partNumber=1"));
    assert_eq!((got.status, got.body == bytes), (206, true));
}
