//! What one client has of a gate while it is not alone.
//!
//! What is let in together is worked on together: writes are committed in one batch, and whoever comes waits for the batch that is under way, and then
//! for his own; pages of listings have the processors. A client alone has all places, as more at once may get more done; but as soon as there is
//! another one with whom it shares, no client has more than its share, so that what is under way is little enough to be waited for.

use super::Party;
use super::presence::Presence;
use crate::sys::SyncPace;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Twice what a small write takes of a processor.
const WRITE: Duration = Duration::from_micros(500);
/// However slow a disk is.
const MOST_BY_PACE: usize = 64;
/// So many processors at most are kept busy by writes: all are committed by one thread, to which each is a fifth of its work.
const MOST_PROCESSORS: usize = 4;

#[derive(Debug)]
pub(super) struct Shares {
    share: Share,
    inside: HashMap<Party, usize>,
    presence: Arc<Presence>,
}

/// How much one client has of what is there.
#[derive(Debug)]
pub(super) struct Share {
    least: usize,
    pace: Option<(Arc<SyncPace>, usize)>,
}

impl Share {
    pub(super) const fn of(least: usize) -> Self {
        Self { least, pace: None }
    }

    /// On a slow disk writes wait for it, not for a processor: as many as so many processors do during half a sync add little to it, and fewer
    /// would leave all of them idle.
    pub(super) fn paced(least: usize, pace: Arc<SyncPace>, processors: usize) -> Self {
        Self { least, pace: Some((pace, processors.min(MOST_PROCESSORS))) }
    }

    fn now(&self) -> usize {
        let Some((pace, processors)) = &self.pace else { return self.least };
        let sync = pace.quick().unwrap_or_default();
        let done_meanwhile = sync.as_micros() * *processors as u128 / WRITE.as_micros();
        let by_pace = usize::try_from(done_meanwhile).unwrap_or(MOST_BY_PACE).min(MOST_BY_PACE);
        by_pace.max(self.least)
    }
}

impl Shares {
    pub(super) fn new(share: Share, presence: Arc<Presence>) -> Self {
        Self { share, inside: HashMap::new(), presence }
    }

    /// Whether a client may have one more.
    pub(super) fn allow(&self, party: &Party) -> bool {
        let inside = self.inside.get(party).copied().unwrap_or_default();
        inside < self.share.least || inside < self.share.now() || !self.presence.shares(party)
    }

    pub(super) fn take(&mut self, party: &Party) {
        *self.inside.entry(party.clone()).or_default() += 1;
    }

    pub(super) fn give_back(&mut self, party: &Party) {
        if let Some(inside) = self.inside.get_mut(party) {
            *inside -= 1;
            if *inside == 0 {
                self.inside.remove(party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BY_PACE, Party, Presence, Share, Shares};
    use crate::sys::SyncPace;
    use crate::types::Principal;
    use std::sync::Arc;
    use std::time::Duration;

    fn party(number: u8) -> Party {
        Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_client_has_all_while_it_is_alone_and_its_share_else() {
        let presence = Arc::new(Presence::new());
        let (mut shares, one, other) = (Shares::new(Share::of(2), Arc::clone(&presence)), party(1), party(2));
        presence.seen(&one);
        (0..10).for_each(|_| shares.take(&one));
        assert!(shares.allow(&one), "it is alone");
        presence.seen(&other);
        assert!(!shares.allow(&one));
        assert!(shares.allow(&other));
        (0..9).for_each(|_| shares.give_back(&one));
        assert!(shares.allow(&one), "one of its two");
        shares.give_back(&one);
        assert!(shares.inside.is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_flood_without_a_name_has_its_share_beside_one_client() {
        let presence = Arc::new(Presence::new());
        let flood = Party::new(Principal::Anonymous, [10, 0, 0, 9].into());
        let (mut shares, one) = (Shares::new(Share::of(2), Arc::clone(&presence)), party(1));
        presence.seen(&flood);
        presence.seen(&one);
        for client in [&flood, &one] {
            (0..2).for_each(|_| shares.take(client));
        }
        assert!(!shares.allow(&flood));
        assert!(shares.allow(&one), "nobody without a name takes anything from it");
    }

    #[test]
    fn i5_on_a_slow_disk_a_client_has_as_many_writes_as_are_done_during_half_a_sync() {
        let share = |sync| {
            let pace = Arc::new(SyncPace::default());
            pace.took(sync);
            Share::paced(2, pace, 16).now()
        };
        assert_eq!(Share::paced(2, Arc::default(), 16).now(), 2, "nothing is known yet");
        assert_eq!(share(Duration::from_micros(30)), 2);
        assert_eq!(share(Duration::from_micros(700)), 5);
        assert_eq!(share(Duration::from_millis(4)), 32);
        assert_eq!(share(Duration::from_secs(9)), MOST_BY_PACE);
    }
}
