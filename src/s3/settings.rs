//! What an operator may set about the protocol.

use serde::{Deserialize, Serialize};

/// Settings of the S3 protocol. The region is the service's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// Host names below which buckets are addressed as `bucket.host`, without ports. Path-style addresses work
    /// with any host that is none of these.
    pub domains: Vec<String>,
}
