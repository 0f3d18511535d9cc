//! What an operator can set.

use serde::{Deserialize, Serialize};

/// The `meta` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteSettings {
    /// Threads that look rows up, at least 1; half as many more list and scan. Each holds one connection.
    pub reader_threads: usize,
    /// Memory for rows asked for lately, in bytes. 0 turns the row cache off.
    pub row_cache_bytes: u64,
    /// Memory for database pages, in bytes: half for the writer, the rest shared out to the readers.
    pub page_cache_bytes: u64,
    /// Writes that wait for the writer; one more waits outside.
    pub queue_commands: usize,
    /// The most writes of one transaction.
    pub batch_commands: usize,
    /// How long a write waits for the writer, before it is taken back and refused as busy, in milliseconds; at least 1.
    pub write_wait_milliseconds: u64,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            reader_threads: 4,
            row_cache_bytes: 32 << 20,
            page_cache_bytes: 64 << 20,
            queue_commands: 1024,
            batch_commands: 256,
            write_wait_milliseconds: 10_000,
        }
    }
}

impl SqliteSettings {
    /// # Errors
    /// With the setting that is out of bounds, and what they are.
    pub fn validate(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) { Ok(()) } else { Err(format!("{name} must be 1 to {most}")) }
        };
        within("reader_threads", self.reader_threads, 64)?;
        if self.write_wait_milliseconds == 0 {
            return Err("write_wait_milliseconds must be at least 1".into());
        }
        within("queue_commands", self.queue_commands, 65_536)?;
        within("batch_commands", self.batch_commands, 4_096)
    }
}
