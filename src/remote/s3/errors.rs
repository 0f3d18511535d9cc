//! What an answer of AWS's client means.

use crate::remote::{Class, RemoteError, Verb};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// Long enough for what a server says, too short to fill a log.
const MAX_WHY: usize = 300;

/// The class of an error, by the server's code first, then by the status.
pub(super) fn failed<E>(call: (Verb, &str), error: &SdkError<E, HttpResponse>) -> RemoteError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (verb, what) = call;
    let status = error.raw_response().map(|response| response.status().as_u16());
    let class = match error {
        SdkError::TimeoutError(_) => Class::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Class::TimedOut,
        SdkError::DispatchFailure(failure) if failure.is_user() => Class::Refused,
        SdkError::DispatchFailure(_) => Class::Unavailable,
        SdkError::ConstructionFailure(_) => Class::Refused,
        SdkError::ServiceError(_) => of_answer(error.code(), status.unwrap_or(0)),
        // An answer that the client could not read.
        _ => status.filter(|status| *status >= 400).map_or(Class::Wrong, of_status),
    };
    RemoteError::new(class, verb, what, why(error, status))
}

fn why<E>(error: &SdkError<E, HttpResponse>, status: Option<u16>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let mut why = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => causes(error),
    };
    if let Some(status) = status {
        why = format!("{status} {why}");
    }
    match why.char_indices().nth(MAX_WHY) {
        Some((end, _)) => why[..end].to_owned(),
        None => why,
    }
}

/// What each cause says, the deepest last.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub(super) fn of_answer(code: Option<&str>, status: u16) -> Class {
    match code.unwrap_or_default() {
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        // Another write of the same object is under way: whether the condition holds shows when it is tried again.
        | "ConditionalRequestConflict"
        | "OperationAborted" => Class::Throttled,
        "RequestTimeout" => Class::TimedOut,
        // The server got other bytes than were sent.
        "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => Class::Wrong,
        // Of another Sediment: a chunk that a delta names is gone.
        "PreconditionFailed" | "NoSuchChunk" => Class::Conflict,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Class::Expired,
        "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed"
        | "AllAccessDisabled" | "AccountProblem" | "InvalidToken" => Class::Denied,
        "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientCapacity"
        | "ServiceQuotaExceededException" | "InsufficientStorage" => Class::Full,
        "NoSuchBucket" | "NoSuchUpload" | "NoSuchKey" => Class::Gone,
        "NotImplemented" | "MethodNotAllowed" => Class::Unsupported,
        _ => of_status(status),
    }
}

fn of_status(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        408 => Class::TimedOut,
        401 | 403 => Class::Denied,
        404 => Class::Gone,
        412 => Class::Conflict,
        405 | 501 => Class::Unsupported,
        507 => Class::Full,
        500..=599 => Class::Unavailable,
        // A success that the client did not take for one.
        200..=299 => Class::Wrong,
        _ => Class::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::of_answer;
    use crate::remote::Class;

    #[test]
    fn codes_come_before_statuses_and_unknown_ones_go_by_them() {
        for (code, status, class) in [
            ("SlowDown", 503, Class::Throttled),
            ("ConditionalRequestConflict", 409, Class::Throttled),
            ("InternalError", 500, Class::Unavailable),
            ("ServiceUnavailable", 503, Class::Unavailable),
            ("RequestTimeout", 400, Class::TimedOut),
            ("BadDigest", 400, Class::Wrong),
            ("PreconditionFailed", 412, Class::Conflict),
            ("NoSuchChunk", 409, Class::Conflict),
            ("ExpiredToken", 400, Class::Expired),
            ("SignatureDoesNotMatch", 403, Class::Denied),
            ("QuotaExceeded", 403, Class::Full),
            ("NoSuchBucket", 404, Class::Gone),
            ("NotImplemented", 501, Class::Unsupported),
            ("PermanentRedirect", 301, Class::Refused),
            ("SomethingNew", 400, Class::Refused),
            ("SomethingNew", 502, Class::Unavailable),
            ("", 429, Class::Throttled),
            ("", 404, Class::Gone),
            ("", 507, Class::Full),
        ] {
            assert_eq!(
                of_answer(Some(code).filter(|code| !code.is_empty()), status),
                class,
                "{code} {status}"
            );
        }
    }
}
