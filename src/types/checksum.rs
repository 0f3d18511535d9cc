//! The additional checksums of S3.

use super::ParseError;
use base64::Engine as _;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl ChecksumAlgorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The length of a digest in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The name in `x-amz-checksum-algorithm`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The inverse of [`Self::name`], upper or lower case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }
}

/// What a checksum of a multipart object covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// The bytes of the whole body.
    FullObject,
    /// The parts' digests, one after the other.
    Composite,
}

impl ChecksumKind {
    /// The name in `x-amz-checksum-type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

/// A digest with its algorithm and what it covers. `parts` is non-zero exactly for composite ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    #[serde(with = "serde_bytes")]
    digest: Vec<u8>,
    parts: u16,
}

impl Checksum {
    /// # Errors
    /// When the digest has not the algorithm's length.
    pub fn full(algorithm: ChecksumAlgorithm, digest: &[u8]) -> Result<Self, ParseError> {
        Self::composite(algorithm, digest, 0)
    }

    /// # Errors
    /// When the digest has not the algorithm's length.
    pub fn composite(algorithm: ChecksumAlgorithm, digest: &[u8], parts: u16) -> Result<Self, ParseError> {
        if digest.len() != algorithm.digest_len() {
            return Err(ParseError::new("checksum", "its length is not that of its algorithm"));
        }
        Ok(Self { algorithm, digest: digest.to_vec(), parts })
    }

    /// Reads the base64 of a header or trailer; a `-N` behind it makes it composite.
    ///
    /// # Errors
    /// When it is not base64 of the algorithm's length.
    pub fn parse(algorithm: ChecksumAlgorithm, text: &str) -> Result<Self, ParseError> {
        let (digest, parts) = match text.split_once('-') {
            None => (text, 0),
            Some((digest, parts)) => {
                (digest, parts.parse().map_err(|_| ParseError::new("checksum", "not base64-parts"))?)
            }
        };
        let digest = base64::engine::general_purpose::STANDARD
            .decode(digest)
            .map_err(|_| ParseError::new("checksum", "not base64"))?;
        Self::composite(algorithm, &digest, parts)
    }

    #[must_use]
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    #[must_use]
    pub const fn parts(&self) -> u16 {
        self.parts
    }

    #[must_use]
    pub const fn kind(&self) -> ChecksumKind {
        if self.parts == 0 { ChecksumKind::FullObject } else { ChecksumKind::Composite }
    }
}

/// Base64, with `-N` for a composite one: the form of the S3 headers.
impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base64::engine::general_purpose::STANDARD.encode(&self.digest))?;
        if self.parts > 0 { write!(f, "-{}", self.parts) } else { Ok(()) }
    }
}
