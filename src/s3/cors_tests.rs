use super::{asked_headers, asked_method, granted, origin};
use crate::types::{CorsMethod, CorsPattern, CorsQuestion, CorsRule, ExposedHeader};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

#[test]
fn i6_an_origin_is_one_word_of_ascii_in_one_header() {
    let of = |values: &[&[u8]]| {
        let lines: Vec<_> = values.iter().map(|value| ("origin", *value)).collect();
        origin(&headers(&lines)).map(str::to_owned)
    };
    assert_eq!(of(&[b"https://a.test:8443"]).as_deref(), Some("https://a.test:8443"));
    assert_eq!(of(&[b"null"]).as_deref(), Some("null"));
    for refused in [
        &[][..],
        &[""],
        &["https://a.test", "https://b.test"],
        &["https://a.test", "https://a.test"],
        &["https://a.test https://b.test"],
        &["https://a.test\tx"],
        &["https://ä.test"],
    ] {
        let lines: Vec<_> = refused.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(of(&lines), None, "{refused:?}");
    }
}

#[test]
fn headers_asked_for_are_names_in_lower_case_or_nothing() {
    let of = |values: &[&[u8]]| {
        let lines: Vec<_> = values.iter().map(|value| ("access-control-request-headers", *value)).collect();
        asked_headers(&headers(&lines))
    };
    assert_eq!(of(&[]), Some(Vec::new()));
    assert_eq!(of(&[b" , ,"]), Some(Vec::new()));
    let expected: Vec<_> = ["x-amz-date", "content-type", "range"].map(str::to_owned).into();
    assert_eq!(of(&[b"X-Amz-Date,content-type", b" RANGE"]), Some(expected));
    for refused in [&b"a b"[..], b"a, b:c", b"a\tb", b"<script>", "ä".as_bytes()] {
        assert_eq!(of(&[refused]), None, "{refused:?}");
    }
    assert_eq!(of(&["a,".repeat(256).as_bytes()]).map(|names| names.len()), Some(256));
    assert_eq!(of(&["a,".repeat(257).as_bytes()]), None);
}

#[test]
fn a_method_asked_about_is_one_that_aws_knows_or_none() {
    let of = |values: &[&[u8]]| {
        let lines: Vec<_> = values.iter().map(|value| ("access-control-request-method", *value)).collect();
        asked_method(&headers(&lines)).map(|method| method.map(str::to_owned)).map_err(|refusal| {
            let message = refusal.error.message().unwrap_or_default();
            message.trim_start_matches("Invalid Access-Control-Request-Method: ").to_owned()
        })
    };
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&[b"PUT"]), Ok(Some("PUT".to_owned())));
    assert_eq!(of(&[b"PATCH"]), Ok(Some("PATCH".to_owned())));
    for (sent, said) in [("", ""), ("get", "get"), ("TRACE", "TRACE"), ("GET, PUT", "GET, PUT")] {
        assert_eq!(of(&[sent.as_bytes()]), Err(said.to_owned()));
    }
    assert_eq!(of(&[b"GET", b"PUT"]), Err("GET".to_owned()));
    assert_eq!(of(&["x".repeat(100).as_bytes()]), Err("x".repeat(64)));
}

#[test]
fn i6_credentials_are_for_named_origins_only() {
    let rule = |origins: &[&str]| CorsRule {
        id: None,
        origins: origins.iter().map(|text| CorsPattern::parse((*text).to_owned()).unwrap()).collect(),
        methods: vec![CorsMethod::Get, CorsMethod::Put],
        headers: Vec::new(),
        exposed: ["ETag", "", "x-amz-meta-a"]
            .map(|text| ExposedHeader::parse(text.to_owned()).unwrap())
            .into(),
        max_age_seconds: Some(3000),
    };
    let shown = |origins: &[&str], asked: &[&str]| -> BTreeMap<String, String> {
        let question = CorsQuestion {
            origin: "https://a.test".to_owned(),
            method: "GET".to_owned(),
            headers: Some(asked.iter().map(ToString::to_string).collect()),
        };
        let headers = granted(&rule(origins), &question);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    };
    let common = [
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-expose-headers", "ETag, x-amz-meta-a"),
        ("access-control-max-age", "3000"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ];
    let with = |more: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    let named = [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "range, x-amz-date"),
    ];
    assert_eq!(shown(&["https://*"], &["range", "x-amz-date"]), with(&named));
    for origins in [&["*"][..], &["https://a.test", "*"]] {
        assert_eq!(shown(origins, &[]), with(&[("access-control-allow-origin", "*")]), "{origins:?}");
    }
}
