//! Hashing chunk ids for tables in memory: they are random already, a few instructions are enough.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Keyed, each table with a key of its own: who chooses what is stored must not choose where it falls in a table.
#[derive(Debug, Clone)]
pub(super) struct IdHash(u64);

impl Default for IdHash {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.0)
    }
}

/// Takes the first eight bytes of an id; ids that differ behind them collide, which is found out when they are
/// compared.
#[derive(Debug)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let word = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    /// The length of an id says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::IdHash;
    use crate::types::ChunkId;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn ids_that_an_attacker_chose_spread_over_the_places_of_a_table() {
        let hash = IdHash::default();
        for at in 0..8 {
            let places: HashSet<u64> = (0..=255)
                .map(|n| {
                    let mut id = [0; 32];
                    id[at] = n;
                    hash.hash_one(ChunkId::new(id)) >> 48
                })
                .collect();
            assert!(places.len() > 128, "only {} places for 256 ids that differ in byte {at}", places.len());
        }
        let id = ChunkId::new([7; 32]);
        assert_eq!(hash.hash_one(id), hash.hash_one(id));
        assert_ne!(hash.hash_one(id), IdHash::default().hash_one(id));
    }
}
