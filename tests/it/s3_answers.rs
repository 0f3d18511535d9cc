//! What answers look like on the wire: errors, headers, ranges, listings.

use super::support::sediment::Sediment;
use super::support::wire::{Answer, Wire, request, start_with_bucket};

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let started = start_with_bucket();
    assert_eq!(started.2.send(&request("PUT", "/bucket/k").body(*b"0123456789")).status, 200);
    started
}

#[test]
fn errors_say_what_aws_says() {
    let (_dir, _server, wire) = start();
    let get = |target: &str| wire.send(&request("GET", target));
    let missing = get("/bucket/a%26b");
    assert_eq!(missing.refusal(), (404, "NoSuchKey"));
    assert_eq!(missing.element("Message"), "The specified key does not exist.");
    assert_eq!((missing.element("Key"), missing.element("Resource")), ("a&amp;b", "/bucket/a%26b"));
    assert_eq!(missing.element("RequestId"), missing.headers["x-amz-request-id"]);
    assert_eq!(missing.headers["content-type"], "application/xml");
    assert!(missing.headers.contains_key("x-amz-id-2"));
    let no_bucket = get("/nowhere-to-be-seen/k");
    assert_eq!(
        (no_bucket.refusal(), no_bucket.element("BucketName")),
        ((404, "NoSuchBucket"), "nowhere-to-be-seen")
    );
    for (target, code) in [("/B", "InvalidBucketName"), ("/bucket/%ff", "InvalidURI")] {
        let answer = get(target);
        assert_eq!(answer.refusal(), (400, code));
        assert!(answer.element("Message").len() > 10, "{}", answer.body);
    }
    let long = get(&format!("/bucket/{}", "k".repeat(1025)));
    assert_eq!(long.refusal(), (400, "KeyTooLongError"));
    let failed = wire.send(&request("PUT", "/bucket/k").header("if-none-match", "*").body(*b"x"));
    assert_eq!(
        (failed.refusal(), failed.element("Condition")),
        ((412, "PreconditionFailed"), "If-None-Match")
    );
    let range = wire.send(&request("GET", "/bucket/k").header("range", "bytes=10-"));
    assert_eq!((range.refusal(), range.element("ActualObjectSize")), ((416, "InvalidRange"), "10"));
    assert_eq!(
        (range.headers["content-range"].as_str(), range.headers["content-type"].as_str()),
        ("bytes */10", "application/xml")
    );
    for target in ["/bucket/none", "/nowhere-to-be-seen", "/B"] {
        let head = wire.send(&request("HEAD", target));
        assert!(head.status >= 400 && head.body.is_empty(), "{target}");
        assert!(head.headers.contains_key("x-amz-request-id"));
    }
}

#[test]
fn errors_of_signatures_say_what_the_server_expects() {
    let (_dir, server, wire) = start();
    let get = request("GET", "/bucket/k");
    let mut signed = wire.sign(&get);
    let change = |signed: &mut super::support::wire::Signed, from: &str, to: &str| {
        for (_, value) in signed.headers.iter_mut().filter(|(name, _)| name == "authorization") {
            *value = value.replace(from, to);
        }
    };
    change(&mut signed, "us-east-1", "eu-central-1");
    let region = wire.send_signed(&get, &signed, b"");
    assert_eq!(region.refusal(), (400, "AuthorizationHeaderMalformed"));
    assert_eq!(
        (region.element("Region"), region.headers["x-amz-bucket-region"].as_str()),
        ("us-east-1", "us-east-1")
    );
    let mut signed = wire.sign(&get);
    signed.headers.iter_mut().filter(|(name, _)| name == "host").for_each(|(_, value)| value.push('x'));
    let forged = wire.send_signed(&get, &signed, b"");
    assert_eq!(forged.refusal(), (403, "SignatureDoesNotMatch"));
    assert!(forged.element("Message").starts_with("The request signature we calculated"));
    let address = server.s3.trim_start_matches("http://").to_owned();
    let anonymous = super::support::sediment::exchange(
        &address,
        format!("GET /bucket/k HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    );
    assert!(
        anonymous.starts_with("HTTP/1.1 403 ") && anonymous.contains("<Code>AccessDenied</Code>"),
        "{anonymous}"
    );
}

#[test]
fn ranges_that_make_no_sense_are_ignored_and_others_kept() {
    let (_dir, _server, wire) = start();
    let get = |range: &str| wire.send(&request("GET", "/bucket/k").header("range", range));
    for (range, body, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-300", "0123456789", "bytes 0-9/10"),
        ("bytes=8-99999999999999999999999", "89", "bytes 8-9/10"),
        ("Bytes= 1-1", "1", "bytes 1-1/10"),
    ] {
        let got = get(range);
        assert_eq!(
            (got.status, got.body.as_str(), got.headers["content-range"].as_str()),
            (206, body, shown),
            "{range}"
        );
    }
    for range in
        ["bytes=5-1", "bytes=0-1,3-4", "bytes=abc", "octets=0-1", "bytes=-", "bytes=", "0-1", "bytes=1--2"]
    {
        let got = get(range);
        assert_eq!((got.status, got.body.as_str()), (200, "0123456789"), "{range}");
    }
    for range in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
        assert_eq!(get(range).status, 416, "{range}");
    }
    let etag = wire.send(&request("HEAD", "/bucket/k")).headers["etag"].clone();
    let if_range = |value: &str| {
        wire.send(&request("GET", "/bucket/k").header("range", "bytes=0-1").header("if-range", value)).status
    };
    assert_eq!(if_range(&etag), 206);
    assert_eq!(if_range("\"00000000000000000000000000000000\""), 200);
    assert_eq!(if_range("Sun, 06 Nov 1994 08:49:37 GMT"), 200);
    assert_eq!(if_range("Sun, 06 Nov 2094 08:49:37 GMT"), 206);
}

#[test]
fn conditions_take_every_form_of_date_and_ignore_what_is_none() {
    let (_dir, _server, wire) = start();
    let with = |name: &str, value: &str| wire.send(&request("GET", "/bucket/k").header(name, value)).status;
    for future in
        ["Fri, 06 Nov 2065 08:49:37 GMT", "Friday, 06-Nov-65 08:49:37 GMT", "Fri Nov  6 08:49:37 2065"]
    {
        assert_eq!(with("if-modified-since", future), 304, "{future}");
        assert_eq!(with("if-unmodified-since", future), 200, "{future}");
    }
    for past in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        assert_eq!(with("if-modified-since", past), 200, "{past}");
        assert_eq!(with("if-unmodified-since", past), 412, "{past}");
    }
    assert_eq!(with("if-modified-since", "nonsense"), 200);
    assert_eq!(with("if-unmodified-since", "nonsense"), 200);
    let etag = wire.send(&request("HEAD", "/bucket/k")).headers["etag"].clone();
    assert_eq!(with("if-none-match", &format!("\"0\", {etag}")), 304);
    assert_eq!(with("if-match", "*"), 200);
    assert_eq!(with("if-match", etag.trim_matches('"')), 200);
    let put = |lines: &[(&str, &str)]| {
        let put = lines.iter().fold(request("PUT", "/bucket/k").body(*b"x"), |put, (n, v)| put.header(n, v));
        wire.send(&put).status
    };
    assert_eq!(put(&[("if-match", "\"0\""), ("cache-control", "no-store")]), 412);
}

#[test]
fn headers_come_back_as_they_were_sent() {
    let (_dir, _server, wire) = start();
    let put = request("PUT", "/bucket/headers")
        .header("expires", "0")
        .header("cache-control", "no-store")
        .header("cache-control", "private")
        .header("content-disposition", "attachment; filename=\"a b\"")
        .header("content-encoding", "deflate, gzip")
        .header("content-language", "de, en")
        .header("x-amz-meta-plain", "a  b")
        .header("x-amz-meta-word", "=?UTF-8?B?w6Q=?=")
        .header("x-amz-meta-broken", "=?UTF-8?B?!!!?=")
        .body(*b"x");
    assert_eq!(wire.send(&put).status, 200);
    let got = wire.send(&request("HEAD", "/bucket/headers"));
    for (name, value) in [
        ("expires", "0"),
        ("cache-control", "no-store, private"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-encoding", "deflate, gzip"),
        ("content-language", "de, en"),
        ("content-type", "binary/octet-stream"),
        ("x-amz-meta-plain", "a  b"),
        ("x-amz-meta-word", "=?UTF-8?B?w6Q=?="),
        ("x-amz-meta-broken", "=?UTF-8?B?!!!?="),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(got.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let target = "/bucket/headers?response-cache-control=a&response-content-disposition=b&response-content-encoding=c&response-content-language=d&response-content-type=e&response-expires=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20GMT";
    let got = wire.send(&request("GET", target));
    let names =
        ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type"];
    assert_eq!(names.map(|name| got.headers[name].as_str()), ["a", "b", "c", "d", "e"]);
    assert_eq!(got.headers["expires"], "Thu, 01 Jan 1970 00:00:00 GMT");
}

#[test]
fn listings_have_owners_and_encodings_where_they_are_asked_for() {
    let (_dir, _server, wire) = start();
    for key in ["a%20b%2Bc", "d%C3%A9%2Fx", "%01"] {
        assert_eq!(wire.send(&request("PUT", &format!("/bucket/{key}")).body(*b"")).status, 200);
    }
    let list = |query: &str| -> Answer { wire.send(&request("GET", &format!("/bucket?{query}"))) };
    let encoded = list("list-type=2&encoding-type=url&delimiter=%2F");
    assert_eq!(
        (encoded.status, encoded.element("EncodingType"), encoded.element("Delimiter")),
        (200, "url", "/")
    );
    for shown in
        ["<Key>%01</Key>", "<Key>a%20b%2Bc</Key>", "<Prefix>d%C3%A9/</Prefix>", "<KeyCount>4</KeyCount>"]
    {
        assert!(encoded.body.contains(shown), "{shown} in {}", encoded.body);
    }
    assert!(!encoded.body.contains("<Owner>"));
    let plain = list("list-type=2");
    assert!(plain.body.contains("<Key>&#x1;</Key>") && !plain.body.contains('\u{1}'), "{}", plain.body);
    assert!(list("list-type=2&fetch-owner=true&encoding-type=url").body.contains("<Owner>"));
    assert!(list("encoding-type=url").body.contains("<Owner>"));
    assert_eq!(list("list-type=2&encoding-type=base64").refusal(), (400, "InvalidArgument"));
    let location = wire.send(&request("GET", "/bucket?location="));
    assert_eq!(location.status, 200);
    assert!(location.body.contains("<LocationConstraint"), "{}", location.body);
}
