//! One figure for all memory: what each section may use follows from it, and what is set must fit into it.
//!
//! Between the smallest process that works and the usual one, and beyond, every share grows evenly. What an operator sets
//! himself stays as it is.

use super::Settings;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

const MIB: u64 = 1 << 20;
/// Below this, some part would have too little to work with.
const LEAST: u64 = 128 * MIB;
/// What the defaults of all sections add up to, with Redis, and room for what nobody counts.
const USUAL: u64 = 960 * MIB;
/// The program, its threads, the first of everything, and what the allocator keeps for later.
const FIXED: u64 = 24 * MIB;

/// The `limits` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSettings {
    /// The memory that this server may use, in bytes; at least 128 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Section and name, and what it is at the smallest.
const SHARES: [(&str, &str, u64); 9] = [
    ("engine", "memory_bytes", 64 * MIB),
    ("cache", "memory_bytes", MIB),
    ("index", "cache_bytes", 3 * MIB),
    ("index", "write_bytes", 5 * MIB),
    ("index", "filter_bytes", 0),
    ("meta", "row_cache_bytes", MIB),
    ("meta", "page_cache_bytes", 4 * MIB),
    ("s3", "document_bytes", 8 * MIB),
    ("http", "read_buffer_bytes", 4 * MIB),
];
/// Enough for 256 uploads, and who else there is.
const LEAST_CONNECTIONS: u64 = 300;

/// Gives what is not set the share that it has of the whole, if that is set. The table is what is set.
///
/// # Errors
/// When the whole is less than any server needs.
pub(super) fn derive(table: &mut Table) -> Result<(), String> {
    let section = table.get("limits").cloned().unwrap_or(Value::Table(Table::new()));
    // What cannot be read is told by whoever reads all of it.
    let set: LimitsSettings = section.try_into().unwrap_or_default();
    let Some(memory) = set.memory_bytes else { return Ok(()) };
    if memory < LEAST {
        return Err(format!("limits.memory_bytes must be at least {LEAST} (128 MiB), not {memory}"));
    }
    let usual = Settings::default();
    for (section, name, least) in SHARES {
        let bytes = grown(least, share(&usual, section, name), memory);
        offer(table, section, name, bytes / MIB * MIB);
    }
    let connections = usual.http.max_connections as u64;
    offer(table, "http", "max_connections", grown(LEAST_CONNECTIONS, connections, memory).min(connections));
    Ok(())
}

/// From `least` at the smallest server to `usual` at the usual one, and on.
fn grown(least: u64, usual: u64, memory: u64) -> u64 {
    let grown = u128::from(usual - least) * u128::from(memory - LEAST) / u128::from(USUAL - LEAST);
    least.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX))
}

fn offer(table: &mut Table, section: &str, name: &str, value: u64) {
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let (Value::Table(entries), Ok(value)) = (entry, i64::try_from(value)) {
        entries.entry(name).or_insert(Value::Integer(value));
    }
}

fn share(settings: &Settings, section: &str, name: &str) -> u64 {
    match (section, name) {
        ("engine", _) => settings.engine.memory_bytes,
        ("cache", _) => settings.cache.memory_bytes,
        ("index", "cache_bytes") => settings.index.cache_bytes,
        ("index", "filter_bytes") => settings.index.filter_bytes,
        ("index", _) => settings.index.write_bytes,
        ("meta", "row_cache_bytes") => settings.meta.row_cache_bytes,
        ("meta", _) => settings.meta.page_cache_bytes,
        ("s3", _) => settings.s3.document_bytes as u64,
        _ => settings.http.read_buffer_bytes as u64,
    }
}

impl Settings {
    /// What all of it may take together.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let admin = self.http.for_admin();
        let fixed = FIXED + admin.connections_bytes() + admin.read_buffer_bytes as u64;
        let sections = self.memory_by_section();
        sections.iter().fold(fixed, |sum, (.., bytes)| sum.saturating_add(*bytes))
    }

    /// Each with the setting that lowers it.
    fn memory_by_section(&self) -> Vec<(String, u64)> {
        let shares = SHARES.map(|(section, name, _)| {
            let bytes = share(self, section, name);
            // While it grows there are two.
            let twice = if name == "filter_bytes" { bytes / 2 } else { 0 };
            (format!("{section}.{name}"), bytes.saturating_add(twice))
        });
        let cache = &self.cache;
        let redis = cache
            .redis_queue_bytes
            .saturating_add(cache.redis_max_in_flight.saturating_mul(cache.redis_max_value_bytes));
        let redis = if cache.redis_url.is_some() { redis as u64 } else { 0 };
        let more =
            [("http.max_connections", self.http.connections_bytes()), ("cache.redis_queue_bytes", redis)];
        shares.into_iter().chain(more.map(|(name, bytes)| (name.to_owned(), bytes))).collect()
    }

    /// # Errors
    /// When the sections may take more than the whole; says which take most.
    pub(super) fn check_limits(&self) -> Result<(), String> {
        let Some(memory) = self.limits.memory_bytes else { return Ok(()) };
        let needed = self.memory_bytes();
        if needed <= memory {
            return Ok(());
        }
        let mut sections = self.memory_by_section();
        sections.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let named = |(name, bytes): &(String, u64)| format!("{name} ({} MiB)", bytes.div_ceil(MIB));
        let most: Vec<_> = sections.iter().take(3).map(named).collect();
        Err(format!(
            "limits.memory_bytes is {memory}, but what is set may take {needed}: lower {}, or raise the limit",
            most.join(", ")
        ))
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
