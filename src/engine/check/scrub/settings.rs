//! What an operator can set of scrubbing.

use crate::engine::EngineError;
use serde::{Deserialize, Serialize};

/// The `scrub` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubSettings {
    /// From the beginning of one pass over the whole store to that of the next, in seconds; 0: only when asked to. A
    /// scheduled pass is spread over nine tenths of it.
    pub interval_seconds: u64,
    /// The most that a pass beside requests reads, in bytes per second; at least 65536.
    pub rate_bytes_per_second: u64,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self { interval_seconds: 30 * 86_400, rate_bytes_per_second: 32 << 20 }
    }
}

impl ScrubSettings {
    /// # Errors
    /// Names the setting that is out of range.
    pub fn validate(&self) -> Result<(), EngineError> {
        if self.rate_bytes_per_second < 1 << 16 {
            let why = "scrub.rate_bytes_per_second must be at least 65536";
            return Err(EngineError::Incompatible(why.into()));
        }
        Ok(())
    }
}
