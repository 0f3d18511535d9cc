//! Which writing of an object is meant.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What tells one writing of a binary object from all others: its length, and the random nonce that its seals are bound to. With the
/// repository's key and the object's name that decides every byte, so manifests need no hash beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Of the whole object in the bucket.
    pub bytes: u64,
    pub nonce: Nonce,
}

/// 16 random bytes: hex in JSON, binary in MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 16]);

impl Serialize for Nonce {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&hex::encode(self.0))
        } else {
            serde_bytes::Bytes::new(&self.0).serialize(to)
        }
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut bytes = [0; 16];
        if from.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
            hex::decode_to_slice(&*text, &mut bytes).map_err(serde::de::Error::custom)?;
        } else {
            let found = serde_bytes::ByteBuf::deserialize(from)?;
            let wrong = |_| serde::de::Error::invalid_length(found.len(), &"16 bytes");
            bytes = found.as_slice().try_into().map_err(wrong)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{Nonce, Stamp};

    #[test]
    fn a_stamp_reads_as_it_was_written_in_both_forms() {
        let stamp = Stamp { bytes: 7, nonce: Nonce([0xAB; 16]) };
        let json = serde_json::to_string(&stamp).unwrap();
        assert_eq!(json, format!("{{\"bytes\":7,\"nonce\":\"{}\"}}", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<Stamp>(&json).unwrap(), stamp);
        let packed = rmp_serde::to_vec_named(&stamp).unwrap();
        assert!(packed.windows(16).any(|part| part == [0xAB; 16]));
        assert_eq!(rmp_serde::from_slice::<Stamp>(&packed).unwrap(), stamp);
        assert!(serde_json::from_str::<Stamp>("{\"bytes\":7,\"nonce\":\"ab\"}").is_err());
    }
}
