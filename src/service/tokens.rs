//! Continuation tokens: opaque to clients, checked when they come back.
//!
//! base64url of a format byte, a tag and the bytes of a key or prefix. A token holds no secret and grants
//! nothing: a forged one only begins a listing somewhere else in the same bucket.

use super::ServiceError;
use super::names::invalid;
use crate::meta::ListFrom;
use crate::types::MAX_KEY_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const FORMAT: u8 = 1;
const KEY: u8 = 1;
const PREFIX: u8 = 2;

/// Where the next page of a listing of objects begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListToken {
    AfterKey(Vec<u8>),
    AfterPrefix(Vec<u8>),
}

impl ListToken {
    /// Reads what [`std::fmt::Display`] wrote.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        Self::decode(text).ok_or_else(|| {
            invalid("continuation-token", text, "The continuation token provided is incorrect")
        })
    }

    fn decode(text: &str) -> Option<Self> {
        // No token is longer than one for the longest key.
        if text.len() > (MAX_KEY_BYTES + 2).div_ceil(3) * 4 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let ([FORMAT, tag], rest) = bytes.split_first_chunk::<2>()? else { return None };
        if rest.is_empty() || rest.len() > MAX_KEY_BYTES {
            return None;
        }
        match *tag {
            KEY => Some(Self::AfterKey(rest.to_vec())),
            PREFIX => Some(Self::AfterPrefix(rest.to_vec())),
            _ => None,
        }
    }

    pub(super) fn from_next(next: ListFrom) -> Option<Self> {
        match next {
            ListFrom::Start => None,
            ListFrom::AfterKey(key)
            | ListFrom::AfterVersion(key, _)
            | ListFrom::AfterUpload(key, _)
            | ListFrom::AfterUploadId(key, _) => Some(Self::AfterKey(key)),
            ListFrom::AfterPrefix(prefix) => Some(Self::AfterPrefix(prefix)),
        }
    }

    pub(super) fn into_from(self) -> ListFrom {
        match self {
            Self::AfterKey(key) => ListFrom::AfterKey(key),
            Self::AfterPrefix(prefix) => ListFrom::AfterPrefix(prefix),
        }
    }

    /// The key or prefix, for listings whose marker is plain text.
    pub(super) fn marker(&self) -> String {
        let (Self::AfterKey(bytes) | Self::AfterPrefix(bytes)) = self;
        text(bytes)
    }
}

impl std::fmt::Display for ListToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tag, name) = match self {
            Self::AfterKey(key) => (KEY, key),
            Self::AfterPrefix(prefix) => (PREFIX, prefix),
        };
        let mut bytes = Vec::with_capacity(name.len() + 2);
        bytes.extend_from_slice(&[FORMAT, tag]);
        bytes.extend_from_slice(name);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// S3 keys are UTF-8 by construction, and prefixes are cut behind a whole delimiter.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::ListToken;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_reads_as_it_was_written(name in proptest::collection::vec(any::<u8>(), 1..1024), key: bool) {
            let token = if key { ListToken::AfterKey(name) } else { ListToken::AfterPrefix(name) };
            prop_assert_eq!(ListToken::parse(&token.to_string()).unwrap(), token);
        }

        #[test]
        fn noise_is_refused_without_panic(text in ".{0,2000}") {
            if let Ok(token) = ListToken::parse(&text) {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for text in ["", "A", "AQ", "AQE", "AQNh", "AgFh", "AQFh=", "AQF/"] {
            assert!(ListToken::parse(text).is_err(), "{text:?}");
        }
        assert!(ListToken::parse(&"A".repeat(10_000)).is_err());
    }
}
