//! Names of objects in the bucket.

use crate::types::ParseError;

/// Leaves room for a prefix below S3's 1,024.
pub const MAX_REMOTE_KEY_BYTES: usize = 512;

/// The name of an object, relative to the prefix that the remote puts before it: 1–512 bytes of `a`–`z`, `A`–`Z`, digits, `.`, `-`, `_`,
/// and `/` between them. So no server or proxy can take it for another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteKey(String);

impl RemoteKey {
    /// # Errors
    /// When the text has another shape.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let refused = |why| Err(ParseError::new("name of a remote object", why));
        if text.is_empty() || text.len() > MAX_REMOTE_KEY_BYTES {
            return refused("1 to 512 bytes");
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/');
        if !text.bytes().all(is_allowed) {
            return refused("letters, digits, and . - _ / only");
        }
        if text.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return refused("no empty part, and none of dots alone");
        }
        Ok(Self(text.to_owned()))
    }

    /// A name that was put together from parts that are right.
    pub(crate) fn known(text: String) -> Self {
        debug_assert!(Self::parse(&text).is_ok(), "{text}");
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RemoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_REMOTE_KEY_BYTES, RemoteKey};

    #[test]
    fn only_names_that_mean_the_same_everywhere_are_taken() {
        for good in
            ["a", "lease", "packs/0123/00-ff", "snapshots/1-2.json", &"k".repeat(MAX_REMOTE_KEY_BYTES)]
        {
            assert_eq!(RemoteKey::parse(good).unwrap().as_str(), good);
        }
        let too_long = "k".repeat(MAX_REMOTE_KEY_BYTES + 1);
        for bad in
            ["", "/a", "a/", "a//b", "a/../b", ".", "a b", "ä", "a%2F", "a\n", "a+b", too_long.as_str()]
        {
            assert!(RemoteKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
