//! A repository at a server that ignores conditions, which nobody else writes.

use super::{
    Attempt, BackupKey, Candidate, Epoch, LeaseTimes, NewRepository, ProbeError, Repository, RepositoryError,
    StoreId, World, probe,
};
use crate::remote::{Class, Exclusive, Fault, Faulty, MemoryRemote, Patience, Patient, Remote, Verb};
use crate::sys::{ManualClock, ManualSteady, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis::new(1_000_000_000);

fn careless() -> Arc<Faulty<MemoryRemote>> {
    let memory = MemoryRemote::new(Arc::new(ManualClock::at(NOW))).without_conditions();
    Arc::new(Faulty::new(memory))
}

async fn open(remote: Arc<dyn Remote>) -> Result<Arc<Repository>, RepositoryError> {
    let key = BackupKey::generate(&SeededRandom::new(1));
    let new = NewRepository { store_id: StoreId::new([1; 16]), encrypted: true };
    let (clock, random) = (ManualClock::at(NOW), SeededRandom::new(2));
    Repository::open_or_create(remote, key, new, &clock, &random).await.map(Arc::new)
}

fn candidate(repository: &Arc<Repository>, steady: &Arc<ManualSteady>, seed: u64) -> Candidate {
    let (clock, random) = (Arc::new(ManualClock::at(NOW)), Arc::new(SeededRandom::new(seed)));
    let world = World { clock, steady: steady.clone(), random };
    Candidate::new(repository.clone(), world, LeaseTimes::default(), format!("gateway-{seed}"))
}

#[tokio::test]
async fn such_a_server_is_refused_unless_it_is_said_that_nobody_else_writes() {
    let remote = careless();
    let refused = open(remote.clone()).await.unwrap_err();
    assert!(matches!(refused, RepositoryError::Unfit(ProbeError::Unfit(_))), "{refused}");
    assert!(refused.to_string().contains("backup.exclusive"), "{refused}");
    assert!(remote.inner().keys().is_empty());
    let exclusive: Arc<dyn Remote> = Arc::new(Exclusive::new(remote.clone()));
    assert!(probe(&exclusive, &SeededRandom::new(3)).await.is_ok());
    let made = open(exclusive.clone()).await.unwrap();
    assert_eq!(open(exclusive).await.unwrap().description(), made.description());
    assert_eq!(remote.inner().keys(), ["repository.json"]);
}

/// What the lease does where the server does not help: the second waits, and a lost answer costs nothing.
#[tokio::test(start_paused = true)]
async fn the_lease_is_taken_once_renewed_and_taken_over() {
    let remote = careless();
    let patient =
        Patient::new(Exclusive::new(remote.clone()), Patience::default(), Arc::new(SeededRandom::new(4)));
    let repository = open(Arc::new(patient)).await.unwrap();
    let (clock, asleep) = (ManualClock::at(UnixMillis::new(0)), ManualClock::at(UnixMillis::new(0)));
    let steady = Arc::new(ManualSteady { clock, asleep, boot: "one" });
    let (mut first, mut second) = (candidate(&repository, &steady, 5), candidate(&repository, &steady, 6));
    let Attempt::Taken(mut lease) = first.attempt().await.unwrap() else { panic!("nobody has it") };
    lease.begin_epoch(None, CommitSeq::ZERO).await.unwrap();
    let Attempt::Held(holder) = second.attempt().await.unwrap() else { panic!("the first has it") };
    assert_eq!(holder.name, "gateway-5");

    remote.script(Verb::Put, Fault::LoseAnswer(Class::TimedOut));
    lease.renew().await.unwrap();
    let ttl = i64::try_from(LeaseTimes::default().ttl.as_millis()).unwrap();
    steady.clock.advance_millis(ttl / 2);
    let Attempt::Held(_) = second.attempt().await.unwrap() else { panic!("it was renewed") };
    steady.clock.advance_millis(ttl + 1);
    let Attempt::Taken(taken) = second.attempt().await.unwrap() else { panic!("it ran out") };
    assert_eq!(taken.epoch(), Epoch::FIRST.next().unwrap());
    assert!(lease.renew().await.is_err(), "the first notices");
    assert!(lease.check().is_err());
    assert!(taken.renew_every() < Duration::from_secs(60));
}
