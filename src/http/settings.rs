//! What an operator may set about connections.

use super::pace::Pace;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits and timeouts of the listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Connections open at once on one listener. At the limit idle ones are closed early and new ones wait.
    pub max_connections: usize,
    /// HTTP/2 connections among them: each may buffer a whole window.
    pub max_http2_connections: usize,
    /// Requests at once on one HTTP/2 connection.
    pub max_http2_streams: u32,
    /// Header fields in one request.
    pub max_headers: usize,
    /// Bytes of the request line and header fields together.
    pub max_header_bytes: u32,
    /// Memory for what connections read of bodies at once, in bytes, shared out to those that receive one; each has 32 KiB
    /// at least.
    pub read_buffer_bytes: usize,
    /// From the first byte of a request's head to its last.
    pub header_timeout_seconds: u64,
    /// A connection without a request.
    pub idle_timeout_seconds: u64,
    /// A request's body of which no byte arrives.
    pub body_timeout_seconds: u64,
    /// A response of which the client takes nothing.
    pub response_timeout_seconds: u64,
    /// Bodies that the client sends or takes more slowly than this, on average and beyond their timeout above, are cut
    /// off: each holds memory, and garbage that cannot be collected. 0 turns this off.
    pub min_rate_bytes_per_second: u64,
    /// On shutdown, the time that requests under way have to finish.
    pub drain_timeout_seconds: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_http2_connections: 128,
            max_http2_streams: 64,
            max_headers: 100,
            max_header_bytes: 32 << 10,
            read_buffer_bytes: 32 << 20,
            header_timeout_seconds: 15,
            idle_timeout_seconds: 90,
            body_timeout_seconds: 60,
            response_timeout_seconds: 300,
            min_rate_bytes_per_second: 1024,
            drain_timeout_seconds: 30,
        }
    }
}

impl HttpSettings {
    /// # Errors
    /// When a limit is zero: nothing could be served.
    pub fn validate(&self) -> Result<(), &'static str> {
        let limits = [
            (self.max_connections == 0, "http.max_connections must be at least 1"),
            (self.max_http2_streams == 0, "http.max_http2_streams must be at least 1"),
            (self.max_headers == 0, "http.max_headers must be at least 1"),
            (self.max_header_bytes < 4096, "http.max_header_bytes must be at least 4096"),
            (self.header_timeout_seconds == 0, "http.header_timeout_seconds must be at least 1"),
            (self.idle_timeout_seconds == 0, "http.idle_timeout_seconds must be at least 1"),
            (self.body_timeout_seconds == 0, "http.body_timeout_seconds must be at least 1"),
            (self.response_timeout_seconds == 0, "http.response_timeout_seconds must be at least 1"),
        ];
        limits.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, why)| Err(why))
    }

    pub(super) const fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds)
    }

    pub(super) const fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }

    pub(super) const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_seconds)
    }

    pub(super) const fn body_pace(&self) -> Pace {
        Pace { grace: self.body_timeout(), bytes_per_second: self.min_rate_bytes_per_second }
    }

    pub(super) const fn response_pace(&self) -> Pace {
        Pace { grace: self.response_timeout(), bytes_per_second: self.min_rate_bytes_per_second }
    }

    pub(super) const fn response_timeout(&self) -> Duration {
        Duration::from_secs(self.response_timeout_seconds)
    }

    #[must_use]
    pub const fn drain_timeout(&self) -> Duration {
        Duration::from_secs(self.drain_timeout_seconds)
    }
}
