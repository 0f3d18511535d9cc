use super::super::fields::Fields;
use super::super::part::Part;
use super::Success;
use http::Response;
use s3s::Body;

const URL: &str = "https://h:9000/b/";

/// Status, `Location`, `Content-Type` and body.
fn answer(pairs: &[(&str, &str)], key: &str) -> (u16, String, String, String) {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.add(Part { name: (*name).to_owned(), filename: None }, value.as_bytes().to_vec()).unwrap();
    }
    let put = Response::builder()
        .header("etag", "\"e\"")
        .header("content-length", "0")
        .header("x-amz-version-id", "v");
    let response = Success::new(&fields, URL, "b", key).answer(put.body(Body::empty()).unwrap());
    let (head, mut body) = response.into_parts();
    assert_eq!(
        (&head.headers["etag"], &head.headers["x-amz-version-id"]),
        (&"\"e\"".parse().unwrap(), &"v".parse().unwrap())
    );
    let header = |name: &str| {
        head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let body = body.take_bytes().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default();
    (head.status.as_u16(), header("location"), header("content-type"), body)
}

#[test]
fn the_form_chooses_among_three_statuses() {
    let location = "https://h:9000/b/a%2Fb%20c".to_owned();
    for (asked, status) in [("200", 200), ("204", 204), ("404", 204), ("", 204), ("0201", 204)] {
        let answered = answer(&[("success_action_status", asked)], "a/b c");
        assert_eq!(answered, (status, location.clone(), String::new(), String::new()), "{asked}");
    }
    let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>https://h:9000/b/a%2F%3C%26</Location><Bucket>b</Bucket><Key>a/&lt;&amp;</Key><ETag>\"e\"</ETag></PostResponse>";
    let answered = answer(&[("Success_Action_Status", "201")], "a/<&");
    assert_eq!(answered.0, 201);
    assert_eq!((answered.2.as_str(), answered.3.as_str()), ("application/xml", document));
}

#[test]
fn a_browser_is_sent_where_the_form_says_if_that_is_an_address() {
    let to = |pairs: &[(&str, &str)]| {
        let (status, location, ..) = answer(pairs, "a b/ü");
        (status, location)
    };
    let stored = "bucket=b&key=a+b%2F%C3%BC&etag=%22e%22";
    let redirect = |url: &str| to(&[("success_action_redirect", url), ("success_action_status", "201")]);
    assert_eq!(redirect("https://example.com/done"), (303, format!("https://example.com/done?{stored}")));
    assert_eq!(
        redirect("HTTP://example.com?a=b c#top"),
        (303, format!("HTTP://example.com?a=b c&{stored}#top"))
    );
    assert_eq!(to(&[("redirect", "http://old/")]), (303, format!("http://old/?{stored}")));
    let both = [("redirect", "http://old/"), ("success_action_redirect", "http://new/")];
    assert_eq!(to(&both), (303, format!("http://new/?{stored}")));
    for none in [
        "",
        "/wrong/relative",
        "not a url",
        "ftp://example.com/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://a b/",
        "http://example.com/\r\nset-cookie: a=b",
    ] {
        assert_eq!(redirect(none).0, 201, "{none:?}");
    }
}

#[test]
fn a_refused_put_stays_refused() {
    let put = Response::builder().status(403).body(Body::from("<Error></Error>".to_owned())).unwrap();
    let response = Success::new(&Fields::default(), URL, "b", "k").answer(put);
    assert_eq!((response.status().as_u16(), response.headers().len()), (403, 0));
}
