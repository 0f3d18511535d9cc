//! What is not copied elsewhere yet is not collected, for as long as somebody is waited for.

use super::testing::World;
use super::{CursorBound, ShippedBound};
use crate::meta::{
    ChangeLog, Commit, CommitError, Consumer, LogRecord, ManifestRow, MemoryStore, MetaError, MetaStore,
    NewBody, Totals,
};
use crate::sys::{Clock, ManualClock, SystemClock};
use crate::types::{ChunkId, CommitSeq, ManifestId};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A store that a backup follows, and has nothing of.
async fn followed() -> World {
    let world = World::new().await;
    world.commit(Commit::Follow { consumer: Consumer::Backup }).await.unwrap();
    world
}

async fn ship(world: &World, through: CommitSeq) {
    let consumer = Consumer::Backup;
    world.commit(Commit::AdvanceCursor { consumer, through }).await.unwrap();
}

/// Something put and deleted; returns the record of the deletion.
async fn deleted(world: &mut World) -> CommitSeq {
    world.put("kept", &[1, 2]).await;
    world.put("gone", &[2, 3, 4, 5, 6, 7, 8]).await;
    world.delete("gone").await;
    world.packs.seal().unwrap();
    world.meta.last_seq().await.unwrap()
}

fn ids() -> Vec<ChunkId> {
    (3..9).map(|seed| super::testing::chunk(seed).id).collect()
}

fn are_there(world: &World) -> bool {
    let places = world.index.get(&ids()).unwrap();
    let read = ids().into_iter().zip(places).filter_map(|(id, place)| Some((id, place?))).collect::<Vec<_>>();
    let readable = world.packs.read(&read).into_iter().filter(Result::is_ok).count();
    assert!([0, ids().len()].contains(&readable), "{readable} of {}", ids().len());
    readable > 0
}

#[tokio::test]
async fn i1_a_chunk_deleted_before_it_was_shipped_stays_until_the_cursor_passes() {
    let mut world = followed().await;
    let deletion = deleted(&mut world).await;
    for through in [CommitSeq::ZERO, CommitSeq::new(deletion.get() - 1)] {
        ship(&world, through).await;
        world.gc().await.unwrap();
        world.gc().await.unwrap();
        assert!(are_there(&world), "shipped through {through}");
        let plan = world.collector.plan().await.unwrap();
        assert_eq!(plan.candidates, 0, "a dry run says so, too");
    }
    ship(&world, deletion).await;
    assert!(world.collector.plan().await.unwrap().candidates > 0);
    world.gc().await.unwrap();
    assert!(!are_there(&world));
    world.verify("after it was shipped").await;
}

#[tokio::test]
async fn i1_a_rebuilt_index_does_not_let_go_of_what_was_not_shipped() {
    let mut world = followed().await;
    let deletion = deleted(&mut world).await;
    world.follow().await;
    ship(&world, CommitSeq::new(deletion.get() - 1)).await;
    world.checker().rebuild_index(None).await.unwrap();
    world.gc().await.unwrap();
    assert!(are_there(&world));
    ship(&world, world.meta.last_seq().await.unwrap()).await;
    world.gc().await.unwrap();
    assert!(!are_there(&world));
}

#[tokio::test]
async fn i1_a_plain_file_deleted_before_it_was_shipped_stays_until_the_cursor_passes() {
    let mut world = followed().await;
    let file = world.write_plain(&[1, 2, 3]);
    world.put_body("whole", NewBody::Plain(file), &[1, 2, 3]).await.unwrap();
    world.delete("whole").await;
    for _ in 0..3 {
        world.gc().await.unwrap();
    }
    assert_eq!(world.plain.list().unwrap(), [file]);
    ship(&world, world.meta.last_seq().await.unwrap()).await;
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), []);
}

/// As `sediment gc` after `sediment backup run`: each time another process, and nobody ships between.
#[tokio::test]
async fn i5_one_collection_frees_plain_files_where_all_is_shipped() {
    let mut world = followed().await;
    let file = world.write_plain(&[1, 2, 3]);
    world.put_body("whole", NewBody::Plain(file), &[1, 2, 3]).await.unwrap();
    world.delete("whole").await;
    ship(&world, world.meta.last_seq().await.unwrap()).await;
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), []);
}

/// It was seen while it was written; committed and deleted since, behind the mark of that look.
#[tokio::test]
async fn i1_a_plain_file_that_was_seen_before_its_commit_stays_until_its_deletion_is_shipped() {
    let mut world = followed().await;
    let hold = world.index.hold();
    let file = world.write_plain(&[1, 2, 3]);
    world.gc().await.unwrap();
    let seen = world.meta.last_seq().await.unwrap();
    world.put_body("whole", NewBody::Plain(file), &[1, 2, 3]).await.unwrap();
    drop(hold);
    world.delete("whole").await;
    ship(&world, seen).await;
    for _ in 0..3 {
        world.gc().await.unwrap();
    }
    assert_eq!(world.plain.list().unwrap(), [file], "whoever copies has not seen it yet");
    ship(&world, world.meta.last_seq().await.unwrap()).await;
    world.gc().await.unwrap();
    assert_eq!(world.plain.list().unwrap(), []);
}

/// Marks are passed over, and nothing else is.
#[tokio::test]
async fn i1_what_is_not_shipped_is_not_passed_over_as_a_mark() {
    let mut world = followed().await;
    let begun = cursor(&world).await.unwrap();
    let (bound, _) = bound(&world);
    for _ in 0..2 {
        world.commit(Commit::Mark).await.unwrap();
    }
    let marked = world.meta.last_seq().await.unwrap();
    assert!(marked > begun);
    assert_eq!(bound.shipped().await.unwrap(), Some(marked));
    deleted(&mut world).await;
    world.commit(Commit::Mark).await.unwrap();
    assert_eq!(bound.settled().await.unwrap(), Some(marked));
    assert_eq!(cursor(&world).await, Some(begun), "a look changes nothing");
}

#[tokio::test]
async fn i5_garbage_does_not_wait_for_a_backup_that_was_turned_off() {
    let mut world = followed().await;
    deleted(&mut world).await;
    world.gc().await.unwrap();
    assert!(are_there(&world));
    world.commit(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }).await.unwrap();
    world.gc().await.unwrap();
    assert!(!are_there(&world));
}

/// A bound whose clock can be set.
fn bound(world: &World) -> (CursorBound, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let (meta, log) = (world.meta.clone() as Arc<dyn MetaStore>, world.meta.clone() as Arc<dyn ChangeLog>);
    let (consumer, shown) = (Consumer::Backup, Arc::clone(&clock) as Arc<dyn Clock>);
    (CursorBound { meta, log, consumer, clock: shown, longest: HOUR }, clock)
}

async fn cursor(world: &World) -> Option<CommitSeq> {
    world.meta.known_cursor(Consumer::Backup).await.unwrap()
}

/// It lacks nothing, however often was collected meanwhile.
#[tokio::test]
async fn i1_a_backup_behind_which_there_are_only_marks_is_not_given_up() {
    let mut world = followed().await;
    let (bound, clock) = bound(&world);
    for _ in 0..40 {
        world.commit(Commit::Mark).await.unwrap();
    }
    let marked = world.meta.last_seq().await.unwrap();
    clock.advance_millis(3_700_000);
    assert_eq!(bound.settled().await.unwrap(), Some(marked), "all of them, and an hour is nothing");
    let last = deleted(&mut world).await;
    clock.advance_millis(3_700_000);
    assert_eq!(bound.shipped().await.unwrap(), None, "{last} is old");
}

/// The disk must not fill up because a remote place is away.
#[tokio::test]
async fn i5_nobody_waits_for_a_backup_that_is_too_far_behind() {
    let mut world = followed().await;
    let begun = cursor(&world).await;
    let last = deleted(&mut world).await;
    let (bound, clock) = bound(&world);
    assert_eq!(bound.settled().await.unwrap(), begun);
    ship(&world, CommitSeq::new(last.get() - 1)).await;
    clock.advance_millis(3_700_000);
    assert_eq!(bound.shipped().await.unwrap(), None, "its oldest record is older than an hour");
    ship(&world, last).await;
    assert_eq!(bound.settled().await.unwrap(), Some(last), "it has all there is");
    world.commit(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }).await.unwrap();
    assert_eq!(bound.settled().await.unwrap(), None);
}

/// Whoever has a gap and does not know tells everybody that all is backed up.
#[tokio::test]
async fn i1_a_backup_that_was_given_up_cannot_go_on_over_the_gap() {
    let mut world = followed().await;
    let last = deleted(&mut world).await;
    let (bound, clock) = bound(&world);
    clock.advance_millis(3_700_000);
    assert_eq!(bound.shipped().await.unwrap(), None);
    assert!(cursor(&world).await.is_some(), "a look changes nothing");
    world.collector_sparing(bound);
    world.gc().await.unwrap();
    assert!(!are_there(&world), "nobody waits for it");
    assert_eq!(cursor(&world).await, None, "which it can see");
    let consumer = Consumer::Backup;
    let late = world.commit(Commit::AdvanceCursor { consumer, through: last }).await;
    assert!(matches!(late, Err(CommitError::InvalidState(_))), "{late:?}");
    world.commit(Commit::Follow { consumer }).await.unwrap();
    assert!(cursor(&world).await > Some(last), "anew");
}

/// Somebody else's database, or a hand in it: the log begins behind the cursor.
#[tokio::test]
async fn i1_a_backup_whose_records_are_gone_is_given_up() {
    let world = followed().await;
    let begun = cursor(&world).await.unwrap();
    world.commit(Commit::Mark).await.unwrap();
    let consumer = Consumer::Backup;
    let (bound, _) = bound(&world);
    let trimmed = CursorBound { log: Arc::new(Trimmed(begun)), ..bound };
    assert_eq!(trimmed.settled().await.unwrap(), None);
    assert_eq!(cursor(&world).await, None);
    let late = world.commit(Commit::AdvanceCursor { consumer, through: begun }).await;
    assert!(matches!(late, Err(CommitError::InvalidState(_))), "{late:?}");
}

/// The log is trimmed between a look at the cursor and one at the log.
#[tokio::test]
async fn i1_a_backup_that_moves_on_while_it_is_looked_at_is_not_given_up() {
    let mut world = followed().await;
    let last = deleted(&mut world).await;
    let (bound, _) = bound(&world);
    let log = Arc::new(MovesOn {
        world: Arc::clone(&world.meta) as Arc<dyn ChangeLog>,
        last,
        looks: AtomicU32::new(0),
    });
    let moving = CursorBound { log, ..bound };
    assert_eq!(moving.settled().await.unwrap(), Some(last));
    assert!(cursor(&world).await.is_some());
}

/// Whose cursor moves to the end after the first look, up to where the log is trimmed then.
#[derive(Debug)]
struct MovesOn {
    world: Arc<dyn ChangeLog>,
    last: CommitSeq,
    looks: AtomicU32,
}

#[async_trait]
impl ChangeLog for MovesOn {
    async fn last_seq(&self) -> Result<CommitSeq, MetaError> {
        Ok(self.last)
    }
    async fn changes_after(&self, seq: CommitSeq, limit: usize) -> Result<Vec<LogRecord>, MetaError> {
        if seq < self.last {
            return Err(MetaError::Trimmed(seq));
        }
        self.world.changes_after(seq, limit).await
    }
    async fn wait_after(&self, _: CommitSeq) {}
    async fn known_cursor(&self, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError> {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 0 {
            return self.world.known_cursor(consumer).await;
        }
        Ok(Some(self.last))
    }
    async fn manifests(&self, _: Option<ManifestId>, _: usize) -> Result<Vec<ManifestRow>, MetaError> {
        Ok(Vec::new())
    }
    async fn totals(&self) -> Result<Totals, MetaError> {
        Ok(Totals::default())
    }
}

/// Between the look that finds it too far behind and the commit that gives it up.
#[tokio::test]
async fn i1_a_backup_that_moves_on_while_it_is_given_up_is_not() {
    let mut world = followed().await;
    let last = deleted(&mut world).await;
    let (bound, clock) = bound(&world);
    clock.advance_millis(3_700_000);
    let moving = CursorBound { log: Arc::new(Ships { meta: world.meta.clone(), last }), ..bound };
    assert_eq!(moving.settled().await.unwrap(), Some(last));
    assert_eq!(cursor(&world).await, Some(last));
}

/// Whose cursor moves to the end behind each look.
#[derive(Debug)]
struct Ships {
    meta: Arc<MemoryStore>,
    last: CommitSeq,
}

#[async_trait]
impl ChangeLog for Ships {
    async fn last_seq(&self) -> Result<CommitSeq, MetaError> {
        Ok(self.last)
    }
    async fn changes_after(&self, seq: CommitSeq, limit: usize) -> Result<Vec<LogRecord>, MetaError> {
        let found = self.meta.changes_after(seq, limit).await;
        let (consumer, through) = (Consumer::Backup, self.last);
        self.meta.commit(Commit::AdvanceCursor { consumer, through }).await.unwrap();
        found
    }
    async fn wait_after(&self, _: CommitSeq) {}
    async fn known_cursor(&self, consumer: Consumer) -> Result<Option<CommitSeq>, MetaError> {
        self.meta.known_cursor(consumer).await
    }
    async fn manifests(&self, _: Option<ManifestId>, _: usize) -> Result<Vec<ManifestRow>, MetaError> {
        Ok(Vec::new())
    }
    async fn totals(&self) -> Result<Totals, MetaError> {
        Ok(Totals::default())
    }
}

/// A log that was cut off in front of a cursor.
#[derive(Debug)]
struct Trimmed(CommitSeq);

#[async_trait]
impl ChangeLog for Trimmed {
    async fn last_seq(&self) -> Result<CommitSeq, MetaError> {
        Ok(self.0)
    }
    async fn changes_after(&self, seq: CommitSeq, _: usize) -> Result<Vec<LogRecord>, MetaError> {
        Err(MetaError::Trimmed(seq))
    }
    async fn wait_after(&self, _: CommitSeq) {}
    async fn known_cursor(&self, _: Consumer) -> Result<Option<CommitSeq>, MetaError> {
        Ok(Some(self.0))
    }
    async fn manifests(&self, _: Option<ManifestId>, _: usize) -> Result<Vec<ManifestRow>, MetaError> {
        Ok(Vec::new())
    }
    async fn totals(&self) -> Result<Totals, MetaError> {
        Ok(Totals::default())
    }
}
