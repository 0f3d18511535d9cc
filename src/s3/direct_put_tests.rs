use super::DirectPut;
use crate::s3::address::Address;
use crate::s3::query::Query;
use http::request::Parts;

fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/bucket/key").header("host", "a");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn is_direct(head: &Parts, query: &str) -> bool {
    let address = Address::Object { bucket: "bucket".to_owned(), key: "key".to_owned() };
    DirectPut::of(head, &address, &Query::parse(query).unwrap()).is_some()
}

#[test]
fn i6_only_a_put_that_is_wholly_understood_goes_around_s3s() {
    let put = |headers: &[(&str, &str)]| {
        is_direct(&head("PUT", &[&[("content-length", "3")][..], headers].concat()), "")
    };
    assert!(
        put(&[]) && put(&[("x-amz-meta-a", "b"), ("content-type", "text/plain"), ("if-none-match", "*")])
    );
    for headers in [
        &[("x-amz-copy-source", "/a/b")][..],
        &[("x-amz-tagging", "a=b")],
        &[("x-amz-storage-class", "GLACIER")],
        &[("x-amz-object-lock-mode", "GOVERNANCE")],
        &[("x-amz-server-side-encryption", "AES256")],
        &[("x-amz-grant-read", "id=a")],
        &[("x-amz-website-redirect-location", "/a")],
        &[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32", "AAAAAQ==")],
        &[("x-amz-checksum-mode", "ENABLED")],
        &[("x-amz-write-offset-bytes", "1")],
        &[("x-amz-decoded-content-length", "x")],
        &[("expires", "0")],
        &[("expect", "100-continue")],
        &[("transfer-encoding", "chunked")],
        &[("content-range", "bytes 0-1/2")],
        &[("if-modified-since", "x")],
        &[("content-type", "")],
        &[("content-type", "a"), ("content-type", "b")],
        &[("x-amz-meta-a", "b\tc")],
        &[("x-never-heard-of", "1")],
    ] {
        assert!(!put(headers), "{headers:?}");
    }
    let latin = http::HeaderValue::from_bytes(b"\xe4").unwrap();
    let mut parts = head("PUT", &[("content-length", "3")]);
    parts.headers.insert("x-amz-meta-a", latin);
    assert!(!is_direct(&parts, ""));
    for length in [&[][..], &[("content-length", "+3")], &[("content-length", "9223372036854775808")]] {
        assert!(!is_direct(&head("PUT", length), ""), "{length:?}");
    }
    let plain = head("PUT", &[("content-length", "3")]);
    for query in ["uploadId=a&partNumber=1", "partNumber=1", "versionId=null", "acl", "x-id=PutObject&x-id=a"]
    {
        assert!(!is_direct(&plain, query), "{query}");
    }
    assert!(is_direct(&plain, "x-id=PutObject"));
    for method in ["GET", "HEAD", "POST", "DELETE", "put"] {
        assert!(!is_direct(&head(method, &[("content-length", "3")]), ""), "{method}");
    }
    let bucket = Address::Bucket("bucket".to_owned());
    assert!(DirectPut::of(&plain, &bucket, &Query::parse("").unwrap()).is_none());
}
