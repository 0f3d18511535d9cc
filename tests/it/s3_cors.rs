//! CORS on the wire: configurations, browsers' questions, and what pages get to see.

use super::support::form::form;
use super::support::sediment::Sediment;
use super::support::wire::{Answer, Request, Wire, request};

const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const APP: &str = "https://app.test";

fn start() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "s3.domains=[\"s3.test\"]"]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    (dir, server, wire)
}

fn document(rules: &str) -> Request {
    let rules = rules.replace("<R>", "<CORSRule>").replace("</R>", "</CORSRule>");
    let rules = rules.replace("<O>", "<AllowedOrigin>").replace("</O>", "</AllowedOrigin>");
    let rules = rules.replace("<M>", "<AllowedMethod>").replace("</M>", "</AllowedMethod>");
    let rules = rules.replace("<H>", "<AllowedHeader>").replace("</H>", "</AllowedHeader>");
    let rules = rules.replace("<E>", "<ExposeHeader>").replace("</E>", "</ExposeHeader>");
    let body = format!("<CORSConfiguration>{rules}</CORSConfiguration>");
    request("PUT", "/bucket?cors").body(body).with_md5()
}

fn set(wire: &Wire, rules: &str) {
    let answer = wire.send(&document(rules));
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{rules}");
}

/// Nobody signs a browser's question.
fn ask(wire: &Wire, target: &str, headers: &[(&str, &str)]) -> Answer {
    let ask = headers.iter().fold(request("OPTIONS", target), |ask, (name, value)| ask.header(name, value));
    wire.send_anonymous(&ask)
}

fn question(wire: &Wire, target: &str, origin: &str, method: &str) -> Answer {
    ask(wire, target, &[("origin", origin), ("access-control-request-method", method)])
}

/// The origin, the methods and the credentials that an answer allows; nothing else may be there without them.
fn allowed(answer: &Answer) -> Option<(String, String, bool)> {
    let header = |name: &str| answer.headers.get(&format!("access-control-{name}")).cloned();
    let Some(origin) = header("allow-origin") else {
        let others = answer.headers.keys().filter(|name| name.starts_with("access-control-"));
        assert_eq!(
            others.count() + usize::from(answer.headers.contains_key("vary")),
            0,
            "{:?}",
            answer.headers
        );
        return None;
    };
    assert_eq!(answer.headers["vary"], VARY);
    let credentials = header("allow-credentials");
    assert_eq!(credentials.clone().unwrap_or("true".to_owned()), "true");
    Some((origin, header("allow-methods").unwrap(), credentials.is_some()))
}

fn named(origin: &str, methods: &str) -> Option<(String, String, bool)> {
    Some((origin.to_owned(), methods.to_owned(), true))
}

#[test]
fn a_configuration_is_shown_as_it_was_set() {
    let (_dir, _server, wire) = start();
    let get = || wire.send(&request("GET", "/bucket?cors"));
    let none = get();
    assert_eq!(none.refusal(), (404, "NoSuchCORSConfiguration"));
    assert_eq!(none.element("BucketName"), "bucket");
    assert_eq!(none.element("Message"), "The CORS configuration does not exist");
    let rules = "<R><H>X-Amz-*</H><H>*</H><M>GET</M><M>PUT</M><O>http://b.test:80</O><O>https://*.a.test</O>\
                 <E>ETag</E><ID>one &amp; only</ID><MaxAgeSeconds>0</MaxAgeSeconds></R><R><M>HEAD</M><O>*</O></R>";
    set(&wire, rules);
    let shown = get();
    let expected = String::from_utf8(document(rules).body).unwrap();
    let (_, expected) = expected.split_once("<CORSConfiguration>").unwrap();
    assert!(shown.body.ends_with(expected), "{}", shown.body);
    set(&wire, "<R><M>HEAD</M><O></O></R>");
    assert!(!get().body.contains("GET"), "{}", get().body);
    for _ in 0..2 {
        assert_eq!(wire.send(&request("DELETE", "/bucket?cors")).status, 204);
    }
    assert_eq!(get().refusal(), (404, "NoSuchCORSConfiguration"));
    for method in ["GET", "DELETE"] {
        assert_eq!(wire.send(&request(method, "/none?cors")).refusal(), (404, "NoSuchBucket"));
        assert_eq!(wire.send_anonymous(&request(method, "/bucket?cors")).refusal(), (403, "AccessDenied"));
    }
}

#[test]
fn a_configuration_is_taken_whole_or_refused() {
    let (_dir, _server, wire) = start();
    let said = |rules: &str| {
        let answer = wire.send(&document(rules));
        (answer.status, answer.element("Code").to_owned(), answer.element("Message").to_owned())
    };
    let with = |more: &str| said(&format!("<R><M>GET</M><O>a</O>{more}</R>"));
    let invalid = |message: &str| (400, "InvalidRequest".to_owned(), message.to_owned());
    let method = "Found unsupported HTTP method in CORS config. Unsupported method is ";
    for name in ["OPTIONS", "PATCH", "get", ""] {
        assert_eq!(with(&format!("<M>{name}</M>")), invalid(&format!("{method}{name}")));
    }
    // A quote is written as a reference.
    let quoted = |element: &str, text: &str, why: &str| {
        let (status, code, message) = with(&format!("<{element}>{text}</{element}>"));
        let message = message.replace("&quot;", "\"");
        let start = format!("\"{}\" ", text.replace("&#10;", "\n"));
        assert!((status, code.as_str()) == (400, "InvalidRequest") && message.contains(&start), "{message}");
        assert!(message.ends_with(why), "{message}");
    };
    quoted("O", "*a.*", "can not have more than one wildcard.");
    quoted("H", "**", "can not have more than one wildcard.");
    quoted("E", "*", "contains wildcard. We currently do not support wildcard for ExposeHeader.");
    quoted("E", "a&#10;b", "can have visible ASCII characters only.");
    let long = with(&format!("<ID>{}</ID>", "x".repeat(256)));
    assert_eq!((long.0, long.1.as_str()), (400, "InvalidArgument"));
    for malformed in [
        "",
        "<R></R>",
        "<R><M>GET</M></R>",
        "<R><O>a</O></R>",
        "<R><M>GET</M><O>a</O><MaxAgeSeconds>-1</MaxAgeSeconds></R>",
        "<R><M>GET</M><O>a</O><MaxAgeSeconds>long</MaxAgeSeconds></R>",
        &"<R><M>GET</M><O>a</O></R>".repeat(101),
    ] {
        assert_eq!(said(malformed).1, "MalformedXML", "{malformed}");
    }
    let large = with(&format!("<O>{}</O>", "a".repeat(64 << 10)));
    assert_eq!((large.0, large.1.as_str()), (400, "InvalidRequest"));
    let body = document("<R><M>GET</M><O>a</O></R>").body;
    let unchecked = request("PUT", "/bucket?cors").body(body.clone());
    assert_eq!(wire.send(&unchecked).refusal(), (400, "InvalidRequest"));
    assert_eq!(wire.send(&unchecked.header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")).status, 400);
    assert_eq!(wire.send(&request("GET", "/bucket?cors")).status, 404, "nothing was set");
    set(&wire, &"<R><M>GET</M><O>a</O></R>".repeat(100));
    let checksum = request("PUT", "/bucket?cors").body(body).header("x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(wire.send(&checksum).refusal(), (400, "BadDigest"));
}

#[test]
fn a_browser_is_told_what_the_first_rule_that_fits_allows() {
    let (_dir, _server, wire) = start();
    set(
        &wire,
        "<R><M>GET</M><O>*suffix</O></R><R><M>GET</M><O>start*end</O></R><R><M>GET</M><O>prefix*</O></R>\
         <R><M>PUT</M><M>POST</M><O>https://app.test</O><H>x-amz-*</H><H>Content-MD5</H><E>ETag</E><E>x-amz-version-id</E>\
         <MaxAgeSeconds>3000</MaxAgeSeconds></R><R><M>HEAD</M><O>*</O></R>",
    );
    for target in
        ["/bucket", "/bucket/k", "/bucket/a/%C3%A4?X-Amz-Signature=0&versionId=x", "/bucket?uploads"]
    {
        for origin in ["a.suffix", "suffix", "startend", "start1end", "prefix", "prefix.suffix"] {
            let yes = question(&wire, target, origin, "GET");
            assert_eq!((yes.status, yes.body.as_str()), (200, ""), "{origin}");
            assert_eq!(allowed(&yes), named(origin, "GET"), "{target}");
        }
        for origin in ["a.b", "a.suffix.get", "0start1end", "a.prefix", APP] {
            let no = question(&wire, target, origin, "GET");
            assert_eq!((no.refusal(), allowed(&no)), ((403, "AccessForbidden"), None), "{origin}");
        }
    }
    let asking = |names: &str| {
        let method = ("access-control-request-method", "PUT");
        ask(&wire, "/bucket/k", &[("origin", APP), method, ("access-control-request-headers", names)])
    };
    let yes = asking("X-AMZ-Date, content-MD5,x-amz-acl");
    assert_eq!(allowed(&yes), named(APP, "PUT, POST"));
    let header = |name: &str| yes.headers[&format!("access-control-{name}")].as_str();
    assert_eq!(header("allow-headers"), "x-amz-date, content-md5, x-amz-acl");
    assert_eq!(header("expose-headers"), "ETag, x-amz-version-id");
    assert_eq!(header("max-age"), "3000");
    for names in ["x-amz-date, authorization", "content-md55", "x-amz-date: 1", "x-amz-d\u{e9}"] {
        assert_eq!((asking(names).status, allowed(&asking(names))), (403, None), "{names}");
    }
    let everybody = question(&wire, "/bucket/k", "null", "HEAD");
    assert_eq!(allowed(&everybody), Some(("*".to_owned(), "HEAD".to_owned(), false)));
    let virtual_hosted = request("OPTIONS", "/k").header("origin", APP);
    let virtual_hosted = virtual_hosted.header("access-control-request-method", "PUT");
    let mut signed = wire.sign(&virtual_hosted);
    signed.headers.retain(|(name, _)| name != "authorization" && name != "host");
    signed.headers.push(("host".to_owned(), "bucket.s3.test".to_owned()));
    let hosted = wire.send_signed(&virtual_hosted, &signed, b"");
    assert_eq!((hosted.status, allowed(&hosted)), (200, named(APP, "PUT, POST")));
}

#[test]
fn i6_what_is_no_question_or_is_not_allowed_is_refused_as_by_aws() {
    let (_dir, _server, wire) = start();
    let check = |target: &str,
                 headers: &[(&str, &str)],
                 expected: (u16, &str),
                 message: &str,
                 fields: (&str, &str)| {
        let answer = ask(&wire, target, headers);
        assert_eq!(answer.refusal(), expected, "{target} {headers:?}");
        assert!(answer.element("Message").starts_with(message), "{}", answer.body);
        assert_eq!(
            (answer.element("Method"), answer.element("ResourceType")),
            fields,
            "{target} {headers:?}"
        );
        assert_eq!(allowed(&answer), None);
    };
    let (bad, no) = ((400, "BadRequest"), (403, "AccessForbidden"));
    let origin = ("origin", APP);
    let method = |method| ("access-control-request-method", method);
    let needed = "Insufficient information. Origin request header needed.";
    let wrong = "Invalid Access-Control-Request-Method: ";
    let off = "CORSResponse: CORS is not enabled for this bucket.";
    let nowhere = "CORSResponse: Bucket not found";
    for target in ["/", "/bucket", "/bucket/k?X-Amz-Expires=9", "/none", "/-"] {
        check(target, &[], bad, needed, ("", ""));
        check(target, &[method("GET")], bad, needed, ("", ""));
        check(target, &[origin, origin, method("GET")], bad, needed, ("", ""));
        check(target, &[origin, method("BLAH")], bad, &format!("{wrong}BLAH"), ("", ""));
    }
    for target in ["/", "/none", "/none/k", "/-"] {
        check(target, &[origin, method("PUT")], no, nowhere, ("PUT", "BUCKET"));
        check(target, &[origin], no, nowhere, ("OPTIONS", "BUCKET"));
    }
    for target in ["/bucket", "/bucket/k"] {
        check(target, &[origin, method("PATCH")], no, off, ("PATCH", "BUCKET"));
        check(target, &[origin], no, off, ("OPTIONS", "BUCKET"));
    }
    set(&wire, "<R><M>GET</M><O>https://app.test</O></R>");
    let not_allowed = "CORSResponse: This CORS request is not allowed.";
    check("/bucket", &[origin, method("PUT")], no, not_allowed, ("PUT", "BUCKET"));
    check("/bucket/k", &[origin, method("OPTIONS")], no, not_allowed, ("OPTIONS", "OBJECT"));
    check("/bucket/k", &[("origin", "x\" y"), method("GET")], bad, needed, ("", ""));
    check("/bucket/k", &[origin], bad, &format!("{wrong}null"), ("", ""));
    // What a page is allowed to ask for it may still not get.
    assert_eq!(question(&wire, "/bucket/k", APP, "GET").status, 200);
    assert_eq!(wire.send_anonymous(&request("GET", "/bucket/k").header("origin", APP)).refusal().0, 403);
}

#[test]
fn a_page_sees_every_answer_that_a_rule_allows_and_no_other() {
    let (_dir, _server, wire) = start();
    set(
        &wire,
        "<R><M>GET</M><M>PUT</M><M>POST</M><M>DELETE</M><O>https://app.test</O><E>ETag</E></R><R><M>HEAD</M><O>*</O></R>",
    );
    let mine = named(APP, "GET, PUT, POST, DELETE");
    let from = |method: &'static str, target: &str| request(method, target).header("origin", APP);
    let put = wire.send(&from("PUT", "/bucket/k").body(*b"0123456789"));
    assert_eq!((put.status, allowed(&put)), (200, mine.clone()));
    assert_eq!(put.headers["access-control-expose-headers"], "ETag");
    let etag = put.headers["etag"].clone();
    let statuses = [
        (200, wire.send(&from("GET", "/bucket/k"))),
        (200, wire.send(&from("GET", "/bucket?list-type=2"))),
        (206, wire.send(&from("GET", "/bucket/k").header("range", "bytes=1-2"))),
        (304, wire.send(&from("GET", "/bucket/k").header("if-none-match", &etag))),
        (416, wire.send(&from("GET", "/bucket/k").header("range", "bytes=99-"))),
        (412, wire.send(&from("GET", "/bucket/k").header("if-match", "\"other\""))),
        (404, wire.send(&from("GET", "/bucket/none"))),
        (403, wire.send_anonymous(&from("GET", "/bucket/k"))),
        (403, wire.send(&from("GET", "/bucket/k").unsigned("x-amz-acl", "private"))),
        (400, wire.send(&from("PUT", "/bucket?versioning=").body("<"))),
        (405, wire.send(&from("GET", "/bucket/k?torrent="))),
        (501, wire.send(&from("GET", "/bucket?metadataConfiguration="))),
        (204, wire.send(&from("DELETE", "/bucket/k"))),
        (204, form("bucket", "f", b"x").signed("bucket", &[]).header("origin", APP).send(&wire)),
        (403, form("bucket", "f", b"x").header("origin", APP).send(&wire)),
    ];
    for (n, (status, answer)) in statuses.iter().enumerate() {
        assert_eq!((answer.status, allowed(answer)), (*status, mine.clone()), "{n}: {}", answer.body);
    }
    let head = wire.send(&from("HEAD", "/bucket/f"));
    assert_eq!(allowed(&head), Some(("*".to_owned(), "HEAD".to_owned(), false)));

    let plain = |request: Request| allowed(&wire.send(&request));
    let get = || request("GET", "/bucket/f");
    assert_eq!(plain(get()), None);
    for origin in ["https://app.test.evil.test", "http://app.test", "null", "https://APP.test"] {
        assert_eq!(plain(get().header("origin", origin)), None, "{origin}");
    }
    assert_eq!(plain(get().unsigned("origin", APP).unsigned("origin", APP)), None);
    assert_eq!(
        plain(from("GET", "/bucket/f").header("access-control-request-method", "HEAD")).unwrap().0,
        "*"
    );
    assert_eq!(plain(from("GET", "/bucket/f").header("access-control-request-method", "PATCH")), None);
    assert_eq!(plain(from("GET", "/bucket/f").header("access-control-request-headers", "range")), None);
    for elsewhere in ["/", "/none", "/none/k"] {
        assert_eq!(plain(from("GET", elsewhere)), None, "{elsewhere}");
    }
    let last = wire.send(&from("DELETE", "/bucket?cors"));
    assert_eq!((last.status, allowed(&last)), (204, mine));
    assert_eq!(plain(from("GET", "/bucket/f")), None);
}

#[test]
fn i1_rules_are_there_after_a_restart_and_gone_with_their_bucket() {
    let (dir, server, wire) = start();
    set(&wire, "<R><M>GET</M><O>*</O></R>");
    server.kill();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(question(&wire, "/bucket", APP, "GET").status, 200);
    assert_eq!(wire.send(&request("DELETE", "/bucket")).status, 204);
    assert_eq!(question(&wire, "/bucket", APP, "GET").element("Message"), "CORSResponse: Bucket not found");
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    assert_eq!(wire.send(&request("GET", "/bucket?cors")).refusal(), (404, "NoSuchCORSConfiguration"));
    assert_eq!(question(&wire, "/bucket", APP, "GET").status, 403);
}
