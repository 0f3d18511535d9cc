//! What S3 says to a form that it does not take.

use super::MAX_FIELD_BYTES;
use crate::s3::refusal::{Refusal, refuse};
use http::StatusCode;
use s3s::S3ErrorCode as Code;

pub(super) fn malformed() -> Refusal {
    let message = "The body of your POST request is not well-formed multipart/form-data.";
    refuse(Code::MalformedPOSTRequest, message)
}

pub(in crate::s3) fn not_a_form() -> Refusal {
    refuse(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
}

pub(super) fn argument(message: &'static str, name: &str, value: &str) -> Refusal {
    let value: String = value.chars().take(256).collect();
    refuse(Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", &value)
}

pub(super) fn missing_field(name: &str) -> Refusal {
    let message = format!(
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    );
    refuse(Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", "")
}

pub(super) fn wrong_number_of_files(count: u8) -> Refusal {
    argument("POST requires exactly one file upload per request.", "file", &count.to_string())
}

/// The fields are longer than they may be.
pub(super) fn too_much() -> Refusal {
    let code = Code::Custom("MaxPostPreDataLengthExceeded".into());
    refuse(code, "Your POST request fields preceeding the upload file was too large.")
        .status(StatusCode::BAD_REQUEST)
        .with("MaxPostPreDataLengthBytes", &MAX_FIELD_BYTES.to_string())
}

pub(super) fn too_large(size: u64, maximum: u64) -> Refusal {
    refuse(Code::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
        .with("ProposedSize", &size.to_string())
        .with("MaxSizeAllowed", &maximum.to_string())
}

pub(super) fn too_small(size: u64, minimum: u64) -> Refusal {
    refuse(Code::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
        .with("ProposedSize", &size.to_string())
        .with("MinSizeAllowed", &minimum.to_string())
}

/// The form is not what its policy allows.
pub(super) fn violation(what: &str) -> Refusal {
    refuse(Code::AccessDenied, format!("Invalid according to Policy: {what}"))
}

pub(super) fn invalid_policy(why: &str) -> Refusal {
    refuse(Code::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}
