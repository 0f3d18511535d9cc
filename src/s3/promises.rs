//! Headers that promise something only of an operation that keeps it: anywhere else the request is refused, since the
//! client would take its success for the promise kept.

use super::refusal::{Refusal, refuse};
use super::rules::not_implemented;
use crate::types::ChecksumAlgorithm;
use http::{HeaderMap, header};
use s3s::S3ErrorCode as Code;

const SOURCE_RANGE: &str = "x-amz-copy-source-range";
const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";
/// Beginnings of conditions.
const CONDITIONS: [&str; 3] = ["if-", "x-amz-if-match-", "x-amz-copy-source-if-"];
/// Beginnings of headers that s3s takes for absent when they are empty. So is `Content-MD5`, which is read as it was sent.
const WITH_A_VALUE: [&str; 9] = [
    "if-",
    "x-amz-bucket-object-lock-",
    "x-amz-checksum-",
    "x-amz-copy-source-if-",
    "x-amz-if-match-",
    "x-amz-mp-object-size",
    "x-amz-object-lock-",
    SDK_ALGORITHM,
    SOURCE_RANGE,
];
/// What each operation that writes carries out. The others carry out nothing of the kind.
const CARRIED_OUT: [(&str, &[&str]); 5] = [
    ("CompleteMultipartUpload", &["if-match", "if-none-match"]),
    (
        "CopyObject",
        &[
            "if-match",
            "if-none-match",
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-unmodified-since",
        ],
    ),
    ("DeleteObject", &["if-match", "x-amz-if-match-last-modified-time", "x-amz-if-match-size"]),
    ("PutObject", &["if-match", "if-none-match"]),
    (
        "UploadPartCopy",
        &[
            SOURCE_RANGE,
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-unmodified-since",
        ],
    ),
];

/// `is_upload`: the body is an object's or a part's.
///
/// # Errors
/// `NotImplemented`, `InvalidArgument`, `InvalidRequest`.
pub(super) fn check_promises(operation: &str, is_upload: bool, sent: &HeaderMap) -> Result<(), Refusal> {
    let carried_out =
        CARRIED_OUT.iter().find(|(name, _)| *name == operation).map_or(&[][..], |(_, kept)| kept);
    let is_promise = |name: &str| name == SOURCE_RANGE || (!is_read(operation) && is_condition(name));
    let mut names = sent.keys().map(http::HeaderName::as_str);
    if let Some(name) = names.find(|name| is_promise(name) && !carried_out.contains(name)) {
        return Err(not_implemented(name).with("Header", name));
    }
    check_values(operation, sent)?;
    if is_upload && sent.contains_key(header::CONTENT_RANGE) {
        let message = "Content-Range is not allowed here: a part of an object cannot be replaced.";
        return Err(refuse(Code::InvalidRequest, message));
    }
    check_named_checksum(operation, is_upload, sent)
}

fn check_values(operation: &str, sent: &HeaderMap) -> Result<(), Refusal> {
    if is_read(operation) {
        return Ok(());
    }
    let needs_value = |name: &str| WITH_A_VALUE.iter().any(|start| name.starts_with(start));
    let mut empty = sent.iter().filter(|(_, value)| value.as_bytes().trim_ascii().is_empty());
    match empty.find(|(name, _)| needs_value(name.as_str())) {
        Some((name, _)) => {
            let refusal = refuse(Code::InvalidArgument, "The header has no value.");
            Err(refusal.with("ArgumentName", name.as_str()).with("ArgumentValue", ""))
        }
        None => Ok(()),
    }
}

fn is_read(operation: &str) -> bool {
    ["Get", "Head", "List"].iter().any(|start| operation.starts_with(start))
}

fn is_condition(name: &str) -> bool {
    CONDITIONS.iter().any(|start| name.starts_with(start))
}

/// Who names an algorithm believes that the body is compared. A document's MD5 does as well.
fn check_named_checksum(operation: &str, is_upload: bool, sent: &HeaderMap) -> Result<(), Refusal> {
    // On others, such as CreateMultipartUpload, the name is about what is to come, if about anything.
    let has_body =
        is_upload || operation.starts_with("Put") || matches!(operation, "DeleteObjects" | "RestoreObject");
    if !has_body || !sent.contains_key(SDK_ALGORITHM) {
        return Ok(());
    }
    let is_checksum = |name: &str| {
        let algorithm = name.strip_prefix("x-amz-checksum-").and_then(ChecksumAlgorithm::from_name);
        algorithm.is_some() || name == "x-amz-trailer" || (!is_upload && name == "content-md5")
    };
    if sent.keys().any(|name| is_checksum(name.as_str())) {
        return Ok(());
    }
    let message = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                   headers were found.";
    Err(refuse(Code::InvalidRequest, message))
}

#[cfg(test)]
mod tests {
    use super::check_promises;
    use http::{HeaderMap, HeaderName, HeaderValue};

    fn refusal(operation: &str, headers: &[&'static str]) -> Option<String> {
        let line = |name: &&'static str| (HeaderName::from_static(name), HeaderValue::from_static("x"));
        let sent: HeaderMap = headers.iter().map(line).collect();
        let is_upload = matches!(operation, "PutObject" | "UploadPart");
        let refused = check_promises(operation, is_upload, &sent).err();
        refused.map(|refusal| refusal.error.code().as_str().to_owned())
    }

    #[test]
    fn i1_a_condition_is_carried_out_or_refused() {
        for (operation, header) in [
            ("PutObject", "if-match"),
            ("PutObject", "if-none-match"),
            ("CopyObject", "x-amz-copy-source-if-modified-since"),
            ("CompleteMultipartUpload", "if-none-match"),
            ("DeleteObject", "if-match"),
            ("DeleteObject", "x-amz-if-match-size"),
            ("DeleteObject", "x-amz-if-match-last-modified-time"),
            ("UploadPartCopy", "x-amz-copy-source-if-match"),
            ("UploadPartCopy", "x-amz-copy-source-range"),
            ("GetObject", "if-modified-since"),
            ("HeadObject", "if-range"),
            ("ListObjectsV2", "if-none-match"),
        ] {
            assert_eq!(refusal(operation, &[header]), None, "{operation} {header}");
        }
        for (operation, header) in [
            ("PutObject", "if-modified-since"),
            ("PutObject", "if-unmodified-since"),
            ("PutObject", "x-amz-copy-source-range"),
            ("PutObject", "x-amz-copy-source-if-match"),
            ("CopyObject", "if-unmodified-since"),
            ("CopyObject", "x-amz-copy-source-range"),
            ("CompleteMultipartUpload", "if-unmodified-since"),
            ("DeleteObject", "if-none-match"),
            ("DeleteObject", "if-unmodified-since"),
            ("DeleteObjects", "x-amz-if-match-size"),
            ("UploadPart", "if-match"),
            ("UploadPartCopy", "if-match"),
            ("CreateMultipartUpload", "if-match"),
            ("AbortMultipartUpload", "x-amz-if-match-initiated-time"),
            ("DeleteBucket", "if-match"),
            ("PutObjectTagging", "if-match"),
            ("PutObjectRetention", "if-unmodified-since"),
            ("GetObject", "x-amz-copy-source-range"),
        ] {
            let refused = refusal(operation, &[header]);
            assert_eq!(refused.as_deref(), Some("NotImplemented"), "{operation} {header}");
        }
    }

    #[test]
    fn an_upload_is_never_a_piece_of_an_object() {
        for operation in ["PutObject", "UploadPart"] {
            assert_eq!(refusal(operation, &["content-range"]).as_deref(), Some("InvalidRequest"));
        }
    }

    #[test]
    fn i1_a_checksum_that_is_named_is_there() {
        const NAMED: &str = "x-amz-sdk-checksum-algorithm";
        for operation in ["PutObject", "UploadPart", "PutObjectTagging", "DeleteObjects"] {
            assert_eq!(refusal(operation, &[NAMED]).as_deref(), Some("InvalidRequest"), "{operation}");
            assert!(refusal(operation, &[NAMED, "x-amz-checksum-mode"]).is_some(), "{operation}");
            for sum in ["x-amz-checksum-crc32", "x-amz-trailer"] {
                assert_eq!(refusal(operation, &[NAMED, sum]), None, "{operation} {sum}");
            }
        }
        assert!(refusal("PutObject", &[NAMED, "content-md5"]).is_some());
        assert_eq!(refusal("DeleteObjects", &[NAMED, "content-md5"]), None);
        for operation in ["CreateMultipartUpload", "CopyObject", "CompleteMultipartUpload", "GetObject"] {
            assert_eq!(refusal(operation, &[NAMED]), None, "{operation}");
        }
    }
}
