use super::{Keeper, KeeperParts, KeeperState, PruneParts};
use crate::backup::retention::{Age, RetentionSettings};
use crate::backup::testing::{STORE, open, remote};
use crate::backup::testing_store::{TestStore, restore};
use crate::backup::{
    BackupKey, BackupStatus, Epoch, LogLevel, NewRepository, ObjectName, ShipSettings, Target, World,
};
use crate::remote::{Class, Fault, PutOptions, Remote, Span, Verb};
use crate::sys::{OsRandom, SeededRandom, SystemSteady};
use crate::types::CommitSeq;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn parts(store: &TestStore, remote: Arc<dyn Remote>) -> KeeperParts {
    KeeperParts {
        source: store.source(),
        remote,
        key: BackupKey::generate(&SeededRandom::new(4)),
        new: NewRepository { store_id: STORE, encrypted: true },
        world: World {
            clock: store.clock.clone(),
            steady: Arc::new(SystemSteady),
            random: Arc::new(OsRandom),
        },
        holder: "test".into(),
        ship: ShipSettings::default(),
        interval: Duration::from_millis(5),
        snapshot_interval: Duration::from_secs(3600),
        prune: PruneParts {
            retention: RetentionSettings {
                keep_last: 1,
                retention_days: 0,
                grace_seconds: 0,
                window: Age::ZERO,
                ..RetentionSettings::default()
            },
            lock: None,
            interval: Duration::ZERO,
        },
    }
}

/// Until the keeper is what is wanted.
async fn wait(keeper: &Keeper, what: &str, is_so: impl Fn(&BackupStatus) -> bool) -> BackupStatus {
    for _ in 0..20_000 {
        let status = keeper.status().await;
        if is_so(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}: {:?}", keeper.status().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_is_committed_is_shipped_by_itself_and_snapshots_come_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    store.put("before", b"before", false).await;
    let keeper = Keeper::new(parts(&store, remote.clone()));
    assert_eq!(keeper.status().await.rpo_seconds, None, "nothing can be restored yet");
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let first = wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    for n in 0..20 {
        store.put(&format!("key-{n}"), &vec![n; 5000], n % 3 == 0).await;
    }
    let all =
        wait(&keeper, "all of it", |status| status.lag_records == 0 && status.state == KeeperState::Idle)
            .await;
    assert_eq!(all.last_snapshot, first.last_snapshot, "no snapshot is due");
    let number = keeper.ask(true);
    let run =
        wait(&keeper, "the run", |status| status.run.as_ref().is_some_and(|run| run.number == number)).await;
    let run = run.run.unwrap();
    assert!(run.is_full && run.error.is_none() && run.snapshot != first.last_snapshot, "{run:?}");
    let number = keeper.ask_prune();
    let pruned = wait(&keeper, "the prune", |status| {
        status.prune.as_ref().is_some_and(|prune| prune.number == number)
    })
    .await;
    let pruned = pruned.prune.unwrap();
    assert!(pruned.error.is_none() && pruned.snapshots_deleted == 1, "{pruned:?}");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(keeper.status().await.state, KeeperState::Stopped);
    let lease = remote.get(&ObjectName::Lease.key(), Span::Whole).await.unwrap().unwrap().bytes;
    assert!(String::from_utf8_lossy(&lease).contains("\"released\":true"), "the next one need not wait");
    let wanted = store.bodies().await;
    let (restored, _) =
        restore(&open(&remote, true).await, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == wanted && wanted.len() == 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    let keeper = Keeper::new(parts(&store, remote.clone()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    remote.script(Verb::Put, Fault::Fail(Class::Full));
    store.put("key", b"body", false).await;
    let failing = wait(&keeper, "a failure", |status| status.last_failure.is_some()).await;
    assert!(failing.last_failure.unwrap().advice.is_some());
    wait(&keeper, "all of it", |status| status.lag_records == 0 && status.failures_in_a_row == 0).await;
    // What stands in its way in its own epoch does not in the next.
    let status = keeper.status().await;
    let epoch = status.epoch.unwrap();
    let next = CommitSeq::new(status.shipped_seq.unwrap()).next();
    let name =
        ObjectName::Log { epoch: Epoch::new(epoch).unwrap(), level: LogLevel::Live, first: next, last: next };
    remote.put(&name.key(), Bytes::from_static(b"garbage"), &PutOptions::ABSENT).await.unwrap();
    store.put("key", b"other", false).await;
    wait(&keeper, "a new epoch", |status| status.epoch > Some(epoch) && status.lag_records == 0).await;
    stop.cancel();
    running.await.unwrap();
}
