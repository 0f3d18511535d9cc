//! What an operator can set.

use serde::{Deserialize, Serialize, Serializer};

/// The `cache` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Memory for hot chunks, in bytes. 0 turns the memory tier off.
    pub memory_bytes: u64,
    /// A Redis (or a server that speaks its protocol) as second tier: `redis://[user:password@]host:port[/db]`.
    pub redis_url: Option<RedisUrl>,
    /// How long Redis keeps a chunk, in seconds.
    pub redis_ttl_seconds: u64,
    /// What the names of Redis keys begin with.
    pub redis_key_prefix: String,
    /// Larger chunks are kept out of Redis, in bytes.
    pub redis_max_value_bytes: usize,
    /// A request to Redis that takes longer is a miss, in milliseconds. Five in a row that take longer than half of it, too,
    /// have it left alone for a while.
    pub redis_timeout_milliseconds: u64,
    /// Requests to Redis at the same time; one more is a miss.
    pub redis_max_in_flight: usize,
    /// Memory for chunks on their way to Redis, in bytes; when it is used up, chunks are not sent.
    pub redis_queue_bytes: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 96 << 20,
            redis_url: None,
            redis_ttl_seconds: 3600,
            redis_key_prefix: "sediment:chunk:".to_owned(),
            redis_max_value_bytes: 256 << 10,
            redis_timeout_milliseconds: 50,
            redis_max_in_flight: 64,
            redis_queue_bytes: 16 << 20,
        }
    }
}

/// A URL that may hold a password: neither `Debug` nor what is serialised shows any of it (I6).
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RedisUrl {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::{CacheSettings, RedisUrl};

    #[test]
    fn i6_the_password_is_not_shown() {
        let settings = CacheSettings {
            redis_url: Some(RedisUrl::new("redis://:hunter2@h")),
            ..CacheSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
