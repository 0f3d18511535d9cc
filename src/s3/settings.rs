//! What an operator may set about the protocol.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Settings of the S3 protocol. The region is the service's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// Host names below which buckets are addressed as `bucket.host`, without ports. Path-style addresses work
    /// with any host that is none of these.
    pub domains: Vec<String>,
    /// Accounts beside the root user: each owns the buckets that it creates, and sees no others.
    #[serde(deserialize_with = "accounts")]
    pub accounts: Vec<AccountSettings>,
    /// Memory for the XML documents of requests, in bytes; at least 8 MiB. Who finds it used up waits.
    pub document_bytes: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self { domains: Vec::new(), accounts: Vec::new(), document_bytes: 32 << 20 }
    }
}

/// One entry of `s3.accounts`. Its secret stands in one of the last two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// The canonical user id: what owners are shown and compared as, for ever.
    pub id: String,
    /// What listings show beside the id.
    pub name: String,
    pub access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
}

/// A secret in the settings: neither `Debug` nor what is serialised shows any of it (I6).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself, for whoever compares with it.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        self.0.clone()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

/// Serde's refusals quote the value, which may be or hold a secret; those that name a key do not.
fn accounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AccountSettings>, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    value.try_into().map_err(|error: toml::de::Error| {
        let named = error.message().lines().next().unwrap_or_default();
        if named.starts_with("unknown field `") || named.starts_with("missing field `") {
            return D::Error::custom(named);
        }
        D::Error::custom(
            "s3.accounts must be a list of tables with id, name, access_key and secret_key or \
             secret_key_file, all of them text",
        )
    })
}
