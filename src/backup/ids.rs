//! Ids of repositories and stores.

use crate::sys::Random;
use crate::types::ParseError;
use serde::{Deserialize, Serialize};

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            #[must_use]
            pub fn random(random: &dyn Random) -> Self {
                Self(random.id128())
            }

            /// # Errors
            /// When the text is not 32 lower-case digits of hex.
            pub fn parse(text: &str) -> Result<Self, ParseError> {
                let mut bytes = [0; 16];
                let is_hex = hex::decode_to_slice(text, &mut bytes).is_ok();
                let id = Self(bytes);
                let is_same = is_hex && id.to_string() == text;
                is_same.then_some(id).ok_or(ParseError { what: $what, why: "not 32 lower-case digits of hex" })
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseError;

            fn try_from(text: String) -> Result<Self, ParseError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id128! {
    /// A repository, for as long as it exists: random.
    RepositoryId, "repository id"
}

id128! {
    /// The store that a repository backs up: `store_id` of its `STORE` file.
    StoreId, "store id"
}

#[cfg(test)]
mod tests {
    use super::StoreId;

    #[test]
    fn an_id_is_read_in_one_way_alone() {
        let id = StoreId::new([0xAB; 16]);
        assert_eq!(StoreId::parse(&id.to_string()), Ok(id));
        for bad in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
            assert!(StoreId::parse(bad).is_err(), "{bad}");
        }
    }
}
