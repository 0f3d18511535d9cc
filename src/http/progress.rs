//! Whether a client keeps up while others wait for what it holds, and whether what it sends is requests at all.

use super::HttpSettings;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// While others wait, who has moved less than [`LEAST_BYTES`] in this time loses its connection.
pub(super) const STALLED: Duration = Duration::from_secs(3);
const LEAST_BYTES: u64 = 12 << 10;
/// What an HTTP/2 connection may send beside its requests: some thousands of frames that ask for nothing.
const IDLE_TALK_BYTES: u64 = 256 << 10;
/// Of what is sent to a client it acknowledges each KiB, at most.
const ACKNOWLEDGED_PARTS: u64 = 16;
/// What a client may send of one HTTP/2 body before anybody has read it.
pub(super) const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Requests that a client may give up before they are answered, beside as many as it lets be answered.
const GIVEN_UP: u64 = 100;

/// What one connection has moved, and who is waited for.
#[derive(Debug, Default)]
pub(super) struct Progress {
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    body_bytes: AtomicU64,
    requests: AtomicU64,
    given_up: AtomicU64,
    /// Bodies of which somebody waits for the next bytes.
    awaited: AtomicUsize,
    /// What was written has not all left.
    is_blocked: AtomicBool,
}

/// What had been moved by when.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    bytes: u64,
}

/// Watches one connection while others wait for what it may hold.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<Sample>);

impl Progress {
    pub(super) fn read(&self, bytes: usize) {
        self.read_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Relaxed);
    }

    pub(super) fn received(&self, bytes: u64) {
        self.body_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn awaits(&self, is_awaited: bool) {
        match is_awaited {
            true => self.awaited.fetch_add(1, Relaxed),
            false => self.awaited.fetch_sub(1, Relaxed),
        };
    }

    pub(super) fn request_began(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn request_given_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }

    fn waits_for_client(&self) -> bool {
        self.awaited.load(Relaxed) > 0 || self.is_blocked.load(Relaxed)
    }

    fn sample(&self) -> Sample {
        let bytes = self.read_bytes.load(Relaxed).wrapping_add(self.written_bytes.load(Relaxed));
        Sample { at: Instant::now(), bytes }
    }

    /// Whether an HTTP/2 connection sends much that is no request's, or gives up most of what it asks for: either keeps the
    /// server busy with nothing.
    pub(super) fn is_flood(&self, limits: &HttpSettings) -> bool {
        let (requests, given_up) = (self.requests.load(Relaxed), self.given_up.load(Relaxed));
        // With a body that nobody reads.
        let each = u64::from(limits.max_header_bytes) + u64::from(STREAM_WINDOW_BYTES);
        let answered = self.written_bytes.load(Relaxed) / ACKNOWLEDGED_PARTS;
        // Small frames double a body.
        let bodies = self.body_bytes.load(Relaxed).saturating_mul(2);
        let parts = [requests.saturating_mul(each), answered, bodies];
        let allowed = parts.into_iter().fold(IDLE_TALK_BYTES, u64::saturating_add);
        self.read_bytes.load(Relaxed) > allowed || given_up > GIVEN_UP.saturating_add(requests / 2)
    }
}

impl Watch {
    /// Somebody waits. Whether this connection's client has been waited for, and has moved next to nothing, for too long.
    pub(super) fn is_stalled(&mut self, progress: &Progress) -> bool {
        if !progress.waits_for_client() {
            self.0 = None;
            return false;
        }
        let now = progress.sample();
        let Some(begun) = self.0.filter(|begun| now.at - begun.at < STALLED * 3) else {
            self.0 = Some(now);
            return false;
        };
        if now.at - begun.at < STALLED {
            return false;
        }
        self.0 = Some(now);
        now.bytes.wrapping_sub(begun.bytes) < LEAST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::{GIVEN_UP, LEAST_BYTES, Progress, STALLED, Watch};
    use crate::http::HttpSettings;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn i5_who_stands_still_while_others_wait_is_found_and_who_moves_is_not() {
        let (progress, mut watch) = (Progress::default(), Watch::default());
        let least = usize::try_from(LEAST_BYTES).unwrap();
        advance(STALLED * 100).await;
        assert!(!watch.is_stalled(&progress), "nobody waits for this client");
        progress.awaits(true);
        assert!(!watch.is_stalled(&progress), "seen for the first time");
        advance(STALLED).await;
        progress.read(least);
        assert!(!watch.is_stalled(&progress), "it moved enough");
        advance(STALLED).await;
        progress.wrote(least - 1);
        assert!(watch.is_stalled(&progress));
        // Others waited long ago: what it did meanwhile nobody looked at.
        advance(STALLED * 9).await;
        assert!(!watch.is_stalled(&progress));
        progress.awaits(false);
        advance(STALLED).await;
        assert!(!watch.is_stalled(&progress), "the server's turn");
        progress.blocked(true);
        assert!(!watch.is_stalled(&progress));
        advance(STALLED).await;
        assert!(watch.is_stalled(&progress), "it takes nothing of its answer");
    }

    #[test]
    fn i5_frames_that_ask_for_nothing_are_a_flood_and_bodies_are_not() {
        let limits = HttpSettings::default();
        let progress = Progress::default();
        progress.request_began();
        progress.received(1 << 30);
        progress.read((1 << 30) + (64 << 20));
        assert!(!progress.is_flood(&limits), "a body and its frames");
        progress.read(1 << 30);
        assert!(progress.is_flood(&limits));
        let download = Progress::default();
        download.wrote(1 << 30);
        download.read(13 << 20);
        assert!(!download.is_flood(&limits), "it acknowledges what it takes");
        let pings = Progress::default();
        pings.read(1 << 20);
        assert!(pings.is_flood(&limits));
    }

    #[test]
    fn i5_who_gives_up_all_that_it_asks_for_is_a_flood() {
        let limits = HttpSettings::default();
        let progress = Progress::default();
        for _ in 0..=2 * GIVEN_UP {
            progress.request_began();
            progress.request_given_up();
        }
        assert!(progress.is_flood(&limits));
        let patient = Progress::default();
        (0..10_000).for_each(|_| patient.request_began());
        (0..5000).for_each(|_| patient.request_given_up());
        assert!(!patient.is_flood(&limits));
    }
}
