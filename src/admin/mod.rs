//! Health, metrics and the owner's verbs over HTTP, apart from S3.
//!
//! Rules of the room: it listens on loopback unless told otherwise; a request whose `Host` is a name that nobody
//! configured is refused (DNS rebinding); health and metrics hold no names, keys or secrets (I6) and need no
//! credentials; everything else needs the run's token. Readiness is said honestly (I5).

mod api;
mod health;
mod host;
mod operations;
mod settings;

pub use api::{AdminApi, router};
pub use health::{Check, Health, Phase};
pub use operations::{BackupRequest, Operations, ScrubRequest, StoreStats};
pub use settings::AdminSettings;
