//! MD5, of one body or of several at once.
//!
//! All of `md5-many` that is used: its hash of one stream, and its lanes in the one shape that they are fastest in, full
//! blocks of as many streams as there are lanes, the unused ones filled up with what nobody looks at.

use bytes::{Buf, Bytes};
use md5_many::{Md5Many, Md5State};

/// More lanes than any processor here has.
const LANES_AT_MOST: usize = 16;
const BLOCK_BYTES: usize = 64;

/// One body's MD5 so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Md5(Md5State);

impl Md5 {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(&self) -> [u8; 16] {
        self.0.finalize()
    }

    /// Hashes what does not fill a block: up to where the next one begins, and a rest that is too short for one.
    fn update_odd(&mut self, bytes: &mut Bytes) {
        let begun = (self.0.bytes_hashed() % BLOCK_BYTES as u64) as usize;
        let odd = (BLOCK_BYTES - begun) % BLOCK_BYTES;
        let odd = if bytes.len() < odd + BLOCK_BYTES { bytes.len() } else { odd };
        self.update(&bytes[..odd]);
        bytes.advance(odd);
    }
}

/// What this processor can do for several bodies at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Md5Lanes {
    engine: Md5Many,
    lanes: usize,
}

impl Default for Md5Lanes {
    fn default() -> Self {
        let engine = Md5Many::new();
        Self { engine, lanes: engine.lanes().min(LANES_AT_MOST) }
    }
}

impl Md5Lanes {
    /// How many bodies are hashed at once.
    pub(super) const fn lanes(&self) -> usize {
        self.lanes
    }

    /// Whether so many bodies are done sooner in the lanes than one after the other. A body in wide registers gets on at
    /// four fifths of the speed that it has alone, whatever the others do, and in narrow ones at two fifths.
    const fn are_worth(&self, bodies: usize) -> bool {
        match self.lanes {
            0..4 => false,
            4..8 => bodies > 2,
            _ => bodies > 1,
        }
    }

    /// Takes off some of every body's bytes, at most so many more than fill a block, and hashes them. At most as many
    /// bodies as there are lanes.
    pub(super) fn update(&self, mut bodies: Vec<(&mut Md5, &mut Bytes)>, at_most: usize) {
        bodies.iter_mut().for_each(|(md5, bytes)| md5.update_odd(bytes));
        bodies.retain(|(_, bytes)| !bytes.is_empty());
        let shortest = bodies.iter().map(|(_, bytes)| bytes.len()).min().unwrap_or(0).min(at_most);
        let taken = shortest - shortest % BLOCK_BYTES;
        if self.are_worth(bodies.len()) && bodies.len() <= self.lanes {
            self.update_together(&mut bodies, taken);
        } else {
            bodies.iter_mut().for_each(|(md5, bytes)| md5.update(&bytes[..taken]));
        }
        bodies.into_iter().for_each(|(_, bytes)| bytes.advance(taken));
    }

    /// Whole blocks, by states that have none begun.
    fn update_together(&self, bodies: &mut [(&mut Md5, &mut Bytes)], len: usize) {
        let Some((_, first)) = bodies.first() else { return };
        let first = Bytes::clone(first);
        let mut states = [Md5State::new(); LANES_AT_MOST];
        let mut inputs = [&first[..len]; LANES_AT_MOST];
        for ((md5, bytes), (state, input)) in bodies.iter().zip(states.iter_mut().zip(&mut inputs)) {
            (*state, *input) = (md5.0, &bytes[..len]);
        }
        self.engine.update_many(&mut states[..self.lanes], &inputs[..self.lanes]);
        for ((md5, _), state) in bodies.iter_mut().zip(states) {
            md5.0 = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Md5, Md5Lanes};
    use bytes::Bytes;
    use md5::Digest as _;
    use proptest::prelude::*;

    fn reference(bytes: &[u8]) -> [u8; 16] {
        md5::Md5::digest(bytes).into()
    }

    fn bytes(len: usize, seed: u8) -> Bytes {
        (0..len).map(|n| (n * 7 + n / 251) as u8 ^ seed).collect()
    }

    #[test]
    fn every_short_length_cut_anywhere_is_md5() {
        let body = bytes(300, 1);
        for len in 0..=300 {
            for cut in 0..=len {
                let mut md5 = Md5::default();
                md5.update(&body[..cut]);
                md5.update(&body[cut..len]);
                assert_eq!(md5.finish(), reference(&body[..len]), "{len} bytes, cut at {cut}");
            }
        }
    }

    #[test]
    fn every_short_length_in_the_lanes_is_md5() {
        let lanes = Md5Lanes::default();
        for count in 1..=lanes.lanes() {
            for first in 0..300 {
                let bodies: Vec<_> = (0..count).map(|n| bytes(first + n * 37 % 150, n as u8)).collect();
                let mut left = bodies.clone();
                let mut hashes = vec![Md5::default(); count];
                while left.iter().any(|bytes| !bytes.is_empty()) {
                    let shares = hashes.iter_mut().zip(&mut left).filter(|(_, bytes)| !bytes.is_empty());
                    lanes.update(shares.collect(), 128);
                }
                for (md5, body) in hashes.iter().zip(&bodies) {
                    assert_eq!(md5.finish(), reference(body), "{count} bodies from {first} bytes on");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Bodies come and go at any time, in pieces of any length.
        #[test]
        fn bodies_that_share_the_lanes_do_not_touch_each_other(
            bodies in proptest::collection::vec((0..40_000usize, any::<u8>()), 1..17),
            turns in proptest::collection::vec((any::<u16>(), 1..9_000usize, 64..5_000usize), 1..12),
        ) {
            let lanes = Md5Lanes::default();
            let bodies: Vec<_> = bodies.iter().map(|(len, seed)| bytes(*len, *seed)).collect();
            let (mut hashes, mut left) = (vec![Md5::default(); bodies.len()], bodies.clone());
            for (members, piece, at_most) in turns.iter().cycle() {
                if left.iter().all(Bytes::is_empty) {
                    break;
                }
                let takes_part = |n: usize| members >> n & 1 == 1 || *members == 0;
                let mut pieces: Vec<_> = left
                    .iter_mut()
                    .enumerate()
                    .map(|(n, bytes)| bytes.split_to(if takes_part(n) { bytes.len().min(*piece + n) } else { 0 }))
                    .collect();
                while pieces.iter().any(|piece| !piece.is_empty()) {
                    let shares = hashes.iter_mut().zip(&mut pieces).filter(|(_, bytes)| !bytes.is_empty());
                    lanes.update(shares.take(lanes.lanes()).collect(), *at_most);
                }
                // Who never takes part is hashed alone.
                let never = turns.iter().fold(0, |all, (members, ..)| all | members);
                for (n, (md5, bytes)) in hashes.iter_mut().zip(&mut left).enumerate() {
                    if never >> n & 1 == 0 {
                        md5.update(&bytes.split_to(bytes.len()));
                    }
                }
            }
            for (md5, body) in hashes.iter().zip(&bodies) {
                prop_assert_eq!(md5.finish(), reference(body));
            }
        }
    }
}
