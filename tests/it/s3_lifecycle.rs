//! Lifecycle rules on the wire, with days of one second.

use super::support::sediment::Sediment;
use super::support::wire::{Wire, request};
use std::time::{Duration, Instant};

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "service.lifecycle_day_seconds=1"]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    (dir, server, wire)
}

fn document(rules: &str) -> String {
    format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
}

fn put_rules(wire: &Wire, rules: &str) -> (u16, String) {
    let put = request("PUT", "/bucket?lifecycle=").body(document(rules)).with_md5();
    let answer = wire.send(&put);
    let code = if answer.status == 200 { String::new() } else { answer.refusal().1.to_owned() };
    (answer.status, code)
}

const BY_FILTER: &str = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>\
    <Expiration><Days>1</Days></Expiration></Rule>";
const OLD_FORM: &str = "<Rule><ID>old</ID><Prefix>old/</Prefix><Status>Enabled</Status>\
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";

/// Asks until the answer is the one waited for; the worker looks once a second.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
    }
}

#[test]
fn objects_and_uploads_go_on_their_day_and_answers_say_which() {
    let (_dir, _server, wire) = start();
    assert_eq!(put_rules(&wire, &format!("{BY_FILTER}{OLD_FORM}")), (200, String::new()));
    let put = wire.send(&request("PUT", "/bucket/logs/1").body(*b"x"));
    let expiration = put.headers["x-amz-expiration"].clone();
    assert!(
        expiration.starts_with("expiry-date=\"") && expiration.ends_with("rule-id=\"logs\""),
        "{expiration}"
    );
    assert_eq!(wire.send(&request("PUT", "/bucket/kept").body(*b"x")).status, 200);
    let upload = wire.send(&request("POST", "/bucket/old/big?uploads="));
    assert_eq!(upload.headers["x-amz-abort-rule-id"], "old");
    assert!(upload.headers.contains_key("x-amz-abort-date"));

    eventually("the object expires", || wire.send(&request("HEAD", "/bucket/logs/1")).status == 404);
    eventually("the upload is aborted", || {
        !wire.send(&request("GET", "/bucket?uploads=")).body.contains("<UploadId>")
    });
    let kept = wire.send(&request("GET", "/bucket/kept"));
    assert_eq!(kept.status, 200);
    assert!(!kept.headers.contains_key("x-amz-expiration"));
}

#[test]
fn rules_come_back_in_the_form_in_which_they_were_given() {
    let (_dir, _server, wire) = start();
    let none = wire.send(&request("GET", "/bucket?lifecycle="));
    assert_eq!(none.refusal(), (404, "NoSuchLifecycleConfiguration"));
    let and = "<Rule><ID>and</ID><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
        <ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter><Status>Disabled</Status>\
        <NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>\
        <NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>";
    assert_eq!(put_rules(&wire, &format!("{BY_FILTER}{OLD_FORM}{and}")).0, 200);
    let shown = wire.send(&request("GET", "/bucket?lifecycle="));
    let text = &shown.body;
    for part in ["<Filter><Prefix>logs/</Prefix></Filter>", "<Prefix>old/</Prefix>", "<And>", "<Key>k</Key>"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(wire.send(&request("DELETE", "/bucket?lifecycle=")).status, 204);
    assert_eq!(wire.send(&request("GET", "/bucket?lifecycle=")).status, 404);
}

#[test]
fn rules_that_aws_refuses_are_refused() {
    let (_dir, _server, wire) = start();
    let rule = |body: &str| format!("<Rule><ID>r</ID>{body}</Rule>");
    let days = "<Expiration><Days>1</Days></Expiration>";
    let enabled = "<Filter/><Status>Enabled</Status>";
    let cases = [
        (rule(&format!("<Filter/><Status>enabled</Status>{days}")), "MalformedXML"),
        (rule(&format!("<Status>Enabled</Status>{days}")), "MalformedXML"),
        (rule(&format!("<Prefix/>{enabled}{days}")), "MalformedXML"),
        (rule(&format!("{enabled}<Expiration/>")), "MalformedXML"),
        (rule(&format!("{enabled}<Expiration><Days>0</Days></Expiration>")), "InvalidArgument"),
        (
            rule(&format!("{enabled}<Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration>")),
            "InvalidArgument",
        ),
        (rule(enabled), "InvalidRequest"),
        (format!("{0}{0}", rule(&format!("{enabled}{days}"))), "InvalidArgument"),
        (String::new(), "MalformedXML"),
    ];
    for (rules, code) in cases {
        assert_eq!(put_rules(&wire, &rules), (400, code.to_owned()), "{rules}");
    }
    assert_eq!(wire.send(&request("GET", "/bucket?lifecycle=")).status, 404, "nothing was kept");
}

#[test]
fn objects_change_their_storage_class_on_their_day_and_nothing_else() {
    let (_dir, _server, wire) = start();
    let rule = "<Rule><ID>cold</ID><Filter><Prefix>cold/</Prefix></Filter><Status>Enabled</Status>\
        <Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>";
    let put = wire.send(&request("PUT", "/bucket/cold/1").header("x-amz-meta-a", "b").body(*b"0123456789"));
    assert_eq!(wire.send(&request("PUT", "/bucket/warm").body(*b"x")).status, 200);
    let head = || wire.send(&request("HEAD", "/bucket/cold/1"));
    let before = head();
    assert!(!before.headers.contains_key("x-amz-storage-class"));
    assert_eq!(put_rules(&wire, rule), (200, String::new()));
    eventually("the object is moved", || head().headers.contains_key("x-amz-storage-class"));
    let after = wire.send(&request("GET", "/bucket/cold/1"));
    assert_eq!((after.status, after.body.as_str()), (200, "0123456789"));
    assert_eq!(after.headers["x-amz-storage-class"], "GLACIER");
    for header in ["etag", "last-modified", "x-amz-meta-a", "content-length"] {
        assert_eq!(after.headers[header], before.headers[header], "{header}");
    }
    assert_eq!(after.headers["etag"], put.headers["etag"]);
    for listing in ["/bucket?list-type=2", "/bucket", "/bucket?versions="] {
        let listed = wire.send(&request("GET", listing)).body;
        let classes: Vec<_> = listed.split("<StorageClass>").skip(1).map(|rest| &rest[..7]).collect();
        assert_eq!(classes, ["GLACIER", "STANDAR"], "{listed}");
    }
}

/// Terraform waits until the bucket shows it.
#[test]
fn a_bucket_says_which_objects_are_too_small_to_be_moved() {
    const MINIMUM: &str = "x-amz-transition-default-minimum-object-size";
    let (_dir, _server, wire) = start();
    let put = || request("PUT", "/bucket?lifecycle=").body(document(BY_FILTER)).with_md5();
    for (asked, shown) in [
        (None, "all_storage_classes_128K"),
        (Some("varies_by_storage_class"), "varies_by_storage_class"),
        (Some("all_storage_classes_128K"), "all_storage_classes_128K"),
    ] {
        let put = asked.map_or_else(put, |asked| put().header(MINIMUM, asked));
        assert_eq!(wire.send(&put).headers[MINIMUM], shown);
        assert_eq!(wire.send(&request("GET", "/bucket?lifecycle=")).headers[MINIMUM], shown);
    }
    let refused = wire.send(&put().header(MINIMUM, "none"));
    assert_eq!(refused.refusal(), (400, "InvalidArgument"));
}
