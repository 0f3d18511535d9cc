//! What a client may check its body with: MD5 and the checksums asked for.

use super::md5::Md5;
use crate::engine::{Digests, EngineError};
use crate::types::{Checksum, ChecksumAlgorithm, ChunkId};
use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// So much is fed to one algorithm after the other while it is in the cache, in bytes.
const PIECE_BYTES: usize = 64 << 10;

pub(super) struct Digester {
    md5: Md5,
    checksums: Vec<(ChecksumAlgorithm, Hasher)>,
    /// The SHA-256 of all bytes, once somebody else has made it.
    sha256: Option<[u8; 32]>,
}

enum Hasher {
    Crc(Box<crc_fast::Digest>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

impl Digester {
    pub(super) fn new(checksums: &[ChecksumAlgorithm]) -> Self {
        let crc = |algorithm| Hasher::Crc(Box::new(crc_fast::Digest::new(algorithm)));
        let hasher = |algorithm: &ChecksumAlgorithm| match algorithm {
            ChecksumAlgorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
        };
        let checksums = checksums.iter().map(|a| (*a, hasher(a))).collect();
        Self { md5: Md5::default(), checksums, sha256: None }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.md5.update(piece);
            self.update_checksums(piece);
        }
    }

    /// As [`Self::update`]. The SHA-256 is that of the whole body, and makes another one needless.
    pub(super) fn update_with(&mut self, bytes: &[u8], sha256: Option<ChunkId>) {
        self.sha256 = sha256.map(|hash| *hash.as_bytes());
        self.update(bytes);
    }

    /// Whether the checksums take a time that is worth another thread.
    pub(super) fn has_slow_checksums(&self) -> bool {
        self.checksums.iter().any(|(_, hasher)| !matches!(hasher, Hasher::Crc(_)))
    }

    /// All but MD5, which must be given the same bytes.
    pub(super) fn update_checksums(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.checksums {
            match hasher {
                Hasher::Crc(digest) => digest.update(bytes),
                Hasher::Sha1(digest) => digest.update(bytes),
                Hasher::Sha256(_) if self.sha256.is_some() => {}
                Hasher::Sha256(digest) => digest.update(bytes),
            }
        }
    }

    pub(super) const fn md5_mut(&mut self) -> &mut Md5 {
        &mut self.md5
    }

    pub(super) fn finish(self) -> Result<Digests, EngineError> {
        let finish = |(algorithm, hasher): (ChecksumAlgorithm, Hasher)| {
            let digest = match hasher {
                Hasher::Crc(digest) => digest.finalize().to_be_bytes()[8 - algorithm.digest_len()..].to_vec(),
                Hasher::Sha1(digest) => digest.finalize().to_vec(),
                Hasher::Sha256(digest) => self.sha256.unwrap_or_else(|| digest.finalize().into()).to_vec(),
            };
            Checksum::full(algorithm, &digest).map_err(|e| EngineError::Io(std::io::Error::other(e)))
        };
        let checksums = self.checksums.into_iter().map(finish).collect::<Result<_, _>>()?;
        Ok(Digests { md5: self.md5.finish(), checksums })
    }
}

#[cfg(test)]
mod tests {
    use super::Digester;
    use crate::types::{ChecksumAlgorithm, ChunkId};
    use sha2::Digest as _;

    #[test]
    fn the_digests_are_those_of_the_standards() {
        // The check values of the CRC catalogue and of the SHA standards, for "123456789".
        let mut digester = Digester::new(&ChecksumAlgorithm::ALL);
        digester.update(b"1234");
        digester.update(b"56789");
        let digests = digester.finish().unwrap();
        assert_eq!(hex::encode(digests.md5), "25f9e794323b453885f5181f1b624d0b");
        let shown: Vec<_> = digests.checksums.iter().map(|c| hex::encode(c.digest())).collect();
        let expected = [
            "cbf43926",
            "e3069283",
            "ae8b14860a799888",
            "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        ];
        assert_eq!(shown, expected);
        let sha256 = ChunkId::new(sha2::Sha256::digest(b"123456789").into());
        let mut digester = Digester::new(&ChecksumAlgorithm::ALL);
        digester.update_with(b"123456789", Some(sha256));
        let known = digester.finish().unwrap();
        assert_eq!((known.md5, known.checksums), (digests.md5, digests.checksums));
    }
}
