//! What an operator can set of the body path.

use super::EngineError;
use serde::{Deserialize, Serialize};

/// The largest body that may stand in a metadata row, in bytes.
const MAX_INLINE_BYTES: u64 = 4096;
/// The least memory budget: one large body on its way in, and a few on their way out.
const MIN_MEMORY_BYTES: u64 = 16 << 20;

/// The `engine` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// The smallest chunk but a body's last, in bytes; 64 to 64 KiB.
    pub chunk_min_bytes: u32,
    /// The usual chunk, in bytes; above the smallest. A store keeps its sizes: other sizes do not deduplicate
    /// against what is stored.
    pub chunk_average_bytes: u32,
    /// The largest chunk, in bytes; above the usual, 1 KiB to 1 MiB. All three are even.
    pub chunk_max_bytes: u32,
    /// Bodies up to this size stand in their metadata row and are not deduplicated, in bytes; at most 4096.
    pub inline_max_bytes: u64,
    /// Memory for bodies, in bytes: one half for those on their way in, the other for those on their way out; at
    /// least 16 MiB. Who finds it used up waits.
    pub memory_bytes: u64,
    /// How long a body waits for its share of the memory before it is refused as busy, in milliseconds.
    pub memory_wait_milliseconds: u64,
    /// zstd's level, 1 to 19; 0 stores everything as it is.
    pub compression_level: i32,
    /// A long body makes its chunks durable in steps of so many bytes, so that its commit has little left to do.
    pub sync_every_bytes: u64,
    /// Threads that hash, cut and compress. 0: one more than the machine has cores.
    pub hash_threads: usize,
    /// Deduplication off: every body above `inline_max_bytes` becomes a file of its own.
    pub plain_bodies: bool,
    /// Bodies that were stored whole because deduplication failed or was off are deduplicated later, so many bytes per second
    /// at most; 0: never.
    pub rechunk_bytes_per_second: u64,
    /// Where a body would be read from many places, up to so many percent of its bytes are stored again beside what
    /// is new of it, and the old copies become garbage; 0 to 50. 0: never.
    pub rewrite_percent: u32,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            chunk_min_bytes: 4 << 10,
            chunk_average_bytes: 16 << 10,
            chunk_max_bytes: 64 << 10,
            inline_max_bytes: 1023,
            memory_bytes: 128 << 20,
            memory_wait_milliseconds: 10_000,
            compression_level: 1,
            sync_every_bytes: 16 << 20,
            hash_threads: 0,
            plain_bodies: false,
            rechunk_bytes_per_second: 16 << 20,
            rewrite_percent: 5,
        }
    }
}

impl EngineSettings {
    /// # Errors
    /// `Incompatible` with the first setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), EngineError> {
        let refuse = |why: &str| Err(EngineError::Incompatible(format!("engine settings: {why}")));
        if !(64..=65_536).contains(&self.chunk_min_bytes) {
            return refuse("chunk_min_bytes must be 64 to 65536");
        }
        if self.chunk_average_bytes <= self.chunk_min_bytes || self.chunk_average_bytes < 256 {
            return refuse("chunk_average_bytes must be above chunk_min_bytes, and at least 256");
        }
        if self.chunk_max_bytes <= self.chunk_average_bytes
            || !(1024..=1 << 20).contains(&self.chunk_max_bytes)
        {
            return refuse("chunk_max_bytes must be above chunk_average_bytes, and 1024 to 1048576");
        }
        // The chunker tests two bytes at a time.
        let sizes = [self.chunk_min_bytes, self.chunk_average_bytes, self.chunk_max_bytes];
        if sizes.iter().any(|size| size % 2 != 0) {
            return refuse("chunk_min_bytes, chunk_average_bytes and chunk_max_bytes must be even");
        }
        if self.inline_max_bytes > MAX_INLINE_BYTES {
            return refuse("inline_max_bytes may be at most 4096");
        }
        if self.memory_bytes < MIN_MEMORY_BYTES {
            return refuse("memory_bytes must be at least 16777216");
        }
        if !(0..=19).contains(&self.compression_level) {
            return refuse("compression_level must be 0 to 19");
        }
        if self.sync_every_bytes < 1 << 20 {
            return refuse("sync_every_bytes must be at least 1048576");
        }
        if self.hash_threads > 1024 {
            return refuse("hash_threads may be at most 1024");
        }
        if self.rewrite_percent > 50 {
            return refuse("rewrite_percent may be at most 50");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::EngineSettings;

    #[test]
    fn the_defaults_hold_and_what_is_out_of_bounds_is_named() {
        EngineSettings::default().validate().unwrap();
        let refused = |change: fn(&mut EngineSettings), name: &str| {
            let mut settings = EngineSettings::default();
            change(&mut settings);
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        };
        refused(|s| s.chunk_min_bytes = 63, "chunk_min_bytes");
        refused(|s| s.chunk_average_bytes = s.chunk_min_bytes, "chunk_average_bytes");
        refused(|s| s.chunk_max_bytes = s.chunk_average_bytes, "chunk_max_bytes");
        refused(|s| s.chunk_max_bytes = (1 << 20) + 1, "chunk_max_bytes");
        refused(|s| s.chunk_max_bytes -= 1, "even");
        refused(|s| s.inline_max_bytes = 4097, "inline_max_bytes");
        refused(|s| s.memory_bytes = 1 << 20, "memory_bytes");
        refused(|s| s.compression_level = 20, "compression_level");
        refused(|s| s.sync_every_bytes = 0, "sync_every_bytes");
        refused(|s| s.rewrite_percent = 51, "rewrite_percent");
    }
}
