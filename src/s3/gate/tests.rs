use super::check;
use http::Request;

const GOOD: &str = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=5bd1d1c5c8a3f8d7e9b0c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f70";

fn code(uri: &str, headers: &[(&str, &str)]) -> String {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let parts = request.body(()).unwrap().into_parts().0;
    check(&parts, "us-east-1").map_or_else(|e| e.code().as_str().to_owned(), |()| "passes".to_owned())
}

#[test]
fn i6_a_signature_covers_the_host_and_every_amz_header() {
    let base = [("host", "a"), ("x-amz-date", "d"), ("authorization", GOOD)];
    assert_eq!(code("/b/k", &base), "passes");
    let added = [base[0], base[1], base[2], ("x-amz-copy-source", "/other/secret")];
    assert_eq!(code("/b/k", &added), "AccessDenied");
    let no_host = GOOD.replace("host;", "");
    assert_eq!(code("/b/k", &[base[0], base[1], ("authorization", &no_host)]), "AccessDenied");
    assert_eq!(code("/b/k", &[base[0], base[2]]), "SignatureDoesNotMatch");
}

#[test]
fn i6_scopes_of_other_regions_services_and_algorithms_are_refused() {
    let with = |authorization: &str| {
        code("/b", &[("host", "a"), ("x-amz-date", "d"), ("authorization", authorization)])
    };
    assert_eq!(with(&GOOD.replace("us-east-1", "eu-west-1")), "AuthorizationHeaderMalformed");
    assert_eq!(with(&GOOD.replace("/s3/", "/sts/")), "AuthorizationHeaderMalformed");
    assert_eq!(with("AWS key:signature"), "InvalidRequest");
    assert_eq!(with(&GOOD.replace("Signature=5b", "Signature=0x")), "SignatureDoesNotMatch");
    assert_eq!(with(&GOOD.replace("Signature=5b", "Signature=")), "SignatureDoesNotMatch");
    assert_eq!(with("AWS4-HMAC-SHA256 Credential=x"), "AuthorizationHeaderMalformed");
    assert_eq!(with(&format!("{GOOD}, Signature=11")), "AuthorizationHeaderMalformed");
    assert_eq!(code("/b", &[("host", "a")]), "AccessDenied");
    assert_eq!(code("/b?AWSAccessKeyId=a&Signature=b&Expires=1", &[("host", "a")]), "InvalidRequest");
}

#[test]
fn i6_presigned_urls_live_seven_days_at_most_and_say_everything_once() {
    let url = |expires: &str, more: &str| {
        format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=key%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=d&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature=5bd1d1c5c8a3f8d7e9b0c1d2e3f405162738495a6b7c8d9e0f1a2b3c4d5e6f70{more}"
        )
    };
    let host = [("host", "a")];
    assert_eq!(code(&url("604800", ""), &host), "passes");
    assert_eq!(code(&url("604801", ""), &host), "AuthorizationQueryParametersError");
    assert_eq!(code(&url("0", ""), &host), "AuthorizationQueryParametersError");
    assert_eq!(code(&url("60", "&X-Amz-Expires=60"), &host), "AuthorizationQueryParametersError");
    assert_eq!(code(&url("60", "&x-amz-signature=1"), &host), "AuthorizationQueryParametersError");
    assert_eq!(code(&url("60", ""), &[host[0], ("x-amz-copy-source", "/other/k")]), "AccessDenied");
    assert_eq!(code(&url("60", ""), &[host[0], ("authorization", GOOD)]), "InvalidArgument");
}
