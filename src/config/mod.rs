//! One `Settings` made of each room's own settings.
//!
//! Rules of the room: every setting has one name in three forms: `cache.memory_bytes` in TOML,
//! `SEDIMENT_CACHE__MEMORY_BYTES`, `--set cache.memory_bytes=…`; later forms win. An unknown key is refused
//! wherever it stands, with the nearest known name. Nothing here prints a secret (I6).

mod accounts;
mod credentials;
mod error;
mod layers;
mod limits;
mod settings;
mod targets;

pub use accounts::account_keys;
pub use credentials::{RootCredentials, root_credentials};
pub use error::ConfigError;
pub use layers::{Overrides, load};
pub use limits::LimitsSettings;
pub use settings::{LogFormat, LogSettings, ServerSettings, Settings, StorageSettings};
pub use targets::replication_targets;
