use super::super::part::Part;
use super::{Fields, Policy, SizeRange};
use base64::Engine as _;
use time::OffsetDateTime;

const BUCKET: &str = "johnsmith";
/// 2013-05-24, midnight.
const NOW: i64 = 1_369_353_600;

fn refusal(refusal: &crate::s3::refusal::Refusal) -> String {
    format!("{}: {}", refusal.error.code().as_str(), refusal.error.message().unwrap_or_default())
}

fn parse(json: &str) -> Result<Policy, String> {
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    Policy::parse(&text).map_err(|error| refusal(&error))
}

fn conditions(conditions: &str) -> Result<Policy, String> {
    parse(&format!("{{\"expiration\": \"2013-08-01T12:00:00.000Z\", \"conditions\": [{conditions}]}}"))
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.add(Part { name: (*name).to_owned(), filename: None }, value.as_bytes().to_vec()).unwrap();
    }
    fields
}

/// What the form's bucket and key, and these fields, are answered.
fn check(listed: &str, more: &[(&str, &str)]) -> Result<SizeRange, String> {
    let policy =
        conditions(&format!("{{\"bucket\": \"johnsmith\"}}, [\"starts-with\", \"$key\", \"\"], {listed}"))?;
    let fields = fields(&[&[("key", "user/eric/a")], more].concat());
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    policy.check(&fields, BUCKET, now).map_err(|error| refusal(&error))
}

fn failed(shown: &str) -> Result<SizeRange, String> {
    Err(format!("AccessDenied: Invalid according to Policy: Policy Condition failed: {shown}"))
}

#[test]
fn every_kind_of_condition_is_kept_to() {
    let any = Ok(SizeRange::ANY);
    let acl = [("acl", "public-read")];
    let kinds = |value| [("Content-Type", value)];
    let images = r#"["starts-with", "$Content-Type", "image/"]"#;
    for (listed, more, expected) in [
        (r#"{"acl": "public-read"}"#, &acl[..], any.clone()),
        (r#"{"ACL": "public-read"}"#, &acl, any.clone()),
        (r#"["eq", "$acl", "public-read"]"#, &acl, any.clone()),
        (r#"["EQ", "$aCl", "public-read"]"#, &acl, any.clone()),
        (r#"["Starts-With", "$acl", "public"]"#, &acl, any.clone()),
        (r#"["starts-with", "$acl", ""]"#, &acl, any.clone()),
        (r#"{"acl": "private"}"#, &acl, failed(r#"["eq", "$acl", "private"]"#)),
        (r#"{"acl": "Public-read"}"#, &acl, failed(r#"["eq", "$acl", "Public-read"]"#)),
        (r#"["eq","$Acl","pub\"lic"]"#, &acl, failed(r#"["eq", "$Acl", "pub\"lic"]"#)),
        (r#"["starts-with", "$acl", "read"]"#, &acl, failed(r#"["starts-with", "$acl", "read"]"#)),
        (r#"["eq", "acl", "public-read"]"#, &acl, failed(r#"["eq", "acl", "public-read"]"#)),
        // A field that is not there has no value, not even an empty one.
        (r#"["starts-with", "$acl", ""]"#, &[], failed(r#"["starts-with", "$acl", ""]"#)),
        (r#"["eq", "$acl", ""]"#, &[], failed(r#"["eq", "$acl", ""]"#)),
        (images, &kinds("image/png"), any.clone()),
        (images, &kinds("image/png, image/gif"), any.clone()),
        (images, &kinds("image/png,text/plain"), failed(images)),
        (images, &kinds(""), failed(images)),
        (r#"["starts-with", "$acl", "a"]"#, &[("acl", "a,b")], any.clone()),
        (r#"["eq", "$x-amz-meta-a", "\$5"]"#, &[("X-Amz-Meta-A", "$5")], any.clone()),
        (r#"["eq", "$x-amz-meta-a", "\\$5"]"#, &[("x-amz-meta-a", r"\$5")], any),
    ] {
        assert_eq!(check(listed, more), expected, "{listed} {more:?}");
    }
}

#[test]
fn i6_the_bucket_is_the_requests_and_needs_a_condition() {
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let form = fields(&[("key", "k"), ("bucket", "johnsmith")]);
    let key = r#"["starts-with", "$key", ""]"#;
    let other = conditions(&format!("{key}, {{\"bucket\": \"johnsmith\"}}")).unwrap();
    assert_eq!(
        other.check(&form, "victim", now).map_err(|error| refusal(&error)),
        failed(r#"["eq", "$bucket", "johnsmith"]"#)
    );
    assert!(other.check(&form, BUCKET, now).is_ok());
    let none = conditions(key).unwrap();
    assert_eq!(
        none.check(&form, BUCKET, now).map_err(|error| refusal(&error)),
        Err("AccessDenied: Invalid according to Policy: Extra input fields: bucket".to_owned())
    );
}

#[test]
fn i6_every_field_needs_a_condition() {
    let extra =
        |names: &str| Err(format!("AccessDenied: Invalid according to Policy: Extra input fields: {names}"));
    let exempt = [("Policy", "x"), ("X-Amz-Signature", "x"), ("x-ignore-Filename", "x")];
    assert_eq!(check("", &exempt), Ok(SizeRange::ANY));
    let more = [("Filename", "x"), ("x-amz-date", "x"), ("success_action_redirect", "http://a/")];
    assert_eq!(check("", &more), extra("Filename, x-amz-date, success_action_redirect"));
    assert_eq!(
        check(r#"["content-length-range", 0, 1]"#, &[("content-length-range", "1")]),
        extra("content-length-range")
    );
    // A condition without `$` covers nothing; it fails before that.
    assert_eq!(
        check(r#"["starts-with", "acl", ""]"#, &[("acl", "x")]),
        failed(r#"["starts-with", "acl", ""]"#)
    );
}

#[test]
fn all_size_ranges_count() {
    let range = |least, most| Ok(SizeRange { least, most });
    assert_eq!(check(r#"["content-length-range", 5, 10]"#, &[]), range(5, 10));
    assert_eq!(check(r#"["Content-Length-Range", "5", "10"]"#, &[]), range(5, 10));
    assert_eq!(
        check(r#"["content-length-range", 0, 10], ["content-length-range", 5, 20]"#, &[]),
        range(5, 10)
    );
    let text = r#"["content-length-range", "test", "10"]"#;
    assert_eq!(check(text, &[]), failed(text));
}

#[test]
fn i6_a_policy_ends_when_it_says() {
    let policy = conditions(r#"{"bucket": "johnsmith"}, {"key": "k"}"#).unwrap();
    let form = fields(&[("key", "k")]);
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let expiration = 1_375_358_400;
    assert!(policy.check(&form, BUCKET, at(expiration)).is_ok());
    assert_eq!(
        policy.check(&form, BUCKET, at(expiration + 1)).map_err(|error| refusal(&error)),
        Err("AccessDenied: Invalid according to Policy: Policy expired.".to_owned())
    );
}

#[test]
fn documents_that_are_no_policies_say_why() {
    let whole = |expiration: &str| format!("{{\"expiration\": {expiration}, \"conditions\": []}}");
    for (json, why) in [
        ("expiration".to_owned(), "Invalid JSON."),
        ("[]".to_owned(), "Invalid JSON."),
        (String::new(), "Invalid JSON."),
        ("{}".to_owned(), "Policy missing expiration."),
        (r#"{"EXPIRATION": "x", "conditions": []}"#.to_owned(), "Unexpected: 'EXPIRATION'"),
        (r#"{"expiration": "x", "CONDITIONS": []}"#.to_owned(), "Unexpected: 'CONDITIONS'"),
        (r#"{"expiration": "2013-08-01T12:00:00Z"}"#.to_owned(), "Policy missing conditions."),
        (
            r#"{"expiration": "2013-08-01T12:00:00Z", "conditions": {}}"#.to_owned(),
            "Invalid 'conditions' value: must be a List.",
        ),
        (whole("\"2013-08-01 12:00:00\""), "Invalid 'expiration' value: '2013-08-01 12:00:00'"),
        (whole("\"2013-08-01T12:00:00+00:00\""), "Invalid 'expiration' value: '2013-08-01T12:00:00+00:00'"),
        (whole("\"2013-02-30T12:00:00Z\""), "Invalid 'expiration' value: '2013-02-30T12:00:00Z'"),
        (whole("32503680000"), "Invalid 'expiration' value: '32503680000'"),
    ] {
        assert_eq!(parse(&json), Err(format!("InvalidPolicyDocument: Invalid Policy: {why}")), "{json}");
    }
    assert!(parse(&whole("\"2013-08-01T12:00:00Z\"")).is_ok());
    let not_base64 = Policy::parse("{policy}").map_err(|error| refusal(&error));
    assert_eq!(not_base64, Err("InvalidPolicyDocument: Invalid Policy: invalid Base64 encoding.".to_owned()));
}

#[test]
fn conditions_that_are_none_say_why() {
    let one = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.";
    for (condition, why) in [
        ("{}", one),
        (r#"{"acl": "private", "key": "k"}"#, one),
        (r#"{"acl": 1}"#, "Invalid Simple-Condition: value must be a string."),
        ("\"bucket\"", "Invalid condition test: must be a List or Object."),
        ("[]", "Invalid Condition: missing operation identifier."),
        (r#"["ends-with", "$key", "x"]"#, "Invalid Condition: unknown operation 'ends-with'."),
        (r#"["eq", "$key"]"#, "Invalid eq: wrong number of arguments."),
        (r#"["eq", "$key", 1]"#, "Invalid JSON."),
        (r#"["content-length-range", 0]"#, "Invalid content-length-range: wrong number of arguments."),
        (r#"["content-length-range", -1, 0]"#, "Invalid JSON."),
        (r#"["content-length-range", 0, 512.0]"#, "Invalid JSON."),
        (r#"["content-length-range", 0, 99999999999999999999]"#, "Invalid JSON."),
    ] {
        let expected = Err(format!("InvalidPolicyDocument: Invalid Policy: {why}"));
        assert_eq!(conditions(condition), expected, "{condition}");
    }
}

/// The policy of "Example: Browser-Based Upload using HTTP POST" in Amazon S3's documentation, and its form.
#[test]
fn the_documentations_form_keeps_to_its_policy() {
    let policy = Policy::parse(crate::s3::auth::testing::EXAMPLE_POLICY).unwrap();
    let form = fields(&[
        ("key", "user/user1/photo.jpg"),
        ("acl", "public-read"),
        ("success_action_redirect", "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"),
        ("Content-Type", "image/jpeg"),
        ("x-amz-meta-uuid", "14365123651274"),
        ("x-amz-server-side-encryption", "AES256"),
        ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Date", "20151229T000000Z"),
        ("x-amz-meta-tag", ""),
        ("Policy", "…"),
        ("X-Amz-Signature", "…"),
    ]);
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    assert!(policy.check(&form, "sigv4examplebucket", now).is_ok());
    assert!(policy.check(&form, "sigv4examplebucket2", now).is_err());
}
