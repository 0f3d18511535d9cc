//! All sections, and the ones that belong to no room of their own.

use super::{LimitsSettings, accounts};
use crate::admin::AdminSettings;
use crate::backup::BackupSettings;
use crate::backup::retention::RetentionSettings;
use crate::engine::check::scrub::ScrubSettings;
use crate::engine::gc::GcSettings;
use crate::engine::index::IndexSettings;
use crate::engine::pack::{MAX_TARGET_BYTES, PackSettings};
use crate::engine::{CacheSettings, EngineSettings};
use crate::http::HttpSettings;
use crate::meta::SqliteSettings;
use crate::replicate::ReplicationSettings;
use crate::s3::S3Settings;
use crate::service::{MAX_OBJECT_BYTES, ServiceSettings};
use crate::sys::LockClockSettings;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Settings, by section and name, that may hold a secret: their value may stand in a file that `…_FILE` names.
pub(super) const SECRETS: [(&str, &str); 6] = [
    ("backup", "delete_secret_key"),
    ("backup", "key"),
    ("backup", "secret_key"),
    ("backup", "session_token"),
    ("backup", "webhook_url"),
    ("cache", "redis_url"),
];
/// The file of this one is a setting itself, and read by whoever needs the key.
pub(super) const KEPT_FILE: (&str, &str) = ("backup", "key_file");

/// Lists, by section and name, whose entries may hold a `secret_key`.
const SECRET_LISTS: [(&str, &str); 2] = [("s3", "accounts"), ("replication", "targets")];

/// Everything that an operator can set. Root credentials are not among it: see `RootCredentials`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub server: ServerSettings,
    pub storage: StorageSettings,
    pub limits: LimitsSettings,
    pub log: LogSettings,
    pub admin: AdminSettings,
    pub http: HttpSettings,
    pub s3: S3Settings,
    pub service: ServiceSettings,
    pub packs: PackSettings,
    pub cache: CacheSettings,
    pub engine: EngineSettings,
    pub index: IndexSettings,
    pub gc: GcSettings,
    pub scrub: ScrubSettings,
    pub meta: SqliteSettings,
    pub lock: LockClockSettings,
    pub backup: BackupSettings,
    pub backup_retention: RetentionSettings,
    pub replication: ReplicationSettings,
}

/// The `server` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Where S3 is served: `address:port`. Port 0 takes a free one.
    pub listen: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9000".into() }
    }
}

/// The `storage` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// The data directory. Created on the first start.
    pub data_dir: PathBuf,
    /// Below this many free bytes on its device, new bodies are refused; reading and deleting go on.
    pub min_free_bytes: u64,
    /// Serve although every pack is gone that bodies stand in: only what stands in rows and in `plain/` is left.
    pub start_without_packs: bool,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { data_dir: "sediment-data".into(), min_free_bytes: 256 << 20, start_without_packs: false }
    }
}

/// The `log` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives as `sediment=debug,hyper=info`.
    pub level: String,
    /// `text`, `json`, or `auto`: text on a terminal, JSON otherwise.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

impl Settings {
    /// A configuration file. Secrets are left out, with a comment in their place (I6).
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut table = toml::Table::try_from(self)?;
        let mut comments = String::new();
        for (section, name) in SECRETS {
            let entries = table.get_mut(section).and_then(toml::Value::as_table_mut);
            if entries.and_then(|entries| entries.remove(name)).is_some() {
                comments += &format!("# {section}.{name} is set, and left out here: it may hold a secret.\n");
            }
        }
        for (section, list) in SECRET_LISTS {
            comments += &leave_out(&mut table, section, list);
        }
        Ok(comments + &toml::to_string(&table)?)
    }

    /// # Errors
    /// The first value that cannot work, named, with what would.
    pub fn validate(&self) -> Result<(), String> {
        self.http.validate()?;
        self.s3.validate()?;
        self.engine.validate().map_err(|error| error.to_string())?;
        self.gc.validate().map_err(|error| error.to_string())?;
        self.scrub.validate().map_err(|error| error.to_string())?;
        self.lock.validate().map_err(|why| format!("lock.{why}"))?;
        self.meta.validate().map_err(|why| format!("meta.{why}"))?;
        self.index.validate().map_err(|why| format!("index.{why}"))?;
        self.backup.validate().map_err(|why| format!("backup.{why}"))?;
        self.backup_retention.validate().map_err(|why| format!("backup_retention.{why}"))?;
        self.replication.validate().map_err(|why| format!("replication.{why}"))?;
        self.check_limits()?;
        accounts::validate(&self.s3.accounts, &self.service.owner_id)?;
        for (name, address) in [("server.listen", &self.server.listen), ("admin.listen", &self.admin.listen)]
        {
            check_address(name, address)?;
        }
        let target = self.packs.target_bytes;
        let service = &self.service;
        let wrong = [
            (self.storage.data_dir.as_os_str().is_empty(), "storage.data_dir must not be empty"),
            (!(1 << 20..=MAX_TARGET_BYTES).contains(&target), "packs.target_bytes must be 1 MiB to 1 GiB"),
            (service.region.is_empty(), "service.region must not be empty"),
            (service.lifecycle_day_seconds == 0, "service.lifecycle_day_seconds must be at least 1"),
            (service.lifecycle_keys_per_second == 0, "service.lifecycle_keys_per_second must be at least 1"),
            (service.delete_concurrency == 0, "service.delete_concurrency must be at least 1"),
            (
                service.maximum_put_bytes == 0 || service.maximum_put_bytes > MAX_OBJECT_BYTES,
                "service.maximum_put_bytes must be 1 byte to 5 TiB",
            ),
            (
                self.cache.redis_timeout_milliseconds == 0,
                "cache.redis_timeout_milliseconds must be at least 1",
            ),
            (self.cache.redis_max_in_flight == 0, "cache.redis_max_in_flight must be at least 1"),
        ];
        wrong.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
    }
}

/// An entry whose secret stands in the settings goes with it: without a secret it would not be one.
fn leave_out(table: &mut toml::Table, section: &str, name: &str) -> String {
    let entries = table.get_mut(section).and_then(toml::Value::as_table_mut);
    let list = entries.and_then(|entries| entries.get_mut(name)).and_then(toml::Value::as_array_mut);
    let Some(list) = list else { return String::new() };
    let mut comments = String::new();
    list.retain(|entry| {
        if entry.get("secret_key").is_none() {
            return true;
        }
        let id = entry.get("id").and_then(toml::Value::as_str).unwrap_or_default();
        comments += &format!("# {section}.{name}: `{id}` is set, and left out here with its secret_key.\n");
        false
    });
    comments
}

fn check_address(name: &str, address: &str) -> Result<(), String> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!("{name} must be address:port, as 127.0.0.1:9000; not `{address}`")),
    }
}
