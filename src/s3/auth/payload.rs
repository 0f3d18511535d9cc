//! How a request's body is protected, as `x-amz-content-sha256` says.

use super::claim::SignedAt;
use super::key::SigningKey;

/// What the signature says of the body.
#[derive(Debug, Clone)]
pub(in crate::s3) enum Payload {
    /// Nothing.
    Unsigned,
    /// The SHA-256 of all of it.
    Hashed([u8; 32]),
    /// It comes in `aws-chunked` framing.
    Chunked { signer: Option<ChunkSigner>, has_trailer: bool },
}

/// What the header names, before the signature is known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadKind {
    Unsigned,
    Hashed([u8; 32]),
    Chunked { is_signed: bool, has_trailer: bool },
}

impl PayloadKind {
    pub(super) fn parse(value: &str) -> Option<Self> {
        match value {
            "UNSIGNED-PAYLOAD" => Some(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => {
                Some(Self::Chunked { is_signed: false, has_trailer: true })
            }
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => {
                Some(Self::Chunked { is_signed: true, has_trailer: false })
            }
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Some(Self::Chunked { is_signed: true, has_trailer: true })
            }
            hash => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(hash, &mut bytes).ok().map(|()| Self::Hashed(bytes))
            }
        }
    }
}

/// Checks the signatures of chunks, each of which is made over the one before.
#[derive(Debug, Clone)]
pub(in crate::s3) struct ChunkSigner {
    pub(super) key: SigningKey,
    pub(super) signed_at: SignedAt,
    pub(super) scope: String,
    /// Of the chunk before; of the head at first.
    pub(super) previous: String,
}

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl ChunkSigner {
    /// Whether the chunk with this SHA-256 has this signature.
    pub(in crate::s3) fn accepts_chunk(&mut self, hash: &[u8], signature: &str) -> bool {
        self.accepts("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY}\n{}", hex::encode(hash)), signature)
    }

    /// Whether the trailer, written one `name:value` a line, has this signature.
    pub(in crate::s3) fn accepts_trailer(&mut self, hash: &[u8], signature: &str) -> bool {
        self.accepts("AWS4-HMAC-SHA256-TRAILER", &hex::encode(hash), signature)
    }

    fn accepts(&mut self, kind: &str, rest: &str, signature: &str) -> bool {
        let text = format!("{kind}\n{}\n{}\n{}\n{rest}", self.signed_at.text, self.scope, self.previous);
        if !self.key.verifies(text.as_bytes(), signature) {
            return false;
        }
        signature.clone_into(&mut self.previous);
        true
    }
}
