//! How long to wait after failures.

use crate::sys::Random;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);

/// Doubles with each failure up to `longest`. Half of it is left to chance, so that many do not come back at once.
pub(super) fn pause(failures: u32, longest: Duration, random: &dyn Random) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = FIRST.saturating_mul(doubled).min(longest);
    let share = (random.u64() >> 11) as f64 / (1u64 << 53) as f64;
    pause / 2 + (pause / 2).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::pause;
    use crate::sys::SeededRandom;
    use std::time::Duration;

    #[test]
    fn pauses_grow_to_the_longest_and_no_further() {
        let (random, longest) = (SeededRandom::new(1), Duration::from_secs(8));
        let bounds = |failures: u32| Duration::from_millis(500 << (failures - 1).min(4)).min(longest);
        for failures in (1..6).chain([40, u32::MAX]) {
            let bound = bounds(failures.min(6));
            let pause = pause(failures, longest, &random);
            assert!(pause >= bound / 2 && pause <= bound, "{failures}: {pause:?}");
        }
    }
}
