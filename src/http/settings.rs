//! What an operator may set about connections.

use super::pace::Pace;
use super::reading::LEAST_HELD_BYTES;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A connection that waits for its next request, in bytes.
const CONNECTION_BYTES: u64 = 22 << 10;
/// One connection in so many is for other addresses than that of the most.
const OTHERS_PART: usize = 16;
/// The admin listener's most: few look at it, and none sends it long bodies.
const ADMIN_CONNECTIONS: usize = 32;
const ADMIN_HTTP2_CONNECTIONS: usize = 4;
const ADMIN_READ_BUFFER_BYTES: usize = 1 << 20;

/// Limits and timeouts of the listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Connections open at once on the S3 listener. At the limit idle ones are closed early and new ones wait. The admin
    /// listener has at most 32.
    pub max_connections: usize,
    /// Those of one address among them (of IPv6, of one network of 64 bits); one more is closed at once. 0: all but one in sixteen. Behind
    /// a proxy all come from one address: set it to `max_connections` there.
    pub max_connections_per_address: usize,
    /// HTTP/2 connections among them: each may buffer a whole window. The admin listener has at most 4.
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
            max_connections_per_address: 0,
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

    /// What the admin listener gets of them.
    #[must_use]
    pub fn for_admin(&self) -> Self {
        Self {
            max_connections: self.max_connections.min(ADMIN_CONNECTIONS),
            max_http2_connections: self.max_http2_connections.min(ADMIN_HTTP2_CONNECTIONS),
            read_buffer_bytes: self.read_buffer_bytes.min(ADMIN_READ_BUFFER_BYTES),
            ..self.clone()
        }
    }

    /// The memory that a listener's connections may take beside `read_buffer_bytes`, in bytes: what each needs by itself, and
    /// what that is too little for when all of them receive bodies.
    #[must_use]
    pub const fn connections_bytes(&self) -> u64 {
        let connections = self.max_connections as u64;
        let reading = connections.saturating_mul(LEAST_HELD_BYTES as u64);
        let more = reading.saturating_sub(self.read_buffer_bytes as u64);
        connections.saturating_mul(CONNECTION_BYTES).saturating_add(more)
    }

    pub(super) const fn connections_per_address(&self) -> usize {
        match self.max_connections_per_address {
            0 => self.max_connections - self.max_connections / OTHERS_PART,
            most => most,
        }
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

#[cfg(test)]
mod tests {
    use super::HttpSettings;

    #[test]
    fn i5_each_connection_may_hold_the_least_that_is_read_at_once() {
        let with = |max_connections, read_buffer_bytes| {
            let settings = HttpSettings { max_connections, read_buffer_bytes, ..HttpSettings::default() };
            settings.connections_bytes()
        };
        assert_eq!(with(100, 100 * (32 << 10)), 100 * (22 << 10));
        assert_eq!(with(100, 1 << 30), 100 * (22 << 10));
        assert_eq!(with(100, 0), 100 * (54 << 10));
        assert_eq!(with(usize::MAX, 0), u64::MAX);
    }

    #[test]
    fn the_admin_listener_is_small_and_never_larger_than_the_other() {
        let admin = HttpSettings::default().for_admin();
        assert_eq!((admin.max_connections, admin.max_http2_connections), (32, 4));
        assert_eq!(admin.idle_timeout_seconds, HttpSettings::default().idle_timeout_seconds);
        assert_eq!(HttpSettings::default().connections_per_address(), 3840);
        let few = HttpSettings { max_connections: 3, ..HttpSettings::default() };
        assert_eq!(few.for_admin().max_connections, 3);
    }
}
