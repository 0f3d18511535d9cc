//! How many requests one client has under way, whatever they cost: to the end of their answers, so that who takes nothing of them keeps
//! others from nothing.

use super::{Party, Refused};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many desks may stand there although nobody is at them: making one anew for each request costs more than the request's turn.
const KEPT: usize = 1024;

/// One desk for each client that has requests under way, and some of those that had.
#[derive(Debug)]
pub(in crate::s3) struct Desks {
    most: usize,
    patience: Duration,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    desks: HashMap<Party, Arc<Semaphore>>,
    /// At so many, those that nobody is at go.
    cleared_at: usize,
}

/// One request of a client, until it is dropped.
#[derive(Debug)]
pub(in crate::s3) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Desks {
    pub(in crate::s3) fn new(most: usize, patience: Duration) -> Self {
        let table = Mutex::new(Table { desks: HashMap::new(), cleared_at: KEPT });
        Self { most: most.min(Semaphore::MAX_PERMITS), patience, table }
    }

    pub(super) async fn place(&self, party: &Party) -> Result<Place, Refused> {
        self.places(party, 1).await
    }

    /// Several. Who wants more than a client may have gets all of that.
    pub(in crate::s3) async fn places(&self, party: &Party, count: usize) -> Result<Place, Refused> {
        let count = u32::try_from(count.min(self.most)).unwrap_or(u32::MAX);
        let desk = self.table.lock().desk(party, self.most);
        let permit = match Arc::clone(&desk).try_acquire_many_owned(count) {
            Ok(permit) => permit,
            Err(_) => {
                let turn = tokio::time::timeout(self.patience, desk.acquire_many_owned(count)).await;
                turn.ok().and_then(Result::ok).ok_or(Refused)?
            }
        };
        Ok(Place { _permit: permit })
    }
}

impl Table {
    fn desk(&mut self, party: &Party, places: usize) -> Arc<Semaphore> {
        if let Some(desk) = self.desks.get(party) {
            return Arc::clone(desk);
        }
        if self.desks.len() >= self.cleared_at {
            self.clear();
        }
        let desk = Arc::new(Semaphore::new(places));
        self.desks.insert(party.clone(), Arc::clone(&desk));
        desk
    }

    /// Whoever is at a desk, or waits for it, has it as well as the table; it is given out only under the table's lock.
    fn clear(&mut self) {
        self.desks.retain(|_, desk| Arc::strong_count(desk) > 1);
        // Not at each new client, where more than those to be kept are in use.
        self.cleared_at = KEPT.max(2 * self.desks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{Desks, KEPT, Party, Refused};
    use crate::types::Principal;
    use futures::FutureExt;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn i5_one_client_has_no_more_than_it_may() {
        let desks = Desks::new(2, Duration::from_secs(1));
        let party = |n| Party::new(Principal::Anonymous, [10, 0, 0, n].into());
        let first = desks.place(&party(1)).await.unwrap();
        let second = desks.place(&party(1)).await.unwrap();
        assert_eq!(desks.place(&party(1)).await.err(), Some(Refused));
        let other = desks.place(&party(2)).now_or_never().expect("another client's desk").unwrap();
        let mut third = Box::pin({
            let (desks, party) = (&desks, party(1));
            async move { desks.place(&party).await }
        });
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let third = third.now_or_never().expect("its place").unwrap();
        drop((second, third, other));
        let all = desks.places(&party(1), 2).now_or_never().expect("all are free again");
        all.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn i5_few_desks_are_kept_of_who_is_gone_and_none_that_is_in_use_goes() {
        let desks = Desks::new(1, Duration::from_secs(1));
        let party =
            |n: usize| Party::new(Principal::Anonymous, std::net::Ipv4Addr::from_bits(n as u32).into());
        let mut here = Vec::new();
        for n in 0..10 * KEPT {
            let place = desks.place(&party(n)).await.unwrap();
            // Three times as many stay as are kept of those who go.
            if n < 3 * KEPT {
                here.push(place);
            }
        }
        assert!(desks.table.lock().desks.len() <= 2 * here.len(), "{}", desks.table.lock().desks.len());
        assert_eq!(desks.place(&party(0)).await.err(), Some(Refused), "its only place is taken");
        drop(here);
        for n in 10 * KEPT..20 * KEPT {
            desks.place(&party(n)).await.unwrap();
        }
        assert!(desks.table.lock().desks.len() <= KEPT, "{}", desks.table.lock().desks.len());
    }
}
