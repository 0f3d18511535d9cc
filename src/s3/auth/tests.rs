use super::testing::{ACCESS_KEY, SECRET_KEY, THEN, check_at, chunked_example, head};
use super::{Payload, Refusal};
use crate::types::Principal;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::request::Parts;
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn code(result: Result<super::Verified, Refusal>) -> String {
    result.map_or_else(|refusal| refusal.error.code().as_str().to_owned(), |_| "passes".to_owned())
}

fn authorization(headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={headers},Signature={signature}"
    )
}

/// The examples of "Authenticating Requests: Using the Authorization Header" in Amazon S3's API reference.
#[test]
fn the_examples_of_the_documentation_are_signed_right() {
    let base = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z")];
    let get = authorization(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    let hash = ("x-amz-content-sha256", EMPTY);
    let request =
        |method: &str, uri: &str, more: &[(&str, &str)]| head(method, uri, &[&base[..], more].concat());
    let got = request("GET", "/test.txt", &[hash, ("range", "bytes=0-9"), ("authorization", &get)]);
    assert_eq!(code(check_at(&got, THEN)), "passes");
    let put = authorization(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let put = [
        ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", &put),
    ];
    assert_eq!(code(check_at(&request("PUT", "/test$file.text", &put), THEN)), "passes");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let lifecycle = authorization(names, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    let got = request("GET", "/?lifecycle", &[hash, ("authorization", &lifecycle)]);
    assert_eq!(code(check_at(&got, THEN)), "passes");
    let list = authorization(names, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    let got = request("GET", "/?max-keys=2&prefix=J", &[hash, ("authorization", &list)]);
    assert_eq!(code(check_at(&got, THEN)), "passes");
    let other = request("GET", "/?max-keys=3&prefix=J", &[hash, ("authorization", &list)]);
    assert_eq!(code(check_at(&other, THEN)), "SignatureDoesNotMatch");
    let url = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let presigned = head("GET", url, &base[..1]);
    assert_eq!(code(check_at(&presigned, THEN + 86_400)), "passes");
    assert_eq!(code(check_at(&presigned, THEN + 86_401)), "AccessDenied");
    assert!(matches!(chunked_example(), Payload::Chunked { signer: Some(_), has_trailer: false }));
}

/// A request as AWS's own code signs it.
fn signed(mut parts: Parts, presign: Option<u64>) -> Parts {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if let Some(seconds) = presign {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(seconds));
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    }
    let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(THEN as u64))
        .settings(settings)
        .build()
        .unwrap();
    let uri = format!("http://{}{}", parts.headers["host"].to_str().unwrap(), parts.uri);
    let headers: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let signable =
        SignableRequest::new(parts.method.as_str(), &uri, headers.into_iter(), SignableBody::UnsignedPayload);
    let (instructions, _) = sign(signable.unwrap(), &params.into()).unwrap().into_parts();
    let (headers, query) = instructions.into_parts();
    for header in headers {
        let name = http::HeaderName::try_from(header.name().to_owned()).unwrap();
        parts.headers.insert(name, header.value().parse().unwrap());
    }
    if !query.is_empty() {
        let mut uri = parts.uri.to_string();
        for (name, value) in query {
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(&format!("{name}={}", crate::s3::query::encode(&value, false)));
        }
        parts.uri = uri.parse().unwrap();
    }
    parts
}

fn key() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 /+=&?%~$!*'(),;:@äöü€.-]{1,40}"
}

proptest! {
    #[test]
    fn i6_what_aws_signs_passes_and_nothing_else_does(
        key in key(),
        prefix in key(),
        value in "[ -~]{0,20}",
        presign in proptest::option::of(1..604_800u64),
        change in 0..6,
    ) {
        let path = crate::s3::query::encode(&key, true);
        let uri = format!("/bucket/{path}?prefix={}&a=", crate::s3::query::encode(&prefix, false));
        let request = head("GET", &uri, &[("host", "h.example:9000"), ("x-amz-meta-a", value.trim()), ("range", "bytes=0-1")]);
        let mut request = signed(request, presign);
        prop_assert_eq!(code(check_at(&request, THEN)), "passes");
        match change {
            0 => request.method = http::Method::PUT,
            1 => request.uri = request.uri.to_string().replacen("/bucket/", "/bucket2/", 1).parse().unwrap(),
            2 => request.uri = request.uri.to_string().replacen("prefix=", "prefix=x", 1).parse().unwrap(),
            3 => { request.headers.insert("host", "h.example:9001".parse().unwrap()); }
            4 => { request.headers.insert("x-amz-meta-a", format!("{value}x").trim().parse().unwrap()); }
            _ => { request.headers.append("x-amz-meta-a", "more".parse().unwrap()); }
        }
        prop_assert_eq!(code(check_at(&request, THEN)), "SignatureDoesNotMatch");
    }
}

#[test]
fn i6_a_signature_covers_the_host_and_every_amz_header() {
    let good = signed(head("PUT", "/b/k", &[("host", "a")]), None);
    assert_eq!(code(check_at(&good, THEN)), "passes");
    for name in ["x-amz-copy-source", "x-amz-meta-a", "x-amz-acl", "x-amz-server-side-encryption"] {
        let mut added = good.clone();
        added.headers.insert(http::HeaderName::from_static(name), "/other/secret".parse().unwrap());
        assert_eq!(code(check_at(&added, THEN)), "AccessDenied", "{name}");
    }
    let mut text = good.headers["authorization"].to_str().unwrap().replace("host;", "");
    let mut without = good.clone();
    without.headers.insert("authorization", text.parse().unwrap());
    assert_eq!(code(check_at(&without, THEN)), "AccessDenied");
    text = good.headers["authorization"].to_str().unwrap().replace("host;", "host;x-not-there;");
    without.headers.insert("authorization", text.parse().unwrap());
    assert_eq!(code(check_at(&without, THEN)), "SignatureDoesNotMatch");
}

/// One authenticator sees everything, so that what it kept would show.
#[test]
fn i6_keys_are_kept_only_for_who_signed_right() {
    let all = super::testing::authenticator();
    let check = |head: &Parts, seconds: i64| {
        let query = crate::s3::query::Query::parse(head.uri.query().unwrap_or_default()).unwrap();
        let now = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        code(all.check(head, &query, Some("a"), now))
    };
    let kept = || all.credentials.find(ACCESS_KEY).unwrap().kept_keys();
    let good = signed(head("GET", "/b", &[("host", "a")]), None);
    let mut forged = good.clone();
    let text = good.headers["authorization"].to_str().unwrap();
    let (fields, _) = text.split_once("Signature=").unwrap();
    forged.headers.insert("authorization", format!("{fields}Signature={}", "0".repeat(64)).parse().unwrap());
    assert_eq!(check(&forged, THEN), "SignatureDoesNotMatch");
    assert_eq!(kept(), 0, "nothing was right yet");
    for _ in 0..3 {
        assert_eq!(check(&good, THEN), "passes");
        assert_eq!(check(&forged, THEN), "SignatureDoesNotMatch");
        assert_eq!(kept(), 1);
    }
    assert_eq!(check(&good, THEN + 901), "RequestTimeTooSkewed");
}

#[test]
fn i6_scopes_of_other_regions_services_and_algorithms_are_refused() {
    let good = signed(head("GET", "/b", &[("host", "a")]), None);
    let with = |from: &str, to: &str| {
        let mut changed = good.clone();
        let text = good.headers["authorization"].to_str().unwrap().replace(from, to);
        changed.headers.insert("authorization", text.parse().unwrap());
        code(check_at(&changed, THEN))
    };
    assert_eq!(with("us-east-1", "eu-west-1"), "AuthorizationHeaderMalformed");
    assert_eq!(with("/s3/", "/sts/"), "AuthorizationHeaderMalformed");
    assert_eq!(with("20130524/", "20130525/"), "SignatureDoesNotMatch");
    assert_eq!(with(ACCESS_KEY, "nobody"), "InvalidAccessKeyId");
    assert_eq!(with("AWS4-HMAC-SHA256 ", "AWS key:signature "), "InvalidRequest");
    assert_eq!(with("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "), "InvalidRequest");
    assert_eq!(with("Signature=", "Signature=0x"), "SignatureDoesNotMatch");
    assert_eq!(with("Signature=", "Signature=, Signature="), "AuthorizationHeaderMalformed");
    assert_eq!(with("SignedHeaders=", "Signed="), "AuthorizationHeaderMalformed");
    assert_eq!(code(check_at(&good, THEN + 901)), "RequestTimeTooSkewed");
    assert_eq!(code(check_at(&good, THEN - 901)), "RequestTimeTooSkewed");
    let mut token = good.clone();
    token.headers.insert("x-amz-security-token", "t".parse().unwrap());
    assert_eq!(code(check_at(&token, THEN)), "AccessDenied");
}

#[test]
fn i6_who_signs_nothing_is_nobody_and_who_signs_wrongly_is_refused() {
    let nobody = |headers: &[(&str, &str)]| check_at(&head("GET", "/b", headers), THEN);
    assert_eq!(nobody(&[("host", "a")]).unwrap().principal, Principal::Anonymous);
    let with_hash = nobody(&[("host", "a"), ("x-amz-content-sha256", EMPTY)]).unwrap();
    assert_eq!(with_hash.principal, Principal::Anonymous);
    assert!(matches!(with_hash.payload, Payload::Hashed(_)));
    for chunked in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
        assert_eq!(code(nobody(&[("host", "a"), ("x-amz-content-sha256", chunked)])), "AccessDenied");
    }
    let signed = |key: &str| {
        let text = authorization("host;x-amz-content-sha256;x-amz-date", &"0".repeat(64));
        text.replace(ACCESS_KEY, key)
    };
    for key in [ACCESS_KEY, "nobody", ""] {
        let text = signed(key);
        let headers = [
            ("host", "a"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-content-sha256", EMPTY),
            ("authorization", text.as_str()),
        ];
        let refused = code(nobody(&headers));
        assert!(matches!(refused.as_str(), "SignatureDoesNotMatch" | "InvalidAccessKeyId"), "{refused}");
    }
}

#[test]
fn i6_version_2_is_refused_however_its_names_are_written() {
    for query in ["AWSAccessKeyId=a&Signature=b&Expires=1", "AWSAccessKe%79Id=a&%53ignature=b&Expires=1"] {
        assert_eq!(
            code(check_at(&head("GET", &format!("/b?{query}"), &[("host", "a")]), THEN)),
            "InvalidRequest"
        );
    }
}

#[test]
fn i6_presigned_urls_live_seven_days_at_most_and_say_everything_once() {
    let presigned = |seconds| signed(head("PUT", "/b/k", &[("host", "a")]), Some(seconds));
    let week = 604_800;
    assert_eq!(code(check_at(&presigned(week), THEN + week as i64)), "passes");
    let refused = check_at(&presigned(week + 1), THEN).unwrap_err().error;
    assert_eq!(refused.code().as_str(), "AuthorizationQueryParametersError");
    assert_eq!(refused.status_code(), Some(http::StatusCode::BAD_REQUEST));
    let good = presigned(60);
    let with = |more: &str| {
        let mut changed = good.clone();
        changed.uri = format!("{}{more}", good.uri).parse().unwrap();
        code(check_at(&changed, THEN))
    };
    assert_eq!(with(""), "passes");
    assert_eq!(with("&X-Amz-Expires=60"), "AuthorizationQueryParametersError");
    assert_eq!(with("&x-amz-signature=1"), "AuthorizationQueryParametersError");
    assert_eq!(with("&versionId=1"), "SignatureDoesNotMatch");
}

/// The attack: a presigned URL whose signature's name is written with an escape, beside a made-up header that
/// covers what the URL does not.
#[test]
fn i6_a_made_up_header_does_not_stand_in_for_a_disguised_url() {
    let mut url = signed(head("PUT", "/b/k", &[("host", "a")]), Some(60));
    url.uri = url.uri.to_string().replace("X-Amz-Signature=", "X-Amz-%53ignature=").parse().unwrap();
    assert_eq!(code(check_at(&url, THEN)), "passes", "it is the same URL");
    url.headers.insert("x-amz-copy-source", "/b/secret".parse().unwrap());
    assert_eq!(code(check_at(&url, THEN)), "AccessDenied");
    let made_up = authorization("host;x-amz-copy-source", &"0".repeat(64));
    url.headers.insert("authorization", made_up.parse().unwrap());
    assert_eq!(code(check_at(&url, THEN)), "InvalidArgument");
}

#[test]
fn i6_an_unsigned_header_cannot_reframe_a_presigned_body_but_may_bind_it() {
    let with = |hash: &str| {
        let mut url = signed(head("PUT", "/b/k", &[("host", "a")]), Some(60));
        url.headers.insert("x-amz-content-sha256", hash.parse().unwrap());
        check_at(&url, THEN)
    };
    assert!(matches!(with("UNSIGNED-PAYLOAD").unwrap().payload, Payload::Unsigned));
    assert!(matches!(with(EMPTY).unwrap().payload, Payload::Hashed(_)));
    assert_eq!(code(with("STREAMING-UNSIGNED-PAYLOAD-TRAILER")), "InvalidArgument");
    assert_eq!(code(with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")), "InvalidArgument");
    assert_eq!(code(with("nonsense")), "InvalidArgument");
}
