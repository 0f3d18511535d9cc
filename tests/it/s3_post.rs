//! Uploads from HTML forms, on the wire.

use super::support::form::{Form, form};
use super::support::noise;
use super::support::sediment::{Sediment, exchange};
use super::support::wire::{Wire, request};
use base64::Engine as _;
use md5::{Digest, Md5};
use serde_json::{Value, json};

fn start(args: &[&str]) -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), args);
    let wire = Wire::new(&server);
    for bucket in ["bucket", "other"] {
        assert_eq!(wire.send(&request("PUT", &format!("/{bucket}"))).status, 200);
    }
    (dir, server, wire)
}

fn keys(wire: &Wire, bucket: &str) -> usize {
    wire.send(&request("GET", &format!("/{bucket}?list-type=2"))).element("KeyCount").parse().unwrap()
}

fn text(wire: &Wire, target: &str) -> Option<String> {
    let got = wire.send(&request("GET", target));
    (got.status == 200).then_some(got.body)
}

#[test]
fn a_form_stores_its_file_with_what_its_fields_say() {
    let (_dir, server, wire) = start(&[]);
    let upload = form("bucket", "in/${filename}", b"something body")
        .field("acl", "private")
        .field("Content-Type", "text/x-test")
        .field("Cache-Control", "max-age=60")
        .field("Expires", "0")
        .field("x-amz-meta-Colour", "grün")
        .field("x-amz-storage-class", "STANDARD_IA")
        .field("success_action_status", "201")
        .field("x-ignore-this", "x");
    let mut upload = upload.signed("bucket", &[]);
    upload.trailing.push(("submit".to_owned(), "Upload".to_owned()));
    let answer = upload.send(&wire);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let etag = format!("\"{}\"", hex::encode(Md5::digest(b"something body")));
    let location = format!("{}/bucket/in%2Fa%20file.txt", server.s3);
    let shown = ["Location", "Bucket", "Key", "ETag"].map(|name| answer.element(name));
    assert_eq!(shown, [location.as_str(), "bucket", "in/a file.txt", etag.as_str()]);
    assert_eq!([&answer.headers["location"], &answer.headers["etag"]], [&location, &etag]);
    assert!(answer.headers.contains_key("x-amz-request-id"));
    assert!(answer.headers.contains_key("x-amz-checksum-crc64nvme"));
    let got = wire.send(&request("GET", "/bucket/in/a%20file.txt"));
    assert_eq!(got.body, "something body");
    for (name, value) in [
        ("content-type", "text/x-test"),
        ("cache-control", "max-age=60"),
        ("expires", "0"),
        // As S3 shows what is not ASCII.
        ("x-amz-meta-colour", "=?UTF-8?B?Z3LDvG4=?="),
        ("x-amz-storage-class", "STANDARD_IA"),
    ] {
        assert_eq!(got.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    let metrics = server.admin_get("/metrics").1;
    assert!(
        metrics.contains("sediment_s3_requests_total{operation=\"PostObject\",code=\"201\"} 1"),
        "{metrics}"
    );
}

#[test]
fn the_answer_is_the_one_that_the_form_asks_for() {
    let (_dir, server, wire) = start(&["--set", "s3.domains=[\"s3.example.com\"]"]);
    let plain = form("bucket", "a/b", b"x").signed("bucket", &[]).send(&wire);
    assert_eq!((plain.status, plain.body.as_str()), (204, ""));
    assert_eq!(plain.headers["location"], format!("{}/bucket/a%2Fb", server.s3));
    assert!(!plain.headers.contains_key("content-type"));
    let redirect =
        form("bucket", "a/b", b"x").field("success_action_redirect", "https://example.com/done?a=b");
    let redirected = redirect.signed("bucket", &[]).send(&wire);
    let etag = plain.headers["etag"].trim_matches('"');
    let expected = format!("https://example.com/done?a=b&bucket=bucket&key=a%2Fb&etag=%22{etag}%22");
    assert_eq!((redirected.status, redirected.headers["location"].as_str()), (303, expected.as_str()));
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(wire.send(&request("PUT", "/bucket?versioning=").body(versioning)).status, 200);
    let mut hosted = form("bucket", "hosted", b"x").signed("bucket", &[]);
    hosted.target = "/".to_owned();
    let hosted = hosted.header("host", "bucket.s3.example.com").send(&wire);
    assert_eq!(hosted.headers["location"], "http://bucket.s3.example.com/hosted");
    assert_eq!(
        text(&wire, &format!("/bucket/hosted?versionId={}", hosted.headers["x-amz-version-id"])).as_deref(),
        Some("x")
    );
}

#[test]
fn i1_a_large_file_streams_through_a_form_however_it_is_framed() {
    let (_dir, server, wire) = start(&[]);
    let mut file = noise(7, 9 << 20);
    // Beginnings of boundaries, and a line end at the end.
    file.extend_from_slice(b"\r\n------WebKitFormBoundary7MA4YWxkTrZu0g\r\n--\r\n");
    let upload =
        form("bucket", "large", &file).signed("bucket", &[json!(["content-length-range", 0, 10 << 20])]);
    assert_eq!(upload.send(&wire).status, 204);
    let chunked =
        form("bucket", "chunked", &file).signed("bucket", &[]).header("transfer-encoding", "chunked");
    let mut body = Vec::new();
    for piece in chunked.body().chunks(70_001) {
        body.extend_from_slice(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    body.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(chunked.send_body(&wire, &body).status, 204);
    let etag = format!("\"{}\"", hex::encode(Md5::digest(&file)));
    for key in ["large", "chunked"] {
        let head = wire.send(&request("HEAD", &format!("/bucket/{key}")));
        assert_eq!(
            (&head.headers["etag"], &head.headers["content-length"]),
            (&etag, &file.len().to_string())
        );
    }
    drop(server);
}

#[test]
fn i6_a_form_is_what_its_policy_allows_or_nothing() {
    let (_dir, _server, wire) = start(&[]);
    let policy = |conditions: &[Value], seconds| {
        let bucket = json!({ "bucket": "bucket" });
        let conditions = [&[bucket], conditions].concat();
        form("bucket", "user/k", b"x").signed_with(conditions, seconds)
    };
    let key = [json!(["starts-with", "$key", "user/"])];
    let refused = |form: Form, status: u16, code: &str, message: &str| {
        let answer = form.send(&wire);
        assert_eq!(answer.refusal(), (status, code), "{}", answer.body);
        assert!(answer.element("Message").contains(message), "{}", answer.body);
        assert_eq!(answer.element("Resource"), form.target.split('?').next().unwrap());
    };
    let violated = |form: Form, message: &str| refused(form, 403, "AccessDenied", message);
    violated(policy(&key, -1), "Invalid according to Policy: Policy expired.");
    let condition = json!(["starts-with", "$key", "admin/"]);
    violated(
        policy(&[condition], 600),
        "Policy Condition failed: [&quot;starts-with&quot;, &quot;$key&quot;, &quot;admin/&quot;]",
    );
    violated(policy(&[], 600), "Extra input fields: key");
    violated(policy(&key, 600).field("acl", "private"), "Extra input fields: acl");
    let mut elsewhere = policy(&key, 600).field("bucket", "bucket");
    elsewhere.target = "/other".to_owned();
    violated(elsewhere, "Policy Condition failed: [&quot;eq&quot;, &quot;$bucket&quot;, &quot;bucket&quot;]");
    // The name of the file is in the key when the key is looked at.
    let mut named = policy(&[json!({ "key": "user/${filename}" })], 600);
    named.fields[0].1 = "user/${filename}".to_owned();
    violated(named, "Policy Condition failed");
    let mut changed = policy(&key, 600);
    for (name, value) in &mut changed.fields {
        if name == "policy" {
            *value = value.replacen('e', "f", 1);
        }
    }
    refused(changed, 403, "SignatureDoesNotMatch", "The request signature we calculated");
    for name in ["x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date", "policy"] {
        let form = policy(&key, 600).without(name);
        refused(form, 400, "InvalidArgument", "Bucket POST must contain a field named");
    }
    let twice = policy(&key, 600).field("Key", "user/k");
    refused(twice, 400, "InvalidArgument", "more than once");
    refused(policy(&[json!({})], 600), 400, "InvalidPolicyDocument", "Invalid Policy: ");
    assert_eq!((keys(&wire, "bucket"), keys(&wire, "other")), (0, 0));
    assert_eq!(policy(&key, 600).send(&wire).status, 204);
}

#[test]
fn i6_nobody_uploads_without_a_signature_and_version_2_is_refused() {
    let (_dir, _server, wire) = start(&[]);
    let anonymous = form("bucket", "k", b"x");
    assert_eq!(anonymous.send(&wire).refusal(), (403, "AccessDenied"));
    assert_eq!(anonymous.field("policy", "e30=").send(&wire).refusal(), (403, "AccessDenied"));
    let version_2 = form("bucket", "k", b"x").field("AWSAccessKeyId", "x").field("signature", "x");
    assert_eq!(version_2.send(&wire).refusal(), (400, "InvalidRequest"));
    // Nothing in the form's head or URL adds to what its policy covers.
    let signed = || form("bucket", "k", b"x").signed("bucket", &[]);
    for name in ["x-amz-meta-a", "x-amz-copy-source", "x-amz-acl"] {
        assert_eq!(signed().header(name, "/other/k").send(&wire).refusal(), (403, "AccessDenied"), "{name}");
    }
    let owner = signed().header("x-amz-expected-bucket-owner", "111122223333").send(&wire);
    assert_eq!(owner.refusal(), (403, "AccessDenied"));
    let with = |query: &str| {
        let mut form = signed();
        form.target = format!("/bucket?{query}");
        form.send(&wire).status
    };
    for query in
        ["X-Amz-Signature=x", "x-amz-meta-a=b", "acl", "delete", "uploads", "versionId=null", "partNumber=1"]
    {
        assert!([400, 403, 405, 501].contains(&with(query)), "{query}");
    }
    let copy = form("bucket", "k", b"x").field("x-amz-copy-source", "/bucket/k").signed("bucket", &[]);
    assert_eq!(copy.send(&wire).refusal(), (501, "NotImplemented"));
    let in_head =
        request("POST", "/bucket").header("content-type", "multipart/form-data; boundary=b").body(*b"x");
    assert_eq!(wire.send(&in_head).refusal(), (501, "NotImplemented"));
    assert_eq!(keys(&wire, "bucket"), 0);
    assert_eq!(with("foo=1"), 204);
}

#[test]
fn the_file_has_the_size_that_the_policy_asks_for() {
    let (_dir, _server, wire) = start(&[]);
    let send = |file: &[u8]| {
        let range = json!(["content-length-range", 5, 10]);
        form("bucket", "k", file).signed("bucket", &[range]).send(&wire)
    };
    let large = send(b"123456789012");
    assert_eq!(large.refusal(), (400, "EntityTooLarge"));
    assert_eq!((large.element("ProposedSize"), large.element("MaxSizeAllowed")), ("12", "10"));
    let small = send(b"1");
    assert_eq!(small.refusal(), (400, "EntityTooSmall"));
    assert_eq!((small.element("ProposedSize"), small.element("MinSizeAllowed")), ("1", "5"));
    assert_eq!(keys(&wire, "bucket"), 0);
    assert_eq!((send(b"12345").status, send(b"1234567890").status), (204, 204));
}

#[test]
fn i2_what_the_form_says_of_its_file_is_checked_before_it_is_stored() {
    let (_dir, _server, wire) = start(&[]);
    let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(b"content"));
    let send = |name: &str, value: &str| {
        form("bucket", "k", b"content").field(name, value).signed("bucket", &[]).send(&wire)
    };
    for (name, value, code) in [
        ("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==", "BadDigest"),
        ("Content-MD5", "nonsense", "InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-sha256", "sailorjerry", "InvalidRequest"),
        ("x-amz-checksum-algorithm", "SHA256", "InvalidRequest"),
        ("x-amz-storage-class", "COLD", "InvalidStorageClass"),
        ("acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-meta-lines", "one\r\ntwo", "InvalidArgument"),
        ("x-amz-meta-long", &"x".repeat(2048), "MetadataTooLarge"),
    ] {
        assert_eq!(send(name, value).refusal(), (400, code), "{name}: {value}");
    }
    assert_eq!(send("x-amz-copy-source-if-match", "x").refusal(), (501, "NotImplemented"));
    assert_eq!(keys(&wire, "bucket"), 0);
    assert_eq!(send("Content-MD5", &md5).status, 204);
    let known = send("x-amz-checksum-crc32", "/sUwqQ==");
    assert_eq!((known.status, known.headers["x-amz-checksum-crc32"].as_str()), (204, "/sUwqQ=="));
    let again = form("bucket", "k", b"other").signed("bucket", &[]).header("if-none-match", "*");
    assert_eq!(again.send(&wire).refusal(), (412, "PreconditionFailed"));
    assert_eq!(text(&wire, "/bucket/k").as_deref(), Some("content"));
}

#[test]
fn a_form_locks_its_object_as_a_put_does() {
    let (_dir, _server, wire) = start(&[]);
    let locked = request("PUT", "/locked").header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(wire.send(&locked).status, 200);
    let fields = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z"),
        ("x-amz-object-lock-legal-hold", "ON"),
    ];
    let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(b"x"));
    let upload = |bucket: &str| {
        let form = fields.iter().fold(form(bucket, "k", b"x"), |form, (name, value)| form.field(name, value));
        form.field("Content-MD5", &md5).signed(bucket, &[]).send(&wire)
    };
    let stored = upload("locked");
    assert_eq!(stored.status, 204, "{}", stored.body);
    let head = wire.send(&request("HEAD", "/locked/k"));
    for (name, value) in fields {
        assert!(head.headers.get(name).is_some_and(|shown| shown[..2] == value[..2]), "{name}");
    }
    let version = format!("/locked/k?versionId={}", stored.headers["x-amz-version-id"]);
    assert_eq!(wire.send(&request("DELETE", &version)).refusal(), (403, "AccessDenied"));
    assert_eq!(upload("bucket").refusal(), (400, "InvalidRequest"));
}

#[test]
fn what_is_not_a_whole_form_is_refused_and_not_stored() {
    let (_dir, server, wire) = start(&[]);
    let upload = form("bucket", "k", b"content").signed("bucket", &[]);
    let body = upload.body();
    let refusal = |answer: super::support::wire::Answer| {
        let (status, code) = answer.refusal();
        (status, code.to_owned())
    };
    let sent = |body: &[u8]| refusal(upload.send_body(&wire, body));
    let malformed = (400, "MalformedPOSTRequest".to_owned());
    for wrong in [&b""[..], b"key=k&file=x", &body[..body.len() - 4]] {
        assert_eq!(sent(wrong), malformed);
    }
    // The connection ends before the body does.
    let address = wire.address();
    let head = format!(
        "POST /bucket HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len() + 1
    );
    let answer = cut_short(address, &[head.as_bytes(), &body].concat());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let kind = |kind: &str| refusal(upload.clone().header("content-type", kind).send(&wire));
    assert_eq!(kind("multipart/form-data"), malformed);
    assert_eq!(kind(&format!("multipart/form-data; boundary={}", "b".repeat(71))), malformed);
    let not_a_form = (412, "PreconditionFailed".to_owned());
    assert_eq!(kind("application/x-www-form-urlencoded"), not_a_form);
    let no_key = form("bucket", "", b"x").without("key").send(&wire);
    assert_eq!((no_key.refusal(), no_key.element("ArgumentName")), ((400, "InvalidArgument"), "key"));
    assert_eq!(refusal(form("bucket", "", b"x").send(&wire)), (400, "InvalidArgument".to_owned()));
    let long = form("bucket", &"k".repeat(1025), b"x").send(&wire);
    assert_eq!((long.refusal(), long.element("Size")), ((400, "KeyTooLongError"), "1025"));
    let padded = form("bucket", "k", b"x").field("x-ignore-a", &"a".repeat(20_480)).send(&wire);
    assert_eq!(padded.refusal(), (400, "MaxPostPreDataLengthExceeded"));
    assert_eq!(padded.element("MaxPostPreDataLengthBytes"), "20480");
    let missing = form("missing-bucket", "k", b"x").signed("missing-bucket", &[]).send(&wire);
    assert_eq!((missing.refusal(), missing.element("BucketName")), ((404, "NoSuchBucket"), "missing-bucket"));
    assert_eq!(keys(&wire, "bucket"), 0);
    drop(server);
}

/// Sends bytes and ends the sending side.
fn cut_short(address: &str, bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn i6_the_key_that_the_policy_saw_is_the_key_that_is_stored() {
    let (_dir, _server, wire) = start(&[]);
    for (key, target) in [
        ("../other/x", "../other/x"),
        ("/leading", "/leading"),
        ("a%2Fb", "a%252Fb"),
        ("a+b c?d#e&f", "a%2Bb%20c%3Fd%23e%26f"),
        ("tab\tnul\u{1}", "tab%09nul%01"),
        ("ü—🦀", "%C3%BC%E2%80%94%F0%9F%A6%80"),
        ("key", "key"),
    ] {
        let upload = form("bucket", key, key.as_bytes()).field("success_action_status", "201");
        let condition = json!(["eq", "$key", key]);
        let answer = upload.signed("bucket", &[condition]).send(&wire);
        assert_eq!(answer.status, 201, "{key:?}: {}", answer.body);
        assert_eq!(text(&wire, &format!("/bucket/{target}")).as_deref(), Some(key), "{key:?}");
    }
    let named = |filename: Option<&str>| {
        let mut upload = form("bucket", "by-name/${filename}", b"x").field("success_action_status", "201");
        upload.filename = filename.map(str::to_owned);
        upload.signed("bucket", &[]).send(&wire).element("Key").to_owned()
    };
    assert_eq!(named(Some(r"C:\Documents\résumé %22.txt")), "by-name/résumé %22.txt");
    assert_eq!(named(Some("../../x")), "by-name/x");
    assert_eq!(named(Some("")), "by-name/");
    assert_eq!(named(None), "by-name/${filename}");
}

#[test]
fn i5_a_refused_form_is_answered_before_its_file_has_come() {
    let (_dir, _server, wire) = start(&[]);
    let body = form("bucket", "k", b"").body();
    let until_file = body.len() - 30;
    let head = format!(
        "POST /bucket HTTP/1.1\r\nhost: {0}\r\ncontent-type: multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW\r\ncontent-length: 5000000000\r\nconnection: close\r\n\r\n",
        wire.address()
    );
    let answer = exchange(wire.address(), &[head.as_bytes(), &body[..until_file]].concat());
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("AccessDenied"), "{answer}");
}

#[test]
fn a_form_tags_what_it_stores_or_is_refused() {
    let (_dir, _server, wire) = start(&[]);
    let tagged = |tagging: &str| form("bucket", "k", b"x").field("tagging", tagging).signed("bucket", &[]);
    let tags = "<Tag><Key>a b</Key><Value>1+2</Value></Tag><Tag><Key>c</Key><Value></Value></Tag>";
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    for (tagging, code) in [
        ("k=v".to_owned(), "MalformedXML"),
        (format!("<Other><TagSet>{tag}</TagSet></Other>"), "MalformedXML"),
        (format!("<Tagging>{tag}</Tagging>"), "MalformedXML"),
        ("<InvalidXmlTagging></InvalidXmlTagging>".to_owned(), "MalformedXML"),
        (format!("<Tagging><TagSet>{tag}{tag}</TagSet></Tagging>"), "InvalidTag"),
    ] {
        let answer = tagged(&tagging).send(&wire);
        assert_eq!(answer.refusal(), (400, code), "{tagging}: {}", answer.body);
    }
    assert_eq!(keys(&wire, "bucket"), 0);
    let answer = tagged(&format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")).send(&wire);
    assert_eq!(answer.status, 204, "{}", answer.body);
    let shown = wire.send(&request("GET", "/bucket/k?tagging="));
    assert_eq!(shown.element("TagSet"), tags, "{}", shown.body);
}
