//! Buckets: their names as AWS allows them, their ids, their versioning state.

use super::ParseError;
use serde::{Deserialize, Serialize};

/// A bucket's identity for life. A bucket deleted and created again under its name has another id.
/// Id 0 is reserved for the key-value namespace of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketId(u32);

impl BucketId {
    /// The reserved bucket that holds what the library's `StorageLayer` stores.
    pub const KEY_VALUE: Self = Self(0);

    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A bucket name under AWS's rules for general-purpose buckets.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketName(Box<str>);

impl BucketName {
    /// # Errors
    /// When the name is not 3–63 characters of `a-z 0-9 . -`, does not begin and end with a letter or digit,
    /// has `..`, looks like an IPv4 address, or uses a prefix or suffix that AWS reserves.
    pub fn parse(name: &str) -> Result<Self, ParseError> {
        let refuse = |why| Err(ParseError::new("bucket name", why));
        if !(3..=63).contains(&name.len()) {
            return refuse("use 3 to 63 characters");
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if !name.bytes().all(allowed) {
            return refuse("use only lower-case letters, digits, dots and hyphens");
        }
        let edge = |b: Option<u8>| b.is_some_and(|b| b != b'.' && b != b'-');
        if !edge(name.bytes().next()) || !edge(name.bytes().next_back()) {
            return refuse("begin and end with a letter or digit");
        }
        if name.contains("..") {
            return refuse("two dots may not stand together");
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return refuse("an IPv4 address is not a bucket name");
        }
        let reserved_prefixes = ["xn--", "sthree-", "amzn-s3-demo-"];
        let reserved_suffixes = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
        if reserved_prefixes.iter().any(|p| name.starts_with(p))
            || reserved_suffixes.iter().any(|s| name.ends_with(s))
        {
            return refuse("this prefix or suffix is reserved");
        }
        Ok(Self(name.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for BucketName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a bucket keeps old versions. Once enabled it can be suspended, never unversioned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Versioning {
    #[default]
    Unversioned,
    Enabled,
    Suspended,
}
