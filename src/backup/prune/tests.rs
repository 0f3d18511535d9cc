use super::world::World;
use super::{Guard, InUse, Local, Plan, Pruned, Pruner, remote_time};
use crate::backup::retention::{Age, Reason, RetentionSettings};
use crate::backup::{BackupError, Epoch, LeaseError, ObjectName, SnapshotName};
use crate::remote::{Class, Fault, Faulty, PutOptions, Remote, Verb};
use crate::storage::PackId;
use crate::types::{CommitSeq, UnixMillis};
use async_trait::async_trait;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Random histories that are pruned; more by `SEDIMENT_PRUNE_SEEDS`.
const SEEDS: u64 = 40;

pub(super) struct Held(pub(super) Epoch);

#[async_trait]
impl Guard for Held {
    async fn held(&self) -> Result<Epoch, BackupError> {
        Ok(self.0)
    }
}

#[derive(Debug)]
struct Has(HashSet<PackId>);

#[async_trait]
impl Local for Has {
    async fn in_use(&self) -> Result<InUse, BackupError> {
        Ok(InUse { packs: self.0.clone(), ..InUse::default() })
    }
}

/// Lost after so many looks.
struct Loses {
    epoch: Epoch,
    after: u64,
    asked: AtomicU64,
}

#[async_trait]
impl Guard for Loses {
    async fn held(&self) -> Result<Epoch, BackupError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(asked <= self.after, "it went on");
        if asked < self.after { Ok(self.epoch) } else { Err(LeaseError::Lost("other".to_owned()).into()) }
    }
}

fn keep(last: u32, window_hours: u16) -> RetentionSettings {
    RetentionSettings {
        keep_last: last,
        retention_days: 0,
        window: Age::parse(&format!("{window_hours}h")).unwrap(),
        grace_seconds: 0,
        ..RetentionSettings::default()
    }
}

fn pruner(world: &World, settings: RetentionSettings) -> Pruner {
    Pruner::new(Arc::clone(&world.repository), None, settings).in_batches_of(3)
}

async fn plan(world: &World, pruner: &Pruner) -> Plan {
    // Whole seconds: what was written before is older than now.
    world.clock.advance_millis(1000);
    let now = remote_time(&*world.remote, &*world.random).await.unwrap();
    pruner.plan(Some(world.epoch), now).await.unwrap()
}

async fn execute(world: &World, pruner: &Pruner, plan: &Plan) -> Result<Pruned, BackupError> {
    let now = remote_time(&*world.remote, &*world.random).await.unwrap();
    let epoch = world.epoch;
    pruner.execute(plan, now, &Held(epoch), &|_| true).await
}

async fn prune(world: &World, settings: RetentionSettings) -> (Plan, Pruned) {
    let pruner = pruner(world, settings);
    let plan = plan(world, &pruner).await;
    assert_eq!(plan.missing, [] as [&str; 0]);
    let pruned = execute(world, &pruner, &plan).await.unwrap();
    (plan, pruned)
}

/// No manifest names what is not there.
async fn assert_whole(world: &World, what: &str) {
    let catalogue = world.catalogue().await;
    for name in catalogue.snapshots() {
        let checked = world.check_snapshot(&catalogue, name).await;
        assert!(checked.is_ok(), "{what}: snapshot {name}: {checked:?}");
    }
}

fn there(world: &World, name: ObjectName) -> bool {
    world.remote.inner().keys().contains(&name.to_string())
}

/// Ten snapshots, an hour apart, two rounds each; the third was verified.
async fn history(seed: u64) -> (World, Vec<SnapshotName>) {
    let mut world = World::new(seed).await;
    let mut names = Vec::new();
    for at in 0..10 {
        world.ship(2).await;
        world.collect();
        world.ship(1).await;
        if at % 4 == 3 {
            world.merge(true).await;
        }
        names.push(world.snapshot(at % 3 == 0).await);
        world.advance(1);
    }
    world.set_state(names[2], "verified").await;
    world.ship(3).await;
    (world, names)
}

#[tokio::test]
async fn what_no_rule_keeps_goes_and_every_kept_snapshot_is_whole() {
    let (world, names) = history(1).await;
    let (plan, pruned) = prune(&world, keep(2, 0)).await;
    let kept: Vec<_> = plan.snapshots.iter().filter(|one| one.is_kept()).map(|one| one.name).collect();
    assert_eq!(kept, [names[9], names[8], names[2]]);
    assert_eq!(plan.snapshots[7].reasons, [Reason::LastVerified]);
    assert_eq!(world.names().await, [names[2], names[8], names[9]]);
    assert_whole(&world, "after").await;
    assert!(world.restorable().await.contains(&world.seq), "the log behind the newest stays");
    assert_eq!(pruned.deleted, plan.goes);
    assert!(pruned.deleted.objects > 10 && pruned.deleted.bytes > 1000, "{pruned:?}");
    let again = self::plan(&world, &pruner(&world, keep(2, 0))).await;
    let (left, goes): (Vec<_>, _) = (again.snapshots, again.goes);
    assert_eq!((left.len(), goes.objects), (3, 0), "the second run finds nothing");
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let (world, _) = history(2).await;
    let before = world.remote.inner().keys();
    let found = plan(&world, &pruner(&world, keep(1, 0))).await;
    assert!(found.goes.objects > 0);
    assert_eq!(world.remote.inner().keys(), before);
    let shown = serde_json::to_value(&found).unwrap();
    assert_eq!(shown["snapshots"][0]["reasons"], serde_json::json!(["last", "newest"]));
    assert_eq!(shown["snapshots"][9]["reasons"], serde_json::json!([]));
}

#[tokio::test]
async fn i1_every_second_of_the_window_can_be_restored_afterwards() {
    let (world, _) = history(3).await;
    let before = world.restorable().await;
    let (plan, _) = prune(&world, keep(1, 4)).await;
    let begin = plan.window_begin.unwrap();
    let after = world.restorable().await;
    let inside: BTreeSet<CommitSeq> =
        before.iter().filter(|seq| world.stamps[*seq] > begin).copied().collect();
    assert!(inside.len() > 10 && inside.is_subset(&after), "{inside:?} {after:?}");
    assert!(after.len() < before.len());
    let first = world.stamps.iter().rfind(|(_, at)| **at <= begin).unwrap();
    assert!(after.contains(first.0), "the state at its first moment");
}

#[tokio::test]
async fn i1_what_is_young_or_may_still_be_named_waits() {
    let (mut world, _) = history(4).await;
    let orphans = [world.put_extent().await, world.put_extent().await];
    let loose = world.put_loose().await;
    let local: Arc<dyn Local> = Arc::new(Has([orphans[0].pack()].into()));
    let settings = RetentionSettings { grace_seconds: 3600, ..keep(1, 0) };
    let pruner = Pruner::new(Arc::clone(&world.repository), Some(local), settings);
    let young = plan(&world, &pruner).await;
    execute(&world, &pruner, &young).await.unwrap();
    assert!(orphans.iter().all(|extent| there(&world, extent.name())), "younger than the grace");
    world.advance(2);
    let old = plan(&world, &pruner).await;
    execute(&world, &pruner, &old).await.unwrap();
    assert_eq!(orphans.map(|extent| there(&world, extent.name())), [true, false], "of a pack of this store");
    assert!(there(&world, loose.name()), "named by an inventory that no snapshot stands behind");
    let probes = |key: &String| key.starts_with("probe/");
    assert!(!world.remote.inner().keys().iter().any(probes));
    // Another writer's epoch: then nobody meets it again.
    world.take_over(world.seq).await;
    world.advance(2);
    let later = plan(&world, &pruner).await;
    execute(&world, &pruner, &later).await.unwrap();
    assert!(!there(&world, orphans[0].name()));
}

#[tokio::test]
async fn foreign_objects_and_what_a_repository_is_are_not_touched() {
    let (world, _) = history(5).await;
    let foreign = crate::remote::RemoteKey::parse("somebody/else").unwrap();
    world.remote.put(&foreign, bytes::Bytes::from_static(b"x"), &PutOptions::ALWAYS).await.unwrap();
    let (plan, _) = prune(&world, keep(1, 0)).await;
    assert_eq!(plan.foreign, 1);
    let keys = world.remote.inner().keys();
    for name in ["somebody/else", "repository.json", "epochs/00000001.json"] {
        assert!(keys.contains(&name.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_something_is_missing_that_stays() {
    let (world, names) = history(6).await;
    let snapshot = crate::backup::Snapshot::get(&world.repository, names[9]).await.unwrap();
    let (name, _) = snapshot.base.objects().next().unwrap();
    world.remote.delete(&[name.key()]).await.unwrap();
    let before = world.remote.inner().keys();
    let pruner = pruner(&world, keep(1, 0));
    let found = plan(&world, &pruner).await;
    assert_eq!(found.missing, [name.to_string()]);
    let refused = execute(&world, &pruner, &found).await.unwrap_err();
    assert!(refused.to_string().contains(&name.to_string()), "{refused}");
    assert_eq!(world.remote.inner().keys(), before);
    // Once it is known that the snapshot is lost, it is in nobody's way.
    world.set_state(names[9], "corrupt").await;
    let (plan, _) = prune(&world, keep(1, 0)).await;
    assert!(
        plan.snapshots[0].is_kept() && plan.snapshots[1].is_kept(),
        "the newest, and the newest sound one"
    );
}

#[tokio::test]
async fn a_writer_prunes_only_once_it_has_begun() {
    let (world, _) = history(17).await;
    let pruner = Pruner::new(Arc::clone(&world.repository), Some(Arc::new(Has(HashSet::new()))), keep(1, 0));
    let next = world.epoch.next();
    assert!(matches!(pruner.plan(next, UnixMillis::new(0)).await, Err(BackupError::Unfit(_))));
    pruner.plan(Some(world.epoch), UnixMillis::new(0)).await.unwrap();
}

/// What it could adopt is named by the epoch before it, which is all that can be restored until then.
#[tokio::test]
async fn i1_an_epoch_that_began_anew_counts_once_it_has_a_snapshot() {
    let (mut world, names) = history(18).await;
    let (old, end) = (world.epoch, world.seq);
    world.begin_anew().await;
    world.ship(1).await;
    world.advance(100);
    prune(&world, keep(1, 1)).await;
    assert_whole(&world, "anew").await;
    let catalogue = world.catalogue().await;
    let path = catalogue.timeline().path_to(old).unwrap();
    assert_eq!(catalogue.chain(&path, names[9].seq).reaches, end);
    // Whatever the clocks say.
    let runs = super::lines::runs(&catalogue, UnixMillis::new(i64::MAX)).unwrap();
    assert_eq!(runs.iter().map(|run| run.snapshots.len()).collect::<Vec<_>>(), [0, 2]);
    world.snapshot(true).await;
    world.advance(100);
    let (plan, _) = prune(&world, keep(1, 1)).await;
    assert_eq!(plan.snapshots.iter().filter(|one| one.is_kept()).count(), 2, "the new one, and the verified");
}

/// Starts of gateways, most of which shipped little.
#[tokio::test]
async fn i1_epochs_that_nothing_needs_go_last_and_history_goes_on() {
    let mut world = World::new(21).await;
    for at in 0..8 {
        world.ship(2).await;
        if at % 2 == 0 {
            world.snapshot(true).await;
        }
        world.ship(1).await;
        world.advance(1);
        world.take_over(world.seq).await;
    }
    world.snapshot(true).await;
    world.ship(1).await;
    let before = world.repository.epochs().await.unwrap();
    let restorable = world.restorable().await;
    // A window keeps the line to where it begins.
    let (plan, _) = prune(&world, keep(1, 4)).await;
    let begin = plan.window_begin.unwrap();
    let kept = world.repository.epochs().await.unwrap();
    assert!(kept.len() < before.len() && kept.len() > 3 && before.ends_with(&kept), "{kept:?} of {before:?}");
    let inside = restorable.iter().filter(|seq| world.stamps[*seq] > begin);
    let after = world.restorable().await;
    assert!(inside.clone().count() > 5 && inside.clone().all(|seq| after.contains(seq)));
    world.advance(10);
    world.take_over(world.seq).await;
    world.ship(1).await;
    world.snapshot(true).await;
    let pruner = pruner(&world, keep(1, 0));
    let plan = self::plan(&world, &pruner).await;
    assert!(matches!(plan.delete.last(), Some((ObjectName::Epoch(_), _))), "they go last");
    execute(&world, &pruner, &plan).await.unwrap();
    assert_eq!(world.repository.epochs().await.unwrap(), [world.epoch]);
    assert_whole(&world, "without old epochs").await;
    // Whoever goes on is numbered behind it, and finds all that is there.
    world.take_over(world.seq).await;
    world.ship(1).await;
    assert!(world.restorable().await.contains(&world.seq));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_stops_it() {
    let (world, names) = history(7).await;
    let name = ObjectName::Snapshot(names[0]);
    world.remote.inner().damage(&name.key(), |bytes| bytes[3] ^= 1);
    world.clock.advance_millis(1000);
    let failed = pruner(&world, keep(1, 0)).plan(Some(world.epoch), UnixMillis::new(i64::MAX)).await;
    assert!(failed.unwrap_err().to_string().contains(&name.to_string()));
}

/// What verification has written tells what to keep, and keeps nobody from pruning.
#[tokio::test]
async fn what_is_written_of_a_snapshot_and_is_not_believed_counts_for_nothing() {
    let (world, names) = history(7).await;
    let name = ObjectName::Verified(names[2]);
    assert!(world.remote.inner().damage(&name.key(), |bytes| bytes[3] ^= 1));
    let (plan, _) = prune(&world, keep(1, 0)).await;
    assert!(plan.snapshots.iter().all(|one| !one.reasons.contains(&Reason::LastVerified)), "{plan:?}");
    assert_whole(&world, "without it").await;
}

/// Each delete in turn fails, before or after it was done; then a new run finds the rest.
#[tokio::test]
async fn i1_a_crash_at_any_delete_leaves_only_garbage() {
    let (world, _) = history(8).await;
    let mut settings = keep(2, 3);
    settings.keep_daily = 1;
    let (_, whole) = prune(&world, settings.clone()).await;
    let end = world.remote.inner().keys();
    let mut crashes = 0;
    for fault in [Fault::Fail(Class::Unavailable), Fault::LoseAnswer(Class::Unavailable)] {
        for nth in 0.. {
            let (world, _) = history(8).await;
            let pruner = pruner(&world, settings.clone());
            let plan = plan(&world, &pruner).await;
            // One is for the look at the remote's clock.
            for _ in 0..=nth {
                world.remote.script(Verb::Delete, Fault::Delay(Duration::ZERO));
            }
            world.remote.script(Verb::Delete, fault.clone());
            if execute(&world, &pruner, &plan).await.is_ok() {
                break;
            }
            crashes += 1;
            assert_whole(&world, &format!("{fault:?} {nth}")).await;
            let named = world.check_named(&world.catalogue().await).await;
            assert!(named.is_ok(), "{fault:?} {nth}: {named:?}");
            let (_, rest) = prune(&world, settings.clone()).await;
            assert!(rest.deleted.objects <= whole.deleted.objects);
            assert_eq!(world.remote.inner().keys(), end, "{fault:?} {nth}");
        }
    }
    assert!(crashes > 20, "{crashes}");
}

/// The process dies between any two steps.
#[tokio::test]
async fn i1_a_run_that_is_dropped_anywhere_leaves_only_garbage() {
    for polls in (0..400).step_by(7) {
        let (world, _) = history(9).await;
        let pruner = pruner(&world, keep(1, 2));
        let plan = plan(&world, &pruner).await;
        {
            let mut run = std::pin::pin!(execute(&world, &pruner, &plan));
            for _ in 0..polls {
                if futures::poll!(run.as_mut()).is_ready() {
                    break;
                }
            }
        }
        assert_whole(&world, &format!("{polls} polls")).await;
    }
}

#[tokio::test]
async fn i1_a_backup_that_is_made_meanwhile_stays_whole() {
    for steps in 0..60 {
        let (mut world, _) = history(10).await;
        let settings = keep(1, 0);
        world.clock.advance_millis(1000);
        let now = remote_time(&*world.remote, &*world.random).await.unwrap();
        let (repository, epoch) = (Arc::clone(&world.repository), world.epoch);
        let pruner = Pruner::new(repository, None, settings.clone()).in_batches_of(2);
        let pruning = async {
            let plan = pruner.plan(Some(epoch), now).await?;
            pruner.execute(&plan, now, &Held(epoch), &|_| true).await
        };
        let writing = async {
            for _ in 0..steps * 5 {
                tokio::task::yield_now().await;
            }
            world.ship(2).await;
            world.merge(true).await;
            let name = world.snapshot(steps % 2 == 0).await;
            world.ship(1).await;
            world.snapshot(false).await;
            name
        };
        let (pruned, name) = tokio::join!(pruning, writing);
        // A snapshot that came and went between listing and reading is an error; none is made of it here.
        pruned.unwrap();
        assert!(world.names().await.contains(&name), "{steps}");
        assert_whole(&world, &format!("{steps} steps")).await;
        assert!(world.restorable().await.contains(&world.seq), "{steps}");
    }
}

#[tokio::test]
async fn i1_without_the_lease_nothing_more_is_deleted() {
    for calls in 0..5 {
        let (world, _) = history(11).await;
        let pruner = pruner(&world, keep(1, 0));
        let plan = plan(&world, &pruner).await;
        let guard = Loses { epoch: world.epoch, after: calls, asked: AtomicU64::new(0) };
        let before = world.remote.inner().keys().len();
        let lost = pruner.execute(&plan, UnixMillis::new(0), &guard, &|_| true).await.unwrap_err();
        assert!(matches!(lost, BackupError::Lease(LeaseError::Lost(_))), "{lost}");
        assert!(before - world.remote.inner().keys().len() <= 3 * calls as usize);
        assert_whole(&world, "lost").await;
    }
    let (world, _) = history(11).await;
    let pruner = pruner(&world, keep(1, 0));
    let plan = plan(&world, &pruner).await;
    let before = world.remote.inner().keys();
    let other = Held(Epoch::new(77).unwrap());
    let refused = pruner.execute(&plan, UnixMillis::new(0), &other, &|_| true).await.unwrap_err();
    assert!(matches!(refused, BackupError::Unfit(_)), "another lease than the plan's: {refused}");
    let look = pruner.plan(None, UnixMillis::new(0)).await.unwrap();
    let epoch = world.epoch;
    assert!(
        pruner.execute(&look, UnixMillis::new(0), &Held(epoch), &|_| true).await.is_err(),
        "a look alone"
    );
    assert_eq!(world.remote.inner().keys(), before);
}

#[tokio::test]
async fn it_stops_when_it_is_told_to_and_goes_on_later() {
    let (world, _) = history(12).await;
    let pruner = pruner(&world, keep(1, 0));
    let plan = plan(&world, &pruner).await;
    let epoch = world.epoch;
    let few = |pruned: &Pruned| pruned.deleted.objects < 6;
    let stopped = pruner.execute(&plan, UnixMillis::new(0), &Held(epoch), &few).await.unwrap_err();
    assert!(matches!(stopped, BackupError::Stopped), "{stopped}");
    assert_whole(&world, "stopped").await;
    let (rest, _) = prune(&world, keep(1, 0)).await;
    assert_eq!(rest.goes.objects, plan.goes.objects - 6);
}

#[tokio::test]
async fn what_is_locked_is_skipped_and_told() {
    for is_set in [true, false] {
        let (world, names) = history(13).await;
        let locked_until = UnixMillis::new(crate::sys::Clock::now(&*world.clock).get() + 48 * 3_600_000);
        let found = plan(&world, &pruner(&world, keep(1, 0))).await;
        let packs = found.delete.iter().filter(|(name, _)| matches!(name, ObjectName::Extent { .. }));
        let (extent, bytes) = *packs.clone().next().unwrap();
        world.remote.retain(&extent.key(), locked_until).await.unwrap();
        world.remote.retain(&ObjectName::Snapshot(names[0]).key(), locked_until).await.unwrap();
        let pruner = pruner(&world, keep(1, 0)).locking(is_set.then_some(Duration::from_secs(3600)));
        let found = plan(&world, &pruner).await;
        let reasons = found.snapshots.iter().find(|one| one.name == names[0]).unwrap().reasons.clone();
        assert_eq!(reasons, [Reason::Locked], "a locked manifest keeps what it names");
        let pruned = execute(&world, &pruner, &found).await.unwrap();
        let is_garbage = found.delete.iter().any(|(name, _)| *name == extent);
        assert_eq!(pruned.locked.bytes, if is_garbage { bytes } else { 0 }, "{is_set}");
        assert!(there(&world, extent) && there(&world, ObjectName::Snapshot(names[0])));
        assert_whole(&world, "locked").await;
        world.advance(49);
        prune(&world, keep(1, 0)).await;
        assert!(!there(&world, extent) && !there(&world, ObjectName::Snapshot(names[0])));
    }
}

#[tokio::test]
async fn what_stays_is_locked_to_the_end_of_the_window() {
    let (world, names) = history(14).await;
    let day = Duration::from_secs(24 * 3600);
    let pruner = pruner(&world, keep(1, 0)).locking(Some(day));
    let found = plan(&world, &pruner).await;
    let pruned = execute(&world, &pruner, &found).await.unwrap();
    let end = |stat: Option<crate::remote::Stat>| stat.unwrap().retain_until;
    let stays = [ObjectName::Snapshot(names[9]), ObjectName::Repository, ObjectName::Epoch(world.epoch)];
    for name in stays {
        let until = end(world.remote.head(&name.key()).await.unwrap()).unwrap();
        let left = until.get() - crate::sys::Clock::now(&*world.clock).get();
        assert!(left >= day.as_millis() as i64, "{name}: {left}");
    }
    assert!(pruned.extended as usize == found.keep.len() - 1, "all but what verification writes: {pruned:?}");
    world.advance(5);
    let found = plan(&world, &pruner).await;
    assert_eq!(execute(&world, &pruner, &found).await.unwrap().extended, 0, "they have enough left");
    world.advance(5);
    let found = plan(&world, &pruner).await;
    assert_eq!(execute(&world, &pruner, &found).await.unwrap().extended, pruned.extended);
}

#[tokio::test]
async fn deletes_go_through_their_own_credentials() {
    let (world, _) = history(15).await;
    let deleter = Arc::new(Faulty::new(Arc::clone(&world.remote)));
    let pruner = pruner(&world, keep(1, 0)).deleting_through(deleter.clone());
    let found = plan(&world, &pruner).await;
    assert_eq!(deleter.calls(), 0, "reading needs them not");
    deleter.script(Verb::Delete, Fault::Fail(Class::Denied));
    let denied = execute(&world, &pruner, &found).await.unwrap_err();
    assert_eq!(denied.class(), Some(Class::Denied));
    execute(&world, &pruner, &found).await.unwrap();
    assert!(deleter.calls() > 3);
}

/// A store that was restored to an older point can still be taken back to where it was, as long as the window lasts.
#[tokio::test]
async fn i1_a_branch_that_was_left_stays_for_the_window() {
    let (mut world, names) = history(16).await;
    let (left, left_epoch) = (world.seq, world.epoch);
    world.take_over(names[5].seq).await;
    world.ship(2).await;
    world.advance(1);
    prune(&world, keep(1, 8)).await;
    assert_whole(&world, "branched").await;
    assert!(world.restorable().await.contains(&world.seq), "the newest has no snapshot of its own yet");
    let on_left = world.restorable_in(left_epoch).await;
    assert!(on_left.contains(&names[9].seq) && on_left.contains(&left), "{on_left:?}");
    assert!(on_left.range(names[5].seq..).count() > 8, "all of it: {on_left:?}");
    // Later only what is going on counts.
    for _ in 0..3 {
        world.advance(8);
        world.ship(1).await;
        world.snapshot(false).await;
    }
    prune(&world, keep(1, 8)).await;
    assert!(!world.names().await.contains(&names[9]));
    assert_whole(&world, "later").await;
}

/// What the writer has in mind for its next manifest is in no manifest yet.
#[tokio::test]
async fn i1_what_the_next_manifest_names_is_still_there() {
    for case in 0..3 {
        let (mut world, _) = history(19).await;
        world.snapshot(true).await;
        for _ in 0..3 {
            world.ship(1).await;
            world.advance(1);
        }
        world.snapshot(false).await;
        match case {
            0 => world.merge(true).await,
            1 => {
                world.ship(1).await;
                world.ship(1).await;
                world.merge(false).await;
            }
            _ => {
                world.ship(1).await;
                world.put_base().await;
            }
        }
        world.advance(50);
        prune(&world, keep(1, 0)).await;
        world.ship(1).await;
        world.snapshot(false).await;
        assert_whole(&world, &format!("case {case}")).await;
    }
}

/// A gateway that was restarted goes on on the same line.
#[tokio::test]
async fn a_restart_keeps_no_snapshot_of_its_own() {
    let (mut world, _) = history(20).await;
    for _ in 0..3 {
        world.take_over(world.seq).await;
        world.ship(1).await;
        world.snapshot(false).await;
        world.advance(1);
    }
    let (plan, _) = prune(&world, keep(1, 48)).await;
    let kept: Vec<_> = plan.snapshots.iter().filter(|one| one.is_kept()).collect();
    assert_eq!(kept.len(), 3, "the newest, the verified, and the begin of the window: {kept:?}");
}

#[tokio::test]
async fn i1_whatever_happens_between_prunes_the_window_and_the_kept_are_whole() {
    let seeds =
        std::env::var("SEDIMENT_PRUNE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        println!("seed {seed}");
        live(seed).await;
    }
}

async fn live(seed: u64) {
    let mut world = World::new(seed).await;
    let settings = RetentionSettings {
        keep_daily: world.below(3) as u32,
        ..keep(1 + world.below(3) as u32, (world.below(5) * 6) as u16)
    };
    let mut verified: Option<SnapshotName> = None;
    world.ship(1).await;
    world.snapshot(true).await;
    for step in 0..40 {
        match world.below(12) {
            0..=4 => {
                let records = 1 + world.below(4);
                world.ship(records).await;
            }
            5 => world.collect(),
            6 => {
                let is_full = world.below(3) == 0;
                let name = world.snapshot(is_full).await;
                if world.below(4) == 0 {
                    world.set_state(name, "verified").await;
                    verified = Some(name);
                }
            }
            7 => world.merge(true).await,
            8 => {
                world.put_extent().await;
                world.put_loose().await;
            }
            9 => world.take_over(world.seq).await,
            10 => {
                let points: Vec<_> = world.restorable().await.into_iter().collect();
                let point = points[world.below(points.len() as u64) as usize];
                world.take_over(point).await;
            }
            _ => {
                let before = world.restorable().await;
                let (plan, _) = prune(&world, settings.clone()).await;
                check(&world, &plan, &before, &format!("seed {seed} step {step}")).await;
                let again = self::plan(&world, &pruner(&world, settings.clone())).await;
                assert_eq!(again.goes.objects, 0, "seed {seed} step {step}: a second run");
                if let Some(name) = verified {
                    assert!(
                        there(&world, ObjectName::Snapshot(name)),
                        "seed {seed} step {step}: the verified"
                    );
                }
            }
        }
        world.advance(world.below(9) as i64);
        world.clock.advance_millis(1000);
    }
}

async fn check(world: &World, plan: &Plan, before: &BTreeSet<CommitSeq>, at: &str) {
    assert_whole(world, at).await;
    let after = world.restorable().await;
    let begin = plan.window_begin.unwrap_or(UnixMillis::new(i64::MAX));
    // To the first moment of the window: the last record that is not later.
    let first = world.stamps.iter().rfind(|(_, at)| **at <= begin).map(|(seq, _)| *seq);
    for seq in before {
        let is_inside = world.stamps[seq] > begin || Some(*seq) == first || *seq == world.seq;
        assert!(!is_inside || after.contains(seq), "{at}: record {seq} cannot be restored any more");
    }
}
