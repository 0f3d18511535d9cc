//! The bodies that are hashed at once: one worker takes a piece of each, in the lanes of its vector registers.
//!
//! Who has bytes to hash sends a leader if none is on its way, who hashes for all that wait when it begins or come
//! meanwhile, piece by piece: who comes waits for no more than the piece under way, and a body that is alone is hashed as
//! if there were no others. The later a leader begins, the more of them share what it costs.
//! What waits is bounded by the memory for bodies: each has one block here at most.

use super::Lease;
use super::digester::Digester;
use super::md5::Md5Lanes;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// What is hashed of every body before others may join, in bytes.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    engine: Md5Lanes,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Block>,
    leaders: usize,
    /// Of them, those that have not begun.
    sent: usize,
}

/// One body's bytes to be hashed, and who waits for that.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) digester: Digester,
    /// All but MD5 has been made of these bytes.
    pub(super) has_checksums: bool,
    pub(super) bytes: Bytes,
    pub(super) lease: Lease,
    pub(super) done: oneshot::Sender<Digester>,
}

impl Block {
    fn finish(self) {
        let Self { digester, bytes, lease, done, .. } = self;
        // Nothing of the body is kept any more once its task goes on.
        drop((bytes, lease));
        drop(done.send(digester));
    }
}

impl Lanes {
    /// Has the block hashed by a leader. True when that is one that the caller must send: a call of [`Self::lead`].
    #[must_use]
    pub(super) fn add(&self, block: Block) -> bool {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(block);
        // One more where the lanes of those before are full, and where there are no lanes.
        let is_wanted = queue.leaders == 0 || queue.waiting.len() >= self.engine.lanes() * (queue.sent + 1);
        queue.leaders += usize::from(is_wanted);
        queue.sent += usize::from(is_wanted);
        is_wanted
    }

    /// Hashes what waits, and what comes meanwhile.
    pub(super) fn lead(&self) {
        self.queue.lock().sent -= 1;
        let mut leader = Leader { lanes: self, has_left: false };
        let mut blocks = Vec::with_capacity(self.engine.lanes());
        while leader.take_in(&mut blocks) {
            for block in blocks.iter_mut().filter(|block| !block.has_checksums) {
                block.digester.update_checksums(&block.bytes);
                block.has_checksums = true;
            }
            self.hash_piece(&mut blocks);
            for done in blocks.extract_if(.., |block| block.bytes.is_empty()) {
                done.finish();
            }
        }
    }

    fn hash_piece(&self, blocks: &mut [Block]) {
        let shares = blocks.iter_mut().map(|block| (block.digester.md5_mut(), &mut block.bytes));
        self.engine.update(shares.collect(), PIECE_BYTES);
    }
}

/// Counted as a leader until it leaves. One that panicked takes those that wait for it with it: they are told.
struct Leader<'a> {
    lanes: &'a Lanes,
    has_left: bool,
}

impl Leader<'_> {
    /// Takes in who waits; leaves if there is nobody to hash for.
    fn take_in(&mut self, blocks: &mut Vec<Block>) -> bool {
        let mut queue = self.lanes.queue.lock();
        let room = self.lanes.engine.lanes().saturating_sub(blocks.len()).min(queue.waiting.len());
        blocks.extend(queue.waiting.drain(..room));
        if blocks.is_empty() {
            queue.leaders -= 1;
            self.has_left = true;
        }
        !self.has_left
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.has_left {
            let mut queue = self.lanes.queue.lock();
            queue.leaders -= 1;
            let orphans =
                if queue.leaders == 0 { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
            drop(queue);
            drop(orphans);
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
