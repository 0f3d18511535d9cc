//! Entity tags as AWS makes them.

use super::ParseError;
use super::id::parse_hex;
use serde::{Deserialize, Serialize};

/// The MD5 of a body, or, for a multipart object, the MD5 of its parts' MD5s and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ETag {
    #[serde(with = "serde_bytes")]
    md5: [u8; 16],
    parts: u16,
}

impl ETag {
    #[must_use]
    pub const fn of_body(md5: [u8; 16]) -> Self {
        Self { md5, parts: 0 }
    }

    /// `md5` is the digest of the concatenated binary part digests; `parts` is at least 1.
    #[must_use]
    pub const fn of_parts(md5: [u8; 16], parts: u16) -> Self {
        Self { md5, parts }
    }

    /// Reads `hex` or `hex-N`, with or without the quotes of HTTP.
    ///
    /// # Errors
    /// When the text has another shape.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        let (digest, parts) = match text.split_once('-') {
            None => (text, 0),
            Some((digest, parts)) => {
                let parts = parts.parse().map_err(|_| ParseError::new("ETag", "not md5-parts"))?;
                (digest, parts)
            }
        };
        Ok(Self { md5: parse_hex("ETag", digest)?, parts })
    }

    #[must_use]
    pub const fn md5(&self) -> &[u8; 16] {
        &self.md5
    }

    /// The number of parts, zero for an object put in one piece.
    #[must_use]
    pub const fn parts(&self) -> u16 {
        self.parts
    }
}

/// Without quotes; the protocol adds them.
impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.md5, &mut digits).map_err(|_| std::fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| std::fmt::Error)?)?;
        if self.parts > 0 { write!(f, "-{}", self.parts) } else { Ok(()) }
    }
}
