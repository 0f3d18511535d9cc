//! What a form asks for, as the request of a put: the same headers, hence the same meaning and the same checks.

use super::fields::{Field, Fields};
use super::refusals::argument;
use super::tagging::tagging_header;
use crate::s3::convert::checksum_header;
use crate::s3::refusal::{Refusal, refuse};
use crate::types::ChecksumAlgorithm;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use s3s::S3ErrorCode as Code;

/// Fields that are headers of a put.
const HEADERS: [&str; 9] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];
/// Beginnings of fields that are headers of a put.
const PREFIXES: [&str; 4] =
    ["x-amz-checksum-", "x-amz-meta-", "x-amz-object-lock-", "x-amz-server-side-encryption"];
/// Fields that say who made the form.
const OF_THE_SIGNATURE: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];
/// What a form may ask for in its own head: they can only make it fail.
const CONDITIONS: [HeaderName; 3] =
    [header::IF_MATCH, header::IF_NONE_MATCH, HeaderName::from_static("x-amz-expected-bucket-owner")];
/// Said of every request by some clients, and nothing here.
const MEANINGLESS: [&str; 3] = ["x-amz-content-sha256", "x-amz-date", "x-amz-user-agent"];
const CHECKSUM_ALGORITHM: &str = "x-amz-checksum-algorithm";

/// The head of the put that a form stands for. Of the form's own head only the conditions stay.
///
/// # Errors
/// When a field cannot be a header's value, or asks for what is not done.
pub(super) fn put_head(head: &Parts, fields: &Fields) -> Result<Parts, Refusal> {
    check_head(&head.headers)?;
    let mut headers = HeaderMap::new();
    for name in CONDITIONS.into_iter().chain([header::HOST]) {
        for value in head.headers.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    for field in fields.iter() {
        if let Some((name, value)) = put_header(field)? {
            let header = HeaderName::try_from(name).map_err(|_| unfit(field))?;
            headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(field))?);
        }
    }
    check_algorithm(fields, &headers)?;
    let (mut put, ()) = Request::new(()).into_parts();
    (put.method, put.version, put.headers) = (Method::PUT, head.version, headers);
    Ok(put)
}

/// A form's policy does not cover its head: nothing there may add to what the form asks for.
fn check_head(headers: &HeaderMap) -> Result<(), Refusal> {
    let has_meaning = |name: &&HeaderName| {
        let text = name.as_str();
        let is_ours = is_ours(text) && !MEANINGLESS.contains(&text);
        (is_ours || text == "content-md5") && !CONDITIONS.contains(name)
    };
    match headers.keys().find(has_meaning) {
        None => Ok(()),
        Some(name) => {
            let message = "There were headers present in the request which were not signed";
            Err(refuse(Code::AccessDenied, message).with("HeadersNotSigned", name.as_str()))
        }
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-amz-") || name.starts_with("x-sediment-")
}

fn unfit(field: &Field) -> Refusal {
    argument("A field of the form has a value that is none for a header.", &field.name, &field.value)
}

/// The header that a field is, if it is one.
fn put_header(field: &Field) -> Result<Option<(String, String)>, Refusal> {
    let name = field.name.to_ascii_lowercase();
    let is_header = HEADERS.contains(&name.as_str()) || PREFIXES.iter().any(|start| name.starts_with(start));
    Ok(match name.as_str() {
        // Empty fields of a form are fields that nobody filled in, but for metadata.
        _ if field.value.is_empty() && !name.starts_with("x-amz-meta-") => None,
        "acl" => Some(("x-amz-acl".to_owned(), field.value.clone())),
        "tagging" => tagging_header(&field.value)?.map(|tags| ("x-amz-tagging".to_owned(), tags)),
        CHECKSUM_ALGORITHM => None,
        _ if is_header => Some((name, field.value.trim().to_owned())),
        known if !is_ours(known) || OF_THE_SIGNATURE.contains(&known) => None,
        _ => {
            let what = name.chars().take(64).collect::<String>();
            let message =
                format!("A field of the form implies functionality that is not implemented: {what}");
            return Err(refuse(Code::NotImplemented, message));
        }
    })
}

/// An algorithm alone promises nothing: its checksum has to be there.
fn check_algorithm(fields: &Fields, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(named) = fields.get(CHECKSUM_ALGORITHM).filter(|named| !named.is_empty()) else { return Ok(()) };
    let algorithm = ChecksumAlgorithm::from_name(named.trim());
    if algorithm.is_some_and(|algorithm| headers.contains_key(checksum_header(algorithm))) {
        return Ok(());
    }
    let message =
        "x-amz-checksum-algorithm specified, but no corresponding x-amz-checksum-* field was found.";
    Err(refuse(Code::InvalidRequest, message))
}

#[cfg(test)]
mod tests {
    use super::super::fields::Fields;
    use super::super::part::Part;
    use super::put_head;
    use http::request::Parts;

    fn put(pairs: &[(&str, &str)]) -> Result<Parts, String> {
        put_below(&[], pairs)
    }

    fn put_below(headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Result<Parts, String> {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(Part { name: (*name).to_owned(), filename: None }, value.as_bytes().to_vec()).unwrap();
        }
        let mut request = http::Request::builder()
            .method("POST")
            .header("if-none-match", "*")
            .header("content-type", "multipart/form-data")
            .header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        put_head(&head, &fields).map_err(|refusal| refusal.error.code().as_str().to_owned())
    }

    #[test]
    fn fields_are_the_headers_of_a_put_and_the_forms_own_head_is_not() {
        let form = [
            ("KEY", "k"),
            ("acl", "private"),
            ("Content-Type", " text/plain "),
            ("Content-MD5", ""),
            ("X-Amz-Meta-Colour", "grün"),
            ("x-amz-meta-empty", ""),
            ("x-amz-date", "20260101T000000Z"),
            ("success_action_status", "201"),
            ("authorization", "x"),
            ("transfer-encoding", "chunked"),
        ];
        let put = put(&form).unwrap();
        let mut headers: Vec<_> = put
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.sort();
        let expected = [
            "content-type: text/plain",
            "host: h",
            "if-none-match: *",
            "x-amz-acl: private",
            "x-amz-meta-colour: grün",
            "x-amz-meta-empty: ",
        ];
        assert_eq!(headers, expected);
        assert_eq!(put.method, "PUT");
    }

    #[test]
    fn i6_a_field_cannot_make_another_operation_of_a_form() {
        for name in ["x-amz-copy-source", "x-amz-write-offset-bytes", "x-amz-grant-read", "x-amz-tagging"] {
            assert_eq!(put(&[(name, "x")]).err().as_deref(), Some("NotImplemented"), "{name}");
        }
        assert_eq!(put(&[("x-amz-meta-a", "b\r\nx-amz-acl: c")]).err().as_deref(), Some("InvalidArgument"));
        assert_eq!(put(&[("x-amz-meta-a b", "c")]).err().as_deref(), Some("InvalidArgument"));
    }

    #[test]
    fn i6_nothing_can_be_added_in_the_head_of_a_form() {
        for name in ["x-amz-acl", "x-amz-meta-a", "x-amz-copy-source", "x-amz-security-token", "content-md5"]
        {
            assert_eq!(put_below(&[(name, "x")], &[]).err().as_deref(), Some("AccessDenied"), "{name}");
        }
        let harmless = [("x-amz-date", "x"), ("x-amz-expected-bucket-owner", "me"), ("origin", "x")];
        let put = put_below(&harmless, &[]).unwrap();
        assert_eq!(
            put.headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(),
            ["if-none-match", "x-amz-expected-bucket-owner", "host"]
        );
    }

    #[test]
    fn an_algorithm_comes_with_its_checksum() {
        let sum = ("x-amz-checksum-crc32", "AAAAAA==");
        assert!(put(&[("x-amz-checksum-algorithm", "CRC32"), sum]).is_ok());
        for named in ["SHA1", "MD5"] {
            let refused = put(&[("x-amz-checksum-algorithm", named), sum]).err();
            assert_eq!(refused.as_deref(), Some("InvalidRequest"), "{named}");
        }
    }
}
