//! The one place where the service's refusals become S3's codes, statuses and messages.

use super::refusal::{Fields, Refusal};
use crate::service::{Feature, InputError, ServiceError};
use crate::types::{MAX_OBJECT_TAGS, TagError};
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode as Code};
use std::borrow::Cow;

type Words = Cow<'static, str>;

/// The answer to a refusal. Anything of the server's own doing says no more than that.
pub(super) fn s3_error(error: ServiceError) -> S3Error {
    let headers = headers(&error);
    let (status, code, message) = answer(error);
    let mut answer = S3Error::with_message(code, message);
    answer.set_status_code(status);
    if !headers.is_empty() {
        answer.set_headers(headers);
    }
    answer
}

/// The whole refusal, where no operation was reached.
pub(super) fn refusal_of(error: ServiceError) -> Refusal {
    let fields = fields(&error);
    Refusal { error: s3_error(error), fields }
}

/// What S3 puts beside the code and the message.
pub(super) fn fields(error: &ServiceError) -> Fields {
    use ServiceError as E;
    match error {
        E::NoSuchBucket { bucket }
        | E::NoLockConfiguration { bucket }
        | E::BucketAlreadyOwnedByYou { bucket }
        | E::BucketAlreadyExists { bucket }
        | E::BucketNotEmpty { bucket }
        | E::NoSuchCorsConfiguration { bucket }
        | E::NoSuchLifecycleConfiguration { bucket }
        | E::NoSuchReplicationConfiguration { bucket }
        | E::InvalidBucketState { bucket, .. }
        | E::NoSuchTagSet { bucket } => vec![("BucketName", bucket.to_string())],
        // Configurations with names are not looked for by the bucket's.
        E::NotConfigured { bucket, feature } if *feature != Feature::Named => {
            vec![("BucketName", bucket.to_string())]
        }
        E::InvalidBucketName { name, .. } => vec![("BucketName", name.clone())],
        E::NoSuchKey { key, .. } | E::Deleted { key, .. } => vec![("Key", key.to_text().into_owned())],
        E::NoSuchVersion { key, version, .. } => {
            vec![("Key", key.to_text().into_owned()), ("VersionId", version.to_string())]
        }
        E::NoTorrents => vec![("Method", "GET".to_owned()), ("ResourceType", "TORRENT".to_owned())],
        E::IsDeleteMarker { .. } => vec![("ResourceType", "DeleteMarker".to_owned())],
        E::NoSuchUpload { upload } => vec![("UploadId", upload.clone())],
        E::PreconditionFailed { condition } => vec![("Condition", (*condition).to_owned())],
        E::InvalidRange { size, requested } => {
            vec![("RangeRequested", requested.to_string()), ("ActualObjectSize", size.to_string())]
        }
        E::NoSuchPart { requested, parts } => {
            vec![("PartNumberRequested", requested.get().to_string()), ("ActualPartCount", parts.to_string())]
        }
        E::KeyTooLong { length, maximum } => sizes(*length as u64, *maximum as u64),
        E::MetadataTooLarge { size, maximum } => sizes(*size as u64, *maximum as u64),
        E::EntityTooLarge { size, maximum } => {
            vec![("ProposedSize", size.to_string()), ("MaxSizeAllowed", maximum.to_string())]
        }
        E::EntityTooSmall { number, etag, size, minimum } => vec![
            ("ProposedSize", size.to_string()),
            ("MinSizeAllowed", minimum.to_string()),
            ("PartNumber", number.get().to_string()),
            ("ETag", etag.to_string()),
        ],
        E::ContentMd5Mismatch { expected, computed } => {
            vec![("ExpectedDigest", expected.clone()), ("CalculatedDigest", computed.clone())]
        }
        E::InvalidStorageClass { class } => vec![("StorageClassRequested", class.clone())],
        E::InvalidArgument { name: "Content-MD5", value, .. } => vec![("Content-MD5", value.clone())],
        E::InvalidArgument { name, value, .. } => {
            vec![("ArgumentName", (*name).to_owned()), ("ArgumentValue", value.clone())]
        }
        E::InvalidTag(TagError::Key { key } | TagError::Value { key } | TagError::Duplicate { key }) => {
            vec![("TagKey", key.clone())]
        }
        E::InvalidPart { upload, number, etag } => vec![
            ("UploadId", upload.to_string()),
            ("PartNumber", number.get().to_string()),
            ("ETag", etag.map_or_else(String::new, |etag| etag.to_string())),
        ],
        E::MissingAcl => vec![("MissingHeaderName", "x-amz-acl".to_owned())],
        E::InvalidPartOrder { upload } => vec![("UploadId", upload.to_string())],
        _ => Vec::new(),
    }
}

fn sizes(size: u64, maximum: u64) -> Fields {
    vec![("Size", size.to_string()), ("MaxSizeAllowed", maximum.to_string())]
}

fn custom(code: &'static str) -> Code {
    Code::Custom(code.into())
}

fn answer(error: ServiceError) -> (StatusCode, Code, Words) {
    use ServiceError as E;
    match error {
        E::AccessDenied { .. } => (StatusCode::FORBIDDEN, Code::AccessDenied, "Access Denied".into()),
        E::Locked { .. } => (
            StatusCode::FORBIDDEN,
            Code::AccessDenied,
            "Access Denied because object protected by object lock.".into(),
        ),
        E::NoSuchBucket { .. }
        | E::NoSuchKey { .. }
        | E::Deleted { .. }
        | E::NoSuchVersion { .. }
        | E::NoLockConfiguration { .. }
        | E::NoSuchCorsConfiguration { .. }
        | E::NoSuchLifecycleConfiguration { .. }
        | E::NoSuchReplicationConfiguration { .. }
        | E::NoSuchLock { .. }
        | E::NoSuchTagSet { .. }
        | E::NoSuchUpload { .. } => not_found(&error),
        E::NotConfigured { feature, .. } => not_configured(feature),
        E::NotArchived => (
            StatusCode::FORBIDDEN,
            Code::InvalidObjectState,
            "Restore is not allowed for the object's current storage class".into(),
        ),
        E::IsDeleteMarker { .. } | E::NoTorrents => (
            StatusCode::METHOD_NOT_ALLOWED,
            Code::MethodNotAllowed,
            "The specified method is not allowed against this resource.".into(),
        ),
        E::NotModified { .. } => (StatusCode::NOT_MODIFIED, Code::NotModified, "Not Modified".into()),
        E::PreconditionFailed { .. } => (
            StatusCode::PRECONDITION_FAILED,
            Code::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold".into(),
        ),
        E::InvalidRange { .. } => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            Code::InvalidRange,
            "The requested range is not satisfiable".into(),
        ),
        E::NoSuchPart { .. } => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            custom("InvalidPartNumber"),
            "The requested partnumber is not satisfiable".into(),
        ),
        E::BucketAlreadyOwnedByYou { .. }
        | E::BucketAlreadyExists { .. }
        | E::BucketNotEmpty { .. }
        | E::InvalidBucketState { .. } => conflict(&error),
        E::NotImplemented { what } => (
            StatusCode::NOT_IMPLEMENTED,
            Code::NotImplemented,
            format!("A header or option you provided implies functionality that is not implemented: {what}")
                .into(),
        ),
        E::Busy(_) | E::StorageFull | E::WritesRefused(_) => unavailable(&error),
        E::Input(error) => input(&error),
        E::Meta(_) | E::Body(_) | E::Internal(_) => {
            tracing::error!(%error, "a request failed");
            internal()
        }
        other => {
            let (code, message) = wrong_request(&other);
            (StatusCode::BAD_REQUEST, code, message)
        }
    }
}

fn not_found(error: &ServiceError) -> (StatusCode, Code, Words) {
    use ServiceError as E;
    let (code, message) = match error {
        E::NoSuchBucket { .. } => (Code::NoSuchBucket, "The specified bucket does not exist"),
        E::NoSuchVersion { .. } => (Code::NoSuchVersion, "The specified version does not exist."),
        E::NoSuchCorsConfiguration { .. } => {
            (Code::NoSuchCORSConfiguration, "The CORS configuration does not exist")
        }
        E::NoSuchLifecycleConfiguration { .. } => {
            (Code::NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist")
        }
        E::NoSuchReplicationConfiguration { .. } => {
            (Code::ReplicationConfigurationNotFoundError, "The replication configuration was not found")
        }
        E::NoLockConfiguration { .. } => (
            Code::ObjectLockConfigurationNotFoundError,
            "Object Lock configuration does not exist for this bucket",
        ),
        E::NoSuchLock { .. } => (
            Code::NoSuchObjectLockConfiguration,
            "The specified object does not have a ObjectLock configuration",
        ),
        E::NoSuchTagSet { .. } => (custom("NoSuchTagSet"), "The TagSet does not exist"),
        E::NoSuchUpload { .. } => (
            Code::NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        ),
        _ => (Code::NoSuchKey, "The specified key does not exist."),
    };
    (StatusCode::NOT_FOUND, code, message.into())
}

/// The server cannot do it now; the client did nothing wrong.
fn unavailable(error: &ServiceError) -> (StatusCode, Code, Words) {
    let (status, code, message) = match error {
        ServiceError::StorageFull => (
            StatusCode::INSUFFICIENT_STORAGE,
            custom("StorageFull"),
            "The storage has no space left for this request.",
        ),
        ServiceError::WritesRefused(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Code::ServiceUnavailable,
            "Writes are refused until the operator has looked at the server; reads go on.",
        ),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            Code::SlowDown,
            "The server is busy. Please reduce your request rate and try again.",
        ),
    };
    (status, code, message.into())
}

fn not_configured(feature: Feature) -> (StatusCode, Code, Words) {
    let (code, message) = match feature {
        Feature::Encryption => (
            Code::ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found",
        ),
        Feature::MetadataTable => {
            (custom("MetadataConfigurationNotFound"), "The metadata configuration was not found")
        }
        Feature::Named => (custom("NoSuchConfiguration"), "The specified configuration does not exist."),
        Feature::Policy => (Code::NoSuchBucketPolicy, "The bucket policy does not exist"),
        Feature::PublicAccessBlock => (
            custom("NoSuchPublicAccessBlockConfiguration"),
            "The public access block configuration was not found",
        ),
        Feature::Website => {
            (Code::NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration")
        }
    };
    (StatusCode::NOT_FOUND, code, message.into())
}

/// What went wrong stands in the log, never in the answer.
fn internal() -> (StatusCode, Code, Words) {
    let message = "We encountered an internal error. Please try again.";
    (StatusCode::INTERNAL_SERVER_ERROR, Code::InternalError, message.into())
}

fn conflict(error: &ServiceError) -> (StatusCode, Code, Words) {
    let (code, message) = match error {
        ServiceError::BucketAlreadyExists { .. } => (
            Code::BucketAlreadyExists,
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.".into(),
        ),
        ServiceError::BucketAlreadyOwnedByYou { .. } => (
            Code::BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it.".into(),
        ),
        ServiceError::BucketNotEmpty { .. } => {
            (Code::BucketNotEmpty, "The bucket you tried to delete is not empty".into())
        }
        ServiceError::InvalidBucketState { why, .. } => (Code::InvalidBucketState, (*why).into()),
        other => (Code::InvalidBucketState, other.to_string().into()),
    };
    (StatusCode::CONFLICT, code, message)
}

/// What the client can only mend by sending something else: all of these are 400.
fn wrong_request(error: &ServiceError) -> (Code, Words) {
    use ServiceError as E;
    let text = error.to_string();
    match error {
        E::InvalidBucketName { .. } => (Code::InvalidBucketName, "The specified bucket is not valid.".into()),
        E::WrongLocation { location } => (
            Code::IllegalLocationConstraintException,
            format!("The {location} location constraint is incompatible for the region specific endpoint this request was sent to.").into(),
        ),
        E::NoObjectLock { .. } => {
            (Code::InvalidRequest, "Bucket is missing Object Lock Configuration".into())
        }
        E::InvalidRetentionPeriod(why) => (custom("InvalidRetentionPeriod"), (*why).into()),
        E::KeyTooLong { .. } => (Code::KeyTooLongError, "Your key is too long".into()),
        E::MetadataTooLarge { .. } => (
            Code::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size".into(),
        ),
        E::EntityTooLarge { .. } => {
            (Code::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size".into())
        }
        E::EntityTooSmall { .. } => (
            Code::EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size".into(),
        ),
        E::IncompleteBody { .. }
        | E::ContentMd5Mismatch { .. }
        | E::ContentSha256Mismatch
        | E::ChecksumMismatch { .. }
        | E::PartChecksumMismatch { .. }
        | E::InvalidChecksum { .. }
        | E::MissingTrailer { .. } => wrong_body(error),
        E::InvalidPart { .. } => (
            Code::InvalidPart,
            "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.".into(),
        ),
        E::InvalidPartOrder { .. } => (
            Code::InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number.".into(),
        ),
        E::InvalidTag(error) => invalid_tag(error),
        E::NoParts { .. } | E::TooManyKeys { .. } | E::TooManyParts { .. } | E::MalformedDocument => (
            Code::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema".into(),
        ),
        E::InvalidArgument { name: "Content-MD5", reason, .. } => (Code::InvalidDigest, (*reason).into()),
        E::InvalidArgument { reason, .. } => (Code::InvalidArgument, (*reason).into()),
        E::AclNotSupported => {
            (custom("AccessControlListNotSupported"), "The bucket does not allow ACLs".into())
        }
        E::MissingAcl => {
            (Code::MissingSecurityHeader, "Your request was missing a required header".into())
        }
        E::MissingVersioningStatus => (
            custom("IllegalVersioningConfigurationException"),
            "The Versioning element must be specified".into(),
        ),
        E::MissingDocument => (Code::MissingRequestBodyError, "Request Body is empty".into()),
        E::InvalidStorageClass { .. } => {
            (Code::InvalidStorageClass, "The storage class you specified is not valid".into())
        }
        _ => (Code::InvalidRequest, text.into()),
    }
}

/// The body is not what the head says.
fn wrong_body(error: &ServiceError) -> (Code, Words) {
    use ServiceError as E;
    match error {
        E::IncompleteBody { .. } => (
            Code::IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header".into(),
        ),
        E::ContentMd5Mismatch { .. } => {
            (Code::BadDigest, "The Content-MD5 you specified did not match what we received.".into())
        }
        E::ContentSha256Mismatch => (
            custom("XAmzContentSHA256Mismatch"),
            "The provided 'x-amz-content-sha256' header does not match what was computed.".into(),
        ),
        E::ChecksumMismatch { algorithm, .. } => (
            Code::BadDigest,
            format!("The {} you specified did not match the calculated checksum.", algorithm.name()).into(),
        ),
        E::PartChecksumMismatch { algorithm, number } => (
            Code::BadDigest,
            format!(
                "The {} you specified for part {} did not match what we received.",
                algorithm.name().to_ascii_lowercase(),
                number.get()
            )
            .into(),
        ),
        E::InvalidChecksum { algorithm } => (
            Code::InvalidRequest,
            format!("Value for x-amz-checksum-{} header is invalid.", algorithm.name().to_ascii_lowercase())
                .into(),
        ),
        other => (custom("MalformedTrailerError"), other.to_string().into()),
    }
}

fn invalid_tag(error: &TagError) -> (Code, Words) {
    let (code, message) = match error {
        TagError::TooMany { maximum: MAX_OBJECT_TAGS, .. } => {
            (custom("BadRequest"), "Object tags cannot be greater than 10")
        }
        TagError::TooMany { .. } => (custom("BadRequest"), "Bucket tag count cannot be greater than 50"),
        TagError::Key { .. } => (Code::InvalidTag, "The TagKey you have provided is invalid"),
        TagError::Value { .. } => (Code::InvalidTag, "The TagValue you have provided is invalid"),
        TagError::Duplicate { .. } => (Code::InvalidTag, "Cannot provide multiple Tags with the same key"),
        TagError::Reserved => (Code::InvalidTag, "System tags cannot be added/updated by requester"),
    };
    (code, message.into())
}

fn input(error: &InputError) -> (StatusCode, Code, Words) {
    match error {
        InputError::Signature => (
            StatusCode::FORBIDDEN,
            Code::SignatureDoesNotMatch,
            "The signature of a chunk or of the trailer does not match what was received.".into(),
        ),
        InputError::TimedOut => (
            StatusCode::BAD_REQUEST,
            Code::RequestTimeout,
            "Your socket connection to the server was not read from or written to within the timeout period."
                .into(),
        ),
        InputError::Incomplete | InputError::Io(_) => {
            (StatusCode::BAD_REQUEST, Code::IncompleteBody, "The request body terminated unexpectedly".into())
        }
        InputError::Trailer => (
            StatusCode::BAD_REQUEST,
            custom("MalformedTrailerError"),
            "The request contained trailing data that was not well-formed or did not conform to our published schema.".into(),
        ),
        InputError::ChunkGone(_) => (
            StatusCode::CONFLICT,
            custom("NoSuchChunk"),
            "A chunk that the body names is not there, or not whole. Send the bytes themselves.".into(),
        ),
        // They are other errors by now.
        InputError::Hash | InputError::Store(_) => internal(),
        InputError::Malformed(why) => {
            (StatusCode::BAD_REQUEST, Code::InvalidRequest, format!("The body is malformed: {why}").into())
        }
    }
}

fn headers(error: &ServiceError) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    match error {
        ServiceError::Deleted { marker, .. } => {
            add("x-amz-delete-marker", "true".into());
            add("x-amz-version-id", marker.to_string());
        }
        ServiceError::IsDeleteMarker { marker, modified, .. } => {
            add("x-amz-delete-marker", "true".into());
            add("x-amz-version-id", marker.to_string());
            add("allow", "DELETE".into());
            add("last-modified", super::dates::http_date(*modified));
        }
        ServiceError::NotModified { info } => {
            add("etag", format!("\"{}\"", info.etag));
            add("last-modified", super::dates::http_date(info.modified));
            if let Some(version) = info.version_id {
                add("x-amz-version-id", version.to_string());
            }
            if let Some(value) = &info.attributes.cache_control {
                add("cache-control", value.clone());
            }
        }
        ServiceError::InvalidRange { size, .. } => add("content-range", format!("bytes */{size}")),
        ServiceError::Busy(_) => add("retry-after", "1".into()),
        // Somebody has to delete something, or to restart the server: it takes a while.
        ServiceError::StorageFull | ServiceError::WritesRefused(_) => add("retry-after", "30".into()),
        _ => {}
    }
    headers
}
