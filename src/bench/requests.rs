//! A request before it is signed.

use http::Method;

pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub(super) const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
/// SHA-256 of nothing.
pub(super) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Percent-encoded.
    pub(super) path: String,
    /// Not encoded.
    pub(super) parameters: Vec<(&'static str, String)>,
    /// All of them are signed. Names in lower case, values without space around them.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The value of `x-amz-content-sha256`.
    pub(super) payload: String,
}

impl Call {
    /// Without a body.
    pub(super) fn new(method: Method, path: String) -> Self {
        Self { method, path, parameters: Vec::new(), headers: Vec::new(), payload: EMPTY.to_owned() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// In the one order that is signed, and so sent.
    pub(super) fn query(&self) -> String {
        let mut pairs: Vec<_> =
            self.parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        pairs.sort_unstable();
        pairs.join("&")
    }

    pub(super) fn target(&self) -> String {
        if self.parameters.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, self.query())
    }
}

/// A value of a query: everything but unreserved characters as `%XX`.
fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::Call;
    use http::Method;

    #[test]
    fn a_query_is_encoded_and_in_order() {
        let call =
            Call::new(Method::PUT, "/b/k".to_owned()).with("uploadId", "a/b+c=").with("partNumber", "1");
        assert_eq!(call.target(), "/b/k?partNumber=1&uploadId=a%2Fb%2Bc%3D");
        assert_eq!(Call::new(Method::GET, "/b".to_owned()).target(), "/b");
    }
}
