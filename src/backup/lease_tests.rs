//! The lease, step by step. What happens in between steps is for `lease_model_tests`.

use super::{Attempt, Candidate, Lease, LeaseError, LeaseTimes, World};
use crate::backup::{BackupKey, Epoch, NewRepository, ObjectName, Repository, StoreId};
use crate::remote::{Class, Fault, Faulty, MemoryRemote, Remote, Verb};
use crate::sys::{ManualClock, ManualSteady, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// Puts of the probe, which stand before the first of the lease.
const PROBE_PUTS: usize = 6;

struct Rig {
    remote: Arc<Faulty<MemoryRemote>>,
    /// The remote's.
    clock: Arc<ManualClock>,
}

struct Gateway {
    repository: Arc<Repository>,
    clock: Arc<ManualClock>,
    steady: Arc<ManualSteady>,
    seed: u64,
}

impl Rig {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000_000)));
        Self { remote: Arc::new(Faulty::new(MemoryRemote::new(clock.clone()))), clock }
    }

    async fn gateway(&self, seed: u64) -> Gateway {
        let (key, random) = (BackupKey::generate(&SeededRandom::new(1)), SeededRandom::new(seed + 1000));
        let new = NewRepository { store_id: StoreId::new([1; 16]), encrypted: true };
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000_000)));
        let repository =
            Repository::open_or_create(self.remote.clone(), key, new, &*clock, &random).await.unwrap();
        let steady = ManualClock::at(UnixMillis::new(i64::try_from(seed).unwrap() * 12_345));
        let asleep = ManualClock::at(UnixMillis::new(0));
        let steady = Arc::new(ManualSteady { clock: steady, asleep, boot: "one" });
        Gateway { repository: Arc::new(repository), clock, steady, seed }
    }

    fn pass(&self, seconds: i64, gateways: &[&Gateway]) {
        self.clock.advance_millis(seconds * 1000);
        for gateway in gateways {
            gateway.clock.advance_millis(seconds * 1000);
            gateway.steady.clock.advance_millis(seconds * 1000);
        }
    }
}

impl Gateway {
    fn candidate(&self) -> Candidate {
        let random = Arc::new(SeededRandom::new(self.seed));
        let world = World { clock: self.clock.clone(), steady: self.steady.clone(), random };
        Candidate::new(
            self.repository.clone(),
            world,
            LeaseTimes::default(),
            format!("gateway-{}", self.seed),
        )
    }

    async fn take(&self) -> Box<Lease> {
        taken(self.candidate().attempt().await.unwrap())
    }
}

fn taken(attempt: Attempt) -> Box<Lease> {
    match attempt {
        Attempt::Taken(lease) => lease,
        Attempt::Held(holder) => panic!("held by {holder:?}"),
    }
}

fn waits(attempt: Attempt) -> Duration {
    match attempt {
        Attempt::Held(holder) => holder.again_in,
        Attempt::Taken(lease) => panic!("taken: {lease:?}"),
    }
}

fn epoch(number: u32) -> Epoch {
    Epoch::new(number).unwrap()
}

#[tokio::test]
async fn one_has_it_and_the_next_gets_it_once_it_ran_out() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    let mut lease = one.take().await;
    assert_eq!(lease.check().unwrap(), epoch(1));
    let mut waiting = two.candidate();
    assert_eq!(waits(waiting.attempt().await.unwrap()), Duration::from_secs(60));
    rig.pass(59, &[&one, &two]);
    assert_eq!(waits(waiting.attempt().await.unwrap()), Duration::from_secs(1));
    assert!(matches!(lease.check(), Err(LeaseError::Stale)), "it stops before another may begin");
    rig.pass(2, &[&one, &two]);
    let next = taken(waiting.attempt().await.unwrap());
    assert_eq!(next.check().unwrap(), epoch(2));
    let lost = lease.renew().await.unwrap_err();
    assert!(matches!(&lost, LeaseError::Lost(to) if to == "gateway-2"), "{lost}");
    assert!(matches!(lease.check(), Err(LeaseError::Lost(_))));
    assert!(matches!(lease.renew().await, Err(LeaseError::Lost(_))), "lost is lost");
}

#[tokio::test]
async fn renewals_keep_it_for_as_long_as_they_come() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    let (mut lease, mut waiting) = (one.take().await, two.candidate());
    for _ in 0..20 {
        assert!(waits(waiting.attempt().await.unwrap()) > Duration::from_secs(40));
        rig.pass(15, &[&one, &two]);
        lease.renew().await.unwrap();
        assert_eq!(lease.check().unwrap(), epoch(1));
    }
}

/// A gateway that was killed an hour ago does not make the next start wait.
#[tokio::test]
async fn what_ran_out_long_ago_by_the_remotes_clock_is_taken_at_once() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    one.take().await;
    rig.pass(65, &[]);
    waits(two.candidate().attempt().await.unwrap());
    rig.pass(10, &[]);
    assert_eq!(two.take().await.epoch(), epoch(2));
}

#[tokio::test]
async fn wall_clocks_of_gateways_decide_nothing() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    one.clock.set(UnixMillis::new(0));
    let mut lease = one.take().await;
    two.clock.set(UnixMillis::new(i64::MAX / 2));
    waits(two.candidate().attempt().await.unwrap());
    one.clock.set(UnixMillis::new(i64::MAX / 2));
    assert_eq!(lease.check().unwrap(), epoch(1));
    one.steady.asleep.advance_millis(50_000);
    assert!(
        matches!(lease.check(), Err(LeaseError::Stale)),
        "a machine that slept does not know what happened"
    );
    lease.renew().await.unwrap();
    assert_eq!(lease.check().unwrap(), epoch(1), "nothing did");
}

#[tokio::test]
async fn released_it_is_free_at_once() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    let lease = one.take().await;
    lease.release().await.unwrap();
    assert_eq!(two.take().await.epoch(), epoch(2));
}

/// A delete that was not answered may come late, whether or not there is a data directory to note that in.
#[tokio::test]
async fn i1_with_something_unanswered_it_is_not_released() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    let mut lease = one.take().await;
    lease.linger().await.unwrap();
    lease.settle(false).await;
    lease.release().await.unwrap();
    assert!(matches!(two.candidate().attempt().await.unwrap(), Attempt::Held(_)));
}

#[tokio::test]
async fn a_taking_whose_answer_was_lost_is_recognised() {
    let rig = Rig::new();
    let one = rig.gateway(1).await;
    let mut candidate = one.candidate();
    for _ in 0..PROBE_PUTS {
        rig.remote.script(Verb::Put, Fault::Delay(Duration::ZERO));
    }
    rig.remote.script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
    candidate.attempt().await.unwrap_err();
    assert_eq!(taken(candidate.attempt().await.unwrap()).epoch(), epoch(1), "its own, not another's");
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_or_that_comes_late_is_recognised() {
    let rig = Rig::new();
    let one = rig.gateway(1).await;
    let mut lease = one.take().await;
    rig.remote.script(Verb::Put, Fault::LoseAnswer(Class::Unavailable));
    lease.renew().await.unwrap_err();
    lease.renew().await.unwrap();
    rig.remote.script(Verb::Put, Fault::Late);
    lease.renew().await.unwrap_err();
    assert_eq!(rig.remote.land().await, Ok(true));
    lease.renew().await.unwrap();
    rig.remote.script(Verb::Put, Fault::Late);
    lease.renew().await.unwrap_err();
    lease.renew().await.unwrap();
    assert_eq!(rig.remote.land().await.unwrap_err().class, Class::Conflict, "it cannot come any more");
    assert_eq!(lease.check().unwrap(), epoch(1));
}

#[tokio::test]
async fn an_epoch_is_begun_once_and_numbers_never_come_again() {
    let rig = Rig::new();
    let (one, two) = (rig.gateway(1).await, rig.gateway(2).await);
    let lease = one.take().await;
    rig.remote.script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
    lease.begin_epoch(None, CommitSeq::ZERO).await.unwrap_err();
    let begun = lease.begin_epoch(None, CommitSeq::ZERO).await.unwrap();
    assert_eq!((begun.epoch, begun.holder.as_str()), (epoch(1), "gateway-1"));
    rig.remote.delete(&[ObjectName::Lease.key()]).await.unwrap();
    assert_eq!(two.take().await.epoch(), epoch(2), "in spite of a lease that was deleted");
}
