//! What one client has of a gate while it is not alone.
//!
//! Writes that are let in together are committed together: whoever comes waits for the batch that is under way, and then for his own. A client alone
//! has all places, as large batches get more done; but as soon as there is another one, no client has more than its share, and batches are
//! small enough to be waited for.

use super::Party;
use crate::types::Principal;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Who has not come for so long is not there.
const ABSENT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Shares {
    share: usize,
    inside: HashMap<Party, usize>,
    /// Who came last, and who last of the others.
    last: [Option<(Party, Instant)>; 2],
}

impl Shares {
    pub(super) fn new(share: usize) -> Self {
        Self { share, inside: HashMap::new(), last: [None, None] }
    }

    /// Anybody can come without a name: whoever does takes nobody's share.
    pub(super) fn seen(&mut self, party: &Party) {
        if party.principal == Principal::Anonymous {
            return;
        }
        let now = Instant::now();
        let [last, other] = &mut self.last;
        match last {
            Some((who, when)) if who == party => *when = now,
            _ => *other = last.replace((party.clone(), now)),
        }
    }

    /// Whether a client may have one more.
    pub(super) fn allow(&self, party: &Party) -> bool {
        let has_come = |(_, when): &(Party, Instant)| when.elapsed() < ABSENT;
        if !self.last[1].as_ref().is_some_and(has_come) {
            return true;
        }
        self.inside.get(party).is_none_or(|inside| *inside < self.share)
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
    use super::{ABSENT, Party, Shares};
    use crate::types::Principal;

    fn party(number: u8) -> Party {
        Party::new(Principal::Root { access_key: "root".into() }, [10, 0, 0, number].into())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_whoever_comes_without_a_name_takes_nobodys_share() {
        let (mut shares, one) = (Shares::new(1), party(1));
        shares.take(&one);
        for _ in 0..3 {
            shares.seen(&Party::new(Principal::Anonymous, [10, 0, 0, 2].into()));
            shares.seen(&one);
        }
        assert!(shares.allow(&one));
    }

    #[tokio::test(start_paused = true)]
    async fn i5_a_client_has_all_until_another_comes_and_again_when_that_has_gone() {
        let (mut shares, one, other) = (Shares::new(2), party(1), party(2));
        shares.seen(&one);
        (0..10).for_each(|_| shares.take(&one));
        assert!(shares.allow(&one), "it is alone");
        shares.seen(&other);
        assert!(!shares.allow(&one));
        assert!(shares.allow(&other));
        (0..9).for_each(|_| shares.give_back(&one));
        assert!(shares.allow(&one), "one of its two");
        shares.take(&one);
        tokio::time::advance(ABSENT).await;
        shares.seen(&one);
        assert!(shares.allow(&one), "the other one has not come for long");
        (0..2).for_each(|_| shares.give_back(&one));
        assert!(shares.inside.is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn i5_who_comes_again_and_again_stays_there() {
        let (mut shares, one, other) = (Shares::new(1), party(1), party(2));
        for _ in 0..10 {
            shares.seen(&other);
            tokio::time::advance(ABSENT / 2).await;
            shares.seen(&one);
        }
        shares.take(&one);
        assert!(!shares.allow(&one));
    }
}
