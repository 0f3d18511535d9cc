//! The chunk cache: raw chunk bytes by id, in memory (L1) and optionally in Redis (L2), above the packs.
//!
//! Rules of the room: an id names its bytes for ever, so nothing here can be stale and nothing is invalidated.
//! A tier that is slow, failing, frozen, full or lying is a miss, never an error: whoever asks gets the right
//! bytes from the packs, in bounded time (I4, I5). Bytes from Redis are used only after their hash was checked.
//! One load per missing chunk runs at a time; filling Redis never delays a request. What is cached is copied to
//! its own size: a 16 KiB chunk never keeps the 1 MiB buffer alive that it was read in.

mod breaker;
mod error;
mod flights;
mod hot_list;
mod memory;
mod redis_pool;
mod redis_tier;
mod resp;
mod settings;
mod tiers;
mod write_behind;

pub(super) use hot_list::fuzz as fuzz_hot_list;

pub use error::CacheError;
pub use hot_list::read_hot_list;
pub use settings::{CacheSettings, RedisUrl};
pub use tiers::{ChunkCache, Wanted};
