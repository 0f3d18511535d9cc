//! Settings of garbage collection.

use crate::engine::EngineError;
use serde::{Deserialize, Serialize};

/// A backup copies in rounds of seconds: whoever is that far behind is not gone.
const LEAST_UNSHIPPED_SECONDS: u64 = 60;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcSettings {
    /// The pause between two looks at how much garbage there is, in seconds; 0: only when asked to.
    pub interval_seconds: u64,
    /// A scheduled run begins when garbage takes at least this share of the packs' bytes; 0 to 1.
    pub min_garbage_ratio: f64,
    /// A pack of which a smaller share is live is written anew; others get holes. 0 (never) to 0.9.
    pub rewrite_below_live_ratio: f64,
    /// The most that rewriting reads and writes, in bytes per second; 0: no limit.
    pub rate_bytes_per_second: u64,
    /// The longest that garbage is kept because it is not in the backup yet, in seconds, by the age of the oldest log
    /// record that is not; at least 60. Then the backup is given up: it begins anew. Without one nothing is kept.
    pub unshipped_seconds: u64,
}

impl Default for GcSettings {
    fn default() -> Self {
        Self {
            interval_seconds: 600,
            min_garbage_ratio: 0.05,
            rewrite_below_live_ratio: 0.4,
            rate_bytes_per_second: 64 << 20,
            unshipped_seconds: 3 * 24 * 60 * 60,
        }
    }
}

impl GcSettings {
    /// # Errors
    /// Names the setting that is out of range.
    pub fn validate(&self) -> Result<(), EngineError> {
        let refuse = |what: &str| Err(EngineError::Incompatible(format!("gc.{what}")));
        if !(0.0..=1.0).contains(&self.min_garbage_ratio) {
            return refuse("min_garbage_ratio must be between 0 and 1");
        }
        if !(0.0..=0.9).contains(&self.rewrite_below_live_ratio) {
            return refuse("rewrite_below_live_ratio must be between 0 and 0.9");
        }
        if self.unshipped_seconds < LEAST_UNSHIPPED_SECONDS {
            return refuse(
                "unshipped_seconds must be at least 60: with less every collection would end the backup; while there is none, nothing is kept for it",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::GcSettings;

    #[test]
    fn i1_no_setting_ends_a_backup_at_every_collection() {
        for (unshipped_seconds, is_right) in [(0, false), (59, false), (60, true)] {
            let settings = GcSettings { unshipped_seconds, ..GcSettings::default() };
            assert_eq!(settings.validate().is_ok(), is_right, "{unshipped_seconds}");
        }
    }
}
