//! How much a connection reads of a body at once: less where many do, since nobody counts what it has read and not passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one connection reads at once, in bytes: more makes no read cheaper, less makes each one dearer.
const MOST_BYTES: usize = 256 << 10;
const LEAST_BYTES: usize = 8 << 10;
/// hyper allocates twice of what it read last, and what it passed on keeps the piece before alive.
const HELD: usize = 4;
/// What a connection with a body may hold, however many there are, in bytes.
pub(super) const LEAST_HELD_BYTES: usize = LEAST_BYTES * HELD;

/// Shared by the connections of a listener.
#[derive(Debug)]
pub(super) struct Reading {
    bytes: usize,
    bodies: AtomicUsize,
}

/// One connection's share.
#[derive(Debug)]
pub(super) struct ReadShare {
    reading: Arc<Reading>,
    has_body: bool,
}

impl Reading {
    pub(super) const fn new(bytes: usize) -> Self {
        Self { bytes, bodies: AtomicUsize::new(0) }
    }
}

impl ReadShare {
    pub(super) const fn new(reading: Arc<Reading>) -> Self {
        Self { reading, has_body: false }
    }

    /// Whether a body is under way now.
    pub(super) fn set(&mut self, has_body: bool) {
        if has_body != self.has_body {
            self.has_body = has_body;
            match has_body {
                true => self.reading.bodies.fetch_add(1, Ordering::Relaxed),
                false => self.reading.bodies.fetch_sub(1, Ordering::Relaxed),
            };
        }
    }

    /// What may be read at once.
    pub(super) fn bytes(&self) -> usize {
        let bodies = self.reading.bodies.load(Ordering::Relaxed).max(1);
        (self.reading.bytes / HELD / bodies).clamp(LEAST_BYTES, MOST_BYTES)
    }
}

impl Drop for ReadShare {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST_BYTES, MOST_BYTES, ReadShare, Reading};
    use std::sync::Arc;

    #[test]
    fn i5_the_more_bodies_the_less_of_each_is_read_at_once() {
        let reading = Arc::new(Reading::new(32 << 20));
        let mut shares: Vec<_> = (0..256).map(|_| ReadShare::new(Arc::clone(&reading))).collect();
        assert_eq!(shares[0].bytes(), MOST_BYTES, "nobody counts before a body comes");
        shares.iter_mut().for_each(|share| share.set(true));
        shares[0].set(true);
        assert_eq!(shares[0].bytes(), (32 << 20) / 4 / 256);
        shares.truncate(1);
        assert_eq!(shares[0].bytes(), MOST_BYTES);
        let mut all: Vec<_> = (0..10_000).map(|_| ReadShare::new(Arc::clone(&reading))).collect();
        all.iter_mut().for_each(|share| share.set(true));
        assert_eq!(shares[0].bytes(), LEAST_BYTES);
    }
}
