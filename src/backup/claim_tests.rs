//! Whose lease is taken over at once, and whose is not.

use super::{
    Asked, Attempt, BackupError, BackupKey, Candidate, Claim, Epoch, Lease, LeaseError, LeaseTimes,
    NewRepository, ObjectName, Repository, Session, StoreId, World,
};
use crate::remote::{Class, Fault, Faulty, MemoryRemote, Patience, Patient, Remote, Verb};
use crate::sys::{ManualClock, ManualSteady, SeededRandom};
use crate::types::UnixMillis;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Puts of the probe, which stand before the first of the lease.
const PROBE_PUTS: usize = 6;

struct Rig {
    remote: Arc<Faulty<MemoryRemote>>,
    repository: Arc<Repository>,
    clock: Arc<ManualClock>,
    steady: Arc<ManualSteady>,
    random: Arc<SeededRandom>,
}

impl Rig {
    async fn new() -> Self {
        Self::seen_through(|remote| remote).await
    }

    /// Whose repository sees the remote through something.
    async fn seen_through<R: Remote + 'static>(
        wrap: impl FnOnce(Arc<Faulty<MemoryRemote>>) -> Arc<R>,
    ) -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_000_000_000)));
        let remote = Arc::new(Faulty::new(MemoryRemote::new(clock.clone())).stepwise());
        let random = Arc::new(SeededRandom::new(1));
        let new = NewRepository { store_id: StoreId::new([1; 16]), encrypted: true };
        let key = BackupKey::generate(&*random);
        let made =
            Repository::open_or_create(wrap(remote.clone()), key, new, &*clock, &*random).await.unwrap();
        let at = |millis| ManualClock::at(UnixMillis::new(millis));
        let steady = Arc::new(ManualSteady { clock: at(0), asleep: at(0), boot: "one" });
        Self { remote, repository: Arc::new(made), clock, steady, random }
    }

    /// A process that starts in the data directory of this claim.
    fn process(&self, claim: &Arc<Claim>) -> Candidate {
        let world =
            World { clock: self.clock.clone(), steady: self.steady.clone(), random: self.random.clone() };
        let candidate =
            Candidate::new(self.repository.clone(), world, LeaseTimes::default(), "gateway".to_owned());
        candidate.knowing(Some(Arc::clone(claim)))
    }

    async fn starts(&self, claim: &Arc<Claim>) -> Attempt {
        self.process(claim).attempt().await.unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance_millis(seconds * 1000);
        self.steady.clock.advance_millis(seconds * 1000);
    }
}

fn taken(attempt: Attempt) -> Box<Lease> {
    match attempt {
        Attempt::Taken(lease) => lease,
        Attempt::Held(holder) => panic!("held by {holder:?}"),
    }
}

fn waits(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Held(holder) if holder.again_in > Duration::from_secs(30))
}

fn copy(claim: &Arc<Claim>) -> Arc<Claim> {
    let copy = Claim::in_memory();
    copy.copy_of(claim);
    copy
}

#[tokio::test]
async fn what_the_last_process_has_left_is_taken_over_at_once_and_what_it_sent_comes_to_nothing() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let mut lease = taken(rig.starts(&claim).await);
    lease.renew().await.unwrap();
    assert!(waits(&rig.starts(&Claim::in_memory()).await), "another data directory");
    drop(lease);
    let mut lease = taken(rig.starts(&claim).await);
    assert_eq!(lease.epoch(), Epoch::new(2).unwrap());
    // A renewal that is still under way when the process ends: it comes before the next one, or not at all.
    for comes_first in [true, false] {
        rig.remote.script(Verb::Put, Fault::Late);
        lease.renew().await.unwrap_err();
        drop(lease);
        if comes_first {
            assert_eq!(rig.remote.land().await, Ok(true));
        }
        lease = taken(rig.starts(&claim).await);
        if !comes_first {
            assert_eq!(rig.remote.land().await.unwrap_err().class, Class::Conflict);
        }
        lease.renew().await.unwrap();
    }
    assert_eq!(lease.epoch(), Epoch::new(4).unwrap());
}

/// A taking that never came to be known, by a process that ended then.
#[tokio::test]
async fn a_taking_that_nobody_lived_to_see_is_the_next_ones() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    drop(taken(rig.starts(&claim).await));
    let mut process = rig.process(&claim);
    for _ in 0..PROBE_PUTS {
        rig.remote.script(Verb::Put, Fault::Delay(Duration::ZERO));
    }
    rig.remote.script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
    process.attempt().await.unwrap_err();
    drop(process);
    assert_eq!(taken(rig.starts(&claim).await).epoch(), Epoch::new(3).unwrap());
}

#[tokio::test]
async fn i1_a_copy_of_a_data_directory_waits_for_the_original_that_lives() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let mut lease = taken(rig.starts(&claim).await);
    let before = copy(&claim);
    lease.renew().await.unwrap();
    assert!(waits(&rig.starts(&before).await));
    // One that was made since the last renewal, and is started before the next, has it. The original notices at its next renewal, and
    // does not take it back: of what the copy has written it knows nothing.
    let after = copy(&claim);
    let stolen = taken(rig.starts(&after).await);
    assert!(stolen.epoch() > lease.epoch());
    assert!(matches!(lease.renew().await, Err(LeaseError::Lost(_))));
    assert!(lease.check().is_err());
    assert!(waits(&rig.starts(&claim).await));
    assert!(stolen.check().is_ok());
}

#[tokio::test]
async fn i1_nobody_takes_it_over_at_once_while_something_lingers() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let mut lease = taken(rig.starts(&claim).await);
    let before = copy(&claim);
    lease.linger().await.unwrap();
    assert!(waits(&rig.starts(&before).await), "a copy from before");
    assert!(waits(&rig.starts(&copy(&claim)).await), "a copy from then");
    drop(lease);
    let mut next = rig.process(&claim);
    assert!(waits(&next.attempt().await.unwrap()), "the next process");
    rig.pass(61);
    drop(taken(next.attempt().await.unwrap()));
    let mut lease = taken(rig.starts(&claim).await);
    lease.linger().await.unwrap();
    lease.settle(true).await;
    drop(lease);
    let mut lease = taken(rig.starts(&claim).await);
    lease.linger().await.unwrap();
    lease.settle(false).await;
    lease.quieten().await;
    assert!(waits(&rig.starts(&claim).await), "it was not answered");
    rig.pass(61);
    lease.renew().await.unwrap();
    lease.quieten().await;
    drop(lease);
    taken(rig.starts(&claim).await);
}

/// A renewal that was sent before that, and arrives in the middle of it, is none that counts: copies know it.
#[tokio::test]
async fn i1_a_late_renewal_does_not_say_that_something_lingers() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let mut lease = taken(rig.starts(&claim).await);
    rig.remote.script(Verb::Put, Fault::Late);
    lease.renew().await.unwrap_err();
    let before = copy(&claim);
    let calls = rig.remote.calls();
    {
        let mut lingering = std::pin::pin!(lease.linger());
        // It has looked, and is about to write.
        while rig.remote.calls() < calls + 2 {
            assert!(futures::poll!(lingering.as_mut()).is_pending());
        }
        assert_eq!(rig.remote.land().await, Ok(true));
        lingering.await.unwrap();
    }
    assert!(waits(&rig.starts(&before).await));
    assert!(lease.check().is_ok());
}

/// A copy that was made while the original wrote, and finds the lease run out: that it tries to take it makes nothing over that lingers.
#[tokio::test]
async fn i1_a_copy_that_was_too_slow_for_a_lease_that_ran_out_waits_anew() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let mut lease = taken(rig.starts(&claim).await);
    rig.pass(75);
    let calls = rig.remote.calls();
    let mut lingering = std::pin::pin!(lease.linger());
    while rig.remote.calls() == calls {
        assert!(futures::poll!(lingering.as_mut()).is_pending());
    }
    let mut copied = rig.process(&copy(&claim));
    for _ in 0..PROBE_PUTS {
        rig.remote.script(Verb::Put, Fault::Delay(Duration::ZERO));
    }
    rig.remote.script(Verb::Put, Fault::Fail(Class::Conflict));
    assert!(matches!(copied.attempt().await.unwrap(), Attempt::Held(_)));
    lingering.await.unwrap();
    assert!(waits(&copied.attempt().await.unwrap()));
}

#[tokio::test]
async fn i1_a_session_gives_nothing_back_while_a_delete_may_come_late() {
    let (rig, claim) = (Rig::new().await, Claim::in_memory());
    let delete = async || {
        let name = [ObjectName::Probe([1; 16]).key()];
        rig.remote.delete(&name).await.map_err(BackupError::from)
    };
    for (fault, is_over) in [
        (None, true),
        (Some(Fault::Fail(Class::Denied)), true),
        (Some(Fault::LoseAnswer(Class::TimedOut)), false),
    ] {
        let mut process = rig.process(&claim);
        let Asked::Open(session) = Session::ask(&rig.repository, &mut process).await.unwrap() else {
            panic!("nobody has it")
        };
        // It is written down before the first one is sent.
        let lasting = session.lingering(std::future::pending::<Result<(), BackupError>>());
        assert!(tokio::time::timeout(Duration::ZERO, lasting).await.is_err());
        assert!(waits(&rig.starts(&copy(&claim)).await));
        if let Some(fault) = fault.clone() {
            rig.remote.script(Verb::Delete, fault);
        }
        let failed = session.lingering(delete()).await.is_err();
        assert_eq!(failed, fault.is_some());
        let stop = CancellationToken::new();
        stop.cancel();
        session.keep(stop).await.unwrap();
        assert_eq!(!waits(&rig.starts(&claim).await), is_over, "{fault:?}");
    }
}

/// Its first attempt was not answered, and may be done after the one that was.
#[tokio::test(start_paused = true)]
async fn i1_a_delete_that_succeeded_at_last_may_still_come_late() {
    let (claim, mut patient) = (Claim::in_memory(), None);
    let rig = Rig::seen_through(|remote| {
        let made = Arc::new(Patient::new(remote, Patience::default(), Arc::new(SeededRandom::new(2))));
        Arc::clone(patient.insert(made))
    })
    .await;
    let patient = patient.unwrap();
    for (class, is_over) in [(Class::Throttled, true), (Class::TimedOut, false)] {
        let mut process = rig.process(&claim);
        let Asked::Open(session) = Session::ask(&rig.repository, &mut process).await.unwrap() else {
            panic!("nobody has it")
        };
        rig.remote.script(Verb::Delete, Fault::Fail(class));
        let name = [ObjectName::Probe([1; 16]).key()];
        session.lingering(async { Ok(patient.delete(&name).await?) }).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        session.keep(stop).await.unwrap();
        assert_eq!(!waits(&rig.starts(&claim).await), is_over, "{class}");
    }
}
