use super::testing::{World, chunk, content};
use super::{GcAction, GcPhase, GcSettings, Schedule};
use crate::engine::pack::RecordKind;
use crate::meta::{ChangeLog, Commit, MetaStore, NewBody};
use crate::sys::{Random, SeededRandom};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

fn allocated(world: &World) -> u64 {
    world.packs.packs().unwrap().iter().map(|pack| pack.allocated).sum()
}

/// One pack to punch, one to write anew, one to remove, each of about 200 KiB.
async fn garbage() -> World {
    garbage_in(World::new().await, [30, 5, 0], 40).await
}

/// A pack for each of `kept`: so many chunks stay, the rest up to `all` is dropped.
async fn garbage_in(mut world: World, kept: [u64; 3], all: u64) -> World {
    for (pack, kept) in [0, 100, 200].into_iter().zip(kept) {
        world.put(&format!("drop-{pack}"), &seeds(pack + kept..pack + all)).await;
        if kept > 0 {
            world.put(&format!("keep-{pack}"), &seeds(pack..pack + kept)).await;
        }
        world.packs.seal().unwrap();
        world.delete(&format!("drop-{pack}")).await;
    }
    world.follow().await;
    world
}

#[tokio::test]
async fn i3_space_of_deleted_objects_returns_to_the_file_system() {
    let world = garbage_in(World::on_disk().await, [30, 5, 0], 40).await;
    let before = allocated(&world);
    let report = world.gc().await.unwrap();
    let after = allocated(&world);
    assert_eq!((report.packs_removed, report.packs_rewritten, report.packs_punched), (1, 1, 1), "{report}");
    assert_eq!(report.freed_bytes, before - after);
    let dropped: usize =
        [30..40, 105..140, 200..240].into_iter().flatten().map(|seed| content(seed).len()).sum();
    let share = report.freed_bytes as f64 / dropped as f64;
    assert!(share > 0.8, "only {share:.2} of what was deleted came back");
    assert_eq!(world.packs.ids().len(), 2, "the punched pack and the one that the rest moved to");
    world.verify("after").await;
}

/// The copy that the index knew is damaged; what nothing named is then the only one that is sound.
#[tokio::test]
async fn i1_i3_a_stray_that_something_in_use_lacks_is_taken_in_and_not_collected() {
    let mut world = World::new().await;
    world.put("keep", &seeds(0..5)).await;
    world.packs.seal().unwrap();
    world.packs.append(&[chunk(0), chunk(300)]).unwrap();
    world.packs.seal().unwrap();
    world.follow().await;
    let id = chunk(0).id;
    let damaged = world.index.get(&[id]).unwrap()[0].unwrap();
    assert!(world.index.condemn(&id, damaged).unwrap());
    assert_eq!(world.index.get(&[id]).unwrap(), [None]);
    world.gc().await.unwrap();
    let found = world.index.get(&[id]).unwrap()[0].unwrap();
    assert_ne!(found, damaged);
    world.gc().await.unwrap();
    world.verify("after").await;
    assert_eq!(world.index.get(&[chunk(300).id]).unwrap(), [None], "nobody lacks this one");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_the_run_then_does() {
    let world = garbage().await;
    let state = async |world: &World| {
        let log = world.meta.last_seq().await.unwrap();
        (log, world.packs.packs().unwrap(), world.index.entries(None, 1000).unwrap().len())
    };
    let before = state(&world).await;
    let plan = world.collector.plan().await.unwrap();
    assert_eq!(state(&world).await, before);
    assert_eq!(world.collector.plan().await.unwrap(), plan);
    let actions: Vec<_> = plan.packs.iter().map(|pack| pack.action).collect();
    assert_eq!(actions, [GcAction::Punch, GcAction::Rewrite, GcAction::Remove]);
    let report = world.gc().await.unwrap();
    assert_eq!((report.collected, report.collected_bytes), (plan.candidates, plan.candidate_bytes));
    let share = report.freed_bytes as f64 / plan.freed_bytes() as f64;
    assert!((0.8..1.1).contains(&share), "{share:.2} of the plan");
    let text = plan.to_string();
    assert!(text.contains("remove") && text.contains("88 unused chunks"), "{text}");
    assert!(serde_json::to_string(&plan).unwrap().contains(r#""action":"rewrite""#));
    assert!(world.collector.plan().await.unwrap().packs.is_empty(), "nothing is left to do");
}

#[tokio::test]
async fn i3_killed_at_any_write_it_loses_nothing_and_leaves_only_garbage() {
    for power_cut in [false, true] {
        // A kill keeps more than a power cut: every third place will do.
        for writes in (0..).step_by(if power_cut { 1 } else { 3 }) {
            let world = garbage_in(World::new().await, [7, 2, 0], 12).await;
            world.store.die_after(writes);
            let run = world.gc().await;
            let died = run.is_err();
            assert_eq!(died, world.store.is_dead() && died, "{run:?}");
            let world = world.restart(power_cut).await;
            let context = format!("killed at write {writes}, power cut: {power_cut}");
            world.verify(&context).await;
            world.collect_all(&context).await;
            world.verify(&context).await;
            if !died {
                assert!(writes > 20, "the run wrote only {writes} times");
                break;
            }
        }
    }
}

/// A body whose chunks are stored again, and the collection of the old ones, cut off at any write. The index is
/// all on disk by then, as if every batch had got there by itself.
#[tokio::test]
async fn i1_chunks_stored_again_survive_a_power_cut_at_any_write() {
    for writes in 0.. {
        let mut world = World::new().await;
        world.put("old", &seeds(0..12)).await;
        world.put("other", &seeds(6..18)).await;
        world.packs.seal().unwrap();
        world.follow().await;
        // Twice: from then on the pack is known, and no start scans it for what the index lacks.
        world.index.checkpoint().unwrap();
        world.index.checkpoint().unwrap();
        world.store.die_after(writes);
        let mut put = world.begin_put();
        let stored = world.store_again(&mut put, &seeds(3..15)).and_then(|moves| {
            world.write(&mut put, &seeds(40..43))?;
            world.move_to_copies(&put, &moves)
        });
        if stored.is_ok() {
            let _ = world.finish_put(put, "new").await;
            world.follow().await;
            let _ = world.packs.seal();
            let _ = world.gc().await;
        } else {
            drop(put);
        }
        let is_dead = world.store.is_dead();
        let world = world.restart(true).await;
        let context = format!("cut off at write {writes}");
        world.verify(&context).await;
        world.collect_all(&context).await;
        world.verify(&context).await;
        if !is_dead {
            assert!(writes > 20, "only {writes} writes: the collection did nothing");
            return;
        }
    }
}

/// A record appended whose index entry is still to come, in a pack that is full meanwhile.
#[tokio::test]
async fn i3_a_record_on_its_way_into_the_index_is_not_taken_for_garbage() {
    let mut world = garbage().await;
    let mut put = world.begin_put();
    let record = chunk(999);
    let id = record.id;
    let location = world.packs.append(&[record]).unwrap()[0];
    world.packs.seal().unwrap();
    for _ in 0..2 {
        let report = world.gc().await.unwrap();
        assert_eq!(report.strays, 0, "{report}");
    }
    world.index.insert(put.hold(), &[(id, RecordKind::Chunk, location)]).unwrap();
    put.push(999);
    world.finish_put(put, "late").await.unwrap();
    world.verify("the write went on").await;
}

/// A write commits and lets go after the mark was applied, before the run looks at the holds.
#[tokio::test]
async fn i3_a_commit_behind_the_mark_is_counted_before_collecting() {
    let mut world = garbage().await;
    let mut put = world.begin_put();
    world.write(&mut put, &[202, 203]).unwrap();
    let (stop, collector) = (CancellationToken::new(), world.collector.clone());
    let before = world.meta.last_seq().await.unwrap();
    let fence = async { collector.fence(&stop).await.unwrap().unwrap() };
    let others = async {
        let mark = before.next();
        world.meta.wait_after(before).await;
        world.finish_put(put, "behind").await.unwrap();
        let marked = world.meta.changes_after(world.index.applied(), 100).await.unwrap();
        world
            .index
            .apply(&marked.into_iter().filter(|record| record.seq <= mark).collect::<Vec<_>>())
            .unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        world.follow().await;
        std::future::pending::<()>().await;
    };
    let fence = tokio::select! {
        fence = fence => fence,
        () = others => unreachable!("the others never end"),
    };
    let run = super::Run {
        stop: stop.clone(),
        progress: None,
        rate: super::Rate::new(0, std::time::Instant::now()),
    };
    collector.collect(fence.bound, &run, &mut super::GcReport::default()).await.unwrap();
    world.verify("a commit behind the mark").await;
}

#[tokio::test]
async fn i3_strays_are_found_by_a_later_run() {
    let world = garbage().await;
    world.collect_all("first").await;
    let before = allocated(&world);
    let records: Vec<_> = (300..340).map(chunk).collect();
    // As a crash between collecting and marking leaves them: in a pack, in no index.
    world.packs.append(&records).unwrap();
    let mut world = world;
    world.put("beside", &seeds(400..440)).await;
    world.packs.seal().unwrap();
    let report = world.gc().await.unwrap();
    assert_eq!(report.strays, 40);
    let added: usize = (400..440).map(|seed| content(seed).len()).sum();
    assert!(allocated(&world) < before + added as u64 + (60 << 10));
    world.verify("after").await;
}

/// Flips a byte in the first node of the store; the same again heals it.
fn rot_node(world: &World) {
    for pack in world.packs.ids() {
        let mut node = None;
        let find = &mut |record: crate::engine::pack::ScannedRecord| {
            node = node.or((record.kind == RecordKind::Node).then_some(record.location));
        };
        world.packs.scan(pack, find).unwrap();
        let Some(location) = node else { continue };
        let mut bytes = world.memory.bytes(pack);
        bytes[usize::try_from(location.end()).unwrap() - 1] ^= 1;
        world.memory.set_bytes(pack, bytes);
        return;
    }
    panic!("no node");
}

async fn nothing_is_collected(world: &World) {
    let before = world.index.entries(None, 1000).unwrap().len();
    let report = world.gc().await.unwrap();
    assert_eq!((report.uncounted_nodes, report.collected, report.packs_removed), (1, 0, 0));
    assert!(report.to_string().contains("cannot be read"), "{report}");
    assert!(world.collector.plan().await.unwrap().to_string().contains("cannot be read"));
    assert_eq!(world.index.entries(None, 1000).unwrap().len(), before);
}

#[tokio::test]
async fn i1_a_rotten_node_that_is_put_again_neither_closes_the_store_nor_costs_a_chunk() {
    let mut world = World::new().await;
    world.put("a", &seeds(0..12)).await;
    world.put("b", &seeds(20..24)).await;
    world.packs.seal().unwrap();
    world.delete("a").await;
    world.follow().await;
    rot_node(&world);
    // Its chunks and the node itself are found, and stored no second time.
    world.put("a", &seeds(0..12)).await;
    world.follow().await;
    nothing_is_collected(&world).await;
    let mut world = world.restart(false).await;
    nothing_is_collected(&world).await;
    let b = world.begin_read("b").await.unwrap();
    world.finish_read(&b);
    drop(b);
    rot_node(&world);
    assert_eq!(world.gc().await.unwrap().uncounted_nodes, 0, "it can be read again");
    world.verify("healed").await;
    world.delete("a").await;
    world.collect_all("healed").await;
}

#[tokio::test]
async fn i1_a_rotten_node_in_use_does_not_stop_a_rebuild_and_keeps_everything() {
    let mut world = World::new().await;
    world.put("a", &seeds(0..12)).await;
    world.put("gone", &seeds(30..34)).await;
    world.packs.seal().unwrap();
    world.delete("gone").await;
    world.follow().await;
    rot_node(&world);
    world.checker().rebuild_index(None).await.unwrap();
    nothing_is_collected(&world).await;
    // Its body is deleted: nothing needs it any more.
    world.delete("a").await;
    world.follow().await;
    assert_eq!(world.index.uncounted_nodes(), 0);
    world.collect_all("without it").await;
}

/// A node is dropped while it cannot be read, and comes back before it can.
#[tokio::test]
async fn i3_what_a_rotten_node_owes_is_taken_back_once() {
    let mut world = World::new().await;
    world.put("a", &seeds(0..12)).await;
    world.packs.seal().unwrap();
    world.follow().await;
    rot_node(&world);
    world.delete("a").await;
    world.follow().await;
    world.put("a", &seeds(0..12)).await;
    world.follow().await;
    rot_node(&world);
    world.verify("dropped and put again").await;
    rot_node(&world);
    world.delete("a").await;
    world.follow().await;
    rot_node(&world);
    world.gc().await.unwrap();
    world.collect_all("dropped for good").await;
    assert_eq!(world.index.counts().unwrap().chunks, 0);
}

/// The admin request that asked for it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_run_whose_caller_went_away_keeps_others_out_until_it_ends() {
    let world = garbage().await;
    let stop = CancellationToken::new();
    let (at_work, mut is_at_work) = tokio::sync::watch::channel(false);
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = parking_lot::Mutex::new(gate);
    let progress = move |progress: super::GcProgress| {
        if progress.phase == GcPhase::Reclaiming && !at_work.send_replace(true) {
            let _ = gate.lock().recv();
        }
    };
    let collector = world.collector.clone();
    let asked = async {
        tokio::select! {
            _ = collector.run(&stop, Some(Arc::new(progress))) => panic!("it waits for the gate"),
            _ = is_at_work.wait_for(|at_work| *at_work) => {}
        }
    };
    world.while_following(asked).await;
    let refused = world.gc().await.unwrap_err().to_string();
    assert!(refused.contains("at work already"), "{refused}");
    go_on.send(()).unwrap();
    world.while_following(world.collector.idle()).await;
    assert_eq!(world.gc().await.unwrap().collected, 0, "the first run went on to its end");
    world.verify("after both").await;
}

/// As when a disk is not mounted at one start and is at the next.
#[tokio::test]
async fn i1_a_pack_that_was_away_for_a_start_is_not_taken_for_garbage() {
    let mut world = World::new().await;
    world.put("a", &seeds(0..12)).await;
    world.packs.seal().unwrap();
    world.follow().await;
    let pack = world.packs.ids()[0];
    let bytes = world.memory.bytes(pack);
    world.packs.remove(pack).unwrap();
    let world = world.restart(false).await;
    assert_eq!(world.packs.ids(), []);
    world.memory.set_bytes(pack, bytes);
    let world = world.restart(false).await;
    world.verify("back").await;
    for _ in 0..2 {
        let report = world.gc().await.unwrap();
        assert_eq!((report.packs_removed, report.packs_kept), (0, 0), "{report}");
    }
    world.verify("back, and collected").await;
}

#[tokio::test]
async fn i1_a_pack_is_not_removed_because_a_counter_says_so() {
    let mut world = World::new().await;
    world.put("a", &seeds(0..12)).await;
    world.packs.seal().unwrap();
    world.follow().await;
    let pack = world.packs.ids()[0];
    world.index.forget_pack(pack).unwrap();
    let report = world.gc().await.unwrap();
    assert_eq!((report.packs_removed, report.packs_kept), (0, 1), "{report}");
    world.verify("kept").await;
    assert_eq!(world.index.pack_usage().unwrap().len(), 1, "the counter is put right");
    assert_eq!(world.gc().await.unwrap().packs_kept, 0);
}

#[tokio::test]
async fn a_run_that_is_stopped_goes_on_the_next_time() {
    let world = garbage().await;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let progress = move |progress: super::GcProgress| {
        if progress.phase == GcPhase::Collecting {
            stopping.cancel();
        }
    };
    let run = world.collector.run(&stop, Some(Arc::new(progress)));
    let report = world.while_following(run).await.unwrap();
    assert!(report.stopped && report.freed_bytes == 0 && report.collected > 0, "{report}");
    world.verify("stopped").await;
    let report = world.gc().await.unwrap();
    assert!(!report.stopped && report.packs_removed == 1 && report.collected == 0, "{report}");
    world.verify("gone on").await;
}

/// Nobody applies the log: a run waits, and stops when told to.
#[tokio::test]
async fn i5_a_run_that_waits_for_the_index_can_be_stopped() {
    let world = garbage().await;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let progress = Arc::new(move |_: super::GcProgress| stopping.cancel());
    let report = world.collector.run(&stop, Some(progress)).await.unwrap();
    assert!(report.stopped && report.collected == 0);
}

#[tokio::test]
async fn i5_a_run_does_not_wait_for_ever_for_an_index_that_stands_still() {
    let world = garbage().await;
    let (next, stop) = (world.index.applied().next(), CancellationToken::new());
    let waited = world.collector.wait_applied(next, &stop, std::time::Duration::from_millis(20)).await;
    let why = waited.unwrap_err().to_string();
    assert!(why.contains("has not moved"), "{why}");
}

#[tokio::test]
async fn i4_a_pack_with_a_damaged_record_in_use_is_kept() {
    let world = garbage().await;
    let rewritten = world.packs.ids()[1];
    let mut bytes = world.memory.bytes(rewritten);
    let needle = content(102);
    let at = bytes.windows(64).position(|window| window == &needle[..64]).unwrap();
    bytes[at] ^= 1;
    world.memory.set_bytes(rewritten, bytes);
    let report = world.gc().await.unwrap();
    assert_eq!((report.packs_kept, report.packs_rewritten), (1, 0), "{report}");
    assert_eq!(report.packs_punched, 2, "holes are punched around what cannot move");
    assert!(world.packs.ids().contains(&rewritten));
    let read = world.begin_read("keep-0").await.unwrap();
    world.finish_read(&read);
}

#[tokio::test]
async fn plain_files_of_nobody_go_but_not_under_a_write() {
    let mut world = World::new().await;
    let make = |bytes: &'static [u8]| {
        let mut writer = world.plain.create(&SeededRandom::new(bytes.len() as u64)).unwrap();
        writer.write(bytes).unwrap();
        writer.finish().unwrap()
    };
    let (used, unused) = (make(b"used"), make(b"unused"));
    world.put_body("plain", NewBody::Plain(used), &[]).await.unwrap();
    world.acknowledged.clear();
    let write = world.begin_put();
    assert_eq!(world.gc().await.unwrap().plain_removed, 0, "the write under way may be the file's");
    drop(write);
    assert_eq!(world.gc().await.unwrap().plain_removed, 1);
    assert_eq!(world.plain.list().unwrap(), [used]);
    let _ = unused;
}

fn plain_file(world: &World, seed: u64, bytes: usize) -> crate::types::PlainId {
    let mut writer = world.plain.create(&SeededRandom::new(seed)).unwrap();
    writer.write(&vec![7; bytes]).unwrap();
    writer.finish().unwrap()
}

/// There is always a write under way, but never the same for long.
#[tokio::test]
async fn i3_unused_plain_files_go_under_steady_load() {
    let world = World::new().await;
    plain_file(&world, 1, 100);
    let mut writer = world.begin_put();
    for run in 0..3 {
        let report = world.gc().await.unwrap();
        assert_eq!(report.plain_removed, u64::from(run == 1), "run {run}: {report}");
        let next = world.begin_put();
        drop(std::mem::replace(&mut writer, next));
    }
    assert_eq!(world.plain.list().unwrap(), []);
}

/// Its writer commits between two runs.
#[tokio::test]
async fn i1_a_plain_file_committed_late_is_kept() {
    let mut world = World::new().await;
    let writer = world.begin_put();
    let file = plain_file(&world, 1, 100);
    assert_eq!(world.gc().await.unwrap().plain_removed, 0);
    world.put_body("plain", NewBody::Plain(file), &[]).await.unwrap();
    drop(writer);
    assert_eq!(world.gc().await.unwrap().plain_removed, 0);
    assert_eq!(world.plain.list().unwrap(), [file]);
}

#[tokio::test]
async fn i3_the_schedule_collects_plain_files_of_deleted_objects() {
    let mut world = World::new().await;
    let (kept, gone) = (plain_file(&world, 1, 100), plain_file(&world, 2, 100_000));
    world.put_body("kept", NewBody::Plain(kept), &[]).await.unwrap();
    world.put_body("gone", NewBody::Plain(gone), &[]).await.unwrap();
    world.follow().await;
    let stop = CancellationToken::new();
    let schedule = Schedule::new(world.collector.clone(), Arc::new(SeededRandom::new(1)));
    assert!(!world.while_following(schedule.look(&stop)).await.unwrap(), "all is in use");
    world.delete("gone").await;
    let plan = world.collector.plan().await.unwrap();
    assert!(plan.plain_files == 1 && plan.plain_bytes >= 100_000 && plan.freed_bytes() == plan.plain_bytes);
    assert!(world.while_following(schedule.look(&stop)).await.unwrap());
    assert_eq!(world.plain.list().unwrap(), [kept]);
    let census = world.collector.plain_census().await.unwrap();
    assert_eq!((census.files, census.unused), (1, 0));
}

#[tokio::test]
async fn the_schedule_runs_only_when_there_is_enough_garbage() {
    let settings = GcSettings { min_garbage_ratio: 0.5, ..GcSettings::default() };
    let mut world = World::with(false, settings).await;
    world.put("a", &seeds(0..40)).await;
    world.put("b", &seeds(40..90)).await;
    world.packs.seal().unwrap();
    world.delete("a").await;
    world.follow().await;
    let stop = CancellationToken::new();
    let schedule = Schedule::new(world.collector.clone(), Arc::new(SeededRandom::new(1)));
    assert!(!schedule.look(&stop).await.unwrap(), "four ninths are not half");
    world.delete("b").await;
    world.follow().await;
    assert!(world.while_following(schedule.look(&stop)).await.unwrap());
    assert_eq!(world.packs.ids(), []);
    assert!(!schedule.look(&stop).await.unwrap(), "an empty store has no garbage");
}

/// Writes of several requests at once, deletions, collections and crashes in a seeded order.
#[tokio::test]
async fn i3_random_histories_keep_the_references_of_a_recount() {
    for seed in 0..6u64 {
        let random = SeededRandom::new(seed);
        let below = |limit: u64| random.u64() % limit;
        let mut world = World::new().await;
        let mut puts = Vec::new();
        for step in 0..250 {
            match below(20) {
                0..=4 => {
                    if puts.len() < 4 {
                        puts.push(world.begin_put());
                    }
                }
                5..=9 => {
                    let Some(put) = puts.last_mut() else { continue };
                    let first = below(80);
                    world.write(put, &seeds(first..first + below(8))).unwrap();
                    if below(3) == 0 && !put.is_empty() {
                        world.wrap(put).unwrap();
                    }
                }
                10..=12 => {
                    let at = below(4) as usize;
                    if at < puts.len() {
                        let put = puts.swap_remove(at);
                        if below(4) != 0 && !put.is_empty() {
                            world.finish_put(put, &format!("key-{}", below(12))).await.unwrap();
                        }
                    }
                }
                13..=15 => {
                    let key = format!("key-{}", below(12));
                    if world.acknowledged.contains_key(&key) {
                        world.delete(&key).await;
                    }
                }
                16 => world.follow().await,
                17 => drop(world.gc().await.unwrap()),
                18 => world.packs.seal().unwrap(),
                _ => {
                    if below(4) == 0 {
                        puts.clear();
                        world = world.restart(below(2) == 0).await;
                    }
                }
            }
            if step % 50 == 49 {
                world.verify(&format!("seed {seed}, step {step}")).await;
            }
        }
        drop(puts);
        world.collect_all(&format!("seed {seed}")).await;
        world.verify(&format!("seed {seed}, at the end")).await;
    }
}

#[tokio::test]
async fn a_second_run_is_told_that_one_is_at_work() {
    let world = garbage().await;
    let _running = world.collector.0.running.clone().try_lock_owned().unwrap();
    let refused = world.gc().await.unwrap_err().to_string();
    assert!(refused.contains("at work already"), "{refused}");
}

#[tokio::test]
async fn the_mark_of_a_run_is_all_that_the_log_sees() {
    let world = World::new().await;
    let before = world.meta.last_seq().await.unwrap();
    world.gc().await.unwrap();
    let records = world.meta.changes_after(before, 10).await.unwrap();
    assert!(records.iter().all(|record| record.change == crate::meta::Change::Mark), "{records:?}");
    world.meta.commit(Commit::Mark).await.unwrap();
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (field, value) in [("min_garbage_ratio", 1.5), ("rewrite_below_live_ratio", 0.95)] {
        let settings: GcSettings = serde_json::from_value(serde_json::json!({ field: value })).unwrap();
        assert!(settings.validate().unwrap_err().to_string().contains(field));
    }
    assert!(GcSettings::default().validate().is_ok());
    assert!(serde_json::from_str::<GcSettings>(r#"{"rate": 1}"#).is_err());
}
