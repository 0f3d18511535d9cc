use super::{CareParts, Keeper, KeeperParts, KeeperState, PruneParts, room};
use crate::backup::retention::{Age, RetentionSettings};
use crate::backup::testing::{STORE, TestRemote, open, remote};
use crate::backup::testing_store::{TestStore, restore};
use crate::backup::{
    Alerts, BackupError, BackupKey, BackupStatus, Catalogue, Claim, Condition, Epoch, LogLevel,
    NewRepository, ObjectName, RemoteRecords, ShipSettings, Target, VerifiedState, World,
};
use crate::remote::{Class, Fault, PutOptions, Remote, Span, Verb};
use crate::sys::{OsRandom, SeededRandom, SystemSteady};
use crate::types::CommitSeq;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Far above anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(45);

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
        claim: Some(claim(store)),
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
        care: CareParts {
            verify_interval: Duration::ZERO,
            verify_percent: 100,
            drill_interval: Duration::ZERO,
            drill_bytes: 1 << 30,
            min_free_bytes: 0,
            rehearsal: None,
        },
        alerts: Alerts::new(STORE.to_string(), store.clock.clone()),
        records: Arc::new(RemoteRecords::new(tokio::runtime::Handle::current())),
    }
}

fn claim(store: &TestStore) -> Arc<Claim> {
    let source = store.source();
    Claim::open(source.fs, source.state.with_file_name("backup-lease.json"))
}

/// Until the keeper is what is wanted.
async fn wait(keeper: &Keeper, what: &str, is_so: impl Fn(&BackupStatus) -> bool) -> BackupStatus {
    let mut ends = keeper.ends();
    let holds = async {
        loop {
            let status = keeper.status().await;
            if is_so(&status) {
                return status;
            }
            ends.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(PATIENCE, holds).await {
        Ok(status) => status,
        Err(_) => panic!("{what}: {:?}", keeper.status().await),
    }
}

/// A process that is killed: the next one in its data directory does not wait until the lease has run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_who_was_killed_goes_on_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    store.put("before", b"before", false).await;
    let keeper = Keeper::new(parts(&store, remote.clone()));
    let running = tokio::spawn(keeper.clone().run(CancellationToken::new()));
    let first = wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    running.abort();
    running.await.unwrap_err();
    store.put("after", b"after", false).await;
    let keeper = Keeper::new(parts(&store, remote.clone()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let next = wait(&keeper, "all of it", |status| status.shipped_seq.is_some() && status.lag_records == 0);
    assert_eq!(next.await.epoch, first.epoch.map(|epoch| epoch + 1));
    stop.cancel();
    running.await.unwrap();
    let (restored, _) =
        restore(&open(&remote, true).await, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == store.bodies().await);
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

/// The last object of the kind, damaged.
async fn damage(remote: &TestRemote, of: &str) -> ObjectName {
    let catalogue = Catalogue::load(&*open(remote, true).await).await.unwrap();
    let name = *catalogue.objects().keys().rfind(|name| name.to_string().starts_with(of)).unwrap();
    assert!(remote.inner().damage(&name.key(), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }));
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_what_is_damaged_in_the_bucket_is_noticed_on_schedule_and_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    for n in 0..20 {
        store.put(&format!("key-{n}"), &vec![n; 5000], n % 3 == 0).await;
    }
    let mut parts = parts(&store, remote.clone());
    parts.snapshot_interval = Duration::from_secs(86_400 * 365);
    parts.care.verify_interval = Duration::from_secs(86_400);
    let keeper = Keeper::new(parts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let mut newest = wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    assert!(newest.care.next_verify_at.is_some() && newest.care.verify.is_none(), "none is due");
    for of in ["packs", "base", "plain", "inventory", "log"] {
        store.put("log", of.as_bytes(), false).await;
        newest = wait(&keeper, "all of it", |status| status.lag_records == 0).await;
        let before = newest.care.verified_at;
        let name = damage(&remote, of).await;
        store.pass(86_400_000);
        let status = wait(&keeper, of, |status| status.care.verified_at > before).await;
        let verify = status.care.verify.unwrap();
        assert!(verify.faults.iter().any(|fault| fault.object == name.to_string()), "{verify:?}");
        assert!(verify.is_newest_whole && verify.repaired_by == status.last_snapshot, "{of}: {verify:?}");
        assert!(status.last_snapshot != newest.last_snapshot && status.care.corrupt_snapshots > 0);
        assert_eq!(status.care.alerts, [], "it is over");
    }
    stop.cancel();
    running.await.unwrap();
    let wanted = store.bodies().await;
    let repository = open(&remote, true).await;
    let (restored, _) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == wanted);
    drop(newest);
}

/// The first repair meets what it did not write, and so its session ends; the next one does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_repair_that_ends_its_session_is_done_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    for n in 0..20 {
        store.put(&format!("key-{n}"), &vec![n; 5000], false).await;
    }
    let keeper = Keeper::new(parts(&store, remote.clone()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let first = wait(&keeper, "the first snapshot", |status| {
        status.last_snapshot.is_some() && status.state == KeeperState::Idle
    })
    .await;
    damage(&remote, "packs").await;
    // What was found is written down; then what is damaged is sent.
    remote.script(Verb::Put, Fault::Delay(Duration::ZERO));
    remote.script(Verb::Put, Fault::Fail(Class::Conflict));
    let number = keeper.ask_verify(100, true);
    let status = wait(&keeper, "a verification", |status| {
        status.care.verify.as_ref().is_some_and(|last| last.number >= number)
    })
    .await;
    let verify = status.care.verify.unwrap();
    assert!(verify.is_newest_whole && verify.repaired_by.is_some(), "{verify:?}");
    assert!(status.epoch > first.epoch, "{verify:?}");
    stop.cancel();
    running.await.unwrap();
    let repository = open(&remote, true).await;
    let (restored, _) = restore(&repository, Target::Latest, &dir.path().join("to")).await.unwrap();
    assert!(restored.bodies().await == store.bodies().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_drills_come_on_schedule_and_their_failure_is_an_alert_until_one_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    store.put("key", &[7; 50_000], false).await;
    store.follow().await;
    let mut parts = parts(&store, remote.clone());
    parts.snapshot_interval = Duration::from_secs(86_400 * 365);
    parts.care.drill_interval = Duration::from_secs(86_400);
    let keeper = Keeper::new(parts.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    store.pass(86_400_000);
    let status = wait(&keeper, "a drill", |status| status.care.drill_passed.is_some()).await;
    let drill = status.care.drill.unwrap();
    assert!(
        drill.passed && drill.moments[0].bodies == 1 && drill.moments[0].lost_seconds == Some(0.0),
        "{drill:?}"
    );

    damage(&remote, "packs").await;
    let number = keeper.ask_drill();
    let asked =
        |status: &BackupStatus, number| status.care.drill.as_ref().is_some_and(|last| last.number >= number);
    let status = wait(&keeper, "a failed drill", |status| asked(status, number)).await;
    assert_eq!(status.care.drill_passed, Some(false), "{status:?}");
    assert!(keeper.alerts().raised()[&Condition::Drill].contains("packs/"));

    let number = keeper.ask_verify(100, false);
    let status = wait(&keeper, "a verification", |status| {
        status.care.verify.as_ref().is_some_and(|last| last.number >= number)
    });
    assert!(status.await.care.verify.unwrap().is_newest_whole);
    store.pass(60_000);
    let number = keeper.ask_drill();
    let status = wait(&keeper, "a drill that passes", |status| asked(status, number)).await;
    assert!(status.care.drill_passed == Some(true) && status.care.alerts.is_empty(), "{status:?}");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0, "nothing is left");

    // The next process knows of it, and removes what one that was killed has left.
    std::fs::create_dir_all(dir.path().join("store/tmp/backup-drill/packs")).unwrap();
    std::fs::write(dir.path().join("store/tmp/backup-verify-image-1"), "left").unwrap();
    parts.care.drill_bytes = 1;
    let keeper = Keeper::new(parts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let number = keeper.ask_drill();
    let status = wait(&keeper, "a drill without room", |status| asked(status, number)).await;
    assert!(status.care.drilled_at.is_some() && status.care.drill_passed == Some(true), "{status:?}");
    assert!(status.care.drill.unwrap().error.unwrap().contains("may write 1"));
    stop.cancel();
    running.await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0, "nothing is left");
    let repository = open(&remote, true).await;
    let catalogue = Catalogue::load(&repository).await.unwrap();
    let (known, _) = crate::backup::Verified::all(&repository, &catalogue).await.unwrap();
    let states: Vec<_> = known.values().map(|known| known.state).collect();
    assert_eq!(states, [VerifiedState::Corrupt, VerifiedState::Verified]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_look_ends_when_others_leave_it_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    let mut parts = parts(&store, remote);
    let until_told = |own: CancellationToken| async move {
        own.cancelled().await;
        Err::<(), _>(BackupError::Stopped)
    };
    let stop = CancellationToken::new();
    parts.care.min_free_bytes = u64::MAX;
    let ended = room::room(&parts).within(&stop, until_told).await;
    assert!(matches!(ended, Err(BackupError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull));
    parts.care.min_free_bytes = 0;
    stop.cancel();
    assert!(matches!(room::room(&parts).within(&stop, until_told).await, Err(BackupError::Stopped)));
}

/// A look at less than what is due puts nothing off, nor does a restart; and what was wrong before one is an alert after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_a_narrow_look_is_not_the_one_that_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    store.put("key", &[7; 50_000], false).await;
    let mut parts = parts(&store, remote.clone());
    parts.snapshot_interval = Duration::from_secs(86_400 * 365);
    parts.care.verify_interval = Duration::from_secs(86_400);
    let keeper = Keeper::new(parts.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let first = wait(&keeper, "the first snapshot", |status| status.last_snapshot.is_some()).await;
    store.pass(3_600_000);
    for (percent, all) in [(0, false), (100, false), (50, true)] {
        let status = verified(&keeper, percent, all).await;
        assert_eq!(status.care.next_verify_at, first.care.next_verify_at, "{percent} {all}");
    }
    stop.cancel();
    running.await.unwrap();

    let keeper = Keeper::new(parts.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    wait(&keeper, "the lease", |status| status.state == KeeperState::Idle).await;
    let number = keeper.ask_drill();
    let status = wait(&keeper, "a drill", |status| {
        status.care.drill.as_ref().is_some_and(|last| last.number >= number)
    });
    assert_eq!(status.await.care.next_verify_at, first.care.next_verify_at);
    let status = verified(&keeper, 100, true).await;
    assert!(status.care.next_verify_at > first.care.next_verify_at, "{status:?}");
    let due = status.care.next_verify_at;
    stop.cancel();
    running.await.unwrap();

    damage(&remote, "packs").await;
    look(&remote, &store, dir.path()).await;
    let keeper = Keeper::new(parts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let status = wait(&keeper, "an alert", |status| !status.care.alerts.is_empty()).await;
    assert_eq!(status.care.alerts[0].0, "verify");
    assert!(status.care.next_verify_at < due, "it is due sooner: {status:?}");
    stop.cancel();
    running.await.unwrap();
}

async fn verified(keeper: &Keeper, percent: u8, all: bool) -> BackupStatus {
    let number = keeper.ask_verify(percent, all);
    wait(keeper, "a verification", |status| {
        status.care.verify.as_ref().is_some_and(|last| last.number >= number)
    })
    .await
}

/// By another process, which mends nothing.
async fn look(remote: &TestRemote, store: &TestStore, dir: &std::path::Path) {
    let scratch = crate::backup::Scratch {
        dir: dir.to_owned(),
        fs: Arc::clone(&store.source().fs),
        clock: store.clock.clone(),
        random: Arc::new(OsRandom),
    };
    let settings = crate::backup::VerifySettings {
        which: crate::backup::Verification::All,
        percent: 100,
        ..crate::backup::VerifySettings::default()
    };
    let (shown, stop) = (crate::backup::ShownVerify::default(), CancellationToken::new());
    let repository = open(remote, true).await;
    let found = crate::backup::Verification::run(&repository, settings, scratch, &shown, &stop).await;
    assert!(!found.unwrap().is_newest_whole());
}

/// The bucket was emptied behind the writer's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_backup_that_is_gone_is_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    store.put("key", &[7; 50_000], false).await;
    let mut parts = parts(&store, remote.clone());
    parts.snapshot_interval = Duration::from_secs(86_400 * 365);
    let keeper = Keeper::new(parts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.clone().run(stop.clone()));
    let status = wait(&keeper, "the first snapshot", |status| {
        status.last_snapshot.is_some() && status.state == KeeperState::Idle
    })
    .await;
    let catalogue = Catalogue::load(&*open(&remote, true).await).await.unwrap();
    let kept = [ObjectName::Lease, ObjectName::Repository];
    let gone: Vec<_> =
        catalogue.objects().keys().filter(|name| !kept.contains(name)).map(ObjectName::key).collect();
    remote.delete(&gone).await.unwrap();
    let verify = verified(&keeper, 0, false).await.care.verify.unwrap();
    assert!(!verify.is_newest_whole, "{verify:?}");
    let name = status.last_snapshot.unwrap();
    assert!(keeper.alerts().raised()[&Condition::Verify].contains(&name), "{verify:?}");
    stop.cancel();
    running.await.unwrap();
}

/// A verification that waits for a repair is told when there is no writer to do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_nobody_waits_for_a_writer_that_there_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, remote) = (TestStore::open(&dir.path().join("store")).await, remote());
    let keeper = Keeper::new(parts(&store, remote));
    for is_held in [true, false] {
        let (tell, told) = tokio::sync::oneshot::channel();
        keeper.0.state.lock().care.repair =
            Some(super::care::Repair { damaged: vec![ObjectName::Lease], tell });
        if is_held {
            keeper.0.waits_for("another".into());
        } else {
            keeper.0.cannot_repair("the way to it is down");
        }
        assert!(told.await.unwrap().is_err());
    }
}
