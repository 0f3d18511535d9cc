//! Signing keys, and comparing what they make.

use super::claim::Claim;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The key of one day, region and service. Wiped when dropped.
#[derive(Clone)]
pub(in crate::s3) struct SigningKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    pub(super) fn derive(secret: &str, claim: &Claim<'_>) -> Self {
        let secret = Zeroizing::new(format!("AWS4{secret}"));
        let day = hmac(secret.as_bytes(), claim.date.as_bytes());
        let region = hmac(&*day, claim.region.as_bytes());
        let service = hmac(&*region, claim.service.as_bytes());
        Self(hmac(&*service, b"aws4_request"))
    }

    /// Whether the signature is the text's, in constant time. Anything but 64 hex digits is not.
    pub(in crate::s3) fn verifies(&self, text: &[u8], signature: &str) -> bool {
        let mut sent = [0; 32];
        let is_hex = hex::decode_to_slice(signature, &mut sent).is_ok();
        let computed = hmac(&*self.0, text);
        bool::from(computed.ct_eq(&sent)) && is_hex
    }

    #[cfg(test)]
    pub(super) fn sign(&self, text: &[u8]) -> String {
        hex::encode(*hmac(&*self.0, text))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
