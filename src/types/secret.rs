//! A secret in the settings.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Neither `Debug`, nor what is serialised, nor the refusal of what is none shows any of it (I6). Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, for whoever compares with it or sends it.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        self.0.clone()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As what it is: asked for text, a format refuses by itself, and quotes.
        deserializer.deserialize_any(Text)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// The usual refusals of another kind of value quote it.
struct Text;

impl Text {
    fn refused<E: Error>() -> E {
        E::custom("a secret must be text, in quotes")
    }
}

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(Self::refused())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(Self::refused())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(Self::refused())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(Self::refused())
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn i6_a_secret_is_not_shown_nor_is_what_is_given_in_its_place() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(*secret.reveal(), "hunter2");
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        for given in ["4711", "-4711", "4711.5", "true", "[4711]", "{\"a\": 4711}"] {
            let refused = serde_json::from_str::<Secret>(given).unwrap_err().to_string();
            assert!(!refused.contains("4711") && !refused.contains("true"), "{given}: {refused}");
        }
    }
}
