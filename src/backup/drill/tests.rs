use super::scratch::{ScratchDir, used_bytes};
use super::{Drill, DrillOutcome, DrillParts, DrillSettings};
use crate::backup::testing::{TestRemote, repository};
use crate::backup::testing_store::TestStore;
use crate::backup::{
    BackupError, Catalogue, ObjectName, Plan, Repository, RestoreProgress, Target, Verified, VerifiedState,
};
use crate::remote::{Class, Fault, PutOptions, Remote, Span, Verb};
use crate::sys::{OsRandom, Random, RealFileSystem, SeededRandom, SystemSteady};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

async fn some(store: &TestStore, seed: u64) {
    for n in 0..4 {
        let (key, len) = (format!("key-{}", (seed * 3 + n) % 11), [10, 3_000, 60_000, 250_000][n as usize]);
        store.put(&key, &body(seed * 10 + n, len), n == 1).await;
    }
    store.follow().await;
}

async fn drill(
    repository: &Arc<Repository>,
    store: &TestStore,
    scratch: &Path,
    scratch_bytes: u64,
) -> Result<DrillOutcome, BackupError> {
    drill_until(repository, store, scratch, scratch_bytes, CancellationToken::new()).await
}

async fn drill_until(
    repository: &Arc<Repository>,
    store: &TestStore,
    scratch: &Path,
    scratch_bytes: u64,
    stop: CancellationToken,
) -> Result<DrillOutcome, BackupError> {
    let parts = DrillParts {
        repository: Arc::clone(repository),
        store: Some(store.meta.clone()),
        fs: Arc::new(RealFileSystem),
        clock: store.clock.clone(),
        steady: Arc::new(SystemSteady),
        random: Arc::new(OsRandom),
        rehearsal: None,
    };
    let settings =
        DrillSettings { scratch: scratch.to_owned(), scratch_bytes, read_bytes: 1 << 30, files_at_once: 2 };
    let progress = Arc::new(parking_lot::Mutex::new(RestoreProgress::default()));
    Drill::new(parts, settings, progress, stop).run().await
}

struct World {
    dir: tempfile::TempDir,
    repository: Arc<Repository>,
    remote: TestRemote,
    store: TestStore,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        Self { dir, repository, remote, store }
    }

    async fn drill(&self, scratch_bytes: u64) -> Result<DrillOutcome, BackupError> {
        let scratch = self.dir.path().join("scratch");
        let done = drill(&self.repository, &self.store, &scratch, scratch_bytes).await;
        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0, "nothing is left");
        done
    }

    async fn states(&self) -> Vec<VerifiedState> {
        let catalogue = Catalogue::load(&self.repository).await.unwrap();
        let (known, _) = Verified::all(&self.repository, &catalogue).await.unwrap();
        known.values().map(|known| known.state).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_drill_restores_and_proves_two_moments_and_says_what_would_have_been_lost() {
    let world = World::new().await;
    some(&world.store, 1).await;
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    for step in 2..6 {
        some(&world.store, step).await;
        // Before the last round: then the store and the bucket have the same records, and can be compared.
        world.store.collect().await;
        shipper.round().await.unwrap();
    }
    let outcome = world.drill(u64::MAX).await.unwrap();
    assert!(outcome.passed() && outcome.moments.len() == 2, "{outcome:?}");
    let (latest, earlier) = (&outcome.moments[0], &outcome.moments[1]);
    assert!(latest.is_latest && latest.seq == shipper.shipped().0 && earlier.seq < latest.seq);
    assert_eq!(latest.bodies as usize, world.store.bodies().await.len(), "all of a small store");
    assert!(latest.records > 10 && latest.manifests > 3 && latest.bytes > 250_000, "{latest:?}");
    assert!(latest.compared > 3 && latest.packs == latest.packs_in_all && latest.is_whole);
    assert_eq!(world.states().await, [VerifiedState::Verified]);

    some(&world.store, 6).await;
    let behind = world.drill(u64::MAX).await.unwrap();
    assert!(behind.passed(), "{behind:?}");
    assert!(behind.moments[0].lost_seconds.unwrap() >= 1.0, "what was not shipped: {behind:?}");
    assert_eq!(behind.moments[1].lost_seconds, None);

    // Of that some 800,000 are for the rows.
    let part = world.drill(1_900_000).await.unwrap();
    assert!(part.passed(), "{part:?}");
    assert!(part.moments[0].packs < part.moments[0].packs_in_all && !part.moments[0].is_whole, "{part:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_draws_no_moment_whose_log_was_pruned() {
    let world = World::new().await;
    some(&world.store, 1).await;
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    for step in 2..8 {
        some(&world.store, step).await;
        shipper.round().await.unwrap();
    }
    let catalogue = Catalogue::load(&world.repository).await.unwrap();
    let pruned =
        catalogue.objects().keys().filter(|name| name.to_string().starts_with("log")).map(ObjectName::key);
    for key in pruned {
        world.remote.delete(&[key]).await.unwrap();
    }
    shipper.snapshot(true).await.unwrap();
    some(&world.store, 8).await;
    shipper.round().await.unwrap();
    for _ in 0..3 {
        let outcome = world.drill(u64::MAX).await.unwrap();
        assert!(outcome.passed() && outcome.moments.len() == 2, "{outcome:?}");
    }
}

/// A small image, and a long log behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drill_replays_of_the_log_counts() {
    let world = World::new().await;
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    shipper.snapshot(false).await.unwrap();
    for n in 0..300 {
        world.store.put(&format!("key-{n}"), b"small", false).await;
    }
    shipper.round().await.unwrap();
    let catalogue = Catalogue::load(&world.repository).await.unwrap();
    let plan = Plan::make(&world.repository, &catalogue, Target::Latest).await.unwrap();
    let log: u64 = plan.log.iter().map(|segment| segment.stamp.bytes).sum();
    let least = plan.snapshot.base.length * 2 + log;
    for (may_write, what) in [(least - 1, "too little"), (least + 1, "replaying it takes more")] {
        let error = world.drill(may_write).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains(&format!("may write {may_write}")), "{what}: {told}");
    }
    assert!(world.drill(u64::MAX).await.unwrap().passed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_nobody_else_reads_what_a_drill_restores() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let scratch = ScratchDir::new(dir.path()).unwrap();
    let mode = std::fs::metadata(scratch.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    std::fs::write(scratch.path().join("meta/a"), vec![1; 10_000]).unwrap();
    assert!(used_bytes(scratch.path()).unwrap() >= 10_000);
    drop(scratch);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Also while the bucket does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_drill_that_is_stopped_waits_for_no_answer() {
    let world = World::new().await;
    some(&world.store, 1).await;
    world.store.shipper(&world.repository).await.unwrap().snapshot(false).await.unwrap();
    let scratch = world.dir.path().join("scratch");
    let stop = CancellationToken::new();
    let drilling = drill_until(&world.repository, &world.store, &scratch, u64::MAX, stop.clone());
    let stopping = async {
        while std::fs::read_dir(&scratch).unwrap().count() == 0 {
            tokio::task::yield_now().await;
        }
        let before = world.remote.calls();
        world.remote.script(Verb::Get, Fault::Delay(Duration::from_secs(86_400)));
        while world.remote.calls() == before {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(drilling, stopping) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.unwrap();
    assert!(matches!(ended, Err(BackupError::Stopped)), "{ended:?}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_without_room_for_any_file_is_no_proof() {
    let world = World::new().await;
    some(&world.store, 1).await;
    world.store.shipper(&world.repository).await.unwrap().snapshot(false).await.unwrap();
    let done = world.drill(200_000).await;
    assert!(done.is_err(), "{done:?}");
    assert_eq!(world.states().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_drill_fails_where_an_object_is_damaged_or_gone() {
    let world = World::new().await;
    some(&world.store, 1).await;
    world.store.shipper(&world.repository).await.unwrap().snapshot(false).await.unwrap();
    for of in ["packs", "plain", "base", "inventory"] {
        let catalogue = Catalogue::load(&world.repository).await.unwrap();
        let name = *catalogue.objects().keys().rfind(|name| name.to_string().starts_with(of)).unwrap();
        let whole = world.remote.get(&name.key(), Span::Whole).await.unwrap().unwrap().bytes;
        world.remote.inner().damage(&name.key(), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
        let outcome = world.drill(u64::MAX).await.unwrap();
        assert!(!outcome.passed(), "{name}");
        assert!(outcome.moments[0].problems[0].contains(&name.to_string()), "{outcome:?}");
        if of != "inventory" {
            assert_eq!(world.states().await, [VerifiedState::Corrupt], "{name}");
        }
        world.remote.inner().put(&name.key(), whole, &PutOptions::ALWAYS).await.unwrap();
        assert!(world.drill(u64::MAX).await.unwrap().passed());
        assert_eq!(world.states().await, [VerifiedState::Verified], "{name}");
    }
    for _ in 0..6 {
        world.remote.script(Verb::Get, Fault::Delay(std::time::Duration::ZERO));
    }
    world.remote.script(Verb::Get, Fault::Fail(Class::Unavailable));
    let failed = world.drill(u64::MAX).await;
    assert_eq!(failed.unwrap_err().class(), Some(Class::Unavailable), "that is not the backup's fault");
    assert_eq!(world.states().await, [VerifiedState::Verified]);
}

/// All objects are whole; but what was sent was damaged already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_drill_finds_a_store_that_was_damaged_when_it_was_shipped() {
    let world = World::new().await;
    some(&world.store, 1).await;
    let parts = world.store.engine.parts();
    let (id, entry) = parts.index.entries(None, 100).unwrap().into_iter().last().unwrap();
    world.store.harm(&entry.location);
    let mut shipper = world.store.shipper(&world.repository).await.unwrap();
    shipper.snapshot(false).await.unwrap_err();
    // Nobody has healed it in an hour.
    world.store.pass(3_600_000);
    shipper.snapshot(false).await.unwrap();
    let outcome = world.drill(u64::MAX).await.unwrap();
    assert!(!outcome.passed());
    let problems = outcome.moments[0].problems.join("\n");
    assert!(problems.contains(&id.to_string()) && problems.contains("lost"), "{problems}");
    assert_eq!(world.states().await, [VerifiedState::Corrupt]);
    let catalogue = Catalogue::load(&world.repository).await.unwrap();
    assert!(catalogue.objects().keys().any(|name| matches!(name, ObjectName::Verified(_))));
}
