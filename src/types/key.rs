//! Object keys: opaque bytes that never become file paths.

use super::ParseError;
use bytes::Bytes;

/// The longest key that S3 accepts, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;

/// An object's key. S3 keys come through [`ObjectKey::parse`]; the library's key-value interface, whose keys
/// are any bytes, through [`ObjectKey::opaque`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey(Bytes);

impl ObjectKey {
    /// # Errors
    /// When the key is empty or longer than [`MAX_KEY_BYTES`].
    pub fn parse(key: &str) -> Result<Self, ParseError> {
        if key.is_empty() {
            return Err(ParseError::new("object key", "it may not be empty"));
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(ParseError::new("object key", "at most 1024 bytes of UTF-8"));
        }
        Ok(Self(Bytes::copy_from_slice(key.as_bytes())))
    }

    /// Any bytes, any length, empty allowed.
    #[must_use]
    pub fn opaque(key: impl Into<Bytes>) -> Self {
        Self(key.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as text; lossy only for opaque keys, since S3 keys are UTF-8 by construction.
    #[must_use]
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl serde::Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        serde_bytes::ByteBuf::deserialize(d).map(|b| Self(Bytes::from(b.into_vec())))
    }
}
