//! The additional checksums: what a client expects, what is stored, how parts' ones combine.

use super::ServiceError;
use crate::engine::Digests;
use crate::types::{Checksum, ChecksumAlgorithm, ChecksumKind, ParseError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Reads the trailer's value; called once, after the last byte of the stream. `None`: it did not come.
pub type TrailerValue = Box<dyn FnOnce() -> Result<Option<Checksum>, ParseError> + Send>;

/// What the client says of its body's checksum.
#[derive(Default)]
pub enum ExpectedChecksum {
    /// Nothing: a CRC64NVME is computed and stored, as AWS does.
    #[default]
    None,
    /// A header with the value.
    Known(Checksum),
    /// A trailer behind the body.
    Trailer { algorithm: ChecksumAlgorithm, value: TrailerValue },
}

impl std::fmt::Debug for ExpectedChecksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Known(checksum) => f.debug_tuple("Known").field(checksum).finish(),
            Self::Trailer { algorithm, .. } => f.debug_tuple("Trailer").field(algorithm).finish(),
        }
    }
}

impl ExpectedChecksum {
    pub(super) const fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::None => None,
            Self::Trailer { algorithm, .. } => Some(*algorithm),
            Self::Known(checksum) => Some(checksum.algorithm()),
        }
    }

    fn value(self) -> Result<Option<Checksum>, ServiceError> {
        match self {
            Self::None => Ok(None),
            Self::Known(checksum) => Ok(Some(checksum)),
            Self::Trailer { algorithm, value } => match value() {
                Ok(Some(checksum)) if checksum.algorithm() == algorithm => Ok(Some(checksum)),
                Ok(Some(_)) | Err(_) => Err(ServiceError::InvalidChecksum { algorithm }),
                Ok(None) => Err(ServiceError::MissingTrailer { algorithm }),
            },
        }
    }
}

/// What is checked when the last byte is in, before anything is committed.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    pub(super) content_md5: Option<[u8; 16]>,
    pub(super) content_sha256: Option<[u8; 32]>,
    pub(super) checksum: ExpectedChecksum,
}

impl Expectations {
    /// The algorithms to compute: the stored one, the client's, and SHA-256 when the payload's hash is signed.
    pub(super) fn algorithms(&self, stored: ChecksumAlgorithm) -> Vec<ChecksumAlgorithm> {
        let mut algorithms = vec![stored];
        let signed = self.content_sha256.map(|_| ChecksumAlgorithm::Sha256);
        for algorithm in self.checksum.algorithm().into_iter().chain(signed) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        algorithms
    }

    /// Compares all that was sent with what was computed.
    pub(super) fn verify(self, digests: &Digests) -> Result<(), ServiceError> {
        if let Some(expected) = self.content_md5.filter(|e| *e != digests.md5) {
            return Err(ServiceError::ContentMd5Mismatch {
                expected: hex::encode(expected),
                computed: BASE64.encode(digests.md5),
            });
        }
        if let Some(expected) = self.content_sha256
            && computed(digests, ChecksumAlgorithm::Sha256)?.digest() != expected
        {
            return Err(ServiceError::ContentSha256Mismatch);
        }
        if let Some(expected) = self.checksum.value()? {
            compare(&expected, computed(digests, expected.algorithm())?)?;
        }
        Ok(())
    }
}

/// The digest of an algorithm that was asked for.
pub(super) fn computed(digests: &Digests, algorithm: ChecksumAlgorithm) -> Result<&Checksum, ServiceError> {
    let found = digests.checksums.iter().find(|c| c.algorithm() == algorithm);
    found.ok_or(ServiceError::Internal("a checksum was not computed"))
}

pub(super) fn compare(expected: &Checksum, computed: &Checksum) -> Result<(), ServiceError> {
    if expected == computed {
        return Ok(());
    }
    Err(ServiceError::ChecksumMismatch {
        algorithm: expected.algorithm(),
        expected: expected.to_string(),
        computed: computed.to_string(),
    })
}

/// The kind that a multipart upload gets when the client named none, and whether the one named is possible.
pub(super) fn kind_for(
    algorithm: ChecksumAlgorithm,
    asked: Option<ChecksumKind>,
) -> Result<ChecksumKind, ServiceError> {
    use {ChecksumAlgorithm as A, ChecksumKind as K};
    let kind = match (algorithm, asked) {
        (A::Crc64Nvme, None | Some(K::FullObject)) | (A::Crc32 | A::Crc32c, Some(K::FullObject)) => {
            K::FullObject
        }
        (A::Sha1 | A::Sha256 | A::Crc32 | A::Crc32c, None | Some(K::Composite)) => K::Composite,
        (A::Crc64Nvme, Some(K::Composite)) | (A::Sha1 | A::Sha256, Some(K::FullObject)) => {
            let kind = asked.map_or("", K::name);
            let name = algorithm.name().to_ascii_lowercase();
            let reason =
                format!("The {kind} checksum type cannot be used with the {name} checksum algorithm.");
            return Err(ServiceError::InvalidRequest { reason });
        }
    };
    Ok(kind)
}

/// The checksum of an object out of its parts' checksums and sizes. `None` when a part has none of the algorithm.
pub(super) fn combine(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[(Option<&Checksum>, u64)],
) -> Option<Checksum> {
    let mut digests = Vec::with_capacity(parts.len());
    for (checksum, size) in parts {
        let checksum = checksum.filter(|c| c.algorithm() == algorithm)?;
        digests.push((checksum.digest(), *size));
    }
    match kind {
        ChecksumKind::FullObject => {
            let crc = crc_of(algorithm)?;
            let whole = digests.into_iter().try_fold((0u64, true), |(whole, first), (digest, size)| {
                let part = number(digest);
                Some(if first {
                    (part, false)
                } else {
                    (crc_fast::checksum_combine(crc, whole, part, size), false)
                })
            })?;
            let bytes = whole.0.to_be_bytes();
            Checksum::full(algorithm, &bytes[8 - algorithm.digest_len()..]).ok()
        }
        ChecksumKind::Composite => {
            let joined: Vec<u8> = digests.into_iter().flat_map(|(digest, _)| digest).copied().collect();
            let count = u16::try_from(parts.len()).ok()?;
            Checksum::composite(algorithm, &digest_of(algorithm, &joined), count).ok()
        }
    }
}

const fn crc_of(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

/// A digest of at most eight bytes, big-endian as S3 sends it.
fn number(digest: &[u8]) -> u64 {
    digest.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The digest of a few bytes at once.
pub fn digest_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match algorithm {
        ChecksumAlgorithm::Sha1 => Sha1::digest(bytes).to_vec(),
        ChecksumAlgorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        ChecksumAlgorithm::Crc32 => {
            (crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_be_bytes().to_vec()
        }
        ChecksumAlgorithm::Crc32c => {
            (crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes().to_vec()
        }
        ChecksumAlgorithm::Crc64Nvme => {
            crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes().to_vec()
        }
    }
}
