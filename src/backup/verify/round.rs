//! Which objects a run reads: all of them once in a round of runs, in an order that nobody knows before.

use crate::sys::Random;
use crate::types::UnixMillis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How far a round is. Objects come in the order of their hashes with the seed; so each run reads an arbitrary share, what is new comes in
/// between, and after the last one everything that was there at the beginning has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    pub seed: u64,
    /// Hashes up to this one are done.
    pub after: u64,
    pub began: UnixMillis,
    /// What is read to the end, if it is not a share of everything.
    pub whole_of: Option<String>,
}

impl Round {
    /// Goes on with the last one if it is of the same kind, else begins one.
    pub(super) fn next(
        last: Option<&Self>,
        whole_of: Option<String>,
        now: UnixMillis,
        random: &dyn Random,
    ) -> Self {
        match last {
            Some(last) if last.whole_of == whole_of => last.clone(),
            _ => Self { seed: random.u64(), after: 0, began: now, whole_of },
        }
    }

    pub(super) fn place(&self, name: &str) -> u64 {
        let hash = Sha256::new().chain_update(self.seed.to_le_bytes()).chain_update(name).finalize();
        let mut place = [0; 8];
        place.copy_from_slice(&hash[..8]);
        // Zero is before all.
        u64::from_le_bytes(place).max(1)
    }

    /// What comes next: up to `bytes`, one at least; and whether the round ends with it.
    pub(super) fn take<T>(
        &self,
        all: impl IntoIterator<Item = (u64, u64, T)>,
        bytes: u64,
    ) -> (Vec<(u64, T)>, bool) {
        let mut ahead: Vec<_> = all.into_iter().filter(|(place, _, _)| *place > self.after).collect();
        ahead.sort_by_key(|(place, _, _)| *place);
        let (mut taken, mut sum, total) = (Vec::new(), 0, ahead.len());
        for (place, len, what) in ahead {
            if !taken.is_empty() && sum >= bytes {
                break;
            }
            sum += len;
            taken.push((place, what));
        }
        let is_last = taken.len() == total;
        (taken, is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::Round;
    use crate::sys::SeededRandom;
    use crate::types::UnixMillis;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the shares are, and though objects come and go meanwhile.
        #[test]
        fn i1_everything_that_is_there_all_the_time_is_read_once_in_a_round(
            seed: u64,
            lens in proptest::collection::vec(0..100u64, 1..60),
            shares in proptest::collection::vec(1..500u64, 1..20),
        ) {
            let random = SeededRandom::new(seed);
            let mut round = Round::next(None, None, UnixMillis::new(1), &random);
            let mut read = vec![0; lens.len()];
            for run in 0.. {
                let named = lens.iter().enumerate().map(|(n, len)| (round.place(&n.to_string()), *len, Some(n)));
                let passing = (0..run % 4).map(|n| (round.place(&format!("{run}-{n}")), 5, None));
                let (taken, is_last) = round.take(named.chain(passing), shares[run % shares.len()]);
                for (place, what) in taken {
                    round.after = place;
                    if let Some(n) = what {
                        read[n] += 1;
                    }
                }
                if is_last {
                    break;
                }
                round = Round::next(Some(&round), None, UnixMillis::new(2), &random);
            }
            prop_assert!(read.iter().all(|times| *times == 1), "{read:?}");
            prop_assert!(Round::next(Some(&round), Some("x".into()), UnixMillis::new(2), &random).after == 0);
        }
    }
}
