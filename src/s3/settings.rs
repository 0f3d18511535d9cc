//! What an operator may set about the protocol.

pub use crate::types::Secret;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::path::PathBuf;

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
    /// Memory for the XML documents of requests and, a quarter of it, of answers, in bytes; at least 8 MiB. Who finds it used up
    /// waits.
    pub document_bytes: usize,
    /// Reads of one object or its rows that are worked on at once; one more waits. One that takes long goes on uncounted.
    pub concurrent_reads: usize,
    /// Pages of listings that are made at once.
    pub concurrent_listings: usize,
    /// As many of them are one client's while another one has come within the last two seconds.
    pub concurrent_listings_per_client: usize,
    /// Writes, of bodies up to 1 MiB, that are worked on at once. One that takes long goes on uncounted.
    pub concurrent_writes: usize,
    /// At least as many of them are one client's while another one has come within the last two seconds; more where the disk is slow.
    pub concurrent_writes_per_client: usize,
    /// Deletions of many keys, and completions of uploads of many parts, that are worked on at once.
    pub concurrent_heavy: usize,
    /// Requests of one client at once, to the end of their answers; one more waits. A client is whom a request is signed for, at one
    /// address.
    pub concurrent_per_client: usize,
    /// How long a request waits for its turn before it is refused as too many, in milliseconds.
    pub wait_milliseconds: u64,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            accounts: Vec::new(),
            document_bytes: 32 << 20,
            concurrent_reads: 128,
            concurrent_listings: 4,
            concurrent_listings_per_client: 1,
            concurrent_writes: 512,
            concurrent_writes_per_client: 2,
            concurrent_heavy: 8,
            concurrent_per_client: 320,
            wait_milliseconds: 5000,
        }
    }
}

impl S3Settings {
    /// # Errors
    /// With the first setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), &'static str> {
        let limits = [
            (self.document_bytes < 8 << 20, "s3.document_bytes must be at least 8388608"),
            (self.concurrent_reads == 0, "s3.concurrent_reads must be at least 1"),
            (self.concurrent_listings == 0, "s3.concurrent_listings must be at least 1"),
            (
                self.concurrent_listings_per_client == 0,
                "s3.concurrent_listings_per_client must be at least 1",
            ),
            (self.concurrent_writes == 0, "s3.concurrent_writes must be at least 1"),
            (self.concurrent_writes_per_client == 0, "s3.concurrent_writes_per_client must be at least 1"),
            (self.concurrent_heavy == 0, "s3.concurrent_heavy must be at least 1"),
            (self.concurrent_per_client == 0, "s3.concurrent_per_client must be at least 1"),
        ];
        limits.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err(why))
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
