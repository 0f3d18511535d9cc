//! How many requests one client has under way, whatever they cost: to the end of their answers, so that who takes nothing of them keeps
//! others from nothing.

use super::{Party, Refused};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One desk for each client that has requests under way.
#[derive(Debug)]
pub(in crate::s3) struct Desks {
    most: usize,
    patience: Duration,
    desks: Arc<Mutex<HashMap<Party, Arc<Semaphore>>>>,
}

/// One request of a client, until it is dropped.
#[derive(Debug)]
pub(in crate::s3) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    chair: Chair,
}

/// Has the desk there while somebody is at it or waits for it.
#[derive(Debug)]
struct Chair {
    party: Party,
    desk: Option<Arc<Semaphore>>,
    desks: Arc<Mutex<HashMap<Party, Arc<Semaphore>>>>,
}

impl Desks {
    pub(in crate::s3) fn new(most: usize, patience: Duration) -> Self {
        Self { most: most.min(Semaphore::MAX_PERMITS), patience, desks: Arc::default() }
    }

    pub(super) async fn place(&self, party: &Party) -> Result<Place, Refused> {
        self.places(party, 1).await
    }

    /// Several. Who wants more than a client may have gets all of that.
    pub(in crate::s3) async fn places(&self, party: &Party, count: usize) -> Result<Place, Refused> {
        let count = u32::try_from(count.min(self.most)).unwrap_or(u32::MAX);
        let desk = {
            let mut desks = self.desks.lock();
            Arc::clone(desks.entry(party.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.most))))
        };
        let chair =
            Chair { party: party.clone(), desk: Some(Arc::clone(&desk)), desks: Arc::clone(&self.desks) };
        let permit = match Arc::clone(&desk).try_acquire_many_owned(count) {
            Ok(permit) => permit,
            Err(_) => {
                let turn = tokio::time::timeout(self.patience, desk.acquire_many_owned(count)).await;
                turn.ok().and_then(Result::ok).ok_or(Refused)?
            }
        };
        Ok(Place { permit: Some(permit), chair })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the chair looks who is left.
        self.permit = None;
        self.chair.leave();
    }
}

impl Chair {
    fn leave(&mut self) {
        let Some(desk) = self.desk.take() else { return };
        let mut desks = self.desks.lock();
        drop(desk);
        // Only the table of desks has it: it is taken from there under the lock.
        if desks.get(&self.party).is_some_and(|desk| Arc::strong_count(desk) == 1) {
            desks.remove(&self.party);
        }
    }
}

impl Drop for Chair {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::{Desks, Party, Refused};
    use crate::types::Principal;
    use futures::FutureExt;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn i5_one_client_has_no_more_than_it_may_and_nothing_is_kept_of_who_is_gone() {
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
        assert!(desks.desks.lock().is_empty());
    }
}
