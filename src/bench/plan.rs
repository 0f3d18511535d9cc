//! What is to be measured.

use crate::types::BucketName;
use clap::ValueEnum;
use serde::Serialize;
use std::num::NonZeroU64;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Store new objects.
    Put,
    /// Read whole objects.
    Get,
    /// Ask for objects' heads.
    Head,
    /// List pages of up to 1,000 keys.
    List,
    /// Of twenty operations ten GET, four HEAD, five PUT and one DELETE.
    Mixed,
    /// Store new objects in parts; one operation is the whole upload.
    Multipart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Noise that never repeats.
    Unique,
    /// Words that compress two to three times; never the same 512 bytes twice.
    Text,
    /// The same noise in every object.
    Duplicate,
    /// Noise; each object is the worker's previous one with one percent overwritten, inserted or removed.
    Edited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// UNSIGNED-PAYLOAD.
    Unsigned,
    /// The SHA-256 of the body is part of the signature; it is computed before the clock of the operation starts.
    Signed,
    /// STREAMING-UNSIGNED-PAYLOAD-TRAILER, with a CRC-64/NVME behind the body, as AWS's SDKs send.
    Trailer,
}

/// When a run ends: the operations under way then are finished and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Duration(Duration),
    Operations(u64),
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub operation: Operation,
    /// Of each object.
    pub size: u64,
    /// Of multipart uploads.
    pub part_size: u64,
    /// How many are stored before the clock starts, where objects are read.
    pub objects: u64,
    /// Connections, each with one operation at a time.
    pub concurrency: usize,
    pub limit: Limit,
    /// Operations that fall due in a second, on all connections together; `None`: each begins when the one before has ended.
    pub rate: Option<NonZeroU64>,
    pub content: Content,
    pub payload: Payload,
    pub verify: bool,
    pub keep: bool,
    pub bucket: BucketName,
    pub region: String,
    pub seed: u64,
    pub rounds: u32,
    /// Of one request.
    pub timeout: Duration,
}

impl Plan {
    /// More than any machine drives from one process; each worker costs some KiB and a connection.
    pub const MAX_CONCURRENCY: usize = 4_096;
    /// Keeps the checksums of what was stored before small.
    pub const MAX_OBJECTS: u64 = 10_000_000;
    const MAX_PARTS: u64 = 10_000;

    /// # Errors
    /// What cannot work, for a person.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |is_wrong: bool, why: &str| if is_wrong { Err(why.to_owned()) } else { Ok(()) };
        let concurrency = 1..=Self::MAX_CONCURRENCY;
        wrong(!concurrency.contains(&self.concurrency), "the concurrency must be 1 to 4096")?;
        wrong(self.rounds == 0, "there must be a round at least")?;
        wrong(self.objects == 0 || self.objects > Self::MAX_OBJECTS, "the objects must be 1 to 10,000,000")?;
        wrong(self.timeout.is_zero(), "the timeout must be above 0")?;
        let parts = self.operation == Operation::Multipart;
        wrong(parts && self.size == 0, "a multipart upload needs bytes")?;
        wrong(parts && self.part_size == 0, "the part size must be above 0")?;
        let too_many = parts && self.size.div_ceil(self.part_size.max(1)) > Self::MAX_PARTS;
        wrong(too_many, "an upload has at most 10,000 parts: make them larger")
    }

    /// How many objects are stored before the clock starts if nobody says: 256 MiB of them, but some for each
    /// connection, and no more than a page of a listing.
    #[must_use]
    pub fn default_objects(operation: Operation, size: u64, concurrency: usize) -> u64 {
        const PAGE: u64 = 1_000;
        if operation == Operation::List {
            return PAGE;
        }
        let fitting = (256 << 20) / size.max(1);
        fitting.min(PAGE).max(concurrency as u64)
    }

    #[must_use]
    pub const fn default_size(operation: Operation) -> u64 {
        match operation {
            Operation::Put | Operation::Get | Operation::Multipart => 64 << 20,
            Operation::Mixed => 64 << 10,
            Operation::Head | Operation::List => 4 << 10,
        }
    }
}
