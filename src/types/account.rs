//! Accounts: who owns buckets.

use super::ParseError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A canonical user id, as owners are shown. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// # Errors
    /// When it is not 1 to 128 visible ASCII characters.
    pub fn parse(id: &str) -> Result<Self, ParseError> {
        if (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(id.into()))
        } else {
            Err(ParseError::new("account id", "use 1 to 128 visible ASCII characters"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AccountId {
    type Error = ParseError;

    fn try_from(id: String) -> Result<Self, ParseError> {
        Self::parse(&id)
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.as_str().to_owned()
    }
}
