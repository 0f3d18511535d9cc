//! Places between two steps that others may come between. Stress tests see to it that they do.

/// Between two steps that no lock joins. Does nothing, but in tests that asked for it with [`shake`].
#[inline]
pub(crate) fn yield_point() {
    #[cfg(test)]
    shaken::turn();
}

/// As [`yield_point`], where the thread has no lock that others wait for: here it may stand still for long.
#[inline]
pub(crate) fn stall_point() {
    #[cfg(test)]
    shaken::stall();
}

#[cfg(test)]
pub(crate) use shaken::shake;

#[cfg(test)]
mod shaken {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// 0: nobody is shaken.
    static SEED: AtomicU64 = AtomicU64::new(0);
    static THREADS: AtomicU64 = AtomicU64::new(1);

    thread_local! {
        static DICE: Cell<u64> = const { Cell::new(0) };
    }

    /// From now on threads lose their turn at yield points, at random; all of the process, until it is dropped.
    pub(crate) fn shake(seed: u64) -> Shaking {
        SEED.store(seed | 1, Ordering::Relaxed);
        Shaking
    }

    #[derive(Debug)]
    #[must_use]
    pub(crate) struct Shaking;

    impl Drop for Shaking {
        fn drop(&mut self) {
            SEED.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn turn() {
        let seed = SEED.load(Ordering::Relaxed);
        if seed == 0 {
            return;
        }
        match throw(seed) % 64 {
            0..8 => std::thread::yield_now(),
            8 => std::thread::sleep(Duration::from_micros(throw(seed) % 2000)),
            _ => {}
        }
    }

    /// Rarely, and then for longer than a collection takes to come past.
    pub(super) fn stall() {
        let seed = SEED.load(Ordering::Relaxed);
        if seed != 0 && throw(seed).is_multiple_of(256) {
            std::thread::sleep(Duration::from_millis(50 + throw(seed) % 200));
        }
        turn();
    }

    /// Marsaglia's xorshift, one for each thread.
    fn throw(seed: u64) -> u64 {
        DICE.with(|dice| {
            let mut bits = match dice.get() {
                0 => seed.wrapping_mul(THREADS.fetch_add(2, Ordering::Relaxed)),
                bits => bits,
            };
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            dice.set(bits);
            bits >> 8
        })
    }
}
