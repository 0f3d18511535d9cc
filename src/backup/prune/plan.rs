//! What would be deleted, and why the rest stays.

use super::super::retention::{Reason, Subject, Verdict, decide, window_begin};
use super::super::{BackupError, Catalogue, Epoch, ObjectName, SnapshotName};
use super::lines::{self, Run};
use super::roots::{self, Head, Named, Reader};
use super::{InUse, Pruner, epochs, locks};
use crate::types::UnixMillis;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Names of missing objects that are told.
const MAX_MISSING: usize = 20;

/// Objects, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Amount {
    pub objects: u64,
    pub bytes: u64,
}

impl Amount {
    pub(super) const fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What a run deletes. To look at it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// All snapshots, newest first, with the rules that keep them.
    pub snapshots: Vec<Verdict>,
    /// From when on every second can be restored, if the settings ask for that.
    pub window_begin: Option<UnixMillis>,
    /// What is named by what stays.
    pub stays: Amount,
    pub goes: Amount,
    /// Nothing names it, but it is younger than the grace, or the writer may still name it.
    pub waits: Amount,
    /// Names that no repository has: they are not touched.
    pub foreign: u64,
    /// What snapshots that stay need, and is not there: as long as there is any, nothing is deleted. Not more than 20 names.
    pub missing: Vec<String>,
    #[serde(skip)]
    pub(super) writer: Option<Epoch>,
    /// Manifests first, then what names others, then what is only named, then epochs.
    #[serde(skip)]
    pub(super) delete: Vec<(ObjectName, u64)>,
    #[serde(skip)]
    pub(super) keep: Vec<ObjectName>,
}

impl Pruner {
    /// Reads the repository. `writer`: the epoch of the lease that is held; none for a look alone. `now`: by the remote's clock
    /// ([`super::remote_time`]).
    ///
    /// # Errors
    /// When something that is named cannot be read.
    pub async fn plan(&self, writer: Option<Epoch>, now: UnixMillis) -> Result<Plan, BackupError> {
        // First: of what is local later and was not now, nothing is in the listing.
        let in_use = match &self.local {
            Some(local) => local.in_use().await?,
            None => InUse::default(),
        };
        let listed = Catalogue::load(&self.repository).await?;
        // What is named is read afterwards, and from a later listing.
        let catalogue = Catalogue::load(&self.repository).await?;
        self.check_begun(&catalogue, writer)?;
        let heads = roots::heads(&self.repository, &catalogue).await?;
        let subjects: Vec<Subject> = heads.values().map(|head| head.subject).collect();
        let begin = window_begin(&self.settings, &subjects, now);
        let runs = lines::runs(&catalogue, begin)?;
        let on_lines: Vec<_> = runs.iter().map(|run| run.snapshots.clone()).collect();
        let mut verdicts = decide(&self.settings, &subjects, &on_lines, now);
        self.spare_locked(&mut verdicts, now).await?;
        let writes = writer.or_else(|| catalogue.timeline().newest());
        let named = self.named(&catalogue, &heads, &runs, &verdicts, writes).await?;
        let missing = self.missing(&catalogue, &named).await?;
        let mut plan = Plan {
            snapshots: verdicts,
            window_begin: (!self.settings.window.is_zero()).then_some(begin),
            stays: Amount::default(),
            goes: Amount::default(),
            waits: Amount::default(),
            foreign: listed.foreign(),
            missing,
            writer,
            delete: Vec::new(),
            keep: Vec::new(),
        };
        let spares = Spares { writer: writes, in_use, grace_end: self.grace_end(now) };
        spares.sort(&mut plan, &listed, &named);
        spares.sort_epochs(&mut plan, &listed, &catalogue);
        plan.delete.sort_by_key(|(name, _)| (rank(name), *name));
        let goes: BTreeSet<_> = plan.delete.iter().map(|(name, _)| *name).collect();
        let is_kept = |name: &ObjectName| stays_for_good(name) || named.0.contains_key(name);
        let kept = catalogue.objects().keys().filter(|name| is_kept(name) && !goes.contains(name));
        plan.keep = kept.copied().collect();
        Ok(plan)
    }

    /// Before its epoch is there it cannot be told on which line a writer goes on.
    fn check_begun(&self, catalogue: &Catalogue, writer: Option<Epoch>) -> Result<(), BackupError> {
        match writer {
            Some(writer) if self.local.is_some() && catalogue.timeline().get(writer).is_none() => {
                let why = "this gateway has not begun to ship yet: prune when it has".to_owned();
                Err(BackupError::Unfit(why))
            }
            _ => Ok(()),
        }
    }

    /// A manifest that cannot be deleted must keep what it names.
    async fn spare_locked(&self, verdicts: &mut [Verdict], now: UnixMillis) -> Result<(), BackupError> {
        let remote = &**self.repository.remote();
        for verdict in verdicts.iter_mut().filter(|verdict| !verdict.is_kept()) {
            if locks::locked(remote, ObjectName::Snapshot(verdict.name), now).await?.is_some() {
                verdict.reasons.push(Reason::Locked);
            }
        }
        Ok(())
    }

    async fn named(
        &self,
        catalogue: &Catalogue,
        heads: &BTreeMap<SnapshotName, Head>,
        runs: &[Run],
        verdicts: &[Verdict],
        writer: Option<Epoch>,
    ) -> Result<Named, BackupError> {
        let repository = &self.repository;
        let mut reader = Reader { repository, catalogue, heads, named: Named::default() };
        reader.snapshots(verdicts).await?;
        for run in runs {
            reader.log(run, verdicts).await?;
            reader.loose(&run.path).await?;
            if let (true, Some(writer)) = (run.is_current, writer) {
                reader.in_mind(&run.path, writer);
            }
        }
        Ok(reader.named)
    }

    /// What must be there and is not. The listing may have passed by what came after it.
    async fn missing(&self, catalogue: &Catalogue, named: &Named) -> Result<Vec<String>, BackupError> {
        let mut missing = Vec::new();
        for (name, bytes) in named.0.iter().filter_map(|(name, bytes)| Some((*name, (*bytes)?))) {
            if catalogue.objects().get(&name).is_some_and(|found| found.bytes == bytes) {
                continue;
            }
            let stat = self.repository.remote().head(&name.key()).await?;
            if stat.is_none_or(|stat| stat.bytes != bytes) {
                missing.push(name.to_string());
            }
            if missing.len() == MAX_MISSING {
                break;
            }
        }
        Ok(missing)
    }

    /// What was written before is older than the grace.
    fn grace_end(&self, now: UnixMillis) -> UnixMillis {
        let grace = i64::try_from(self.settings.grace_seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        UnixMillis::new(now.get().saturating_sub(grace))
    }
}

/// What stays although nothing names it.
struct Spares {
    writer: Option<Epoch>,
    in_use: InUse,
    grace_end: UnixMillis,
}

impl Spares {
    /// Each object of the listing to where it belongs.
    fn sort(&self, plan: &mut Plan, listed: &Catalogue, named: &Named) {
        let judged = plan.snapshots.iter().filter(|verdict| !verdict.is_kept()).map(|verdict| verdict.name);
        let leaving: BTreeSet<SnapshotName> = judged.collect();
        for (name, found) in listed.objects() {
            if matches!(name, ObjectName::Epoch(_)) {
                continue;
            }
            if stays_for_good(name) || *name == ObjectName::Lease || named.0.contains_key(name) {
                plan.stays.add(found.bytes);
                continue;
            }
            let goes = match name {
                // Decided by the rules alone; what a later writer has made is not ours to judge.
                ObjectName::Snapshot(name) => leaving.contains(name) && !self.is_later(name.epoch),
                ObjectName::Verified(name) if leaving.contains(name) => true,
                _ => found.modified < self.grace_end && !self.may_be_named(*name),
            };
            if goes {
                plan.goes.add(found.bytes);
                plan.delete.push((*name, found.bytes));
            } else {
                plan.waits.add(found.bytes);
            }
        }
    }

    /// Those that nothing of what is left needs. `now`: the bucket as it was listed last, which may have more.
    fn sort_epochs(&self, plan: &mut Plan, listed: &Catalogue, now: &Catalogue) {
        let goes: BTreeSet<_> = plan.delete.iter().map(|(name, _)| *name).collect();
        let left = now.objects().keys().filter(|name| !goes.contains(name));
        let alive = left.filter_map(of_history).collect();
        let needed = epochs::needed(now.timeline(), &alive, self.writer);
        for (name, found) in listed.objects() {
            let ObjectName::Epoch(epoch) = name else { continue };
            if needed.contains(epoch) {
                plan.stays.add(found.bytes);
            } else if found.modified < self.grace_end {
                plan.goes.add(found.bytes);
                plan.delete.push((*name, found.bytes));
            } else {
                plan.waits.add(found.bytes);
            }
        }
    }

    fn is_later(&self, epoch: Epoch) -> bool {
        self.writer.is_some_and(|writer| epoch > writer)
    }

    /// Whether a writer that meets the object again would use it as it is. Other names than these say in which epoch they were written, and no
    /// later one meets them.
    fn may_be_named(&self, name: ObjectName) -> bool {
        if self.in_use.objects.contains(&name) {
            return true;
        }
        match name {
            ObjectName::Extent { pack, epoch, .. } => {
                self.is_later(epoch) || (Some(epoch) == self.writer && self.in_use.packs.contains(&pack))
            }
            ObjectName::Plain { id, .. } => self.in_use.plains.contains(&id),
            ObjectName::Log { epoch, .. }
            | ObjectName::Base { epoch, .. }
            | ObjectName::Inventory { epoch, .. } => self.is_later(epoch),
            _ => false,
        }
    }
}

const fn stays_for_good(name: &ObjectName) -> bool {
    matches!(name, ObjectName::Repository | ObjectName::Epoch(_))
}

/// The epoch that an object is found by. Extents, images and bodies are found by what names them.
const fn of_history(name: &ObjectName) -> Option<Epoch> {
    match name {
        ObjectName::Log { epoch, .. } | ObjectName::Inventory { epoch, .. } => Some(*epoch),
        ObjectName::Snapshot(name) => Some(name.epoch),
        _ => None,
    }
}

/// In which order they go.
pub(super) const fn rank(name: &ObjectName) -> u8 {
    match name {
        ObjectName::Snapshot(_) => 0,
        ObjectName::Extent { .. } | ObjectName::Plain { .. } => 2,
        // As long as anything of it is there.
        ObjectName::Epoch(_) => 3,
        _ => 1,
    }
}
