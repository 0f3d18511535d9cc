//! The room's settings, and the limits of S3 that are not settings.

use serde::{Deserialize, Serialize};

/// The most bytes of user metadata, names and values together.
pub const MAX_METADATA_BYTES: usize = 2 * 1024;
/// The most keys in one delete request and the most entries on a page.
pub const MAX_KEYS: usize = 1000;
/// The most buckets on a page.
pub const MAX_BUCKETS: usize = 10_000;
/// The most parts of an upload.
pub const MAX_PARTS: usize = 10_000;
/// The largest object, in bytes: 5 TiB.
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;

/// The storage class of objects that name none.
pub const STANDARD_CLASS: &str = "STANDARD";
/// The storage classes that S3 has. All are stored alike, and shown as they were given.
pub const STORAGE_CLASSES: [&str; 12] = [
    STANDARD_CLASS,
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
];
/// The region in which creating one's own bucket again is a success.
pub(super) const CLASSIC_REGION: &str = "us-east-1";

/// How the S3 semantics behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// The region that buckets are in and that requests are signed for.
    pub region: String,
    /// The owner's id, as listings show it.
    pub owner_id: String,
    /// The owner's name, as listings show it.
    pub owner_name: String,
    /// The smallest part of a multipart upload but the last, in bytes.
    pub minimum_part_bytes: u64,
    /// The largest body of one put, part or copy, in bytes.
    pub maximum_put_bytes: u64,
    /// Deletes of one multi-object request that are under way at once.
    pub delete_concurrency: usize,
    /// Whether lifecycle rules are carried out. Without it they are only kept and shown.
    pub lifecycle_enabled: bool,
    /// How long a day of lifecycle rules is, in seconds. Anything but 86,400 is for tests: such days do not end at midnight, objects of any size change their storage class, and answers show real ones.
    pub lifecycle_day_seconds: u32,
    /// The most keys that lifecycle rules are carried out on in a second.
    pub lifecycle_keys_per_second: u32,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            owner_id: "sediment".into(),
            owner_name: "sediment".into(),
            minimum_part_bytes: 5 << 20,
            maximum_put_bytes: 5 << 30,
            delete_concurrency: 32,
            lifecycle_enabled: true,
            lifecycle_day_seconds: 86_400,
            lifecycle_keys_per_second: 1000,
        }
    }
}
