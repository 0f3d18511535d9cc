//! JSON objects in the bucket: one line, and its signature on the next.

use crate::remote::RemoteKey;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Signs and verifies the JSON objects of one repository. A signature holds for one name in one repository.
#[derive(Clone)]
pub struct Signer(Zeroizing<[u8; 32]>);

/// Why an object is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    #[error("it is not a line of JSON and a line with its signature")]
    Shape,
    #[error("its signature does not match: it was changed, or signed with another key")]
    Signature,
    #[error("it is signed, but not what this version understands: {0}")]
    Content(String),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    pub(super) const fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// # Errors
    /// When the value is none that JSON has.
    pub fn seal<T: Serialize>(&self, name: &RemoteKey, value: &T) -> Result<Bytes, SignedError> {
        let content = |error: serde_json::Error| SignedError::Content(error.to_string());
        let mut bytes = serde_json::to_vec(value).map_err(content)?;
        let signature = hex::encode(self.mac(name, &bytes).finalize().into_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(signature.as_bytes());
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    /// # Errors
    /// When the object of that name was not signed by this key, or is not of this kind.
    pub fn open<T: DeserializeOwned>(&self, name: &RemoteKey, bytes: &[u8]) -> Result<T, SignedError> {
        let (json, signature) = lines(bytes).ok_or(SignedError::Shape)?;
        let mut sent = [0; 32];
        hex::decode_to_slice(signature, &mut sent).map_err(|_| SignedError::Shape)?;
        // In constant time.
        self.mac(name, json).verify_slice(&sent).map_err(|_| SignedError::Signature)?;
        serde_json::from_slice(json).map_err(|error| SignedError::Content(error.to_string()))
    }

    fn mac(&self, name: &RemoteKey, json: &[u8]) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(name.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(json);
        mac
    }
}

/// The JSON and the signature of an object, nothing checked.
pub(super) fn lines(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let signature = bytes[end + 1..].strip_suffix(b"\n")?;
    (signature.len() == 64).then_some((&bytes[..end], signature))
}

#[doc(hidden)]
pub mod fuzzing {
    use super::{SignedError, Signer, lines};
    use crate::remote::RemoteKey;
    use zeroize::Zeroizing;

    /// No bytes pass for signed ones but those that are.
    pub fn signed(bytes: &[u8]) {
        let signer = Signer::new(Zeroizing::new([7; 32]));
        let Ok(name) = RemoteKey::parse("lease") else { return };
        let opened = signer.open::<serde_json::Value>(&name, bytes);
        if !matches!(opened, Err(SignedError::Shape | SignedError::Signature)) {
            assert!(lines(bytes).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SignedError;
    use crate::backup::{BackupKey, RepositoryId};
    use crate::remote::RemoteKey;
    use crate::sys::SeededRandom;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn name(text: &str) -> RemoteKey {
        RemoteKey::parse(text).unwrap()
    }

    fn key() -> BackupKey {
        BackupKey::generate(&SeededRandom::new(1))
    }

    #[test]
    fn a_signature_holds_for_its_name_repository_and_key_alone() {
        let (one, two) = (RepositoryId::new([1; 16]), RepositoryId::new([2; 16]));
        let signer = key().signer(Some(one));
        let value = json!({ "epoch": 3, "text": "a\nb" });
        let bytes = signer.seal(&name("lease"), &value).unwrap();
        assert_eq!(signer.open::<Value>(&name("lease"), &bytes), Ok(value));
        let other_key = BackupKey::generate(&SeededRandom::new(2));
        for (signer, at) in [
            (key().signer(Some(one)), "leasf"),
            (key().signer(Some(two)), "lease"),
            (key().signer(None), "lease"),
            (other_key.signer(Some(one)), "lease"),
        ] {
            assert_eq!(signer.open::<Value>(&name(at), &bytes), Err(SignedError::Signature));
        }
    }

    proptest! {
        #[test]
        fn i4_any_changed_byte_is_noticed(at: usize, flip in 1u8..=255) {
            let signer = key().signer(None);
            let bytes = signer.seal(&name("lease"), &json!({ "epoch": 3, "holder": "somebody" })).unwrap();
            let mut changed = bytes.to_vec();
            let at = at % changed.len();
            changed[at] ^= flip;
            let opened = signer.open::<Value>(&name("lease"), &changed);
            // A digit of the signature in upper case is the same digit.
            prop_assert!(opened.is_err() || changed.eq_ignore_ascii_case(&bytes));
            prop_assert!(signer.open::<Value>(&name("lease"), &bytes[..at]).is_err(), "cut short");
        }
    }
}
