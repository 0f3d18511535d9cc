//! What AWS says to what is no request.

use super::refusal::{Refusal, refuse};
use http::StatusCode;
use s3s::S3ErrorCode as Code;

/// Why there is no request to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    Malformed,
    HeadTooLarge { maximum_bytes: u32 },
    Connect,
}

impl Unreadable {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => {
                refuse(Code::Custom("BadRequest".into()), "An error occurred when parsing the HTTP request.")
                    .status(StatusCode::BAD_REQUEST)
            }
            Self::HeadTooLarge { maximum_bytes } => refuse(
                Code::RequestHeaderSectionTooLarge,
                "Your request header section exceeds the maximum allowed request header section size.",
            )
            .with("MaxSizeAllowed", &maximum_bytes.to_string())
            .status(StatusCode::BAD_REQUEST),
            Self::Connect => {
                refuse(Code::MethodNotAllowed, "The specified method is not allowed against this resource.")
                    .with("Method", "CONNECT")
                    .with("ResourceType", "SERVICE")
            }
        }
    }
}
