//! Shipping: what is new in the store goes to the bucket.
//!
//! A *round* ([`round`]) ships the bytes of packs ([`bytes`]) and plain bodies ([`plains`]) and then the records of the log that name them; so
//! whatever record is in the bucket, its bytes are there. A *snapshot* ([`snapshot`]) makes a manifest of all that, now and then with a
//! new image of the metadata ([`base`]), and merges small segments of the log ([`merge`]). Rules of the room: nothing is written
//! before [`Session::check`]; what a round did not finish the next one goes on with; the cursor moves last, so that
//! collection spares what is not in the bucket.

mod base;
mod begin;
mod bytes;
mod doubts;
#[cfg(test)]
mod harm_tests;
mod in_use;
mod merge;
#[cfg(test)]
mod plain_tests;
mod plains;
mod repair;
mod round;
mod snapshot;
mod stuck;
#[cfg(test)]
mod tests;

use super::objects::Writing;
use super::{Base, Contents, Holdings, ObjectName, SegmentRef, Session, Snapshot, Source};
use crate::storage::PackId;
use crate::sys::Random;
use crate::types::{CommitSeq, PlainId, UnixMillis};
use doubts::Doubts;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use round::Round;

/// How a store is shipped.
#[derive(Debug, Clone)]
pub struct ShipSettings {
    /// zstd's, of what goes into the bucket; 0 stores everything as it is.
    pub level: i32,
    /// Objects that are sent at a time.
    pub uploads_in_flight: usize,
    /// The most of a pack that one object holds.
    pub extent_bytes: u64,
    /// An image of the metadata is made anew after so long,
    pub full_interval: Duration,
    /// and when the log behind the last one is longer than this.
    pub log_records: u64,
    /// Every snapshot has a new image.
    pub always_full: bool,
    /// After so many bytes of one round it is noted what is there, so that the next process need not send it again.
    pub note_bytes: u64,
    /// Object lock: objects may not be deleted for so long. Zero: no lock.
    pub lock: Duration,
}

impl Default for ShipSettings {
    fn default() -> Self {
        Self {
            level: 1,
            uploads_in_flight: 4,
            extent_bytes: 64 << 20,
            full_interval: Duration::from_secs(7 * 24 * 3600),
            log_records: 1_000_000,
            always_full: false,
            note_bytes: 1 << 30,
            lock: Duration::ZERO,
        }
    }
}

/// What is being done, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ShipProgress {
    pub phase: &'static str,
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// Into the bucket, since the process began.
    pub sent_bytes: u64,
    pub sent_objects: u64,
}

/// One writer of one repository, for as long as its session lasts.
#[derive(Debug)]
pub struct Shipper {
    session: Arc<Session>,
    source: Source,
    settings: ShipSettings,
    random: Arc<dyn Random>,
    progress: Arc<Mutex<ShipProgress>>,
    stop: CancellationToken,
    /// What is in the bucket.
    held: Holdings,
    /// Names that stand damaged in the bucket, or are missing there: nothing is put under them any more.
    spoiled: HashSet<ObjectName>,
    /// The packs that there were when they were last looked at.
    present: HashSet<PackId>,
    /// What was found damaged or cannot be read, and since when.
    doubts: Doubts,
    /// Plain bodies that are to be sent again: the log tells of them no more.
    owed_plains: Vec<PlainId>,
    /// What was put there and no segment of the log names.
    fresh: Contents,
    /// Of those, what no inventory names either.
    unnoted: Contents,
    /// The last record in the bucket, and when it was made.
    shipped: (CommitSeq, UnixMillis),
    base: Option<Base>,
    /// Behind the base.
    log: Vec<SegmentRef>,
    /// The last snapshot on the path.
    last: Option<Snapshot>,
    next_inventory: u32,
    /// Sent since the last snapshot.
    sent_bytes: u64,
}

impl Shipper {
    /// The last record in the bucket, and when it was made.
    #[must_use]
    pub const fn shipped(&self) -> (CommitSeq, UnixMillis) {
        self.shipped
    }

    #[must_use]
    pub const fn last_snapshot(&self) -> Option<&Snapshot> {
        self.last.as_ref()
    }

    /// What of the store is in the bucket.
    #[must_use]
    pub const fn held(&self) -> &Holdings {
        &self.held
    }

    fn writing(&self) -> Writing {
        let lock = i64::try_from(self.settings.lock.as_millis()).unwrap_or(i64::MAX);
        let until = UnixMillis::new(self.source.clock.now().get().saturating_add(lock));
        Writing {
            random: Arc::clone(&self.random),
            level: self.settings.level,
            parts_in_flight: 2,
            retain_until: (lock > 0).then_some(until),
        }
    }

    fn phase(&self, phase: &'static str, total_bytes: u64) {
        let mut progress = self.progress.lock();
        (progress.phase, progress.done_bytes, progress.total_bytes) = (phase, 0, total_bytes);
    }

    /// So much content is done, as so many bytes of one object.
    fn sent(&mut self, content_bytes: u64, object_bytes: u64) {
        self.sent_bytes += object_bytes;
        let mut progress = self.progress.lock();
        progress.done_bytes += content_bytes;
        progress.sent_bytes += object_bytes;
        progress.sent_objects += 1;
    }
}
