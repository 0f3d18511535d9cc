//! Every operation, stopped between any two of its steps, meets every other.

use super::fence::Fence;
use super::reclaim::{live_records, move_records};
use super::testing::{Put, Read, World};
use super::{GcReport, Rate, Run};
use crate::engine::EngineError;
use crate::engine::pack::Location;
use crate::meta::{Commit, CommitError, MetaStore, NewBody, StoredBody, VersionKind};
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq, Manifest, PartNumber, PlainId, UploadId};
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
    Copy,
    Read,
    Gc,
    Compact,
    Fsck,
    Rebuild,
    Restart,
}

impl Op {
    /// Places where it can stand still while others work, its end included.
    const fn steps(self) -> usize {
        match self {
            Self::Put | Self::Rewrite | Self::Gc | Self::Compact => 3,
            Self::Plain
            | Self::Complete
            | Self::Abort
            | Self::PartCopy
            | Self::Delete
            | Self::Copy
            | Self::Read => 2,
            Self::Fsck | Self::Rebuild | Self::Restart => 1,
        }
    }

    /// Demands the data directory for itself.
    const fn is_exclusive(self) -> bool {
        matches!(self, Self::Rebuild | Self::Restart)
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
    fence: Option<Fence>,
    pack: Option<PackId>,
    moving: Vec<(ChunkId, Location)>,
    moves: Vec<(ChunkId, Location, Location)>,
    guard: Option<OwnedMutexGuard<()>>,
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
            fence: None,
            pack: None,
            moving: Vec::new(),
            moves: Vec::new(),
            guard: None,
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
            1 => {
                let put = self.put.as_mut().unwrap();
                world.write(put, &NEW[5..]).unwrap();
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
            world.while_following(step).await.unwrap();
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

/// `first` stops before each of its steps while `second` runs whole; at the end everything must be right.
async fn meet(first: Op, second: Op) {
    let stops = if first.is_exclusive() || second == Op::Rebuild {
        vec![0, first.steps()]
    } else {
        (0..=first.steps()).collect()
    };
    for stop in stops {
        let context = format!("{second:?} before step {stop} of {first:?}");
        let mut world = fixture().await;
        let mut one = Running::new(first, "first");
        while one.at < stop {
            world = one.step(world).await;
        }
        if one.at == first.steps() {
            // Whole; what it held is let go.
            one = Running { at: first.steps(), ..Running::new(first, "first") };
        }
        if second == Op::Restart && one.at > 0 && one.at < first.steps() {
            // Dies with the process, and comes again.
            one = Running::new(first, "again");
        }
        let mut two = Running::new(second, "second");
        while two.at < second.steps() {
            world = two.step(world).await;
        }
        drop(two);
        world.verify(&context).await;
        while one.at < first.steps() {
            world = one.step(world).await;
        }
        drop(one);
        world.verify(&context).await;
        world.collect_all(&context).await;
        world.verify(&context).await;
    }
}

macro_rules! cells {
    ($($name:ident: $first:ident $second:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            meet(Op::$first, Op::$second).await;
            if Op::$first != Op::$second {
                meet(Op::$second, Op::$first).await;
            }
        })*
    };
}

cells! {
    i3_put_meets_put: Put Put,
    i3_put_meets_complete: Put Complete,
    i3_put_meets_abort: Put Abort,
    i3_put_meets_delete: Put Delete,
    i3_put_meets_copy: Put Copy,
    i3_put_meets_read: Put Read,
    i3_put_meets_gc: Put Gc,
    i3_put_meets_compact: Put Compact,
    i3_put_meets_fsck: Put Fsck,
    i3_put_meets_rebuild: Put Rebuild,
    i3_put_meets_restart: Put Restart,
    i3_complete_meets_complete: Complete Complete,
    i3_complete_meets_abort: Complete Abort,
    i3_complete_meets_delete: Complete Delete,
    i3_complete_meets_copy: Complete Copy,
    i3_complete_meets_read: Complete Read,
    i3_complete_meets_gc: Complete Gc,
    i3_complete_meets_compact: Complete Compact,
    i3_complete_meets_fsck: Complete Fsck,
    i3_complete_meets_rebuild: Complete Rebuild,
    i3_complete_meets_restart: Complete Restart,
    i3_abort_meets_abort: Abort Abort,
    i3_abort_meets_delete: Abort Delete,
    i3_abort_meets_copy: Abort Copy,
    i3_abort_meets_read: Abort Read,
    i3_abort_meets_gc: Abort Gc,
    i3_abort_meets_compact: Abort Compact,
    i3_abort_meets_fsck: Abort Fsck,
    i3_abort_meets_rebuild: Abort Rebuild,
    i3_abort_meets_restart: Abort Restart,
    i3_delete_meets_delete: Delete Delete,
    i3_delete_meets_copy: Delete Copy,
    i3_delete_meets_read: Delete Read,
    i3_delete_meets_gc: Delete Gc,
    i3_delete_meets_compact: Delete Compact,
    i3_delete_meets_fsck: Delete Fsck,
    i3_delete_meets_rebuild: Delete Rebuild,
    i3_delete_meets_restart: Delete Restart,
    i3_copy_meets_copy: Copy Copy,
    i3_copy_meets_read: Copy Read,
    i3_copy_meets_gc: Copy Gc,
    i3_copy_meets_compact: Copy Compact,
    i3_copy_meets_fsck: Copy Fsck,
    i3_copy_meets_rebuild: Copy Rebuild,
    i3_copy_meets_restart: Copy Restart,
    i3_read_meets_read: Read Read,
    i3_read_meets_gc: Read Gc,
    i3_read_meets_compact: Read Compact,
    i3_read_meets_fsck: Read Fsck,
    i3_read_meets_rebuild: Read Rebuild,
    i3_read_meets_restart: Read Restart,
    i3_gc_meets_gc: Gc Gc,
    i3_gc_meets_compact: Gc Compact,
    i3_gc_meets_fsck: Gc Fsck,
    i3_gc_meets_rebuild: Gc Rebuild,
    i3_gc_meets_restart: Gc Restart,
    i3_compact_meets_compact: Compact Compact,
    i3_compact_meets_fsck: Compact Fsck,
    i3_compact_meets_rebuild: Compact Rebuild,
    i3_compact_meets_restart: Compact Restart,
    i3_fsck_meets_fsck: Fsck Fsck,
    i3_fsck_meets_rebuild: Fsck Rebuild,
    i3_fsck_meets_restart: Fsck Restart,
    i3_rebuild_meets_rebuild: Rebuild Rebuild,
    i3_rebuild_meets_restart: Rebuild Restart,
    i3_restart_meets_restart: Restart Restart,
    i3_plain_meets_plain: Plain Plain,
    i3_plain_meets_put: Plain Put,
    i3_plain_meets_complete: Plain Complete,
    i3_plain_meets_abort: Plain Abort,
    i3_plain_meets_delete: Plain Delete,
    i3_plain_meets_copy: Plain Copy,
    i3_plain_meets_read: Plain Read,
    i3_plain_meets_gc: Plain Gc,
    i3_plain_meets_compact: Plain Compact,
    i3_plain_meets_fsck: Plain Fsck,
    i3_plain_meets_rebuild: Plain Rebuild,
    i3_plain_meets_restart: Plain Restart,
    i3_rewrite_meets_rewrite: Rewrite Rewrite,
    i3_rewrite_meets_put: Rewrite Put,
    i3_rewrite_meets_complete: Rewrite Complete,
    i3_rewrite_meets_abort: Rewrite Abort,
    i3_rewrite_meets_delete: Rewrite Delete,
    i3_rewrite_meets_copy: Rewrite Copy,
    i3_rewrite_meets_read: Rewrite Read,
    i3_rewrite_meets_gc: Rewrite Gc,
    i3_rewrite_meets_compact: Rewrite Compact,
    i3_rewrite_meets_fsck: Rewrite Fsck,
    i3_rewrite_meets_rebuild: Rewrite Rebuild,
    i3_rewrite_meets_restart: Rewrite Restart,
    i3_rewrite_meets_plain: Rewrite Plain,
    i3_rewrite_meets_part_copy: Rewrite PartCopy,
    i3_part_copy_meets_part_copy: PartCopy PartCopy,
    i3_part_copy_meets_plain: PartCopy Plain,
    i3_part_copy_meets_put: PartCopy Put,
    i3_part_copy_meets_complete: PartCopy Complete,
    i3_part_copy_meets_abort: PartCopy Abort,
    i3_part_copy_meets_delete: PartCopy Delete,
    i3_part_copy_meets_copy: PartCopy Copy,
    i3_part_copy_meets_read: PartCopy Read,
    i3_part_copy_meets_gc: PartCopy Gc,
    i3_part_copy_meets_compact: PartCopy Compact,
    i3_part_copy_meets_fsck: PartCopy Fsck,
    i3_part_copy_meets_rebuild: PartCopy Rebuild,
    i3_part_copy_meets_restart: PartCopy Restart,
}
