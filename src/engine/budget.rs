//! The memory that all bodies on their way in share, so that neither their number nor their size uses up the
//! process's. Those on their way out have a budget of their own (`read`).
//!
//! It is cut in four, so that nobody waits behind what may take for ever:
//! - **first**: the first bytes of every upload. A client that sends none, or a few, takes no more than these.
//! - **small**: uploads of up to a block, once more than the first bytes have come; and joins. A body of these holds no
//!   more than a seat, and waits for one in line with the others when *small* is used up.
//! - **seat**: all other uploads, then, to their end: a short block, what is carried over to the next, open nodes. With no
//!   more than that an upload goes on, however slow others are: its blocks are only shorter. The largest share.
//! - **large**: long blocks, two at a time. An upload whose client filled a short block takes this if it is there, and gives it
//!   back after some blocks if somebody else asked in vain meanwhile.
//!
//! Who finds *first* or *small* used up may have it of *seat*, while half of that, and room for some uploads, stay free. That
//! is tried, and tried again while he waits in his own line; who comes later does not try before him.
//!
//! No two wait for each other, because shares are waited for in one order, *first*, then *small* or *seat*, and a copy's memory to
//! read with last; *large* is only ever tried. Nobody who holds a seat, or memory of *small*, waits for either. First bytes that were
//! lent of *seat* are held while their upload waits there, but what is lent is never more than half: the other half is with uploads
//! that have all they need, and comes free. Where a line is waited in beside another, what comes first is taken and the other place
//! given up. What is held while a client is waited for is never what another upload must have to go on: so one that has its seat
//! waits for threads and the disk alone, and those end.

use super::EngineError;
use crate::sys::Queued;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Memory that was taken; given back when dropped.
pub(super) type Memory = OwnedSemaphorePermit;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    First,
    Small,
    Seat,
    Large,
}

/// Clones share everything.
#[derive(Debug, Clone)]
pub struct UploadBudget {
    pools: Arc<[Pool; 4]>,
    /// How often *large* was asked for in vain.
    in_vain: Arc<AtomicU64>,
    wait: Duration,
}

/// Long blocks, and whether somebody has wanted them since.
#[derive(Debug)]
pub(super) struct LargeMemory {
    _memory: Memory,
    in_vain: u64,
}

/// Seats enough to go on with.
const LENT_ABOVE_KIB: usize = 4 << 10;
/// Seats for 256 uploads, and some, before more than half goes to them.
const ENOUGH_SEATS_KIB: u64 = 28 << 10;
/// What is at most one of so many parts of the seats may wait in their line: a join would keep too many from others meanwhile.
const SEATLIKE_PARTS: u32 = 64;
/// So long between two looks at what can be lent.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One permit is a KiB.
#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    kib: u32,
    /// How many wait for it.
    waiting: AtomicUsize,
}

/// A place in a pool's line.
#[derive(Debug)]
struct Place<'a> {
    pool: &'a Pool,
    _queued: Queued,
}

impl<'a> Place<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.waiting.fetch_add(1, Ordering::Relaxed);
        Self { pool, _queued: Queued::in_queue("memory") }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    fn new(kib: u64) -> Self {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(kib as usize)), kib, waiting: AtomicUsize::new(0) }
    }

    /// Takes memory that is there, if half of the pool and enough for some uploads are left.
    fn spare(&self, kib: u32) -> Option<Memory> {
        let left = self.free.available_permits().checked_sub(kib as usize)?;
        let is_plenty = left >= (self.kib as usize / 2).max(LENT_ABOVE_KIB);
        is_plenty.then(|| Arc::clone(&self.free).try_acquire_many_owned(kib).ok())?
    }
}

impl UploadBudget {
    #[must_use]
    pub fn new(memory_bytes: u64, wait: Duration) -> Self {
        let kib = memory_bytes >> 10;
        let (first, small) = (kib / 16, kib / 16);
        let seat = (kib * 3 / 4).min(ENOUGH_SEATS_KIB.max(kib / 2));
        let pools = [first, small, seat, kib - first - small - seat].map(Pool::new);
        Self { pools: Arc::new(pools), in_vain: Arc::default(), wait }
    }

    fn pool(&self, share: Share) -> &Pool {
        &self.pools[share as usize]
    }

    /// Waits its turn. Who asks for more than a whole share gets that.
    ///
    /// # Errors
    /// `Busy` when it did not come free in time.
    pub(super) async fn take(&self, share: Share, bytes: u64) -> Result<Memory, EngineError> {
        let kib = kib_of(bytes);
        let pool = self.pool(share);
        let own = Arc::clone(&pool.free).try_acquire_many_owned(kib.min(pool.kib)).ok();
        let is_first = pool.waiting.load(Ordering::Relaxed) == 0;
        if let Some(memory) = own.or_else(|| is_first.then(|| self.lent(share, kib)).flatten()) {
            return Ok(memory);
        }
        let place = Place::new(pool);
        let waited = tokio::time::timeout(self.wait, self.turn(share, kib)).await;
        drop(place);
        match waited {
            Ok(Ok(memory)) => Ok(memory),
            Ok(Err(_)) => Err(EngineError::Busy("the store is stopping")),
            Err(_) => {
                metrics::counter!("sediment_memory_refused_total").increment(1);
                Err(EngineError::Busy("the memory for bodies is used up"))
            }
        }
    }

    /// Memory of *seat*, if it can be spared there.
    fn lent(&self, share: Share, kib: u32) -> Option<Memory> {
        (share != Share::Seat).then(|| self.pool(Share::Seat).spare(kib)).flatten()
    }

    /// Waits in the share's line, and beside that for a seat or a loan.
    async fn turn(&self, share: Share, kib: u32) -> Result<Memory, AcquireError> {
        let (pool, seats) = (self.pool(share), self.pool(Share::Seat));
        let may_sit = share == Share::Small && kib <= seats.kib / SEATLIKE_PARTS;
        // While he stands in the line for seats, nothing can be spared there.
        let may_borrow = share != Share::Seat && !may_sit;
        let own = Arc::clone(&pool.free).acquire_many_owned(kib.min(pool.kib));
        let seat = Arc::clone(&seats.free).acquire_many_owned(kib.min(seats.kib));
        tokio::pin!(own, seat);
        // Who came before looks before.
        let mut look = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        loop {
            tokio::select! {
                biased;
                memory = &mut own => return memory,
                memory = &mut seat, if may_sit => return memory,
                _ = look.tick(), if may_borrow => {
                    if let Some(memory) = self.lent(share, kib) {
                        return Ok(memory);
                    }
                }
            }
        }
    }
}

impl UploadBudget {
    pub(super) fn waiting(&self) -> usize {
        self.pools.iter().map(|pool| pool.waiting.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let used = |pool: &Pool| u64::from(pool.kib).saturating_sub(pool.free.available_permits() as u64);
        self.pools.iter().map(used).sum::<u64>() << 10
    }

    /// Memory for long blocks, if it is there.
    pub(super) fn try_large(&self, bytes: u64) -> Option<LargeMemory> {
        let memory = Arc::clone(&self.pool(Share::Large).free).try_acquire_many_owned(kib_of(bytes)).ok();
        if memory.is_none() {
            self.in_vain.fetch_add(1, Ordering::Relaxed);
        }
        let in_vain = self.in_vain.load(Ordering::Relaxed);
        memory.map(|memory| LargeMemory { _memory: memory, in_vain })
    }

    /// Whether somebody has asked in vain since this was given.
    pub(super) fn is_wanted(&self, memory: &LargeMemory) -> bool {
        self.in_vain.load(Ordering::Relaxed) != memory.in_vain
    }
}

fn kib_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
impl UploadBudget {
    pub(super) fn used_kib(&self) -> u64 {
        self.used_bytes() >> 10
    }

    /// Returns once nobody has any.
    pub(super) async fn all_given_back(&self) {
        for pool in self.pools.iter() {
            drop(pool.free.acquire_many(pool.kib).await.unwrap());
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
