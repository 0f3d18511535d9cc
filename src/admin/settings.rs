//! The `admin` section.

use serde::{Deserialize, Serialize};

/// Where health, metrics and the owner's verbs are served, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// `address:port`. Port 0 takes a free one.
    pub listen: String,
    /// Names, beside `localhost` and plain IP addresses, that a request's `Host` may have.
    pub allowed_hosts: Vec<String>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9001".into(), allowed_hosts: Vec::new() }
    }
}
