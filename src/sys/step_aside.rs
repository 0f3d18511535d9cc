//! Letting other threads run for a moment.

use std::cell::Cell;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// How often a thread that steps aside really leaves its processor.
const EVERY: Duration = Duration::from_millis(1);

thread_local! {
    static LEFT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets threads of this process run first. On Linux a yield is among a session's threads only: two that yield to each other keep the kernel's own, without
/// which no sync of a file ends, from their processor for up to 100 ms. So once a millisecond this sleeps, as shortly as the kernel
/// knows how: some 55 µs, a tick where it has no fine timers. Blocks for that long.
pub fn step_aside() {
    let now = Instant::now();
    if LEFT.get().is_some_and(|left| now.duration_since(left) < EVERY) {
        return yield_now();
    }
    sleep(Duration::from_nanos(1));
    LEFT.set(Some(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::{EVERY, LEFT, step_aside};
    use std::time::Instant;

    #[test]
    fn it_leaves_the_processor_at_most_once_a_while() {
        let (began, mut left) = (Instant::now(), 0);
        let mut before = None;
        for _ in 0..1000 {
            step_aside();
            left += u32::from(LEFT.get() != before);
            before = LEFT.get();
        }
        let most = began.elapsed().as_millis() / EVERY.as_millis() + 1;
        assert!(left >= 1 && u128::from(left) <= most, "{left} times of at most {most}");
        // Until it leaves once more, however long that takes on a busy machine.
        while LEFT.get() == before {
            step_aside();
        }
        assert!(LEFT.get() >= before.map(|at| at + EVERY), "too soon");
    }
}
