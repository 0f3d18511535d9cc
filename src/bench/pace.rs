//! A paced load: operations fall due at a steady rate, whether the server keeps up or not.
//!
//! With a connection's next operation waiting for its last one, a server that stalls is asked less, and one long stall is
//! one slow operation. Here it is as many as fell due meanwhile: what no connection was free for is measured from the
//! moment at which it fell due. What a connection waited for is measured from when it was begun, for how late a timer
//! is says nothing of the server.

use super::plan::{Limit, Plan};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Pace {
    per_second: u64,
    limit: Limit,
    first: OnceLock<Instant>,
}

impl Pace {
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let limit = plan.limit;
        plan.rate.map(|rate| Self { per_second: rate.get(), limit, first: OnceLock::new() })
    }

    /// When the operation falls due, the first one being number 0; `None` when that is beyond the run's end.
    fn due(&self, number: u64) -> Option<Instant> {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.per_second);
        let after = Duration::from_nanos(u64::try_from(nanos).ok()?);
        let is_beyond = matches!(self.limit, Limit::Duration(time) if after >= time);
        if is_beyond { None } else { self.first.get_or_init(Instant::now).checked_add(after) }
    }

    /// Waits until the operation is due and says from when on it is measured; `None` beyond the run's end.
    pub(super) async fn begin(&self, number: u64) -> Option<Instant> {
        let due = self.due(number)?;
        let free = Instant::now();
        if free < due {
            tokio::time::sleep_until(due.into()).await;
        }
        Some(measured_from(due, free, Instant::now()))
    }

    /// How many of a whole run were never begun.
    pub(super) fn not_begun(&self, begun: u64) -> u64 {
        let due = match self.limit {
            Limit::Operations(most) => u128::from(most),
            Limit::Duration(time) => (time.as_nanos() * u128::from(self.per_second)).div_ceil(1_000_000_000),
        };
        u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(begun)
    }
}

fn measured_from(due: Instant, free: Instant, begun: Instant) -> Instant {
    if free < due { begun } else { due }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Pace, measured_from};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    fn pace(per_second: u64, limit: Limit) -> Pace {
        Pace { per_second, limit, first: OnceLock::new() }
    }

    #[test]
    fn what_a_stall_held_up_is_measured_from_when_it_fell_due() {
        let due = Instant::now();
        let ms = Duration::from_millis;
        // A connection was free, and the timer late.
        assert_eq!(measured_from(due + ms(5), due, due + ms(6)), due + ms(6));
        assert_eq!(measured_from(due, due + ms(70), due + ms(71)), due);
    }

    #[test]
    fn as_many_fall_due_as_the_rate_says() {
        let second = Limit::Duration(Duration::from_secs(1));
        let pace = pace(40, second);
        let due: Vec<_> = (0..50).map_while(|number| pace.due(number)).collect();
        assert_eq!(due.len(), 40);
        assert_eq!(due[39] - due[0], Duration::from_millis(975));
        assert_eq!((pace.not_begun(0), pace.not_begun(40), pace.not_begun(30)), (40, 0, 10));
        let counted = super::tests::pace(3, Limit::Operations(7));
        assert_eq!(counted.not_begun(7), 0);
        assert!(counted.due(1_000).is_some() && counted.due(u64::MAX).is_none());
    }
}
