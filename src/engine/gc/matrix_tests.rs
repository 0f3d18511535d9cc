//! Every operation meets every other: their steps in every order that keeps each one's own. The table of the module's
//! documentation is the list of pairs, and a pair without a rule or without a test is an error here.

use super::fence::Fence;
use super::reclaim::{live_records, move_records};
use super::testing::{Put, Read, World};
use super::testing_ship::Shipped;
use super::{GcReport, Rate, Run};
use crate::engine::EngineError;
use crate::engine::pack::{Location, PackExtent, RecordKind};
use crate::meta::{
    Above, ChangeLog, Commit, CommitError, Consumer, DeleteCondition, MetaStore, NewBody, StoredBody,
    VersionKind,
};
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq, Manifest, PartNumber, PlainId, UploadId};
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Put,
    Rewrite,
    Plain,
    Complete,
    Abort,
    PartCopy,
    Delete,
    Expire,
    Copy,
    Read,
    Gc,
    Compact,
    Backup,
    Checkpoint,
    Check,
    Reopen,
    Fsck,
    Rebuild,
    Restart,
}

impl Op {
    /// In the order of the table, by the names that it has there.
    const ALL: [(Self, &str); 19] = [
        (Self::Put, "put"),
        (Self::Rewrite, "rewrite"),
        (Self::Plain, "plain put"),
        (Self::Complete, "complete"),
        (Self::Abort, "abort"),
        (Self::PartCopy, "part copy"),
        (Self::Delete, "delete"),
        (Self::Expire, "expire"),
        (Self::Copy, "copy"),
        (Self::Read, "read"),
        (Self::Gc, "gc"),
        (Self::Compact, "compact"),
        (Self::Backup, "backup"),
        (Self::Checkpoint, "checkpoint"),
        (Self::Check, "check"),
        (Self::Reopen, "reopen"),
        (Self::Fsck, "fsck"),
        (Self::Rebuild, "rebuild"),
        (Self::Restart, "restart"),
    ];

    /// Places where it can stand still while others work, its end included.
    const fn steps(self) -> usize {
        match self {
            Self::Put => 4,
            Self::Rewrite | Self::Gc | Self::Compact | Self::Backup => 3,
            Self::Plain
            | Self::Complete
            | Self::Abort
            | Self::PartCopy
            | Self::Delete
            | Self::Expire
            | Self::Copy
            | Self::Read
            | Self::Checkpoint => 2,
            Self::Check | Self::Reopen | Self::Fsck | Self::Rebuild | Self::Restart => 1,
        }
    }
}

const UPLOAD: UploadId = UploadId::new([1; 16]);
const VICTIM: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8];
/// Shares chunks with the victim, with the upload, with garbage, with nothing.
const NEW: &[u64] = &[1, 2, 3, 100, 101, 30, 40, 102];

/// An operation under way.
#[derive(Debug)]
struct Running {
    op: Op,
    at: usize,
    key: String,
    put: Option<Put>,
    read: Option<Read>,
    body: Option<StoredBody>,
    file: Option<PlainId>,
    parts: Option<(Vec<(PartNumber, CommitSeq)>, Manifest)>,
    seen: Option<CommitSeq>,
    fence: Option<Fence>,
    pack: Option<PackId>,
    moving: Vec<(ChunkId, Location)>,
    moves: Vec<(ChunkId, Location, Location)>,
    appended: Vec<(ChunkId, RecordKind, Location)>,
    guard: Option<OwnedMutexGuard<()>>,
    round: Option<Round>,
}

/// What a backup has copied, and is about to.
#[derive(Debug)]
struct Round {
    through: CommitSeq,
    given_back: u64,
    extents: Vec<PackExtent>,
    shipped: Shipped,
}

impl Running {
    fn new(op: Op, name: &str) -> Self {
        Self {
            op,
            at: 0,
            key: format!("{op:?}-{name}"),
            put: None,
            read: None,
            body: None,
            file: None,
            parts: None,
            seen: None,
            fence: None,
            pack: None,
            moving: Vec::new(),
            moves: Vec::new(),
            appended: Vec::new(),
            guard: None,
            round: None,
        }
    }

    /// The next step; `world` is another one after a restart.
    async fn step(&mut self, world: World) -> World {
        let (op, at) = (self.op, self.at);
        self.at += 1;
        match op {
            Op::Put => self.put(world, at).await,
            Op::Rewrite => self.rewrite(world, at).await,
            Op::Plain => self.plain(world, at).await,
            Op::Complete => self.complete(world, at).await,
            Op::PartCopy => self.part_copy(world, at).await,
            Op::Abort => {
                if at == 1 {
                    let aborted =
                        world.commit(Commit::AbortUpload { upload: UPLOAD, rules_as_of: None }).await;
                    assert!(matches!(aborted, Ok(_) | Err(CommitError::NoSuchUpload)), "{aborted:?}");
                }
                world
            }
            Op::Delete => {
                let mut world = world;
                if at == 1 {
                    world.delete("victim").await;
                }
                world
            }
            Op::Copy => self.copy(world, at).await,
            Op::Read => {
                if at == 0 {
                    self.read = world.begin_read("victim").await;
                } else if let Some(read) = &self.read {
                    world.finish_read(read);
                }
                world
            }
            Op::Gc => self.gc(world, at).await,
            Op::Compact => self.compact(world, at).await,
            Op::Backup => self.backup(world, at).await,
            Op::Expire => self.expire(world, at).await,
            // A pack is known with the second one.
            Op::Checkpoint => {
                world.index.checkpoint().unwrap();
                world
            }
            Op::Check => {
                world.follow().await;
                let report = world.checker().check(true, &CancellationToken::new(), None).await.unwrap();
                assert!(report.is_clean(), "{report}");
                world
            }
            Op::Reopen => {
                world.index.fail("no space");
                world.index.heal().unwrap();
                world
            }
            Op::Fsck => {
                world.verify("fsck").await;
                world
            }
            Op::Rebuild => {
                world.checker().rebuild_index(None).await.unwrap();
                world
            }
            Op::Restart => world.restart(true).await,
        }
    }

    async fn put(&mut self, mut world: World, at: usize) -> World {
        match at {
            0 => {
                let mut put = world.begin_put();
                world.write(&mut put, &NEW[..5]).unwrap();
                self.put = Some(put);
            }
            // Appended, in a pack that is sealed by then, and not in the index yet.
            1 => {
                self.appended = world.append(self.put.as_mut().unwrap(), &NEW[5..]).unwrap();
                world.packs.seal().unwrap();
            }
            2 => {
                let put = self.put.as_mut().unwrap();
                world.index.insert(put.hold(), &std::mem::take(&mut self.appended)).unwrap();
                world.wrap(put).unwrap();
            }
            _ => world.finish_put(self.put.take().unwrap(), &self.key).await.unwrap(),
        }
        world
    }

    /// A put that stores again what is there: appended, then durable and moved, then committed.
    async fn rewrite(&mut self, mut world: World, at: usize) -> World {
        match at {
            0 => {
                let mut put = world.begin_put();
                self.moves = world.store_again(&mut put, NEW).unwrap();
                self.put = Some(put);
            }
            1 => world.move_to_copies(self.put.as_ref().unwrap(), &self.moves).unwrap(),
            _ => world.finish_put(self.put.take().unwrap(), &self.key).await.unwrap(),
        }
        world
    }

    async fn plain(&mut self, mut world: World, at: usize) -> World {
        if at == 0 {
            self.put = Some(world.begin_put());
            self.file = Some(world.write_plain(NEW));
        } else {
            let body = NewBody::Plain(self.file.take().unwrap());
            world.put_body(&self.key, body, NEW).await.unwrap();
            self.put = None;
        }
        world
    }

    async fn part_copy(&mut self, world: World, at: usize) -> World {
        if at == 0 {
            self.body = body_of_victim(&world).await;
            return world;
        }
        let Some(StoredBody::Chunked { id, .. }) = self.body.take() else { return world };
        match world.put_part(UPLOAD, 3, NewBody::SharedManifest(id), VICTIM).await {
            Ok(_) | Err(CommitError::NoSuchUpload) => {}
            Err(CommitError::BodyGone) => assert!(body_of_victim(&world).await.is_none()),
            Err(error) => panic!("{error}"),
        }
        world
    }

    async fn complete(&mut self, mut world: World, at: usize) -> World {
        if at == 0 {
            // A third one may have been copied.
            let parts = world.meta.parts(UPLOAD, None, 2).await.unwrap();
            let mut entries = Vec::new();
            for part in &parts {
                let StoredBody::Chunked { root, .. } = &part.body else { panic!("{part:?}") };
                entries.extend_from_slice(root.entries());
            }
            let revisions = parts.iter().map(|part| (part.number, part.seq)).collect();
            self.parts = Some((revisions, Manifest::new(entries).unwrap()));
        } else {
            let (parts, root) = self.parts.take().unwrap();
            let completed = world.complete(UPLOAD, parts, root, &[30, 31, 32, 40, 41, 42]).await;
            assert!(matches!(completed, Ok(()) | Err(CommitError::NoSuchUpload)), "{completed:?}");
        }
        world
    }

    async fn copy(&mut self, mut world: World, at: usize) -> World {
        if at == 0 {
            self.body = body_of_victim(&world).await;
            return world;
        }
        let Some(StoredBody::Chunked { id, .. }) = self.body.take() else { return world };
        match world.put_body(&self.key, NewBody::SharedManifest(id), VICTIM).await {
            Ok(()) => {}
            // The source is read again, and then it is not there.
            Err(CommitError::BodyGone) => assert!(body_of_victim(&world).await.is_none()),
            Err(error) => panic!("{error}"),
        }
        world
    }

    /// As the lifecycle worker: only what it looked at.
    async fn expire(&mut self, mut world: World, at: usize) -> World {
        if at == 0 {
            self.seen = world.row("victim").await.map(|version| version.seq);
        } else if let Some(seq) = self.seen {
            let seen =
                DeleteCondition { seq: Some(seq), above: Above::Nothing, ..DeleteCondition::default() };
            match world.delete_if("victim", seen).await {
                Ok(_) | Err(CommitError::NoSuchKey) => drop(world.acknowledged.remove("victim")),
                Err(error) => panic!("{error}"),
            }
        }
        world
    }

    async fn gc(&mut self, world: World, at: usize) -> World {
        let stop = CancellationToken::new();
        let mut run = run_of(&stop);
        let mut report = GcReport::default();
        let collector = world.collector.clone();
        if at == 0 {
            let Ok(guard) = collector.0.running.clone().try_lock_owned() else {
                // The other one is at work: this one is refused.
                assert!(matches!(world.gc().await, Err(EngineError::Busy(_))));
                return world;
            };
            self.guard = Some(guard);
            self.fence = world.while_following(collector.fence(&stop)).await.unwrap();
        } else if let Some(fence) = self.fence {
            let step = async {
                if at == 1 {
                    collector.collect(fence.bound, &run_of(&stop), &mut report).await
                } else {
                    collector.reclaim(&mut run, &mut report).await
                }
            };
            match world.while_following(step).await {
                // Opened anew meanwhile, and somebody is at work from before.
                Ok(()) | Err(EngineError::Busy(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        world
    }

    async fn compact(&mut self, world: World, at: usize) -> World {
        let stop = CancellationToken::new();
        let collector = world.collector.clone();
        match at {
            0 => {
                let Ok(guard) = collector.0.running.clone().try_lock_owned() else { return world };
                self.guard = Some(guard);
                let sealed: Vec<_> = world.packs.ids();
                let sealed: Vec<_> =
                    sealed.into_iter().filter(|pack| world.packs.sealed_records(*pack).is_some()).collect();
                let fence = world.while_following(collector.fence(&stop)).await.unwrap().unwrap();
                let mut notes = collector.0.notes.lock();
                notes.saw_sealed(&sealed, fence.mark);
                let oldest = world.index.oldest_hold();
                self.pack = sealed.into_iter().find(|pack| notes.is_settled(*pack, oldest));
                if let Some(pack) = self.pack {
                    self.moving = live_records(&world.packs, &world.index, pack).unwrap().0;
                }
            }
            1 => drop(move_records(&world.packs, &world.index, &self.moving).unwrap()),
            _ => {
                if let Some(pack) = self.pack {
                    assert!(collector.remove_if_unused(pack).await.unwrap(), "something still names {pack}");
                }
            }
        }
        world
    }
}

impl Running {
    /// Looks at what there is, copies it, then says so, once nothing that it has not copied was given back.
    async fn backup(&mut self, world: World, at: usize) -> World {
        let consumer = Consumer::Backup;
        match at {
            0 => {
                world.commit(Commit::Follow { consumer }).await.unwrap();
                let through = world.meta.last_seq().await.unwrap();
                let (given_back, shipped) = (world.packs.given_back(), Shipped::default());
                self.round =
                    Some(Round { through, given_back, extents: world.packs.extents().unwrap(), shipped });
            }
            1 => {
                let Round { shipped, extents, .. } = self.round.as_mut().unwrap();
                shipped.copy(&world.packs, extents);
            }
            _ => {
                let Round { through, given_back, mut shipped, .. } = self.round.take().unwrap();
                if world.packs.given_back() != given_back {
                    shipped.copy_all(&world.packs);
                }
                let log = world.meta.changes_after(CommitSeq::ZERO, 9_999).await.unwrap();
                let log: Vec<_> = log.into_iter().filter(|record| record.seq <= through).collect();
                shipped.assert_holds(&log, &self.key).await;
                world.commit(Commit::AdvanceCursor { consumer, through }).await.unwrap();
            }
        }
        world
    }
}

fn run_of(stop: &CancellationToken) -> Run {
    Run { stop: stop.clone(), progress: None, rate: Rate::new(0, Instant::now()) }
}

async fn body_of_victim(world: &World) -> Option<StoredBody> {
    match world.row("victim").await?.kind {
        VersionKind::Object(object) => Some(object.body),
        VersionKind::DeleteMarker => None,
    }
}

/// A sealed pack with something of each: in use, dropped but not collected, never committed; and an upload.
async fn fixture() -> World {
    let mut world = World::new().await;
    world.put("victim", VICTIM).await;
    world.put("stays", &[5, 6, 7, 50, 51, 52]).await;
    world.put("dropped", &[20, 21, 22, 100]).await;
    let mut given_up = world.begin_put();
    world.write(&mut given_up, &[101, 60, 61]).unwrap();
    drop(given_up);
    world.upload(UPLOAD, &[&[30, 31, 32], &[40, 41, 42]]).await;
    world.delete("dropped").await;
    world.packs.seal().unwrap();
    world.follow().await;
    world
}

/// Every order of so many steps of two operations that keeps each one's own; `true`: the second's turn.
fn orders(first: usize, second: usize) -> Vec<Vec<bool>> {
    let all = (0..1_u32 << (first + second)).filter(|bits| bits.count_ones() as usize == second);
    all.map(|bits| (0..first + second).map(|at| bits >> at & 1 == 1).collect()).collect()
}

/// A rebuild demands the data directory for itself: nobody is in the middle of anything.
fn may_be(order: &[bool], pair: [Op; 2]) -> bool {
    !pair.contains(&Op::Rebuild) || order.windows(2).filter(|turns| turns[0] != turns[1]).count() == 1
}

async fn meet(first: Op, second: Op) {
    for order in orders(first.steps(), second.steps()) {
        if may_be(&order, [first, second]) {
            meet_in_order([first, second], &order).await;
        }
    }
}

/// At every moment, and at the end, everything must be right; then all garbage goes.
async fn meet_in_order(pair: [Op; 2], order: &[bool]) {
    let context = format!("{pair:?}, turns of the second: {order:?}");
    let mut world = fixture().await;
    let mut running = [Running::new(pair[0], "first"), Running::new(pair[1], "second")];
    let mut turns: VecDeque<_> = order.iter().map(|turn| usize::from(*turn)).collect();
    while let Some(turn) = turns.pop_front() {
        world = running[turn].step(world).await;
        let (op, other) = (pair[turn], 1 - turn);
        if running[turn].at == op.steps() {
            // Whole: what it held is let go.
            running[turn] = Running { at: op.steps(), ..Running::new(op, "over") };
        }
        let other_at = running[other].at;
        if op == Op::Restart && other_at > 0 && other_at < pair[other].steps() {
            // Died with the process, and comes again from its beginning.
            running[other] = Running::new(pair[other], "again");
            turns.extend(std::iter::repeat_n(other, other_at));
        }
        world.verify(&context).await;
    }
    drop(running);
    world.commit(Commit::ForgetConsumer { consumer: Consumer::Backup, at: None }).await.unwrap();
    world.collect_all(&context).await;
    world.verify(&context).await;
}

macro_rules! cells {
    ($($name:ident: $first:ident $second:ident,)*) => {
        const CELLS: &[(Op, Op)] = &[$((Op::$first, Op::$second)),*];

        $(#[tokio::test]
        async fn $name() {
            meet(Op::$first, Op::$second).await;
        })*
    };
}

cells! {
    i3_put_meets_put: Put Put,
    i3_put_meets_rewrite: Put Rewrite,
    i3_put_meets_plain: Put Plain,
    i3_put_meets_complete: Put Complete,
    i3_put_meets_abort: Put Abort,
    i3_put_meets_part_copy: Put PartCopy,
    i3_put_meets_delete: Put Delete,
    i3_put_meets_expire: Put Expire,
    i3_put_meets_copy: Put Copy,
    i3_put_meets_read: Put Read,
    i3_put_meets_gc: Put Gc,
    i3_put_meets_compact: Put Compact,
    i3_put_meets_checkpoint: Put Checkpoint,
    i3_put_meets_check: Put Check,
    i3_put_meets_reopen: Put Reopen,
    i3_put_meets_fsck: Put Fsck,
    i3_put_meets_rebuild: Put Rebuild,
    i3_put_meets_restart: Put Restart,
    i3_rewrite_meets_rewrite: Rewrite Rewrite,
    i3_rewrite_meets_plain: Rewrite Plain,
    i3_rewrite_meets_complete: Rewrite Complete,
    i3_rewrite_meets_abort: Rewrite Abort,
    i3_rewrite_meets_part_copy: Rewrite PartCopy,
    i3_rewrite_meets_delete: Rewrite Delete,
    i3_rewrite_meets_expire: Rewrite Expire,
    i3_rewrite_meets_copy: Rewrite Copy,
    i3_rewrite_meets_read: Rewrite Read,
    i3_rewrite_meets_gc: Rewrite Gc,
    i3_rewrite_meets_compact: Rewrite Compact,
    i3_rewrite_meets_checkpoint: Rewrite Checkpoint,
    i3_rewrite_meets_check: Rewrite Check,
    i3_rewrite_meets_reopen: Rewrite Reopen,
    i3_rewrite_meets_fsck: Rewrite Fsck,
    i3_rewrite_meets_rebuild: Rewrite Rebuild,
    i3_rewrite_meets_restart: Rewrite Restart,
    i3_plain_meets_plain: Plain Plain,
    i3_plain_meets_complete: Plain Complete,
    i3_plain_meets_abort: Plain Abort,
    i3_plain_meets_part_copy: Plain PartCopy,
    i3_plain_meets_delete: Plain Delete,
    i3_plain_meets_expire: Plain Expire,
    i3_plain_meets_copy: Plain Copy,
    i3_plain_meets_read: Plain Read,
    i3_plain_meets_gc: Plain Gc,
    i3_plain_meets_compact: Plain Compact,
    i3_plain_meets_checkpoint: Plain Checkpoint,
    i3_plain_meets_check: Plain Check,
    i3_plain_meets_reopen: Plain Reopen,
    i3_plain_meets_fsck: Plain Fsck,
    i3_plain_meets_rebuild: Plain Rebuild,
    i3_plain_meets_restart: Plain Restart,
    i3_complete_meets_complete: Complete Complete,
    i3_complete_meets_abort: Complete Abort,
    i3_complete_meets_part_copy: Complete PartCopy,
    i3_complete_meets_delete: Complete Delete,
    i3_complete_meets_expire: Complete Expire,
    i3_complete_meets_copy: Complete Copy,
    i3_complete_meets_read: Complete Read,
    i3_complete_meets_gc: Complete Gc,
    i3_complete_meets_compact: Complete Compact,
    i3_complete_meets_checkpoint: Complete Checkpoint,
    i3_complete_meets_check: Complete Check,
    i3_complete_meets_reopen: Complete Reopen,
    i3_complete_meets_fsck: Complete Fsck,
    i3_complete_meets_rebuild: Complete Rebuild,
    i3_complete_meets_restart: Complete Restart,
    i3_abort_meets_abort: Abort Abort,
    i3_abort_meets_part_copy: Abort PartCopy,
    i3_abort_meets_delete: Abort Delete,
    i3_abort_meets_expire: Abort Expire,
    i3_abort_meets_copy: Abort Copy,
    i3_abort_meets_read: Abort Read,
    i3_abort_meets_gc: Abort Gc,
    i3_abort_meets_compact: Abort Compact,
    i3_abort_meets_checkpoint: Abort Checkpoint,
    i3_abort_meets_check: Abort Check,
    i3_abort_meets_reopen: Abort Reopen,
    i3_abort_meets_fsck: Abort Fsck,
    i3_abort_meets_rebuild: Abort Rebuild,
    i3_abort_meets_restart: Abort Restart,
    i3_part_copy_meets_part_copy: PartCopy PartCopy,
    i3_part_copy_meets_delete: PartCopy Delete,
    i3_part_copy_meets_expire: PartCopy Expire,
    i3_part_copy_meets_copy: PartCopy Copy,
    i3_part_copy_meets_read: PartCopy Read,
    i3_part_copy_meets_gc: PartCopy Gc,
    i3_part_copy_meets_compact: PartCopy Compact,
    i3_part_copy_meets_checkpoint: PartCopy Checkpoint,
    i3_part_copy_meets_check: PartCopy Check,
    i3_part_copy_meets_reopen: PartCopy Reopen,
    i3_part_copy_meets_fsck: PartCopy Fsck,
    i3_part_copy_meets_rebuild: PartCopy Rebuild,
    i3_part_copy_meets_restart: PartCopy Restart,
    i3_delete_meets_delete: Delete Delete,
    i3_delete_meets_expire: Delete Expire,
    i3_delete_meets_copy: Delete Copy,
    i3_delete_meets_read: Delete Read,
    i3_delete_meets_gc: Delete Gc,
    i3_delete_meets_compact: Delete Compact,
    i3_delete_meets_checkpoint: Delete Checkpoint,
    i3_delete_meets_check: Delete Check,
    i3_delete_meets_reopen: Delete Reopen,
    i3_delete_meets_fsck: Delete Fsck,
    i3_delete_meets_rebuild: Delete Rebuild,
    i3_delete_meets_restart: Delete Restart,
    i3_expire_meets_expire: Expire Expire,
    i3_expire_meets_copy: Expire Copy,
    i3_expire_meets_read: Expire Read,
    i3_expire_meets_gc: Expire Gc,
    i3_expire_meets_compact: Expire Compact,
    i3_expire_meets_checkpoint: Expire Checkpoint,
    i3_expire_meets_check: Expire Check,
    i3_expire_meets_reopen: Expire Reopen,
    i3_expire_meets_fsck: Expire Fsck,
    i3_expire_meets_rebuild: Expire Rebuild,
    i3_expire_meets_restart: Expire Restart,
    i3_copy_meets_copy: Copy Copy,
    i3_copy_meets_read: Copy Read,
    i3_copy_meets_gc: Copy Gc,
    i3_copy_meets_compact: Copy Compact,
    i3_copy_meets_checkpoint: Copy Checkpoint,
    i3_copy_meets_check: Copy Check,
    i3_copy_meets_reopen: Copy Reopen,
    i3_copy_meets_fsck: Copy Fsck,
    i3_copy_meets_rebuild: Copy Rebuild,
    i3_copy_meets_restart: Copy Restart,
    i3_read_meets_read: Read Read,
    i3_read_meets_gc: Read Gc,
    i3_read_meets_compact: Read Compact,
    i3_read_meets_checkpoint: Read Checkpoint,
    i3_read_meets_check: Read Check,
    i3_read_meets_reopen: Read Reopen,
    i3_read_meets_fsck: Read Fsck,
    i3_read_meets_rebuild: Read Rebuild,
    i3_read_meets_restart: Read Restart,
    i3_gc_meets_gc: Gc Gc,
    i3_gc_meets_compact: Gc Compact,
    i3_gc_meets_checkpoint: Gc Checkpoint,
    i3_gc_meets_check: Gc Check,
    i3_gc_meets_reopen: Gc Reopen,
    i3_gc_meets_fsck: Gc Fsck,
    i3_gc_meets_rebuild: Gc Rebuild,
    i3_gc_meets_restart: Gc Restart,
    i3_compact_meets_compact: Compact Compact,
    i3_compact_meets_checkpoint: Compact Checkpoint,
    i3_compact_meets_check: Compact Check,
    i3_compact_meets_reopen: Compact Reopen,
    i3_compact_meets_fsck: Compact Fsck,
    i3_compact_meets_rebuild: Compact Rebuild,
    i3_compact_meets_restart: Compact Restart,
    i3_checkpoint_meets_checkpoint: Checkpoint Checkpoint,
    i3_checkpoint_meets_check: Checkpoint Check,
    i3_checkpoint_meets_reopen: Checkpoint Reopen,
    i3_checkpoint_meets_fsck: Checkpoint Fsck,
    i3_checkpoint_meets_rebuild: Checkpoint Rebuild,
    i3_checkpoint_meets_restart: Checkpoint Restart,
    i3_check_meets_check: Check Check,
    i3_check_meets_reopen: Check Reopen,
    i3_check_meets_fsck: Check Fsck,
    i3_check_meets_rebuild: Check Rebuild,
    i3_check_meets_restart: Check Restart,
    i3_reopen_meets_reopen: Reopen Reopen,
    i3_reopen_meets_fsck: Reopen Fsck,
    i3_reopen_meets_rebuild: Reopen Rebuild,
    i3_reopen_meets_restart: Reopen Restart,
    i3_fsck_meets_fsck: Fsck Fsck,
    i3_fsck_meets_rebuild: Fsck Rebuild,
    i3_fsck_meets_restart: Fsck Restart,
    i3_rebuild_meets_rebuild: Rebuild Rebuild,
    i3_rebuild_meets_restart: Rebuild Restart,
    i3_restart_meets_restart: Restart Restart,
    i1_backup_meets_backup: Backup Backup,
    i1_backup_meets_put: Backup Put,
    i1_backup_meets_rewrite: Backup Rewrite,
    i1_backup_meets_plain: Backup Plain,
    i1_backup_meets_complete: Backup Complete,
    i1_backup_meets_abort: Backup Abort,
    i1_backup_meets_part_copy: Backup PartCopy,
    i1_backup_meets_delete: Backup Delete,
    i1_backup_meets_expire: Backup Expire,
    i1_backup_meets_copy: Backup Copy,
    i1_backup_meets_read: Backup Read,
    i1_backup_meets_gc: Backup Gc,
    i1_backup_meets_compact: Backup Compact,
    i1_backup_meets_checkpoint: Backup Checkpoint,
    i1_backup_meets_check: Backup Check,
    i1_backup_meets_reopen: Backup Reopen,
    i1_backup_meets_fsck: Backup Fsck,
    i1_backup_meets_rebuild: Backup Rebuild,
    i1_backup_meets_restart: Backup Restart,
}

/// The cells of the table in the module's documentation, its head first; what stands in none is left out.
fn table() -> Vec<Vec<String>> {
    let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! |"));
    let cells = |row: &str| row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.filter(|row| !row.starts_with("---")).map(cells).collect()
}

/// What the list below the table explains.
fn rules() -> Vec<&'static str> {
    let rules = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! - **"));
    rules.filter_map(|rule| rule.split_once("**").map(|(name, _)| name)).collect()
}

#[test]
fn i3_every_pair_has_a_rule_and_a_test() {
    let (table, rules) = (table(), rules());
    let names = Op::ALL.map(|(_, name)| name);
    assert_eq!(table[0][1..], names, "the columns");
    assert_eq!(table.len(), names.len() + 1, "a row for each");
    let mut used = BTreeSet::new();
    for (at, (row, (first, name))) in table[1..].iter().zip(Op::ALL).enumerate() {
        assert_eq!((row[0].as_str(), row.len()), (name, names.len() + 1));
        for (cell, (to, (second, other))) in row[1..].iter().zip(Op::ALL.into_iter().enumerate()) {
            assert_eq!(cell.is_empty(), to < at, "{name} and {other}: once, above the diagonal");
            let unknown = cell.split_whitespace().find(|rule| !rules.contains(rule));
            assert_eq!(unknown, None, "{name} and {other}");
            used.extend(cell.split_whitespace().map(str::to_owned));
            let is_this = |pair: &&(Op, Op)| **pair == (first, second) || **pair == (second, first);
            let tests = CELLS.iter().filter(is_this).count();
            assert_eq!(tests, 1, "{name} and {other}: tests");
        }
    }
    let unused: Vec<_> = rules.iter().filter(|rule| !used.contains(**rule)).collect();
    assert_eq!(unused, Vec::<&&str>::new(), "rules of no pair");
}
