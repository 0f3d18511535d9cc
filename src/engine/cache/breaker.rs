//! A circuit breaker: after a few failures in a row nothing is asked for a while, then one probe decides. Its waits are
//! counted by a clock that nobody can set.

use crate::sys::Steady;
use parking_lot::Mutex;
use std::sync::Arc;

/// Failures in a row that open the circuit.
const FAILURES_TO_OPEN: u32 = 5;
const FIRST_WAIT_MILLIS: i64 = 500;
const LONGEST_WAIT_MILLIS: i64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: i64,
        wait: i64,
    },
    /// One probe is on its way; `wait` is the time to wait should it fail.
    HalfOpen {
        wait: i64,
    },
}

#[derive(Debug)]
pub(super) struct Breaker {
    clock: Arc<dyn Steady>,
    state: Mutex<State>,
}

/// Leave to make one request. Dropped without a verdict (a cancelled request) it says nothing of the tier.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    judged: bool,
}

impl Breaker {
    pub(super) const fn new(clock: Arc<dyn Steady>) -> Self {
        Self { clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    pub(super) fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut state = self.state.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::HalfOpen { .. } => return None,
            State::Open { since, wait } => {
                if self.clock.millis() - since < wait {
                    return None;
                }
                *state = State::HalfOpen { wait: (wait * 2).min(LONGEST_WAIT_MILLIS) };
                publish(*state);
                true
            }
        };
        Some(Permit { breaker: self, is_probe, judged: false })
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.state.lock(), State::Closed { .. })
    }

    fn set(&self, state: &mut State, next: State) {
        if std::mem::discriminant(state) != std::mem::discriminant(&next) {
            publish(next);
            match next {
                State::Open { wait, .. } => tracing::warn!(wait_millis = wait, "redis cache: circuit open"),
                State::Closed { .. } => tracing::info!("redis cache: circuit closed"),
                State::HalfOpen { .. } => {}
            }
        }
        *state = next;
    }

    fn open(&self, state: &mut State, wait: i64) {
        self.set(state, State::Open { since: self.clock.millis(), wait });
    }
}

impl Permit<'_> {
    pub(super) fn succeeded(mut self) {
        self.judged = true;
        let mut state = self.breaker.state.lock();
        // An answer to a request from before the circuit opened does not close it: the probe decides.
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            self.breaker.set(&mut state, State::Closed { failures: 0 });
        }
    }

    pub(super) fn failed(mut self) {
        self.judged = true;
        let mut state = self.breaker.state.lock();
        match *state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => {
                *state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => self.breaker.open(&mut state, FIRST_WAIT_MILLIS),
            State::HalfOpen { wait } if self.is_probe => self.breaker.open(&mut state, wait),
            State::HalfOpen { .. } | State::Open { .. } => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.judged {
            let mut state = self.breaker.state.lock();
            if matches!(*state, State::HalfOpen { .. }) {
                self.breaker.open(&mut state, FIRST_WAIT_MILLIS);
            }
        }
    }
}

fn publish(state: State) {
    let value = match state {
        State::Closed { .. } => 0.0,
        State::HalfOpen { .. } => 1.0,
        State::Open { .. } => 2.0,
    };
    // 0 closed, 1 half open, 2 open.
    metrics::gauge!("sediment_cache_redis_breaker_state").set(value);
}

#[cfg(test)]
mod tests {
    use super::{Breaker, FAILURES_TO_OPEN, FIRST_WAIT_MILLIS, LONGEST_WAIT_MILLIS};
    use crate::sys::ManualClock;
    use crate::types::UnixMillis;
    use std::sync::Arc;

    fn opened() -> (Arc<ManualClock>, Breaker) {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000)));
        let breaker = Breaker::new(Arc::clone(&clock) as _);
        for _ in 0..FAILURES_TO_OPEN {
            breaker.try_acquire().unwrap().failed();
        }
        (clock, breaker)
    }

    #[test]
    fn opens_only_after_failures_in_a_row() {
        let breaker = Breaker::new(Arc::new(ManualClock::default()));
        for _ in 0..3 * FAILURES_TO_OPEN {
            breaker.try_acquire().unwrap().failed();
            breaker.try_acquire().unwrap().succeeded();
        }
        assert!(breaker.is_closed());
        assert!(opened().1.try_acquire().is_none());
    }

    #[test]
    fn one_probe_decides_and_the_wait_doubles_to_a_limit() {
        let (clock, breaker) = opened();
        let mut wait = FIRST_WAIT_MILLIS;
        for _ in 0..12 {
            clock.advance_millis(wait - 1);
            assert!(breaker.try_acquire().is_none(), "too early");
            clock.advance_millis(1);
            let probe = breaker.try_acquire().expect("the wait is over");
            assert!(breaker.try_acquire().is_none(), "a second probe");
            probe.failed();
            wait = (wait * 2).min(LONGEST_WAIT_MILLIS);
        }
        clock.advance_millis(wait);
        breaker.try_acquire().unwrap().succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_cancelled_probe_does_not_block_the_next() {
        let (clock, breaker) = opened();
        clock.advance_millis(FIRST_WAIT_MILLIS);
        drop(breaker.try_acquire().unwrap());
        clock.advance_millis(FIRST_WAIT_MILLIS);
        breaker.try_acquire().unwrap().succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn late_answers_do_not_confuse_it() {
        let breaker = Breaker::new(Arc::new(ManualClock::at(UnixMillis::new(1_000_000))));
        let slow = breaker.try_acquire().unwrap();
        for _ in 0..FAILURES_TO_OPEN {
            breaker.try_acquire().unwrap().failed();
        }
        slow.succeeded();
        assert!(!breaker.is_closed(), "an old answer closed it");
    }
}
