//! The memory of all streams on their way out, and who gives some up when it runs short.
//!
//! A stream takes its share once, when it is admitted, and keeps it to its end: enough for its smallest window, so
//! that it never has to ask again (I5). What it loads beyond that is taken only while there is plenty, and is what
//! goes first: all of it when somebody waits to be admitted, that of streams that fell behind when others read.

use super::ahead::Ahead;
use crate::engine::EngineError;
use crate::sys::Queued;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The smallest window of a stream, unless a single chunk may be longer.
const SMALLEST_WINDOW_BYTES: u64 = 64 << 10;
/// The place in the manifest, and what the read of a window takes beside its bytes.
const PLACE_BYTES: u64 = 64 << 10;
/// One part in so many is kept for ranges that fit in the smallest window, so that they pass stalled streams.
const SHORT_PART: u64 = 8;

/// Memory, until the last clone is dropped.
pub(super) type Share = Arc<OwnedSemaphorePermit>;

/// The memory of all readers. Clones share it.
#[derive(Debug, Clone)]
pub struct ReadBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    long: Pool,
    short: Pool,
    window_bytes: u64,
    wait: Duration,
    /// How often streams were asked for bytes: slow is who is slow beside the others.
    polls: AtomicU64,
    streams: Mutex<Vec<Weak<Ahead>>>,
    /// How many wait to be admitted.
    waiting: AtomicUsize,
}

/// One permit is a KiB.
#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    total: u32,
}

/// How much a stream may load before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Plenty,
    Some,
    None,
}

impl ReadBudget {
    /// `wait` is how long a stream waits to be admitted before it is refused as busy; `longest_chunk_bytes` that
    /// of the usual chunks.
    #[must_use]
    pub fn new(memory_bytes: u64, longest_chunk_bytes: u64, wait: Duration) -> Self {
        let short = memory_bytes / SHORT_PART;
        Self(Arc::new(Shared {
            long: Pool::new(memory_bytes - short),
            short: Pool::new(short),
            window_bytes: SMALLEST_WINDOW_BYTES.max(longest_chunk_bytes),
            wait,
            polls: AtomicU64::new(0),
            streams: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// What a stream can always load.
    pub(super) fn window_bytes(&self) -> u64 {
        self.0.window_bytes
    }

    /// A stream's share for as long as it lasts.
    pub(super) async fn admit(&self) -> Result<Share, EngineError> {
        self.wait(&self.0.long, self.0.window_bytes + PLACE_BYTES).await
    }

    /// The share of a range that is loaded at once.
    pub(super) async fn admit_short(&self, bytes: u64) -> Result<Share, EngineError> {
        self.wait(&self.0.short, bytes).await
    }

    async fn wait(&self, pool: &Pool, bytes: u64) -> Result<Share, EngineError> {
        if let Some(share) = pool.try_take(bytes) {
            return Ok(share);
        }
        self.reclaim(u64::MAX);
        let turn = Arc::clone(&pool.free).acquire_many_owned(pool.kib(bytes));
        let place = Place::new(&self.0.waiting);
        let share = tokio::time::timeout(self.0.wait, turn).await;
        drop(place);
        let share = share.map_err(|_| {
            metrics::counter!("sediment_memory_refused_total").increment(1);
            EngineError::Busy("the memory for reading is used up")
        })?;
        Ok(Arc::new(share.map_err(std::io::Error::other)?))
    }

    /// More than a stream's share, if there is any.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Share> {
        self.0.long.try_take(bytes)
    }

    pub(super) fn room(&self) -> Room {
        let (free, total) = (self.0.long.free.available_permits(), self.0.long.total as usize);
        match free {
            free if free > total / 2 => Room::Plenty,
            free if free > total / 4 => Room::Some,
            _ => Room::None,
        }
    }

    /// As [`Self::room`], after streams that were last asked for bytes before that poll gave up what they had loaded.
    pub(super) fn make_room(&self, before: u64) -> Room {
        if self.room() != Room::Plenty {
            self.reclaim(before);
        }
        self.room()
    }

    /// Takes back what streams have loaded that were last asked for bytes before the poll of that number.
    fn reclaim(&self, before: u64) {
        self.0.streams.lock().retain(|stream| {
            let stream = stream.upgrade();
            stream.inspect(|stream| stream.give_up(before)).is_some()
        });
    }

    /// A stream that will load ahead.
    pub(super) fn register(&self, stream: &Arc<Ahead>) {
        let mut streams = self.0.streams.lock();
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(stream));
    }

    /// The number of this poll.
    pub(super) fn poll(&self) -> u64 {
        self.0.polls.fetch_add(1, Ordering::Relaxed)
    }

    /// How many wait to be admitted.
    pub(in crate::engine) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    pub(in crate::engine) fn used_bytes(&self) -> u64 {
        self.used() as u64 * 1024
    }

    /// KiB in use.
    pub(super) fn used(&self) -> usize {
        [&self.0.long, &self.0.short]
            .map(|pool| (pool.total as usize).saturating_sub(pool.free.available_permits()))
            .iter()
            .sum()
    }
}

/// One who waits.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    _queued: Queued,
}

impl<'a> Place<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self { waiting, _queued: Queued::in_queue("memory") }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives back what is more than so many bytes, unless others still use the memory.
pub(super) fn shrink(share: &mut Share, bytes: u64) {
    let Some(permit) = Arc::get_mut(share) else { return };
    let keep = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
    drop(permit.num_permits().checked_sub(keep).and_then(|more| permit.split(more)));
}

impl Pool {
    fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Self { free: Arc::new(Semaphore::new(total as usize)), total }
    }

    fn kib(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, self.total)
    }

    fn try_take(&self, bytes: u64) -> Option<Share> {
        Arc::clone(&self.free).try_acquire_many_owned(self.kib(bytes)).ok().map(Arc::new)
    }
}
