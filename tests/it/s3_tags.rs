//! Tags on the wire.

use super::support::wire::{Answer, Wire, request, start_with_bucket};

fn document(tags: &str) -> String {
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn tag(key: &str, value: &str) -> String {
    format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
}

fn tags(wire: &Wire, target: &str) -> Answer {
    wire.send(&request("GET", target))
}

#[test]
fn tags_of_a_head_are_the_objects() {
    let (_dir, _server, wire) = start_with_bucket();
    let put = |method, target: &str, tags: &str| {
        wire.send(&request(method, target).header("x-amz-tagging", tags).body(*b"x"))
    };
    assert_eq!(put("PUT", "/bucket/k", "foo=bar&bar&a+b=%C3%A4").status, 200);
    let found = tags(&wire, "/bucket/k?tagging=");
    assert_eq!(found.element("TagSet"), tag("a b", "ä") + &tag("bar", "") + &tag("foo", "bar"));
    for method in ["GET", "HEAD"] {
        assert_eq!(wire.send(&request(method, "/bucket/k")).headers["x-amz-tagging-count"], "3");
    }
    assert_eq!(put("PUT", "/bucket/k", "a=1&a=2").refusal(), (400, "InvalidArgument"));
    assert_eq!(put("PUT", "/bucket/k", "a=%5B").refusal(), (400, "InvalidTag"));
    let many: Vec<_> = (0..11).map(|n| format!("k{n}=")).collect();
    let refused = put("PUT", "/bucket/k", &many.join("&"));
    assert_eq!(refused.refusal(), (400, "BadRequest"));
    assert_eq!(refused.element("Message"), "Object tags cannot be greater than 10");
    // Of no use to a part, or to a document.
    let upload = put("POST", "/bucket/big?uploads=", "a=1");
    let part = format!("/bucket/big?partNumber=1&uploadId={}", upload.element("UploadId"));
    assert_eq!(put("PUT", &part, "a=1").refusal(), (501, "NotImplemented"));
    assert_eq!(put("GET", "/bucket/k", "a=1").refusal(), (501, "NotImplemented"));
    assert!(!wire.send(&request("PUT", "/bucket/k").body(*b"x")).headers.contains_key("x-amz-tagging-count"));
    assert!(!wire.send(&request("HEAD", "/bucket/k")).headers.contains_key("x-amz-tagging-count"));
}

#[test]
fn copies_take_tags_along_or_get_their_own() {
    let (_dir, _server, wire) = start_with_bucket();
    let put = request("PUT", "/bucket/source").header("x-amz-tagging", "a=1").body(*b"x");
    assert_eq!(wire.send(&put).status, 200);
    let copy = |directive: Option<&str>| {
        let copy = request("PUT", "/bucket/copy").header("x-amz-copy-source", "/bucket/source");
        let copy = copy.header("x-amz-tagging", "b=2");
        let copy =
            directive.map_or(copy.clone(), |directive| copy.header("x-amz-tagging-directive", directive));
        wire.send(&copy)
    };
    for (directive, expected) in
        [(None, tag("a", "1")), (Some("COPY"), tag("a", "1")), (Some("REPLACE"), tag("b", "2"))]
    {
        assert_eq!(copy(directive).status, 200, "{directive:?}");
        assert_eq!(tags(&wire, "/bucket/copy?tagging=").element("TagSet"), expected, "{directive:?}");
    }
    let refused = copy(Some("MERGE"));
    assert_eq!(
        (refused.refusal(), refused.element("ArgumentName")),
        ((400, "InvalidArgument"), "x-amz-tagging-directive")
    );
}

#[test]
fn versions_are_tagged_and_answered_by_name() {
    let (_dir, _server, wire) = start_with_bucket();
    let enable =
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".as_bytes().to_vec();
    assert_eq!(wire.send(&request("PUT", "/bucket?versioning=").body(enable)).status, 200);
    let put = || wire.send(&request("PUT", "/bucket/k").body(*b"x")).headers["x-amz-version-id"].clone();
    let (old, new) = (put(), put());
    let named = |id: &str| format!("/bucket/k?tagging=&versionId={id}");
    let set = wire.send(&request("PUT", &named(&old)).body(document(&tag("a", "1"))));
    assert_eq!((set.status, &set.headers["x-amz-version-id"]), (200, &old));
    let found = tags(&wire, &named(&old));
    assert_eq!((found.element("TagSet"), &found.headers["x-amz-version-id"]), (&*tag("a", "1"), &old));
    let found = tags(&wire, "/bucket/k?tagging=");
    assert_eq!((found.element("TagSet"), &found.headers["x-amz-version-id"]), ("", &new));
    let gone = wire.send(&request("DELETE", &named(&old)));
    assert_eq!((gone.status, &gone.headers["x-amz-version-id"]), (204, &old));
    assert_eq!(tags(&wire, &named(&old)).element("TagSet"), "");
    let marker = wire.send(&request("DELETE", "/bucket/k")).headers["x-amz-version-id"].clone();
    for target in [named(&marker), "/bucket/k?tagging=".to_owned()] {
        let refused = tags(&wire, &target);
        assert_eq!(refused.refusal(), (405, "MethodNotAllowed"), "{target}");
        let refused = wire.send(&request("PUT", &target).body(document("")));
        assert_eq!(refused.refusal(), (405, "MethodNotAllowed"), "{target}");
    }
}

#[test]
fn documents_of_tags_are_taken_whole_or_refused() {
    let (_dir, _server, wire) = start_with_bucket();
    assert_eq!(wire.send(&request("PUT", "/bucket/k").body(*b"x")).status, 200);
    let set = |target: &str, body: String| wire.send(&request("PUT", target).body(body));
    let many = |n: usize| document(&(0..n).map(|n| tag(&format!("k{n:02}"), "v")).collect::<String>());
    for (target, most) in [("/bucket/k?tagging=", 10), ("/bucket?tagging=", 50)] {
        assert_eq!(set(target, many(most)).status, 200);
        let found = tags(&wire, target);
        assert_eq!(found.body.matches("<Tag>").count(), most, "{}", found.body);
        assert_eq!(set(target, many(most + 1)).refusal(), (400, "BadRequest"));
        let twice = set(target, document(&(tag("a", "1") + &tag("a", "2"))));
        assert_eq!((twice.refusal(), twice.element("TagKey")), ((400, "InvalidTag"), "a"));
        assert_eq!(set(target, document(&tag("aws:x", ""))).refusal(), (400, "InvalidTag"));
        assert_eq!(set(target, document(&tag(&"k".repeat(129), ""))).refusal(), (400, "InvalidTag"));
        assert_eq!(set(target, document(&tag("k", &"v".repeat(257)))).refusal(), (400, "InvalidTag"));
        for malformed in ["<Tag><Key>a</Key></Tag>", "<Tag><Value>a</Value></Tag>", "<Tag>"] {
            assert_eq!(set(target, document(malformed)).refusal(), (400, "MalformedXML"), "{malformed}");
        }
        assert_eq!(set(target, "<Tagging/>".into()).refusal(), (400, "MalformedXML"));
        assert_eq!(tags(&wire, target).body.matches("<Tag>").count(), most, "nothing has changed");
    }
    assert_eq!(wire.send(&request("DELETE", "/bucket?tagging=")).status, 204);
    let none = tags(&wire, "/bucket?tagging=");
    assert_eq!((none.refusal(), none.element("BucketName")), ((404, "NoSuchTagSet"), "bucket"));
    assert_eq!(tags(&wire, "/bucket/none?tagging=").refusal(), (404, "NoSuchKey"));
    let create = "<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>1</Value></Tag></Tags></CreateBucketConfiguration>";
    assert_eq!(wire.send(&request("PUT", "/born-with-tags").body(create)).status, 200);
    assert_eq!(tags(&wire, "/born-with-tags?tagging=").element("TagSet"), tag("a", "1"));
}
