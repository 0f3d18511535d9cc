//! How many requests are worked on at once, by what they cost, and who is next.
//!
//! Everything that is let in has the machine to itself with few others, so it is quick; everybody else waits outside,
//! where waiting costs next to nothing, and is told to slow down (503) if that takes too long. Reads of rows, listings, writes and what is as large
//! as many of them are counted apart, so that a flood of one kind does not hold up another; and within a kind clients take turns
//! (`gate`). A client is whom a request is signed for, and from where it comes.
//!
//! A place is for work, not for waiting: what a read or a write still has to do after [`LEASE`], it does without one, and what a write or a
//! listing has after [`WRITE_SHARE_LEASE`] or [`LIST_SHARE_LEASE`] is not of its client's share. It waits then for
//! its client, for memory or for a slow disk, and each of those has bounds of its own. Long bodies take no place: their memory is counted
//! (`engine::budget`). So that one client cannot have all of that, it has a bound on its requests of any kind, from their head to the end of
//! their answer (`desk`).

mod class;
mod desk;
mod gate;
mod presence;
mod shares;

pub(super) use class::Class;
pub(super) use desk::{Desks, Place};
pub(super) use gate::{Gate, Refused, Slot};

use super::S3Settings;
use super::error::refusal_of;
use super::refusal::Refusal;
use crate::service::ServiceError;
use crate::sys::SyncPace;
use crate::types::Principal;
use futures::FutureExt;
use presence::Presence;
use shares::{Share, Shares};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// How long a read or a write keeps its place.
const LEASE: Duration = Duration::from_millis(250);
/// How long a write is of its client's share. What takes longer waits for its client or its disk, not for a processor.
const WRITE_SHARE_LEASE: Duration = Duration::from_millis(20);
/// How long a listing is, whose threads give way to all others.
const LIST_SHARE_LEASE: Duration = Duration::from_millis(100);

/// Who takes turns with others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Party {
    principal: Principal,
    address: IpAddr,
}

impl Party {
    pub(super) fn new(principal: Principal, address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            // The rest of the address is for the client to choose.
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        };
        Self { principal, address }
    }

    /// Whoever asks without a known address is one with all others of his name.
    pub(super) fn of(principal: &Principal, peer: Option<&SocketAddr>) -> Self {
        let address = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), SocketAddr::ip);
        Self::new(principal.clone(), address)
    }
}

/// The gates of all requests.
#[derive(Debug)]
pub(super) struct Admission {
    reads: Gate,
    lists: Gate,
    writes: Gate,
    heavy: Gate,
    desks: Desks,
    presence: Arc<Presence>,
}

impl Admission {
    /// `pace`: of what makes writes durable.
    pub(super) fn new(settings: &S3Settings, pace: Arc<SyncPace>) -> Self {
        let patience = Duration::from_millis(settings.wait_milliseconds);
        let presence = Arc::new(Presence::new());
        let shares = |share| Shares::new(share, Arc::clone(&presence));
        let listings = shares(Share::of(settings.concurrent_listings_per_client));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let writes = shares(Share::paced(settings.concurrent_writes_per_client, pace, processors));
        Self {
            reads: Gate::new("read", settings.concurrent_reads, patience),
            lists: Gate::shared("list", settings.concurrent_listings, listings, patience),
            writes: Gate::shared("write", settings.concurrent_writes, writes, patience),
            heavy: Gate::new("heavy", settings.concurrent_heavy, patience),
            desks: Desks::new(settings.concurrent_per_client, patience),
            presence,
        }
    }

    /// A client's place among its own, to be kept until its answer is taken.
    ///
    /// # Errors
    /// `SlowDown` when it has all that it may have, and none came free.
    pub(super) async fn place(&self, party: &Party) -> Result<Place, Refusal> {
        self.desks.place(party).await.map_err(busy)
    }

    /// Does the work when its turn has come. It is pinned by whoever asks: moving it costs more than the turn.
    ///
    /// # Errors
    /// `SlowDown` when that took too long; and those of the work.
    pub(super) async fn run<T>(
        &self,
        class: Class,
        party: &Party,
        mut work: impl Future<Output = Result<T, Refusal>> + Unpin,
    ) -> Result<T, Refusal> {
        self.presence.seen(party);
        let (gate, share_lease, lease) = match class {
            Class::Read => (&self.reads, None, Some(LEASE)),
            Class::Write => (&self.writes, Some(WRITE_SHARE_LEASE), Some(LEASE - WRITE_SHARE_LEASE)),
            Class::List => (&self.lists, Some(LIST_SHARE_LEASE), None),
            Class::Heavy => (&self.heavy, None, None),
            Class::Long => return work.await,
        };
        let mut slot = gate.enter(party, 1).await.map_err(busy)?;
        // What is in memory is done at once, and needs no timer.
        if let Some(done) = (&mut work).now_or_never() {
            return done;
        }
        if let Some(lease) = share_lease {
            if let Ok(done) = tokio::time::timeout(lease, &mut work).await {
                return done;
            }
            slot.leave_share();
        }
        if let Some(lease) = lease {
            if let Ok(done) = tokio::time::timeout(lease, &mut work).await {
                return done;
            }
            drop(slot);
        }
        work.await
    }
}

fn busy(Refused: Refused) -> Refusal {
    refusal_of(ServiceError::Busy("too many requests of this kind wait"))
}

#[cfg(test)]
mod tests {
    use super::{Admission, Class, LEASE, LIST_SHARE_LEASE, Party, WRITE_SHARE_LEASE};
    use crate::s3::S3Settings;
    use crate::types::Principal;
    use futures::FutureExt;
    use http::StatusCode;
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::time::Duration;

    fn party() -> Party {
        Party::of(&Principal::Anonymous, None)
    }

    fn one_of_each() -> Admission {
        let settings = S3Settings {
            concurrent_reads: 1,
            concurrent_listings: 1,
            concurrent_writes: 1,
            concurrent_heavy: 1,
            ..S3Settings::default()
        };
        Admission::new(&settings, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn i5_kinds_do_not_wait_for_each_other_and_the_refused_are_told_to_slow_down() {
        let admission = one_of_each();
        let (party, stuck) = (party(), pending::<Result<(), _>>());
        let listing = admission.run(Class::List, &party, stuck);
        tokio::pin!(listing);
        assert!((&mut listing).now_or_never().is_none());
        for class in [Class::Read, Class::Write, Class::Heavy, Class::Long] {
            admission.run(class, &party, ready(Ok(()))).await.unwrap();
        }
        let refused = admission.run(Class::List, &party, ready(Ok(()))).await.unwrap_err();
        let status = refused.error.status_code();
        assert_eq!(
            (refused.error.code().as_str(), status),
            ("SlowDown", Some(StatusCode::SERVICE_UNAVAILABLE))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn i5_who_waits_for_a_slow_client_keeps_no_place() {
        let admission = one_of_each();
        let party = party();
        let slow = admission.run(Class::Write, &party, pending::<Result<(), _>>());
        tokio::pin!(slow);
        assert!((&mut slow).now_or_never().is_none());
        let began = tokio::time::Instant::now();
        tokio::select! {
            _ = slow => unreachable!(),
            done = admission.run(Class::Write, &party, ready(Ok(()))) => done.unwrap(),
        }
        assert_eq!(began.elapsed(), LEASE);
    }

    /// How long a client's request waits for an earlier one, which never ends, while somebody else is there.
    async fn waits(class: Class) -> Duration {
        let settings = S3Settings {
            concurrent_writes_per_client: 1,
            concurrent_listings_per_client: 1,
            ..S3Settings::default()
        };
        let admission = Admission::new(&settings, Arc::default());
        let known = |access_key: &str| Party::of(&Principal::Root { access_key: access_key.into() }, None);
        let (one, other) = (known("one"), known("other"));
        let slow = admission.run(class, &one, pending::<Result<(), _>>());
        tokio::pin!(slow);
        assert!((&mut slow).now_or_never().is_none());
        admission.run(class, &one, ready(Ok(()))).await.unwrap();
        admission.run(Class::Read, &other, ready(Ok(()))).await.unwrap();
        let began = tokio::time::Instant::now();
        tokio::select! {
            _ = slow => unreachable!(),
            done = admission.run(class, &one, ready(Ok(()))) => done.unwrap(),
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn i5_who_shares_has_its_share_of_what_does_not_wait_for_something_else() {
        assert_eq!(waits(Class::Write).await, WRITE_SHARE_LEASE);
        assert_eq!(waits(Class::List).await, LIST_SHARE_LEASE);
        assert_eq!(waits(Class::Read).await, Duration::ZERO);
    }

    #[test]
    fn a_client_is_a_network_of_64_bits_or_one_address() {
        let of = |address: &str| Party::new(Principal::Anonymous, address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
    }
}
