//! What one client has of a gate while it is not alone.
//!
//! What is let in together is worked on together: writes are committed in one batch, and whoever comes waits for the batch that is under way, and then
//! for his own; pages of listings have the processors. A client alone has all places, as more at once may get more done; but as soon as there is
//! another one, no client has more than its share, so that what is under way is little enough to be waited for.

use super::Party;
use super::presence::Presence;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Shares {
    share: usize,
    inside: HashMap<Party, usize>,
    presence: Arc<Presence>,
}

impl Shares {
    pub(super) fn new(share: usize, presence: Arc<Presence>) -> Self {
        Self { share, inside: HashMap::new(), presence }
    }

    /// Whether a client may have one more.
    pub(super) fn allow(&self, party: &Party) -> bool {
        self.inside.get(party).is_none_or(|inside| *inside < self.share) || !self.presence.is_shared()
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
    use super::{Party, Presence, Shares};
    use crate::types::Principal;
    use std::sync::Arc;

    fn party(number: u8) -> Party {
        Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_client_has_all_while_it_is_alone_and_its_share_else() {
        let presence = Arc::new(Presence::new());
        let (mut shares, one, other) = (Shares::new(2, Arc::clone(&presence)), party(1), party(2));
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
}
