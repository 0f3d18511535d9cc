//! Why an operation did not do what it should have.

use http::StatusCode;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the server answered {}: {}", status.as_u16(), code.as_deref().unwrap_or("no code"))]
    Refused { status: StatusCode, code: Option<String> },
    #[error("{got} bytes came instead of {wanted}")]
    Length { wanted: u64, got: u64 },
    #[error("other bytes came than were stored")]
    Content,
    #[error("an answer that cannot be read: {0}")]
    Answer(&'static str),
}

impl Failure {
    /// As it is counted: what S3 calls it, a status, or a word of this tool in lower case.
    pub(super) fn code(&self) -> String {
        match self {
            Self::Connect(_) => "connect".to_owned(),
            Self::Broken(_) => "broken".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Refused { code: Some(code), .. } => code.clone(),
            Self::Refused { status, .. } => status.as_u16().to_string(),
            Self::Length { .. } => "length".to_owned(),
            Self::Content => "content".to_owned(),
            Self::Answer(_) => "answer".to_owned(),
        }
    }

    /// Whether another attempt at once would only do the same.
    pub(super) const fn needs_rest(&self) -> bool {
        !matches!(self, Self::Length { .. } | Self::Content | Self::Answer(_))
    }
}

/// The text between `<name>` and `</name>`, the first of them.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let from = xml.find(&open)? + open.len();
    let len = xml[from..].find(&close)?;
    Some(&xml[from..from + len])
}

#[cfg(test)]
mod tests {
    use super::{Failure, element};
    use http::StatusCode;

    #[test]
    fn a_code_is_s3_s_word_or_the_status() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message></Error>";
        let code = element(xml, "Code").map(str::to_owned);
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(Failure::Refused { status, code }.code(), "SlowDown");
        assert_eq!(Failure::Refused { status, code: None }.code(), "503");
        assert_eq!(element(xml, "Key"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
    }
}
