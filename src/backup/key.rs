//! The key of a repository, as bytes, as text, and what is derived from it.
//!
//! It is never stored in the bucket nor in the data directory. Everything that seals or signs uses a key of its own, derived from
//! it with HKDF-SHA-256, so that no use weakens another.

use super::{RepositoryId, Signer};
use crate::remote::RemoteKey;
use crate::sys::Random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const CHECKSUM_BYTES: usize = 4;
const TEXT_BYTES: usize = 32 + CHECKSUM_BYTES;

/// 32 random bytes. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct BackupKey(Zeroizing<[u8; 32]>);

/// Tells keys apart without telling anything of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "a backup key is 72 digits of hex or 48 characters of base64, with spaces and line breaks as you like"
    )]
    Shape,
    #[error("the backup key has a typing error: its checksum does not match")]
    Checksum,
}

impl BackupKey {
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes);
        Self(bytes)
    }

    /// Reads what [`Self::to_text`] wrote, or the same bytes in base64. Lines that begin with `#` are left out.
    ///
    /// # Errors
    /// When it is of another shape, or mistyped.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut digits = Zeroizing::new(String::with_capacity(text.len()));
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            digits.extend(line.chars().filter(|c| !c.is_whitespace()));
        }
        let mut bytes = Zeroizing::new([0u8; TEXT_BYTES]);
        let decoded = match digits.len() {
            72 => hex::decode_to_slice(digits.as_bytes(), &mut *bytes).is_ok(),
            48 => BASE64.decode_slice(digits.as_bytes(), &mut *bytes) == Ok(TEXT_BYTES),
            _ => false,
        };
        if !decoded {
            return Err(KeyError::Shape);
        }
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&bytes[..32]);
        let key = Self(key);
        let is_intact = bool::from(key.checksum().ct_eq(&bytes[32..]));
        is_intact.then_some(key).ok_or(KeyError::Checksum)
    }

    /// For a file or a sheet of paper: a comment, then nine groups of eight digits.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(*self.0) + &hex::encode(self.checksum()));
        let mut text = Zeroizing::new(format!(
            "# Sediment backup key {}. Without it no backup can be read: keep a copy away from the store.\n",
            self.id()
        ));
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && at % 8 == 0 {
                text.push(' ');
            }
            text.push(digit);
        }
        text.push('\n');
        text
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let digest =
            Sha256::new().chain_update(b"sediment backup: key text\0").chain_update(*self.0).finalize();
        let mut checksum = [0; CHECKSUM_BYTES];
        checksum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
        checksum
    }

    #[must_use]
    pub fn id(&self) -> KeyId {
        let derived = self.derive(&[], &[b"sediment backup: key id"]);
        let mut id = [0; 8];
        id.copy_from_slice(&derived[..8]);
        KeyId(id)
    }

    /// What signs the objects of a repository; `None`: its description, which says the id.
    #[must_use]
    pub fn signer(&self, repository: Option<RepositoryId>) -> Signer {
        let scope = repository.map_or([0; 16], |repository| *repository.as_bytes());
        Signer::new(self.derive(&scope, &[b"sediment backup: sign"]))
    }

    /// What seals the binary object of that name and nonce.
    pub(super) fn object_key(&self, name: &RemoteKey, nonce: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        self.derive(nonce, &[b"sediment backup: object\0", name.as_str().as_bytes()])
    }

    fn derive(&self, salt: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        let expanded = Hkdf::<Sha256>::new(Some(salt), &*self.0).expand_multi_info(info, &mut *derived);
        if expanded.is_err() {
            unreachable!("HKDF gives up to 8,160 bytes");
        }
        derived
    }
}

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackupKey({})", self.id())
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{BackupKey, KeyError};
    use crate::sys::SeededRandom;
    use base64::Engine as _;
    use proptest::prelude::*;

    fn key(seed: u64) -> BackupKey {
        BackupKey::generate(&SeededRandom::new(seed))
    }

    #[test]
    fn a_key_is_read_from_hex_and_base64_however_it_is_broken_into_lines() {
        let key = key(1);
        let text = key.to_text();
        assert_eq!(BackupKey::parse(&text).unwrap().0, key.0);
        let digits: String = text.lines().nth(1).unwrap().split(' ').collect();
        assert_eq!(BackupKey::parse(&digits.to_uppercase()).unwrap().0, key.0);
        assert_eq!(
            BackupKey::parse(&text.replace(' ', "\r\n ")).unwrap_err(),
            KeyError::Shape,
            "the comment broke"
        );
        let base64 = base64::engine::general_purpose::STANDARD.encode(hex::decode(&digits).unwrap());
        let (first, last) = base64.split_at(20);
        assert_eq!(BackupKey::parse(&format!("# ours\n{first}\n  {last}\n")).unwrap().0, key.0);
        for bad in ["", "# only a comment", &digits[1..], "0123", &"g".repeat(72), &"?".repeat(48)] {
            assert_eq!(BackupKey::parse(bad).unwrap_err(), KeyError::Shape, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_mistyped_digit_and_two_swapped_ones_are_noticed(seed: u64, at in 0usize..72, digit in 0u8..16) {
            let text = key(seed).to_text();
            let mut digits: Vec<u8> = text.lines().nth(1).unwrap().bytes().filter(|b| *b != b' ').collect();
            let right = digits.clone();
            digits[at] = b"0123456789abcdef"[usize::from(digit)];
            let other = String::from_utf8(digits.clone()).unwrap();
            prop_assert_eq!(BackupKey::parse(&other).is_ok(), digits == right);
            let mut swapped = right.clone();
            swapped.swap(at, (at + 1) % 72);
            let other = String::from_utf8(swapped.clone()).unwrap();
            prop_assert_eq!(BackupKey::parse(&other).is_ok(), swapped == right);
        }
    }

    #[test]
    fn i6_a_key_is_not_shown_and_its_id_tells_keys_apart() {
        let (one, two) = (key(1), key(2));
        assert_ne!(one.id(), two.id());
        let secret = hex::encode(*one.0);
        let shown = format!("{one:?} {}", one.id());
        assert!(!(0..56).any(|at| shown.contains(&secret[at..at + 8])), "{shown}");
    }
}
