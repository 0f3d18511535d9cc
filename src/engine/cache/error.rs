//! Why the cache could not be set up. A running cache has no errors, only misses.

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The URL itself is not repeated: it may hold a password (I6).
    #[error("cache.redis_url is not usable: {0}")]
    RedisUrl(String),
}
