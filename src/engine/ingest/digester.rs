//! What a client may check its body with: MD5 and the checksums asked for.

use crate::engine::{Digests, EngineError};
use crate::types::{Checksum, ChecksumAlgorithm};
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// So much is fed to one algorithm after the other while it is in the cache, in bytes.
const PIECE_BYTES: usize = 64 << 10;

pub(super) struct Digester {
    md5: Md5,
    checksums: Vec<(ChecksumAlgorithm, Hasher)>,
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
        Self { md5: Md5::new(), checksums: checksums.iter().map(|a| (*a, hasher(a))).collect() }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.md5.update(piece);
            for (_, hasher) in &mut self.checksums {
                match hasher {
                    Hasher::Crc(digest) => digest.update(piece),
                    Hasher::Sha1(digest) => digest.update(piece),
                    Hasher::Sha256(digest) => digest.update(piece),
                }
            }
        }
    }

    pub(super) fn finish(self) -> Result<Digests, EngineError> {
        let finish = |(algorithm, hasher): (ChecksumAlgorithm, Hasher)| {
            let digest = match hasher {
                Hasher::Crc(digest) => digest.finalize().to_be_bytes()[8 - algorithm.digest_len()..].to_vec(),
                Hasher::Sha1(digest) => digest.finalize().to_vec(),
                Hasher::Sha256(digest) => digest.finalize().to_vec(),
            };
            Checksum::full(algorithm, &digest).map_err(|e| EngineError::Io(std::io::Error::other(e)))
        };
        let checksums = self.checksums.into_iter().map(finish).collect::<Result<_, _>>()?;
        Ok(Digests { md5: self.md5.finalize().into(), checksums })
    }
}

#[cfg(test)]
mod tests {
    use super::Digester;
    use crate::types::ChecksumAlgorithm;

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
    }
}
