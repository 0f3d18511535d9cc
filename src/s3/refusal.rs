//! An answer that says no, with what S3 puts beside the code and the message.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

/// More elements of an error's document, in order.
pub(super) type Fields = Vec<(&'static str, String)>;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: S3Error,
    pub(super) fields: Fields,
}

pub(super) fn refuse(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal { error: S3Error::with_message(code, message), fields: Vec::new() }
}

impl From<S3Error> for Refusal {
    fn from(error: S3Error) -> Self {
        Self { error, fields: Vec::new() }
    }
}

impl Refusal {
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.error.set_status_code(status);
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), value);
            self.error.set_headers(headers);
        }
        self
    }
}
