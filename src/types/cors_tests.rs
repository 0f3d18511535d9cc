use super::{CorsMethod, CorsPattern, CorsQuestion, CorsRule, CorsRules, ExposedHeader};

fn patterns(texts: &[&str]) -> Vec<CorsPattern> {
    texts.iter().map(|text| CorsPattern::parse((*text).to_owned()).unwrap()).collect()
}

fn rule(id: &str, origins: &[&str], methods: &[CorsMethod], headers: &[&str]) -> CorsRule {
    CorsRule {
        id: Some(id.to_owned()),
        origins: patterns(origins),
        methods: methods.to_vec(),
        headers: patterns(headers),
        exposed: Vec::new(),
        max_age_seconds: None,
    }
}

fn question(origin: &str, method: &str, headers: &[&str]) -> CorsQuestion {
    let headers = headers.iter().map(ToString::to_string).collect();
    CorsQuestion { origin: origin.to_owned(), method: method.to_owned(), headers: Some(headers) }
}

fn allows(pattern: &str, origin: &str) -> bool {
    let rules = CorsRules(vec![rule("r", &[pattern], &[CorsMethod::Get], &[])]);
    rules.allowing(&question(origin, "GET", &[])).is_some()
}

#[test]
fn i6_an_origin_is_allowed_as_a_whole_or_not_at_all() {
    for (pattern, origin) in [
        ("*", "https://a.test"),
        ("https://a.test", "https://a.test"),
        ("https://*.a.test", "https://b.a.test"),
        ("https://*.a.test", "https://c.b.a.test"),
        ("https://*.a.test", "https://.a.test"),
        ("start*end", "startend"),
        ("start*end", "start12end"),
        ("prefix*", "prefix"),
        ("*suffix", "a.suffix"),
    ] {
        assert!(allows(pattern, origin), "{pattern} {origin}");
    }
    for (pattern, origin) in [
        ("https://a.test", "http://a.test"),
        ("https://a.test", "https://a.test:8443"),
        ("https://a.test", "https://a.test/"),
        ("https://a.test", "https://a.test.evil.test"),
        ("https://a.test", "HTTPS://A.test"),
        ("https://*.a.test", "https://a.test"),
        ("https://*.a.test", "https://b.a.test.evil.test"),
        ("start*end", "0startend"),
        ("aba*aba", "aba"),
        ("aba*aba", "ababa"),
        ("", "https://a.test"),
    ] {
        assert!(!allows(pattern, origin), "{pattern} {origin}");
    }
}

#[test]
fn headers_are_compared_without_regard_to_case_and_all_have_to_be_allowed() {
    let rules =
        CorsRules(vec![rule("r", &["*"], &[CorsMethod::Put], &["X-Amz-Meta-*", "Content-TYPE", "ä*"])]);
    let is_allowed = |names: &[&str]| rules.allowing(&question("o", "PUT", names)).is_some();
    assert!(is_allowed(&[]));
    assert!(is_allowed(&["x-amz-meta-", "content-type", "x-amz-meta-a"]));
    assert!(!is_allowed(&["content-type", "authorization"]));
    assert!(!is_allowed(&["content-types"]));
    let unnameable = CorsQuestion { headers: None, ..question("o", "PUT", &[]) };
    assert_eq!(rules.allowing(&unnameable), None);
}

#[test]
fn the_first_rule_that_fits_in_everything_decides() {
    let rules = CorsRules(vec![
        rule("one", &["https://a.test"], &[CorsMethod::Get], &[]),
        rule("two", &["https://a.test", "https://b.test"], &[CorsMethod::Get, CorsMethod::Put], &["*"]),
        rule("all", &["*"], &[CorsMethod::Head], &[]),
    ]);
    let found = |origin: &str, method: &str, headers: &[&str]| {
        let rule = rules.allowing(&question(origin, method, headers));
        rule.and_then(|rule| rule.id.clone()).unwrap_or_default()
    };
    assert_eq!(found("https://a.test", "GET", &[]), "one");
    assert_eq!(found("https://a.test", "GET", &["range"]), "two");
    assert_eq!(found("https://b.test", "PUT", &[]), "two");
    assert_eq!(found("https://b.test", "HEAD", &[]), "all");
    for (origin, method) in [("https://c.test", "GET"), ("https://a.test", "get"), ("https://a.test", "")] {
        assert_eq!(found(origin, method, &[]), "", "{origin} {method}");
    }
    assert!(rules.0[2].is_for_every_origin() && !rules.0[1].is_for_every_origin());
}

#[test]
fn wildcards_and_characters_are_refused_where_they_cannot_be() {
    let pattern = |text: &str| CorsPattern::parse(text.to_owned());
    assert!(pattern("").is_ok() && pattern("*").is_ok() && pattern("a*b").is_ok());
    assert!(pattern("*a*").is_err() && pattern("**").is_err());
    let exposed = |text: &str| ExposedHeader::parse(text.to_owned());
    assert!(exposed("ETag").is_ok() && exposed("x-amz-meta-a b").is_ok());
    for refused in ["*", "x-amz-meta-*", "a\r\nset-cookie: b", "a\tb", "ä"] {
        assert!(exposed(refused).is_err(), "{refused:?}");
    }
    for name in ["GET", "PUT", "POST", "DELETE", "HEAD"] {
        assert_eq!(CorsMethod::parse(name).map(CorsMethod::as_str), Ok(name));
    }
    for name in ["", "get", "OPTIONS", "PATCH", "*"] {
        assert!(CorsMethod::parse(name).is_err(), "{name}");
    }
}

#[test]
fn i1_stored_rules_are_read_by_name() {
    let rules = CorsRules(vec![CorsRule {
        exposed: vec![ExposedHeader::parse("ETag".to_owned()).unwrap()],
        max_age_seconds: Some(3000),
        ..rule("r", &["https://*.a.test"], &[CorsMethod::Get, CorsMethod::Head], &["*"])
    }]);
    let stored = rmp_serde::to_vec_named(&rules).unwrap();
    assert_eq!(rmp_serde::from_slice::<CorsRules>(&stored).unwrap(), rules);
    let older = serde_json::json!([{ "origins": ["*"], "methods": ["Get"], "of_later": 1 }]);
    let read: CorsRules = serde_json::from_value(older).unwrap();
    let expected = CorsRule { id: None, ..rule("", &["*"], &[CorsMethod::Get], &[]) };
    assert_eq!(read, CorsRules(vec![expected]));
}
