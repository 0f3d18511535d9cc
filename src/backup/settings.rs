//! What an operator says about backups: where they go, how often, and what they may take.

use crate::remote::{Pacing, S3Credentials, S3Settings};
use crate::types::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// Below this, a piece of 8 MiB would hold up everything behind it for minutes.
const LEAST_BANDWIDTH: u64 = 64 << 10;
/// Less holds no store's metadata.
const LEAST_SCRATCH: u64 = 1 << 20;
const YEAR_SECONDS: u64 = 366 * 86_400;

/// The `backup` section. Without a bucket nothing is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSettings {
    /// Whether the store is backed up, once there is a bucket.
    pub enabled: bool,
    /// `https://host[:port]`; without one, AWS in the region.
    #[serde(deserialize_with = "given")]
    pub endpoint: Option<String>,
    pub region: String,
    #[serde(deserialize_with = "given")]
    pub bucket: Option<String>,
    /// What all names begin with: each store has one of its own in a bucket.
    #[serde(deserialize_with = "given")]
    pub prefix: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name. Unset: at every endpoint but AWS's own.
    pub path_style: Option<bool>,
    #[serde(deserialize_with = "given")]
    pub access_key: Option<String>,
    #[serde(deserialize_with = "given_secret")]
    pub secret_key: Option<Secret>,
    #[serde(deserialize_with = "given_secret")]
    pub session_token: Option<Secret>,
    /// Credentials for deletes alone: then the others need not be allowed to.
    #[serde(deserialize_with = "given")]
    pub delete_access_key: Option<String>,
    #[serde(deserialize_with = "given_secret")]
    pub delete_secret_key: Option<Secret>,
    /// The file with the repository's key, outside the data directory.
    pub key_file: Option<PathBuf>,
    /// The repository's key itself, as text.
    #[serde(deserialize_with = "given_secret")]
    pub key: Option<Secret>,
    /// Whether contents are encrypted, not only authenticated. Cannot be changed afterwards.
    pub encrypt: bool,
    /// zstd's level, 1 to 19; 0 stores everything as it is. Chunks are compressed already.
    pub compression_level: u8,
    /// The pause between two shipments of the change log, in seconds.
    pub interval_seconds: u64,
    /// From one snapshot to the next, in seconds.
    pub snapshot_interval_seconds: u64,
    /// From one image of the metadata to the next, in seconds: what a restore replays of the log is no longer.
    pub full_interval_seconds: u64,
    /// `false`: every snapshot comes with an image of the metadata of its own.
    pub incremental: bool,
    /// The most that is sent and received, in bytes per second on average; 0: no limit.
    pub bandwidth_bytes_per_second: u64,
    /// The most requests to the remote in a second; 0: no limit.
    pub requests_per_second: u64,
    /// Requests to the remote at once, 1 to 64; each may hold 8 MiB.
    pub uploads_in_flight: usize,
    /// When the newest point that can be restored is older, in seconds, an alert is raised.
    pub rpo_seconds: u64,
    /// Where alerts are posted.
    #[serde(deserialize_with = "given_secret")]
    pub webhook_url: Option<Secret>,
    /// From one verification to the next, in seconds; 0: only when asked to.
    pub verify_interval_seconds: u64,
    /// How much of the bytes a scheduled verification reads back, 0 to 100.
    pub verify_read_percent: u8,
    /// From one restore drill to the next, in seconds; 0: only when asked to.
    pub drill_interval_seconds: u64,
    /// The most that a drill writes, the replayed log included, in bytes, and never what `storage.min_free_bytes` keeps.
    pub drill_scratch_bytes: u64,
    /// For how many days objects are locked; 0: they are not. The bucket must have object lock.
    pub lock_days: u32,
    /// How long an answer of the remote may take, in seconds, beside the time for its bytes.
    pub request_timeout_seconds: u64,
    /// Nothing else ever writes this repository: then the server need not keep its word on conditional writes.
    pub exclusive: bool,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            endpoint: None,
            region: "us-east-1".to_owned(),
            bucket: None,
            prefix: None,
            path_style: None,
            access_key: None,
            secret_key: None,
            session_token: None,
            delete_access_key: None,
            delete_secret_key: None,
            key_file: None,
            key: None,
            encrypt: true,
            compression_level: 1,
            interval_seconds: 5,
            snapshot_interval_seconds: 3600,
            full_interval_seconds: 7 * 86_400,
            incremental: true,
            bandwidth_bytes_per_second: 0,
            requests_per_second: 0,
            uploads_in_flight: 4,
            rpo_seconds: 60,
            webhook_url: None,
            verify_interval_seconds: 86_400,
            verify_read_percent: 1,
            drill_interval_seconds: 30 * 86_400,
            drill_scratch_bytes: 20 << 30,
            lock_days: 0,
            request_timeout_seconds: 30,
            exclusive: false,
        }
    }
}

/// An empty text is none, so that a variable can be emptied.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn given_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<Secret>::deserialize(deserializer)?.filter(|secret| !secret.is_empty()))
}

impl BackupSettings {
    /// Whether there are backups to make.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.enabled && self.bucket.is_some()
    }

    /// Where the bucket is; `None` when none is named.
    #[must_use]
    pub fn place(&self) -> Option<S3Settings> {
        Some(S3Settings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone()?,
            prefix: self.prefix.clone().unwrap_or_default(),
            path_style: self.path_style,
            answer_seconds: self.request_timeout_seconds,
            ..S3Settings::default()
        })
    }

    /// Who writes and reads.
    #[must_use]
    pub fn credentials(&self) -> Option<S3Credentials> {
        let (access_key, secret) = (self.access_key.clone()?, self.secret_key.as_ref()?);
        let session_token = self.session_token.as_ref().map(Secret::reveal);
        Some(S3Credentials { access_key, secret_key: secret.reveal(), session_token })
    }

    /// Who deletes, if that is somebody else.
    #[must_use]
    pub fn delete_credentials(&self) -> Option<S3Credentials> {
        let (access_key, secret) = (self.delete_access_key.clone()?, self.delete_secret_key.as_ref()?);
        Some(S3Credentials { access_key, secret_key: secret.reveal(), session_token: None })
    }

    #[must_use]
    pub const fn pacing(&self) -> Pacing {
        Pacing {
            bytes_per_second: self.bandwidth_bytes_per_second,
            requests_per_second: self.requests_per_second,
            in_flight: self.uploads_in_flight,
        }
    }

    /// # Errors
    /// With the first setting that cannot work, and what would. Repeats no secret.
    pub fn validate(&self) -> Result<(), String> {
        self.check_numbers()?;
        self.check_pairs()?;
        if self.enabled {
            self.check_whole()?;
        }
        if let Some(url) = &self.webhook_url {
            check_url(&url.reveal()).map_err(|why| format!("webhook_url {why}"))?;
        }
        let Some(place) = self.place() else { return Ok(()) };
        if let Some(endpoint) = &self.endpoint {
            check_url(endpoint).map_err(|why| format!("endpoint {why}"))?;
            if endpoint.contains(['@', '?', '#']) {
                return Err("endpoint must be a server alone, as https://s3.example.com".to_owned());
            }
        }
        place.validate()
    }

    fn check_numbers(&self) -> Result<(), String> {
        let slow = self.bandwidth_bytes_per_second;
        let times = [
            self.verify_interval_seconds,
            self.drill_interval_seconds,
            self.full_interval_seconds,
            self.rpo_seconds,
        ];
        first_wrong(&[
            (self.compression_level > 19, "compression_level must be 0 to 19"),
            (!(1..=3600).contains(&self.interval_seconds), "interval_seconds must be 1 to 3,600"),
            (
                self.snapshot_interval_seconds < self.interval_seconds,
                "snapshot_interval_seconds must be no less than interval_seconds",
            ),
            (
                self.full_interval_seconds < self.snapshot_interval_seconds,
                "full_interval_seconds must be no less than snapshot_interval_seconds",
            ),
            (
                self.rpo_seconds <= self.interval_seconds,
                "rpo_seconds must be more than interval_seconds, or there would always be an alert",
            ),
            (
                times.iter().any(|time| *time > YEAR_SECONDS),
                "intervals and rpo_seconds must be a year at most",
            ),
            (
                slow != 0 && slow < LEAST_BANDWIDTH,
                "bandwidth_bytes_per_second must be 0, for no limit, or at least 65536",
            ),
            (!(1..=64).contains(&self.uploads_in_flight), "uploads_in_flight must be 1 to 64"),
            (self.verify_read_percent > 100, "verify_read_percent must be 0 to 100"),
            (self.drill_scratch_bytes < LEAST_SCRATCH, "drill_scratch_bytes must be at least 1 MiB"),
            (self.lock_days > 36_500, "lock_days must be 36,500 at most"),
            (
                !(1..=3600).contains(&self.request_timeout_seconds),
                "request_timeout_seconds must be 1 to 3,600",
            ),
        ])
    }

    /// What goes only with something else, or not with it.
    fn check_pairs(&self) -> Result<(), String> {
        first_wrong(&[
            (
                self.access_key.is_some() != self.secret_key.is_some(),
                "access_key and secret_key go together: set both",
            ),
            (
                self.session_token.is_some() && self.access_key.is_none(),
                "session_token goes with access_key and secret_key: set them",
            ),
            (
                self.delete_access_key.is_some() != self.delete_secret_key.is_some(),
                "delete_access_key and delete_secret_key go together: set both",
            ),
            (
                self.delete_access_key.is_some() && self.delete_access_key == self.access_key,
                "delete_access_key is the same as access_key: leave it out, or name one that alone may delete",
            ),
            (self.key.is_some() && self.key_file.is_some(), "key and key_file are both set: set one"),
            (
                self.key_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()),
                "key_file must name a file",
            ),
        ])
    }

    /// Half of what backups need would be none at all, and nobody would know.
    fn check_whole(&self) -> Result<(), String> {
        let is_begun = self.endpoint.is_some()
            || self.prefix.is_some()
            || self.access_key.is_some()
            || self.delete_access_key.is_some()
            || self.key.is_some()
            || self.key_file.is_some();
        if self.bucket.is_none() {
            let why = "bucket is not set, and nothing would be backed up: set it, or enabled = false";
            return first_wrong(&[(is_begun, why)]);
        }
        first_wrong(&[
            (self.access_key.is_none(), "access_key and secret_key are not set: backups need them"),
            (
                self.key.is_none() && self.key_file.is_none(),
                "key_file is not set: `sediment backup key --out FILE` makes a key, outside the data directory",
            ),
        ])
    }
}

fn first_wrong(rules: &[(bool, &str)]) -> Result<(), String> {
    rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}

fn check_url(text: &str) -> Result<(), &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_url.then_some(()).ok_or("must be a URL, as https://s3.example.com")
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
