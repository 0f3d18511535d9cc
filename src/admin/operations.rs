//! What the owner can ask of a running store.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The verbs behind the token. Errors are one line for a person.
#[async_trait]
pub trait Operations: Send + Sync + std::fmt::Debug {
    async fn stats(&self) -> Result<StoreStats, String>;

    /// Collects garbage once, or says what a collection would do. The report as JSON.
    async fn gc(&self, dry_run: bool) -> Result<serde_json::Value, String>;

    /// How each destination of replication is doing. As JSON.
    async fn replication(&self) -> Result<serde_json::Value, String>;

    /// Where scrubbing stands, after what was asked for. As JSON.
    async fn scrub(&self, request: ScrubRequest) -> Result<serde_json::Value, String>;

    /// Where the backup stands, or the number of the snapshot that was asked for. As JSON.
    async fn backup(&self, request: BackupRequest) -> Result<serde_json::Value, String>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupRequest {
    Status,
    /// Answered at once with the `number` that its outcome will have in the status.
    Start {
        full: bool,
    },
    /// As `Start`.
    Prune,
    /// As `Start`. `percent` of the bytes is read back; `all` snapshots, not the newest alone.
    Verify {
        percent: u8,
        all: bool,
    },
    /// As `Start`.
    Drill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubRequest {
    Status,
    /// Does nothing to one that is at work.
    Start,
    Stop,
}

/// What a store holds and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StoreStats {
    pub buckets: u64,
    pub versions: u64,
    pub delete_markers: u64,
    pub uploads: u64,
    /// The sizes of all versions and parts, as clients see them.
    pub logical_bytes: u64,
    /// Distinct bytes, before compression: chunks, manifest nodes and inline bodies.
    pub unique_bytes: u64,
    /// Bytes that packs and plain files occupy on their device, and inline bodies.
    pub stored_bytes: u64,
    pub inline_bytes: u64,
    /// `logical_bytes` for each byte of `unique_bytes`.
    pub deduplication_ratio: f64,
    /// `unique_bytes` for each byte of it as stored, compressed.
    pub compression_ratio: f64,
    /// `logical_bytes` for each byte of `stored_bytes`.
    pub total_ratio: f64,
    pub chunks: u64,
    pub nodes: u64,
    pub manifests: u64,
    pub packs: u64,
    pub pack_bytes: u64,
    /// Bodies stored whole, and the bytes that they occupy.
    #[serde(default)]
    pub plain_files: u64,
    #[serde(default)]
    pub plain_bytes: u64,
    /// Chunks and nodes that nothing refers to, not yet collected.
    pub garbage_records: u64,
    /// Of them, and of plain files that no version names.
    pub garbage_bytes: u64,
    /// Manifest nodes in use that cannot be read. While there are any, nothing is collected.
    #[serde(default)]
    pub uncounted_nodes: u64,
}
