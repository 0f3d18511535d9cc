//! Multipart uploads and their parts.

use super::ParseError;
use super::id::parse_hex;
use serde::{Deserialize, Serialize};

/// A multipart upload's id: 16 random bytes, shown as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UploadId(#[serde(with = "serde_bytes")] [u8; 16]);

impl UploadId {
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// # Errors
    /// When the text is not 32 digits of hex.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse_hex("upload id", text).map(Self)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A part's number, 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartNumber(u16);

impl PartNumber {
    pub const MAX: Self = Self(10_000);

    /// # Errors
    /// When the number is outside 1–10,000.
    pub fn parse(number: i64) -> Result<Self, ParseError> {
        match u16::try_from(number) {
            Ok(n @ 1..=10_000) => Ok(Self(n)),
            _ => Err(ParseError::new("part number", "use 1 to 10000")),
        }
    }

    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}
