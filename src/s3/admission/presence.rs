//! Whether a client is alone.

use super::Party;
use crate::types::Principal;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Who has not come for so long is not there.
const ABSENT: Duration = Duration::from_secs(2);

/// Two clients are there when one comes behind the other, whatever they ask for.
#[derive(Debug)]
pub(super) struct Presence {
    hasher: RandomState,
    began: Instant,
    /// Whoever came last. 0: nobody.
    last: AtomicU64,
    /// When somebody came behind somebody else, in milliseconds since it began, and one. 0: never.
    changed_milliseconds: AtomicU64,
}

impl Presence {
    pub(super) fn new() -> Self {
        let (last, changed_milliseconds) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { hasher: RandomState::new(), began: Instant::now(), last, changed_milliseconds }
    }

    /// Anybody can come without a name: whoever does takes nobody's share.
    pub(super) fn seen(&self, party: &Party) {
        if party.principal == Principal::Anonymous {
            return;
        }
        let who = self.hasher.hash_one(party) | 1;
        if self.last.load(Ordering::Relaxed) == who {
            return;
        }
        let before = self.last.swap(who, Ordering::Relaxed);
        if before != 0 && before != who {
            self.changed_milliseconds.store(self.now_milliseconds(), Ordering::Relaxed);
        }
    }

    /// Whether more than one client has come within the last two seconds.
    pub(super) fn is_shared(&self) -> bool {
        let changed = self.changed_milliseconds.load(Ordering::Relaxed);
        changed != 0 && self.now_milliseconds().saturating_sub(changed) < ABSENT.as_millis() as u64
    }

    fn now_milliseconds(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{ABSENT, Party, Presence};
    use crate::types::Principal;

    fn party(number: u8) -> Party {
        Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_whoever_comes_without_a_name_is_nobody() {
        let presence = Presence::new();
        for _ in 0..3 {
            presence.seen(&Party::new(Principal::Anonymous, [10, 0, 0, 2].into()));
            presence.seen(&party(1));
        }
        assert!(!presence.is_shared());
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_client_is_alone_until_another_comes_and_again_when_that_has_gone() {
        let presence = Presence::new();
        presence.seen(&party(1));
        presence.seen(&party(1));
        assert!(!presence.is_shared());
        presence.seen(&party(2));
        assert!(presence.is_shared());
        presence.seen(&party(1));
        for _ in 0..5 {
            assert!(presence.is_shared());
            tokio::time::advance(ABSENT / 5).await;
            presence.seen(&party(1));
        }
        assert!(!presence.is_shared(), "the other one has not come for long");
    }

    #[tokio::test(start_paused = true)]
    async fn i5_who_comes_again_and_again_stays_there() {
        let presence = Presence::new();
        for _ in 0..10 {
            presence.seen(&party(2));
            tokio::time::advance(ABSENT / 2).await;
            presence.seen(&party(1));
        }
        assert!(presence.is_shared());
    }
}
