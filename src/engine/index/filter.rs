//! A Bloom filter in memory: of an id that was never added it says so at once, nearly always.
//!
//! An id sets one bit in each word of one block, so asking touches one line of the processor's cache.

use super::id_hash::IdHash;
use crate::types::ChunkId;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS: usize = 8;
pub(super) const BLOCK_BYTES: u64 = 64;
/// At so many bits an id one absent id of a hundred is taken for one that may be there.
const BITS_EACH: u64 = 10;
/// Ids whose blocks are fetched at the same time.
const AT_ONCE: usize = 32;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([AtomicU64; WORDS]);

#[derive(Debug)]
pub(super) struct Bloom {
    blocks: Box<[Block]>,
    hash: IdHash,
    /// Ids that changed a bit: all but a few of those added.
    added: AtomicU64,
}

impl Bloom {
    /// Of at most so many bytes, and one block at least.
    pub(super) fn new(bytes: u64) -> Self {
        let blocks = (0..(bytes / BLOCK_BYTES).max(1)).map(|_| Block::default()).collect();
        Self { blocks, hash: IdHash::default(), added: AtomicU64::new(0) }
    }

    /// The bytes that so many ids need.
    pub(super) const fn bytes_for(ids: u64) -> u64 {
        ids.saturating_mul(BITS_EACH) / 8
    }

    pub(super) fn bytes(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_BYTES
    }

    pub(super) fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// More were added than it is good for.
    pub(super) fn is_full(&self) -> bool {
        Self::bytes_for(self.added()) > self.bytes()
    }

    pub(super) fn add(&self, ids: &[ChunkId]) {
        for some in ids.chunks(AT_ONCE) {
            // Asked first: these loads wait for memory together, changes would one after the other.
            let absent: [bool; AT_ONCE] =
                std::array::from_fn(|n| some.get(n).is_some_and(|id| !self.may_have(id)));
            some.iter().zip(absent).filter(|(_, absent)| *absent).for_each(|(id, _)| self.add_one(id));
        }
    }

    fn add_one(&self, id: &ChunkId) {
        let (block, bits) = self.place(id);
        let mut is_new = false;
        for (word, bit) in block.0.iter().zip(bits) {
            is_new |= word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        self.added.fetch_add(u64::from(is_new), Ordering::Relaxed);
    }

    pub(super) fn may_have(&self, id: &ChunkId) -> bool {
        let (block, bits) = self.place(id);
        let missing = block.0.iter().zip(bits).map(|(word, bit)| !word.load(Ordering::Relaxed) & bit);
        missing.fold(0, |all, missing| all | missing) == 0
    }

    fn place(&self, id: &ChunkId) -> (&Block, [u64; WORDS]) {
        let (head, tail) = id.as_bytes().split_at(8);
        let (of_block, of_bits) = (self.hash.hash_one(head), self.hash.hash_one(tail));
        let at = (u128::from(of_block) * self.blocks.len() as u128) >> 64;
        let bits = std::array::from_fn(|word| 1 << (of_bits >> (6 * word) & 63));
        (&self.blocks[at as usize], bits)
    }
}

#[cfg(test)]
mod tests {
    use super::Bloom;
    use crate::sys::{Random, SeededRandom};
    use crate::types::ChunkId;

    fn ids(seed: u64, count: usize) -> Vec<ChunkId> {
        let random = SeededRandom::new(seed);
        let id = |_| {
            let mut bytes = [0; 32];
            random.fill(&mut bytes);
            ChunkId::new(bytes)
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn i3_what_was_added_is_never_denied_and_little_else_is_taken_for_it() {
        let bloom = Bloom::new(Bloom::bytes_for(20_000));
        let (there, absent) = (ids(1, 20_000), ids(2, 20_000));
        bloom.add(&there);
        assert!(there.iter().all(|id| bloom.may_have(id)));
        let taken = absent.iter().filter(|id| bloom.may_have(id)).count();
        assert!(taken < 600, "{taken} of 20,000 absent ids are taken for ids that are there");
        assert!((19_500..=20_000).contains(&bloom.added()), "{}", bloom.added());
    }

    #[test]
    fn it_is_full_once_there_are_more_ids_than_it_was_made_for() {
        let bloom = Bloom::new(Bloom::bytes_for(1_000));
        let all = ids(3, 2_000);
        bloom.add(&all[..900]);
        assert!(!bloom.is_full());
        bloom.add(&all);
        assert!(bloom.is_full());
        bloom.add(&all);
        assert!(bloom.added() <= 2_000, "an id counts once");
    }

    #[test]
    fn the_smallest_one_works_too() {
        let bloom = Bloom::new(0);
        let all = ids(4, 3);
        assert!(!bloom.may_have(&all[0]));
        bloom.add(&all);
        assert!(all.iter().all(|id| bloom.may_have(id)));
    }
}
