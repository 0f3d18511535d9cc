//! Places where the process can be made to die or to fail, for tests of the real binary
//! (`docs/decisions/019-killed-at-every-step.md`).
//!
//! Nothing is armed but by [`arm`], once, at the start of a process that was told so twice. No request, setting or signal
//! reaches it later. Unarmed, a passage is one relaxed load.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

macro_rules! fail_points {
    ($($point:ident = $name:literal,)*) => {
        /// The places, in the order in which a process comes by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailPoint { $($point,)* }

        impl FailPoint {
            pub const ALL: &'static [Self] = &[$(Self::$point,)*];

            /// As [`arm`] reads it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }
        }
    };
}

fail_points! {
    DataLocked = "data.locked",
    FileWritten = "file.written",
    FileSynced = "file.synced",
    FileRenamed = "file.renamed",
    DataStore = "data.store",
    DataDirectories = "data.directories",
    CredentialsNew = "credentials.new",
    CredentialsKept = "credentials.kept",
    PacksRecover = "packs.recover",
    PacksRecoverRemove = "packs.recover.remove",
    PacksRecoverCut = "packs.recover.cut",
    PacksRecoverSynced = "packs.recover.synced",
    PacksRecoverFooter = "packs.recover.footer",
    PacksRecovered = "packs.recovered",
    PacksOpened = "packs.opened",
    MetaMigrated = "meta.migrated",
    MetaCreated = "meta.created",
    MetaRenamed = "meta.renamed",
    MetaLogSettled = "meta.log-settled",
    DataInitialise = "data.initialise",
    MetaOpened = "meta.opened",
    IndexAside = "index.aside",
    IndexCleared = "index.cleared",
    IndexScanned = "index.scanned",
    IndexOpened = "index.opened",
    PlainCleared = "plain.cleared",
    StoreOpened = "store.opened",
    IndexBuilding = "index.building",
    IndexCounted = "index.counted",
    IndexRebuilt = "index.rebuilt",
    IndexFinished = "index.finished",
    FollowApply = "follow.apply",
    IndexApplied = "index.applied",
    FollowApplied = "follow.applied",
    CaughtUp = "caught-up",
    Serving = "serving",
    IngestAppend = "ingest.append",
    PackNamed = "pack.named",
    PackCreated = "pack.created",
    PackHeader = "pack.header",
    PackAppend = "pack.append",
    PackAppended = "pack.appended",
    IngestAppended = "ingest.appended",
    IngestInserted = "ingest.inserted",
    IngestSync = "ingest.sync",
    IngestMovesSynced = "ingest.moves-synced",
    IngestMoved = "ingest.moved",
    PackSeal = "pack.seal",
    PackFooter = "pack.footer",
    PackSealed = "pack.sealed",
    PlainCreated = "plain.created",
    PlainWritten = "plain.written",
    PlainSync = "plain.sync",
    PlainSynced = "plain.synced",
    PlainShard = "plain.shard",
    PlainRenamed = "plain.renamed",
    PlainPlaced = "plain.placed",
    MultipartJoined = "multipart.joined",
    BodyStaged = "body.staged",
    MetaBegin = "meta.begin",
    PackSync = "pack.sync",
    PackSynced = "pack.synced",
    MetaPacksSynced = "meta.packs-synced",
    MetaCommit = "meta.commit",
    MetaCommitted = "meta.committed",
    MetaAnswered = "meta.answered",
    MetaCopied = "meta.copied",
    MetaCopySynced = "meta.copy-synced",
    BodyCommitted = "body.committed",
    LifecycleFollowed = "lifecycle.followed",
    LifecycleScanned = "lifecycle.scanned",
    LifecycleAct = "lifecycle.act",
    LifecycleActed = "lifecycle.acted",
    LifecycleSettle = "lifecycle.settle",
    IndexCheckpoint = "index.checkpoint",
    IndexPersisted = "index.persisted",
    FollowCheckpoint = "follow.checkpoint",
    FollowCursor = "follow.cursor",
    FollowTrimmed = "follow.trimmed",
    GcMarked = "gc.marked",
    GcFenced = "gc.fenced",
    GcCollected = "gc.collected",
    GcBury = "gc.bury",
    PackMarked = "pack.marked",
    PackMarksSynced = "pack.marks-synced",
    GcStrays = "gc.strays",
    PackPunch = "pack.punch",
    PackPunched = "pack.punched",
    GcMove = "gc.move",
    PackAside = "pack.aside",
    GcMoved = "gc.moved",
    GcRelocated = "gc.relocated",
    GcRemove = "gc.remove",
    PackUnlinked = "pack.unlinked",
    GcRemoved = "gc.removed",
    GcForgotten = "gc.forgotten",
    GcPlain = "gc.plain",
    PlainRemoved = "plain.removed",
    StopDrained = "stop.drained",
    StopIdle = "stop.idle",
    StopSealed = "stop.sealed",
    StopTidied = "stop.tidied",
}

impl FailPoint {
    /// Comes by.
    ///
    /// # Errors
    /// `EIO`, when that was asked for here.
    #[inline]
    pub fn pass(self) -> io::Result<()> {
        if IS_ARMED.load(Ordering::Relaxed) { self.passed() } else { Ok(()) }
    }

    /// Comes by where no error can be told of: the process dies in its place.
    #[inline]
    pub fn pass_or_die(self) {
        if self.pass().is_err() {
            std::process::abort();
        }
    }

    #[cold]
    fn passed(self) -> io::Result<()> {
        let armed = PLAN.get().into_iter().flatten().filter(|armed| armed.point == self);
        for armed in armed {
            if armed.passages_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                armed.action.run(self)?;
            }
        }
        Ok(())
    }
}

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Vec<Armed>> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    point: FailPoint,
    action: Action,
    passages_left: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Dies at once, as by `kill -9`.
    Abort,
    Error,
}

impl Action {
    fn run(self, point: FailPoint) -> io::Result<()> {
        // Whoever waits for it reads this; a closed pipe must not change what happens.
        let _ = writeln!(io::stderr(), "fail point {}: {self:?}", point.name());
        match self {
            Self::Abort => std::process::abort(),
            Self::Error => Err(Errno::IO.into()),
        }
    }
}

/// Arms points: `name=abort` or `name=error`, each with `@n` for the nth passage, separated by `;`.
///
/// # Errors
/// Says what cannot be read, or that it was armed before.
pub fn arm(plan: &str) -> Result<(), String> {
    let armed = plan.split(';').map(parse).collect::<Result<Vec<_>, _>>()?;
    PLAN.set(armed).map_err(|_| "fail points are armed once".to_owned())?;
    // It dies on purpose, often: no core files.
    let cores = getrlimit(Resource::Core);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..cores });
    IS_ARMED.store(true, Ordering::Relaxed);
    Ok(())
}

fn parse(text: &str) -> Result<Armed, String> {
    let unreadable = || format!("`{text}` is not point=abort or point=error, with @n behind it or not");
    let (name, what) = text.split_once('=').ok_or_else(unreadable)?;
    let (action, passage) = what.split_once('@').unwrap_or((what, "1"));
    let point = FailPoint::ALL.iter().find(|point| point.name() == name.trim());
    let action = match action.trim() {
        "abort" => Action::Abort,
        "error" => Action::Error,
        _ => return Err(unreadable()),
    };
    let passage = passage.trim().parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(unreadable)?;
    Ok(Armed {
        point: *point.ok_or_else(|| format!("there is no fail point `{name}`"))?,
        action,
        passages_left: AtomicU64::new(passage),
    })
}

#[cfg(test)]
mod tests {
    use super::{Action, FailPoint, parse};
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_plan_is_read_or_refused_whole() {
        let armed = parse("pack.sync=error@3").unwrap();
        assert_eq!((armed.point, armed.action), (FailPoint::PackSync, Action::Error));
        assert_eq!(armed.passages_left.load(Ordering::Relaxed), 3);
        assert_eq!(parse(" gc.bury =abort").unwrap().passages_left.load(Ordering::Relaxed), 1);
        for refused in
            ["", "pack.sync", "pack.sync=burn", "pack.sync=abort@0", "pack.sync=abort@x", "no=abort"]
        {
            parse(refused).unwrap_err();
        }
    }

    #[test]
    fn every_place_has_a_name_of_its_own_and_nothing_happens_unarmed() {
        let names: BTreeSet<_> = FailPoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), FailPoint::ALL.len());
        FailPoint::ALL.iter().for_each(|point| point.pass().unwrap());
    }
}
