//! What a request is called in its answer and in the log.

use crate::sys::Random;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ids that do not repeat in one run, and in two of them no more often than chance has it. They are no secrets.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// The next one, before it is mixed.
    next: AtomicU64,
}

/// Odd, so that all 2^64 steps are different.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl RequestIds {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self { next: AtomicU64::new(random.u64()) }
    }

    /// Sixteen digits, as S3's own.
    pub(super) fn next(&self) -> String {
        format!("{:016X}", mix(self.next.fetch_add(STEP, Ordering::Relaxed)))
    }
}

/// The finalizer of SplitMix64: each result comes from one number only.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::RequestIds;
    use crate::sys::SeededRandom;
    use std::collections::HashSet;

    #[test]
    fn no_id_comes_twice() {
        let (first, second) = (SeededRandom::new(1), SeededRandom::new(2));
        let (first, second) = (RequestIds::new(&first), RequestIds::new(&second));
        let ids: HashSet<String> = (0..10_000).flat_map(|_| [first.next(), second.next()]).collect();
        assert_eq!(ids.len(), 20_000);
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
