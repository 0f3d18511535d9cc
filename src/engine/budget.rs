//! The memory that all bodies on their way in share, so that neither their number nor their size uses up the
//! process's. Those on their way out have a budget of their own (`read`).
//!
//! It is cut in four, so that nobody waits behind what may take for ever:
//! - **first**: the first bytes of every upload. A client that sends none, or a few, takes no more than these.
//! - **small**: uploads of up to a block, once more than the first bytes have come; and joins.
//! - **seat**: all other uploads, then, to their end: a short block, what is carried over to the next, open nodes. With no
//!   more than that an upload goes on, however slow others are: its blocks are only shorter. The largest share.
//! - **large**: long blocks, two at a time. An upload whose client filled a short block takes this if it is there, and gives it
//!   back after some blocks if somebody else asked in vain meanwhile.
//!
//! Who needs little and finds his own share used up may have it of *seat*, while half of that, and room for some uploads,
//! stay free; that is tried and never waited for.
//!
//! No two wait for each other, because shares are waited for in one order, *first*, then *small* or *seat*,
//! and a copy's memory to read with last; *large* is only ever tried, and nobody waits for more of the share that he holds. What is
//! held while a client is waited for is never what another upload must have to go on: so one that has its seat waits for
//! threads and the disk alone, and those end.

use super::EngineError;
use crate::sys::Queued;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// One permit is a KiB.
#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    kib: u32,
}

impl Pool {
    fn new(kib: u64) -> Self {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(kib as usize)), kib }
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
        let lent = || (share != Share::Seat).then(|| self.pool(Share::Seat).spare(kib)).flatten();
        if let Some(memory) = own.or_else(lent) {
            return Ok(memory);
        }
        let turn = Arc::clone(&pool.free).acquire_many_owned(kib.min(pool.kib));
        let queued = Queued::in_queue("memory");
        let waited = tokio::time::timeout(self.wait, turn).await;
        drop(queued);
        match waited {
            Ok(Ok(memory)) => Ok(memory),
            Ok(Err(_)) => Err(EngineError::Busy("the store is stopping")),
            Err(_) => {
                metrics::counter!("sediment_memory_refused_total").increment(1);
                Err(EngineError::Busy("the memory for bodies is used up"))
            }
        }
    }
}

impl UploadBudget {
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
    pub(super) fn used_kib(&self) -> usize {
        self.pools.iter().map(|pool| pool.kib as usize - pool.free.available_permits()).sum()
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
