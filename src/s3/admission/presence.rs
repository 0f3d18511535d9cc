//! Whether a client is alone.

use super::Party;
use crate::types::Principal;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Who has not come for so long is not there.
const ABSENT: Duration = Duration::from_secs(2);

/// Two clients are there when one comes behind the other, whatever they ask for. Anybody can come without a name: whoever does takes nothing
/// from those who have one, but shares with everybody.
#[derive(Debug)]
pub(super) struct Presence {
    hasher: RandomState,
    began: Instant,
    known: Arrivals,
    all: Arrivals,
}

#[derive(Debug, Default)]
struct Arrivals {
    /// Whoever came last. 0: nobody.
    last: AtomicU64,
    /// When somebody came behind somebody else, in milliseconds since it began, and one. 0: never.
    changed_milliseconds: AtomicU64,
}

impl Presence {
    pub(super) fn new() -> Self {
        let (known, all) = (Arrivals::default(), Arrivals::default());
        Self { hasher: RandomState::new(), began: Instant::now(), known, all }
    }

    pub(super) fn seen(&self, party: &Party) {
        let who = self.hasher.hash_one(party) | 1;
        self.all.seen(who, self.began);
        if party.principal != Principal::Anonymous {
            self.known.seen(who, self.began);
        }
    }

    /// Whether somebody else has come, too, within the last two seconds, with whom this one shares.
    pub(super) fn shares(&self, party: &Party) -> bool {
        match party.principal {
            Principal::Anonymous => self.all.are_several(self.began),
            _ => self.known.are_several(self.began),
        }
    }
}

impl Arrivals {
    fn seen(&self, who: u64, began: Instant) {
        if self.last.load(Ordering::Relaxed) == who {
            return;
        }
        let before = self.last.swap(who, Ordering::Relaxed);
        if before != 0 && before != who {
            self.changed_milliseconds.store(now_milliseconds(began), Ordering::Relaxed);
        }
    }

    fn are_several(&self, began: Instant) -> bool {
        let changed = self.changed_milliseconds.load(Ordering::Relaxed);
        changed != 0 && now_milliseconds(began).saturating_sub(changed) < ABSENT.as_millis() as u64
    }
}

fn now_milliseconds(began: Instant) -> u64 {
    began.elapsed().as_millis() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::{ABSENT, Party, Presence};
    use crate::types::Principal;

    fn party(number: u8) -> Party {
        Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
    }

    fn nameless(number: u8) -> Party {
        Party::new(Principal::Anonymous, [10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_whoever_comes_without_a_name_takes_nothing_from_those_who_have_one() {
        let presence = Presence::new();
        for _ in 0..3 {
            presence.seen(&nameless(2));
            presence.seen(&party(1));
        }
        assert!(!presence.shares(&party(1)));
        assert!(presence.shares(&nameless(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn i5_those_without_names_share_with_each_other() {
        let presence = Presence::new();
        presence.seen(&nameless(2));
        assert!(!presence.shares(&nameless(2)), "it is alone");
        presence.seen(&nameless(3));
        assert!(presence.shares(&nameless(2)));
        assert!(!presence.shares(&party(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_client_is_alone_until_another_comes_and_again_when_that_has_gone() {
        let presence = Presence::new();
        presence.seen(&party(1));
        presence.seen(&party(1));
        assert!(!presence.shares(&party(1)));
        presence.seen(&party(2));
        assert!(presence.shares(&party(1)));
        presence.seen(&party(1));
        for _ in 0..5 {
            assert!(presence.shares(&party(1)));
            tokio::time::advance(ABSENT / 5).await;
            presence.seen(&party(1));
        }
        assert!(!presence.shares(&party(1)), "the other one has not come for long");
    }

    #[tokio::test(start_paused = true)]
    async fn i5_who_comes_again_and_again_stays_there() {
        let presence = Presence::new();
        for _ in 0..10 {
            presence.seen(&party(2));
            tokio::time::advance(ABSENT / 2).await;
            presence.seen(&party(1));
        }
        assert!(presence.shares(&party(1)));
    }
}
