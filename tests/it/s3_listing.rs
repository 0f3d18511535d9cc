//! Listings on the wire: which fields an answer has, which of them are encoded, and keys of every kind.

use super::support::wire::{Answer, Wire, request, start_with_bucket};

fn encode(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.*/".contains(&b);
    text.bytes().map(|b| if safe(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn put(wire: &Wire, key: &str) {
    assert_eq!(
        wire.send(&request("PUT", &format!("/bucket/{}", encode(key))).body(*b"x")).status,
        200,
        "{key:?}"
    );
}

fn list(wire: &Wire, query: &str) -> Answer {
    wire.send(&request("GET", &format!("/bucket?{query}")))
}

/// The texts of all elements of a name, in order.
fn all<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    answer.body.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0)).collect()
}

/// `None`: the element is not there at all.
fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    match all(answer, name).first() {
        Some(text) => Some(text),
        None => answer.body.contains(&format!("<{name}/>")).then_some(""),
    }
}

/// Undoes the references of XML.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once('&') {
        let (name, after) = reference.split_once(';').unwrap();
        out.push_str(before);
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let digits = number.strip_prefix("#x").unwrap();
                char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap()
            }
        });
        rest = after;
    }
    out + rest
}

#[test]
fn i1_every_character_of_a_key_comes_back() {
    let (_dir, _server, wire) = start_with_bucket();
    let special = " +%&<>\"'`~!#$()*,:;=?@[]\\^{|}\u{7f}\u{85}\u{2028}é\u{1F600}\u{10FFFF}";
    let mut keys: Vec<String> = (1..0x20).filter_map(char::from_u32).map(|c| format!("k{c}k")).collect();
    keys.extend(special.chars().map(|c| format!("k{c}k")));
    keys.extend(["k%2Fk", "k%00k", "k&amp;k", "k\r\nk", " ", "k//k", "k/./k", "k/../k"].map(str::to_owned));
    keys.iter().for_each(|key| put(&wire, key));
    keys.sort();
    let encoded: Vec<String> = keys.iter().map(|key| encode(key)).collect();
    for kind in ["list-type=2", "list-type=1", "versions="] {
        let answer = list(&wire, &format!("{kind}&encoding-type=url"));
        assert_eq!(all(&answer, "Key"), encoded, "{kind}");
        let answer = list(&wire, kind);
        let plain: Vec<String> = all(&answer, "Key").into_iter().map(unescape).collect();
        assert_eq!(plain, keys, "{kind}");
        assert!(!answer.body.chars().any(|c| c.is_ascii_control() && !"\t\n\u{7f}".contains(c)), "XML 1.0");
    }
}

#[test]
fn an_answer_repeats_what_was_asked_as_aws_does() {
    let (_dir, _server, wire) = start_with_bucket();
    let v1 = list(&wire, "delimiter=&encoding-type=url");
    for (name, text) in [("Prefix", ""), ("Marker", ""), ("MaxKeys", "1000"), ("EncodingType", "url")] {
        assert_eq!(field(&v1, name), Some(text), "{name}");
    }
    assert_eq!((field(&v1, "Delimiter"), field(&v1, "NextMarker")), (None, None), "none was given");
    let v2 = list(&wire, "list-type=2&delimiter=");
    let absent = ["Delimiter", "StartAfter", "ContinuationToken", "NextContinuationToken", "EncodingType"];
    absent.iter().for_each(|name| assert_eq!(field(&v2, name), None, "{name}"));
    let versions = list(&wire, "versions=&delimiter=");
    for (name, text) in
        [("Prefix", Some("")), ("KeyMarker", Some("")), ("VersionIdMarker", Some("")), ("Delimiter", None)]
    {
        assert_eq!(field(&versions, name), text, "{name}");
    }
    let uploads = list(&wire, "uploads=");
    for name in ["KeyMarker", "UploadIdMarker", "NextKeyMarker", "NextUploadIdMarker"] {
        assert_eq!(field(&uploads, name), Some(""), "{name}");
    }
    assert_eq!((field(&uploads, "Prefix"), field(&uploads, "Delimiter")), (None, None));
}

#[test]
fn exactly_the_names_are_encoded() {
    let (_dir, _server, wire) = start_with_bucket();
    ["p +a é1", "p +a é2", "p +b é1", "p +c"].iter().for_each(|key| put(&wire, key));
    let asked = "prefix=p%20%2B&delimiter=%20%C3%A9&max-keys=1&encoding-type=url";
    let common = |answer: &Answer| {
        // Common prefixes have an element of the name, too.
        assert!(all(answer, "Prefix").contains(&"p%20%2B"), "{}", answer.body);
        assert_eq!(field(answer, "Delimiter"), Some("%20%C3%A9"));
        assert_eq!(field(answer, "IsTruncated"), Some("true"));
        all(answer, "CommonPrefixes").concat()
    };
    let v1 = list(&wire, &format!("{asked}&marker=p%20%2B"));
    assert_eq!(common(&v1), "<Prefix>p%20%2Ba%20%C3%A9</Prefix>");
    assert_eq!(
        (field(&v1, "Marker"), field(&v1, "NextMarker")),
        (Some("p%20%2B"), Some("p%20%2Ba%20%C3%A9"))
    );
    let second = list(&wire, &format!("{asked}&marker={}", v1.element("NextMarker")));
    assert_eq!(common(&second), "<Prefix>p%20%2Bb%20%C3%A9</Prefix>");
    let v2 = list(&wire, &format!("list-type=2&{asked}&start-after=p%20%2B"));
    assert_eq!(common(&v2), "<Prefix>p%20%2Ba%20%C3%A9</Prefix>");
    assert_eq!((field(&v2, "StartAfter"), field(&v2, "KeyCount")), (Some("p%20%2B"), Some("1")));
    let token = v2.element("NextContinuationToken");
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{token}");
    let second = list(&wire, &format!("list-type=2&{asked}&continuation-token={token}"));
    assert_eq!(common(&second), "<Prefix>p%20%2Bb%20%C3%A9</Prefix>");
    assert_eq!(field(&second, "ContinuationToken"), Some(token));
    let last = list(&wire, &format!("list-type=2&{asked}&start-after=p%20%2Bb%20%C3%A9"));
    assert_eq!((field(&last, "IsTruncated"), last.element("Key")), (Some("false"), "p%20%2Bc"));
    let versions = list(&wire, &format!("versions=&{asked}&key-marker=p%20%2B"));
    assert_eq!(common(&versions), "<Prefix>p%20%2Ba%20%C3%A9</Prefix>");
    assert_eq!(
        (
            field(&versions, "KeyMarker"),
            field(&versions, "NextKeyMarker"),
            field(&versions, "NextVersionIdMarker")
        ),
        (Some("p%20%2B"), Some("p%20%2Ba%20%C3%A9"), None)
    );
}

#[test]
fn times_are_whole_seconds() {
    let (_dir, _server, wire) = start_with_bucket();
    put(&wire, "k");
    for kind in ["list-type=2", "versions="] {
        let answer = list(&wire, kind);
        assert!(answer.element("LastModified").ends_with(".000Z"), "{}", answer.body);
    }
}

#[test]
fn numbers_and_markers_that_are_none_are_named() {
    let (_dir, _server, wire) = start_with_bucket();
    put(&wire, "k");
    for (query, argument) in [
        ("max-keys=blah", "max-keys"),
        ("list-type=2&max-keys=2147483648", "max-keys"),
        ("max-keys=-1", "maxKeys"),
        ("uploads=&max-uploads=x", "max-uploads"),
        ("encoding-type=base64", "encoding-type"),
        ("list-type=2&encoding-type=", "encoding-type"),
        ("list-type=2&continuation-token=", "continuation-token"),
        ("list-type=2&continuation-token=k", "continuation-token"),
        ("versions=&version-id-marker=null", "version-id-marker"),
        ("versions=&key-marker=k&version-id-marker=k", "version-id-marker"),
        ("uploads=&key-marker=k&upload-id-marker=k", "upload-id-marker"),
    ] {
        let answer = list(&wire, query);
        assert_eq!(answer.refusal(), (400, "InvalidArgument"), "{query}");
        assert_eq!(answer.element("ArgumentName"), argument, "{query}");
    }
    assert_eq!(list(&wire, "uploads=&upload-id-marker=k").status, 200, "says nothing without a key");
    assert_eq!(list(&wire, "max-keys=&list-type=2").element("KeyCount"), "1");
    let none = list(&wire, "list-type=2&max-keys=0");
    assert_eq!(
        (none.element("KeyCount"), none.element("IsTruncated"), none.element("MaxKeys")),
        ("0", "false", "0")
    );
    assert_eq!(list(&wire, "list-type=2&max-keys=5000").element("MaxKeys"), "1000");
}

#[test]
fn uploads_and_parts_say_where_they_end() {
    let (_dir, _server, wire) = start_with_bucket();
    let create = |key: &str| {
        let created = wire.send(&request("POST", &format!("/bucket/{key}?uploads=")));
        created.element("UploadId").to_owned()
    };
    let ids = ["a", "a", "b/1", "c"].map(create);
    let first = list(&wire, "uploads=&max-uploads=1");
    assert_eq!((first.element("UploadId"), first.element("NextKeyMarker")), (ids[0].as_str(), "a"));
    let marker = first.element("NextUploadIdMarker");
    let second = list(&wire, &format!("uploads=&max-uploads=1&key-marker=a&upload-id-marker={marker}"));
    assert_eq!((second.element("UploadId"), second.element("UploadIdMarker")), (ids[1].as_str(), marker));
    let prefix = list(&wire, "uploads=&max-uploads=1&key-marker=a&delimiter=%2F");
    assert_eq!((prefix.element("IsTruncated"), prefix.element("NextKeyMarker")), ("true", "b/"));
    let last = list(&wire, "uploads=&key-marker=b%2F&delimiter=%2F");
    assert_eq!((last.element("IsTruncated"), last.element("NextKeyMarker")), ("false", "c"));
    let wrong = list(&wire, &format!("uploads=&key-marker=c&upload-id-marker={}", ids[0]));
    assert_eq!(
        (wrong.refusal(), wrong.element("Message")),
        ((400, "InvalidArgument"), "Invalid uploadId marker")
    );
    for number in [1, 2] {
        let part = format!("/bucket/c?partNumber={number}&uploadId={}", ids[3]);
        assert_eq!(wire.send(&request("PUT", &part).body(*b"part")).status, 200);
    }
    let parts = |query: &str| wire.send(&request("GET", &format!("/bucket/c?uploadId={}{query}", ids[3])));
    for (query, marker, next, truncated) in [
        ("", "0", "2", "false"),
        ("&max-parts=1", "0", "1", "true"),
        ("&max-parts=1&part-number-marker=1", "1", "2", "false"),
        ("&part-number-marker=10", "10", "0", "false"),
        ("&part-number-marker=&max-parts=", "0", "2", "false"),
    ] {
        let answer = parts(query);
        let shown =
            ["PartNumberMarker", "NextPartNumberMarker", "IsTruncated"].map(|name| answer.element(name));
        assert_eq!(shown, [marker, next, truncated], "{query}");
    }
}
