use crate::backup::testing::{open, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{BackupError, Catalogue, ObjectName, Repository, Shipper, Target};
use crate::remote::{Class, Fault, Remote, Verb};
use crate::sys::{Random, SeededRandom};
use std::sync::Arc;

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// Puts a few bodies, chunked, plain and inline, some over others.
async fn some(store: &TestStore, bodies: &mut Bodies, seed: u64) {
    for n in 0..4 {
        let (key, len) = (format!("key-{}", (seed * 3 + n) % 11), [10, 3_000, 60_000, 150_000][n as usize]);
        let content = body(seed * 10 + n, len);
        store.put(&key, &content, n == 1).await;
        bodies.insert(key, content);
    }
    let gone = format!("key-{}", (seed * 7) % 11);
    if bodies.remove(&gone).is_some() {
        store.delete(&gone).await;
    }
    store.follow().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_was_shipped_can_be_restored_to_every_round_and_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let (mut bodies, mut moments) = (Bodies::new(), Vec::new());
    some(&store, &mut bodies, 0).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    for round in 1..12u64 {
        some(&store, &mut bodies, round).await;
        match round % 4 {
            1 => drop(shipper.snapshot(round == 9).await.unwrap()),
            3 => {
                shipper.round().await.unwrap();
                store.collect().await;
            }
            _ => drop(shipper.round().await.unwrap()),
        }
        let shipped = shipper.shipped().0;
        moments.push((shipped, store.now(), bodies.clone()));
    }
    for (at, (seq, time, bodies)) in moments.iter().enumerate() {
        for target in [Target::Seq(*seq), Target::Time(*time)] {
            let to = dir.path().join(format!("to-{at}-{}", matches!(target, Target::Seq(_))));
            let (restored, plan) = restore(&repository, target, &to).await.unwrap();
            assert!(restored.bodies().await == *bodies, "{target:?}");
            assert!(plan.seq >= *seq);
            drop(restored);
            std::fs::remove_dir_all(to).unwrap();
        }
    }
    let early = restore(&repository, Target::Time(crate::types::UnixMillis::new(5)), dir.path()).await;
    assert!(matches!(early, Err(BackupError::Unfit(_))));
    let late = restore(&repository, Target::Seq(crate::types::CommitSeq::MAX), dir.path()).await;
    assert!(matches!(late, Err(BackupError::Unfit(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_process_sends_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, remote) = repository(true).await;
    let (path, mut bodies) = (dir.path().join("store"), Bodies::new());
    for process in 0..4u64 {
        let store = TestStore::open(&path).await;
        let mut shipper = store.shipper(&repository).await.unwrap();
        if process > 0 {
            let held = shipper.held().contents();
            assert!(!held.packs.is_empty());
            assert_eq!(shipper.round().await.unwrap().sent_bytes, 0, "nothing has happened");
        }
        some(&store, &mut bodies, process).await;
        if process == 3 {
            shipper.round().await.unwrap();
        } else {
            shipper.snapshot(false).await.unwrap();
        }
    }
    let catalogue = Catalogue::load(&repository).await.unwrap();
    let sent: Vec<_> =
        catalogue.objects().keys().filter(|name| matches!(name, ObjectName::Extent { .. })).collect();
    let mut places: Vec<_> = sent
        .iter()
        .filter_map(|name| match name {
            ObjectName::Extent { pack, from, .. } => Some((*pack, *from)),
            _ => None,
        })
        .collect();
    places.dedup();
    assert_eq!(places.len(), sent.len(), "no byte was sent twice");
    let (restored, _) =
        restore(&open(&remote, true).await, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == bodies);
}

/// A store that was restored to an older moment goes on in a branch; the other history stays where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_restored_store_goes_on_as_a_branch() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    some(&store, &mut bodies, 1).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    some(&store, &mut bodies, 2).await;
    shipper.round().await.unwrap();
    let (then, at_then) = (shipper.shipped().0, bodies.clone());
    some(&store, &mut bodies, 3).await;
    let abandoned = shipper.snapshot(false).await.unwrap().name();
    let at_abandoned = bodies.clone();

    let (branch, _) = restore(&repository, Target::Seq(then), &dir.path().join("branch")).await.unwrap();
    let mut shipper = branch.shipper(&repository).await.unwrap();
    assert_eq!(shipper.shipped().0, then, "it goes on where it was restored to");
    assert!(shipper.held().packs().count() > 0);
    let mut on_branch = at_then;
    some(&branch, &mut on_branch, 4).await;
    branch.collect().await;
    shipper.snapshot(false).await.unwrap();
    some(&branch, &mut on_branch, 5).await;
    shipper.round().await.unwrap();

    for (target, wanted) in [(Target::Latest, &on_branch), (Target::Snapshot(abandoned), &at_abandoned)] {
        let to = dir.path().join(format!("{}", matches!(target, Target::Latest)));
        let (restored, _) = restore(&repository, target, &to).await.unwrap();
        assert!(restored.bodies().await == *wanted, "{target:?}");
    }
}

/// A new process, or a new session of the same one.
async fn again(store: &TestStore, repository: &Arc<Repository>) -> Shipper {
    loop {
        match store.shipper(repository).await {
            Ok(shipper) => return shipper,
            Err(error) => assert!(error.class().is_some(), "{error}"),
        }
    }
}

/// Collection took what was not copied: the log that names it must not look whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_backup_that_was_given_up_ships_nothing_over_the_gap_and_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, _) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    some(&store, &mut bodies, 1).await;
    let mut shipper = store.shipper(&repository).await.unwrap();
    let first = shipper.snapshot(false).await.unwrap().name();
    let at_first = bodies.clone();
    for seed in 2..6 {
        some(&store, &mut bodies, seed).await;
    }
    store.pass(4_000_000);
    store.collect().await;
    let before = Catalogue::load(&repository).await.unwrap().objects().clone();
    let given_up = shipper.round().await.unwrap_err();
    assert!(matches!(given_up, BackupError::GivenUp) && given_up.ends_session(), "{given_up}");
    let logs = |names: &ObjectName| matches!(names, ObjectName::Log { .. });
    let after = Catalogue::load(&repository).await.unwrap().objects().clone();
    assert_eq!(before.keys().filter(|n| logs(n)).count(), after.keys().filter(|n| logs(n)).count());
    drop(shipper);
    let mut shipper = again(&store, &repository).await;
    some(&store, &mut bodies, 7).await;
    shipper.snapshot(false).await.unwrap();
    for (target, wanted) in [(Target::Latest, &bodies), (Target::Snapshot(first), &at_first)] {
        let to = dir.path().join(format!("{}", matches!(target, Target::Latest)));
        let (restored, _) = restore(&repository, target, &to).await.unwrap();
        assert!(restored.bodies().await == *wanted, "{target:?}");
    }
}

/// Whatever call fails, or is done and loses its answer: the round after it goes on, and all is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_failure_at_any_call_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, remote) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    let mut shipper = store.shipper(&repository).await.unwrap();
    for step in 0..40u64 {
        some(&store, &mut bodies, step).await;
        let class = if step % 2 == 0 { Class::Unavailable } else { Class::Denied };
        for _ in 0..step % 5 {
            remote.script(Verb::Put, Fault::Delay(std::time::Duration::ZERO));
        }
        let fault = if step % 3 == 0 { Fault::LoseAnswer(Class::TimedOut) } else { Fault::Fail(class) };
        remote.script(Verb::Put, fault);
        let done = if step % 7 == 3 {
            shipper.snapshot(step == 10).await.map(drop)
        } else {
            shipper.round().await.map(drop)
        };
        if step % 11 == 5 || done.is_err_and(|error| step % 4 == 0 || error.ends_session()) {
            shipper = again(&store, &repository).await;
        }
        if step % 6 == 5 {
            store.collect().await;
        }
    }
    while let Err(error) = shipper.snapshot(false).await {
        assert!(error.class().is_some() || error.ends_session(), "{error}");
        shipper = again(&store, &repository).await;
    }
    let (restored, _) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == bodies);
    assert!(remote.calls() > 100);
}

/// A body that was stored whole and is gone from the bucket is sent again by the next process, though the log is past it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_is_gone_from_the_bucket_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, remote) = repository(true).await;
    let store = TestStore::open(&dir.path().join("store")).await;
    let mut bodies = Bodies::new();
    some(&store, &mut bodies, 1).await;
    store.shipper(&repository).await.unwrap().snapshot(false).await.unwrap();
    let catalogue = Catalogue::load(&repository).await.unwrap();
    let gone = |name: &&ObjectName| matches!(name, ObjectName::Plain { .. } | ObjectName::Extent { .. });
    let gone: Vec<_> = catalogue.objects().keys().filter(gone).map(ObjectName::key).collect();
    assert!(gone.len() > 2);
    remote.delete(&gone).await.unwrap();
    store.shipper(&repository).await.unwrap().snapshot(true).await.unwrap();
    let (restored, _) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == bodies);
}
