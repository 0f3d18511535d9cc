use super::{Plan, Target};
use crate::backup::testing::{STORE, TestRemote, repository};
use crate::backup::testing_store::{Bodies, TestStore, restore};
use crate::backup::{BackupError, Catalogue, Epoch, EpochRecord, LogLevel, ObjectName, Repository, Snapshot};
use crate::remote::{PutOptions, Remote, Span};
use crate::sys::{Random, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// A repository, and what the store was at its moments.
struct Past {
    dir: tempfile::TempDir,
    repository: Arc<Repository>,
    remote: TestRemote,
    store: TestStore,
    bodies: Bodies,
    moments: Vec<(CommitSeq, UnixMillis, Bodies)>,
    snapshots: Vec<Snapshot>,
}

impl Past {
    /// Rounds; after the third and the sixth a snapshot with an image of its own, after the ninth one that goes on from that. Then a round.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (repository, remote) = repository(true).await;
        let store = TestStore::open(&dir.path().join("store")).await;
        let (bodies, moments, snapshots) = (Bodies::new(), Vec::new(), Vec::new());
        let mut past = Self { dir, repository, remote, store, bodies, moments, snapshots };
        past.change(0).await;
        let mut shipper = past.store.shipper(&past.repository).await.unwrap();
        for round in 1..=10 {
            past.change(round).await;
            if round % 3 == 0 {
                past.snapshots.push(shipper.snapshot(round < 9).await.unwrap());
            } else {
                shipper.round().await.unwrap();
            }
            past.moments.push((shipper.shipped().0, past.store.now(), past.bodies.clone()));
        }
        past
    }

    async fn change(&mut self, seed: u64) {
        for n in 0..3 {
            let (key, mut content) = (format!("key-{}", (seed * 2 + n) % 7), vec![0; 9_000 * n as usize + 5]);
            SeededRandom::new(seed * 10 + n).fill(&mut content);
            self.store.put(&key, &content, n == 2).await;
            self.bodies.insert(key, content);
        }
        self.store.follow().await;
    }

    async fn plan(&self, target: Target) -> Result<Plan, BackupError> {
        Plan::make(&self.repository, &Catalogue::load(&self.repository).await?, target).await
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    /// Restores and compares.
    async fn compare(&self, target: Target, wanted: &Bodies, what: &str) -> Plan {
        let to = self.to();
        let (restored, plan) =
            restore(&self.repository, target, &to).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(restored.bodies().await == *wanted, "{what}: {target:?}");
        drop(restored);
        std::fs::remove_dir_all(to).unwrap();
        plan
    }

    async fn take(&self, name: ObjectName) -> Bytes {
        let bytes = self.remote.get(&name.key(), Span::Whole).await.unwrap().unwrap().bytes;
        self.remote.delete(&[name.key()]).await.unwrap();
        bytes
    }

    async fn put(&self, name: ObjectName, bytes: Bytes) {
        self.remote.put(&name.key(), bytes, &PutOptions::ALWAYS).await.unwrap();
    }

    fn flip(&self, name: ObjectName) {
        let flip = |bytes: &mut Vec<u8>| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        };
        assert!(self.remote.inner().damage(&name.key(), flip));
    }
}

/// An older moment never passes for the one that was asked for, also when the snapshot behind it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_time_whose_log_was_pruned_is_refused() {
    let past = Past::new().await;
    let catalogue = Catalogue::load(&past.repository).await.unwrap();
    for name in catalogue.objects().keys().filter(|name| matches!(name, ObjectName::Log { .. })) {
        past.take(*name).await;
    }
    let (seq, at, _) = &past.moments[3];
    assert!(past.snapshots[0].seq < *seq && *seq < past.snapshots[1].seq);
    let error = past.plan(Target::Time(*at)).await.unwrap_err().to_string();
    assert!(error.contains("gap"), "{error}");
    let (name, bodies) = (past.snapshots[1].name(), &past.moments[5].2);
    past.compare(Target::Snapshot(name), bodies, "a snapshot that needs no log").await;
}

/// A path needs its epochs; a snapshot that is named does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_named_snapshot_comes_back_without_the_epochs() {
    let past = Past::new().await;
    past.flip(ObjectName::Epoch(Epoch::FIRST));
    let error = Catalogue::load_for(&past.repository, Target::Latest).await.unwrap_err();
    assert!(error.is_damage(), "{error}");
    let (name, bodies) = (past.snapshots[1].name(), &past.moments[5].2);
    past.compare(Target::Snapshot(name), bodies, "by its name").await;
}

fn epoch(number: u32) -> Epoch {
    Epoch::new(number).unwrap()
}

async fn begin(repository: &Repository, number: u32, parent: u32, from_seq: CommitSeq) {
    let record = EpochRecord {
        epoch: epoch(number),
        parent: Some(epoch(parent)),
        from_seq,
        store_id: STORE,
        tenure: String::new(),
        holder: String::new(),
        started: UnixMillis::new(0),
    };
    repository.write(ObjectName::Epoch(epoch(number)), &record, &PutOptions::ABSENT).await.unwrap();
}

/// A snapshot that a writer makes first thing, of what the one before it has shipped, counts for those that come after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_snapshot_of_an_epoch_that_shipped_no_record_is_restored_from() {
    let past = Past::new().await;
    let (seq, _, wanted) = past.moments.last().unwrap().clone();
    let mut shipper = past.store.shipper(&past.repository).await.unwrap();
    let made = shipper.snapshot(true).await.unwrap();
    let number = made.epoch.get();
    drop(shipper);
    begin(&past.repository, number + 1, number, made.seq).await;
    let first_thing =
        Snapshot { epoch: epoch(number + 1), made: UnixMillis::new(made.made.get() + 1000), ..made };
    first_thing.put(&past.repository, &PutOptions::ABSENT).await.unwrap();
    begin(&past.repository, number + 2, number + 1, first_thing.seq).await;
    let catalogue = Catalogue::load(&past.repository).await.unwrap();
    let others = catalogue.snapshots().into_iter().filter(|name| *name != first_thing.name());
    let others: Vec<_> = others.map(|name| ObjectName::Snapshot(name).key()).collect();
    past.remote.delete(&others).await.unwrap();
    for target in [Target::Latest, Target::Seq(first_thing.seq), Target::Time(first_thing.made)] {
        let plan = past.compare(target, &wanted, "of an epoch without records").await;
        assert_eq!((plan.snapshot.name(), plan.epoch), (first_thing.name(), first_thing.epoch));
        assert!(plan.seq > seq);
    }
    // A store that was restored from it goes on behind it, and sends nothing again.
    let (restored, _) = restore(&past.repository, Target::Latest, &past.to()).await.unwrap();
    let mut shipper = restored.shipper(&past.repository).await.unwrap();
    assert_eq!(shipper.shipped().0, first_thing.seq);
    assert!(shipper.round().await.unwrap().sent_bytes < 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_where_the_newest_snapshot_is_damaged_the_one_before_it_is_restored_from() {
    let past = Past::new().await;
    let (seq, _, wanted) = past.moments.last().unwrap();
    let [older, before, newest] = &past.snapshots[..] else { panic!() };
    let merged = newest.log.iter().find(|segment| segment.level != LogLevel::Live).unwrap().name();
    let (base, _) = newest.base.objects().next().unwrap();
    assert_eq!(before.base, newest.base);
    let harms = [
        (ObjectName::Snapshot(newest.name()), before),
        (newest.inventory.name(), before),
        (merged, before),
        (base, older),
    ];
    let mut targets = [Target::Latest, Target::Seq(*seq), Target::Time(past.store.now())].into_iter().cycle();
    for (name, wanted_start) in harms {
        for is_gone in [true, false] {
            let whole = past.take(name).await;
            if !is_gone {
                past.put(name, whole.clone()).await;
                past.flip(name);
            }
            let what = format!("{name}, {}", if is_gone { "gone" } else { "flipped" });
            let target = targets.next().unwrap();
            let plan = past.compare(target, wanted, &what).await;
            assert_eq!(plan.snapshot.name(), wanted_start.name(), "{what}");
            assert_eq!(plan.seq, *seq, "{what}");
            // Of a manifest that is gone nobody knows.
            if !is_gone || !matches!(name, ObjectName::Snapshot(_)) {
                let told = plan.passed_over.join("\n");
                assert!(told.contains(&name.to_string()), "{what}: {told}");
                // What stands in an image, only who reads it sees.
                let is_seen = is_gone || name != base && name != merged;
                let told = past.plan(target).await.unwrap().passed_over;
                assert_eq!(!told.is_empty(), is_seen, "{what}: a look alone");
            }
            past.put(name, whole).await;
        }
    }
    let whole = past.plan(Target::Latest).await.unwrap();
    assert_eq!((whole.snapshot.name(), whole.passed_over.len()), (newest.name(), 0));
    // All of them: then it is said what is wrong, and nothing is restored.
    for snapshot in &past.snapshots {
        past.take(snapshot.inventory.name()).await;
    }
    let refused = past.plan(Target::Latest).await.unwrap_err().to_string();
    assert!(refused.contains(&newest.inventory.name().to_string()), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_damage_behind_a_moment_is_in_nobodys_way() {
    let past = Past::new().await;
    let [oldest, middle, newest] = &past.snapshots[..] else { panic!() };
    let catalogue = Catalogue::load(&past.repository).await.unwrap();
    let later = |name: &&ObjectName| match name {
        ObjectName::Log { first, .. } => *first > middle.seq,
        ObjectName::Snapshot(name) => *name == newest.name(),
        _ => false,
    };
    for name in catalogue.objects().keys().filter(later) {
        past.flip(*name);
    }
    for (seq, time, wanted) in
        past.moments.iter().filter(|(seq, _, _)| oldest.seq <= *seq && *seq <= middle.seq)
    {
        let plan = past.compare(Target::Seq(*seq), wanted, "before the damage").await;
        assert!(plan.passed_over.is_empty(), "{:?}", plan.passed_over);
        if *seq < middle.seq {
            past.compare(Target::Time(*time), wanted, "before the damage").await;
        }
    }
    let refused = past.plan(Target::Latest).await.unwrap_err().to_string();
    assert!(refused.contains("gap") && refused.contains("log/"), "{refused}");
}

/// Segments that were merged stay for a while: where one is damaged the others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_records_that_another_segment_has_too_are_taken_from_there() {
    let past = Past::new().await;
    let [_, _, newest] = &past.snapshots[..] else { panic!() };
    let merged = newest.log.iter().find(|segment| segment.level != LogLevel::Live).unwrap();
    past.flip(merged.name());
    past.take(ObjectName::Snapshot(newest.name())).await;
    let (_, _, wanted) = past.moments.last().unwrap();
    let plan = past.compare(Target::Latest, wanted, "around a merged segment").await;
    assert!(plan.passed_over.iter().any(|why| why.contains(&merged.name().to_string())));
    // The end of the log is lost: what is before it is not restored in its place without being asked for.
    let last = plan.log.last().unwrap();
    past.flip(last.name());
    let refused = past.plan(Target::Latest).await.unwrap_err().to_string();
    assert!(refused.contains("gap") && refused.contains(&last.name().to_string()), "{refused}");
    let before = CommitSeq::new(last.first.get() - 1);
    assert_eq!(past.plan(Target::Seq(before)).await.unwrap().seq, before);
}

/// A snapshot alone knew how far the store was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_an_older_moment_never_passes_for_the_latest() {
    let past = Past::new().await;
    let mut shipper = past.store.shipper(&past.repository).await.unwrap();
    let last = shipper.snapshot(true).await.unwrap();
    let catalogue = Catalogue::load(&past.repository).await.unwrap();
    let log = |name: &&ObjectName| matches!(name, ObjectName::Log { last: end, .. } if *end >= last.seq);
    for name in catalogue.objects().keys().filter(log) {
        past.take(*name).await;
    }
    assert_eq!(past.plan(Target::Latest).await.unwrap().seq, last.seq);
    past.flip(ObjectName::Snapshot(last.name()));
    for target in [Target::Latest, Target::Time(past.store.now())] {
        let refused = past.plan(target).await.unwrap_err().to_string();
        assert!(refused.contains("gap"), "{refused}");
    }
}
