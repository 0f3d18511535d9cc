//! A request that goes around s3s gets the answer that s3s would give: the same request with a header that means nothing
//! and is not known takes s3s's way, and the two are compared.

use super::{DirectRead, EMPTY};
use crate::s3::address::Address;
use crate::s3::auth::Payload;
use crate::s3::query::Query;
use crate::types::Principal;
use http::request::Parts;
use sha2::Digest;

fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/bucket/key").header("host", "a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn is_direct(head: &Parts, query: &str, payload: &Payload, is_empty: bool) -> bool {
    let address = Address::Object { bucket: "bucket".to_owned(), key: "key".to_owned() };
    let query = Query::parse(query).unwrap();
    DirectRead::of(head, &address, &query, (&Principal::Anonymous, payload), is_empty).is_some()
}

#[test]
fn i6_only_what_is_wholly_understood_goes_around_s3s() {
    let plain = |method: &str, headers: &[(&str, &str)]| {
        is_direct(&head(method, headers), "", &Payload::Unsigned, true)
    };
    assert!(
        plain("GET", &[]) && plain("HEAD", &[("range", "bytes=0-1"), ("x-amz-checksum-mode", "enabled")])
    );
    for method in ["PUT", "POST", "DELETE", "PATCH", "get", "OPTIONS"] {
        assert!(!plain(method, &[]), "{method}");
    }
    for headers in [
        &[("x-amz-copy-source", "/a/b")][..],
        &[("x-amz-server-side-encryption-customer-algorithm", "AES256")],
        &[("x-amz-acl", "public-read")],
        &[("x-amz-checksum-crc32", "AAAAAA==")],
        &[("x-amz-checksum-mode", "DISABLED")],
        &[("x-amz-trailer", "x-amz-checksum-crc32")],
        &[("x-amz-request-payer", "requester")],
        &[("x-amz-object-lock-mode", "GOVERNANCE")],
        &[("content-length", "1")],
        &[("content-length", "00")],
        &[("content-md5", "x")],
        &[("transfer-encoding", "chunked")],
        &[("expect", "100-continue")],
        &[("if-range", "\"a\"")],
        &[("x-never-heard-of", "1")],
        &[("range", "bytes=0-1"), ("range", "bytes=2-3")],
        &[("x-amz-expected-bucket-owner", "a"), ("x-amz-expected-bucket-owner", "b")],
    ] {
        assert!(!plain("GET", headers), "{headers:?}");
    }
    let get = head("GET", &[]);
    for query in
        ["versionId=null", "partNumber=1", "response-expires=0", "x-id=GetObject&x-id=GetObject", "acl", "?"]
    {
        assert!(!is_direct(&get, query, &Payload::Unsigned, true), "{query}");
    }
    assert!(is_direct(&get, "x-id=GetObject", &Payload::Unsigned, true));
    assert!(!is_direct(&get, "", &Payload::Unsigned, false), "it has a body");
    assert!(is_direct(&get, "", &Payload::Hashed(EMPTY), true));
    assert!(!is_direct(&get, "", &Payload::Hashed([0; 32]), true), "its body was another");
    assert!(!is_direct(&get, "", &Payload::Chunked { signer: None, has_trailer: true }, true));
    let bucket = Address::Bucket("bucket".to_owned());
    let query = Query::parse("").unwrap();
    assert!(
        DirectRead::of(&get, &bucket, &query, (&Principal::Anonymous, &Payload::Unsigned), true).is_none()
    );
    assert_eq!(EMPTY[..], sha2::Sha256::digest(b"")[..]);
}
