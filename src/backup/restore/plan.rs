//! What a moment of a store is made of.

use crate::backup::catalogue::READ_AT_ONCE;
use crate::backup::{
    BackupError, Catalogue, Epoch, Holdings, Inventory, Link, ObjectName, Repository, Segment, SegmentRef,
    Snapshot, SnapshotName, Stamp, Stretch,
};
use crate::types::{CommitSeq, UnixMillis};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::borrow::Cow;
use std::sync::Arc;

/// Which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The last record that is in the bucket.
    Latest,
    /// That record, and all before it.
    Seq(CommitSeq),
    /// Everything that had happened by then, to the millisecond.
    Time(UnixMillis),
    /// What a snapshot holds, also one of a branch that was left.
    Snapshot(SnapshotName),
}

/// Everything that a restore reads.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The store as of this record,
    pub seq: CommitSeq,
    /// which was made then.
    pub at: UnixMillis,
    /// The epoch that holds it: a store that goes on from here is a branch of it.
    pub epoch: Epoch,
    pub snapshot: Snapshot,
    /// From behind the base to `seq`.
    pub log: Vec<SegmentRef>,
    pub holdings: Holdings,
    /// What is missing or damaged, and was done without: for people.
    pub passed_over: Vec<String>,
}

/// What a snapshot names itself, all there.
struct Start {
    snapshot: Snapshot,
    holdings: Holdings,
}

/// The log behind a snapshot.
struct Behind {
    links: Vec<Link>,
    is_broken: bool,
}

impl Plan {
    /// Begins in the newest snapshot that is not behind the moment; where something of that one is missing or damaged, in the one before it.
    /// A snapshot that is asked for by name has none before it.
    ///
    /// # Errors
    /// When there is no such moment in the bucket, with what there is; or what is there cannot be read.
    pub async fn make(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        target: Target,
    ) -> Result<Self, BackupError> {
        if let Target::Snapshot(name) = target {
            return Ok(Self::from(Start::read(repository, catalogue, name).await?, Vec::new()));
        }
        let newest = catalogue.timeline().newest().ok_or_else(nothing)?;
        let path = catalogue.timeline().path_to(newest)?;
        let (mut passed_over, mut lost) = (Vec::new(), CommitSeq::ZERO);
        for name in catalogue.snapshots_on(&path).into_iter().rev() {
            if matches!(target, Target::Seq(seq) if name.seq > seq) {
                continue;
            }
            let start = match Start::read(repository, catalogue, name).await {
                Err(error) if error.is_damage() => {
                    lost = lost.max(name.seq);
                    // One of which it is not known whether it is behind the moment is not worth a word.
                    if !matches!(target, Target::Time(time) if i128::from(name.at) > i128::from(time.seconds()))
                    {
                        passed_over.push(format!("snapshot {name} is passed over: {error}"));
                    }
                    continue;
                }
                start => start?,
            };
            if matches!(target, Target::Time(time) if start.snapshot.seq_at > time) {
                // What led to it may have been pruned: then nobody knows what happened before that time.
                lost = lost.max(name.seq);
                continue;
            }
            let plan = Self::from(start, passed_over);
            return plan.along(repository, catalogue, &path, (target, lost)).await;
        }
        Err(without_start(repository, catalogue, &path, &passed_over).await)
    }

    /// Plans anew after something of it turned out to be damaged when it was read: without that.
    ///
    /// # Errors
    /// The one that was met, if it is no damage or there is no way around it.
    pub async fn remake(
        repository: &Arc<Repository>,
        catalogue: &mut Catalogue,
        target: Target,
        met: BackupError,
    ) -> Result<Self, BackupError> {
        let damaged = met.object().filter(|_| met.is_damage());
        if !damaged.is_some_and(|name| catalogue.forget(name)) || matches!(target, Target::Snapshot(_)) {
            return Err(met);
        }
        let mut plan = match Self::make(repository, catalogue, target).await {
            Err(error) if error.class().is_none() => {
                return Err(BackupError::Unfit(format!("{met}; and without it: {error}")));
            }
            plan => plan?,
        };
        plan.passed_over.insert(0, met.to_string());
        Ok(plan)
    }

    fn from(start: Start, passed_over: Vec<String>) -> Self {
        let Start { snapshot, holdings } = start;
        let (seq, at, epoch, log) = (snapshot.seq, snapshot.seq_at, snapshot.epoch, snapshot.log.clone());
        Self { seq, at, epoch, log, holdings, snapshot, passed_over }
    }

    /// The log behind the snapshot, up to the target. Segments that are damaged are left out: others may hold the same records. `lost`: up to
    /// there it went once.
    async fn along(
        self,
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        path: &[Stretch],
        (target, mut lost): (Target, CommitSeq),
    ) -> Result<Self, BackupError> {
        let (mut there, mut left_out) = (Cow::Borrowed(catalogue), Vec::new());
        loop {
            let mut plan = self.clone();
            let chain = there.chain(path, plan.seq);
            let is_broken = chain.is_broken || lost > chain.reaches;
            let behind = Behind { links: chain.links, is_broken };
            match plan.follow(repository, &behind, target).await {
                Err(error) if error.is_damage() => {
                    let Some(name @ ObjectName::Log { last, .. }) = error.object() else { return Err(error) };
                    there.to_mut().forget(name);
                    lost = lost.max(last);
                    left_out.push(error.to_string());
                    continue;
                }
                followed => followed?,
            }
            plan.passed_over.extend(left_out);
            plan.check(&behind, target)?;
            let is_moved = plan.seq > plan.snapshot.seq;
            if let Some(holder) = path.iter().find(|stretch| is_moved && stretch.holds(plan.seq)) {
                plan.epoch = holder.epoch;
            }
            return Ok(plan);
        }
    }

    /// Reads the log behind the snapshot, up to the target.
    async fn follow(
        &mut self,
        repository: &Arc<Repository>,
        behind: &Behind,
        target: Target,
    ) -> Result<(), BackupError> {
        // What is behind a record is not needed, and may be damaged.
        let is_wanted = |link: &Link| !matches!(target, Target::Seq(last) if link.after >= last);
        let links: Vec<_> = behind.links.iter().copied().take_while(is_wanted).collect();
        let mut segments = stream::iter(links)
            .map(|link| async move {
                Ok::<_, BackupError>((link, Segment::get_stamped(repository, link.name).await?))
            })
            .buffered(READ_AT_ONCE);
        while let Some((link, (segment, stamp))) = segments.try_next().await? {
            let Some((last, at)) = last_wanted(&segment, &link, target) else { break };
            self.holdings.add(&segment.contents);
            self.log.push(reference(&segment, &link, last, stamp));
            (self.seq, self.at) = (last, at);
            if last < link.up_to {
                break;
            }
        }
        Ok(())
    }

    /// A record that was asked for by its number must be there; so must everything up to a time, if the log goes on.
    fn check(&self, behind: &Behind, target: Target) -> Result<(), BackupError> {
        let ends_there = behind.links.last().is_none_or(|link| link.up_to == self.seq);
        let why = match target {
            Target::Seq(seq) if self.seq < seq => format!(
                "record {seq} is not in the backup: the newest one that can be restored is {} of {}",
                self.seq,
                self.at.get()
            ),
            Target::Time(_) | Target::Latest if behind.is_broken && ends_there => format!(
                "the log has a gap behind record {}: name it with --seq, or a snapshot, to restore what is before it",
                self.seq
            ),
            _ => return Ok(()),
        };
        Err(BackupError::Unfit(listed(why, &self.passed_over)))
    }

    /// Of all objects that are read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let base: u64 = self.snapshot.base.pieces.iter().map(|stamp| stamp.bytes).sum();
        let log: u64 = self.log.iter().map(|segment| segment.stamp.bytes).sum();
        base + log + self.holdings.contents().bytes()
    }
}

impl Start {
    async fn read(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        name: SnapshotName,
    ) -> Result<Self, BackupError> {
        let snapshot = Snapshot::get(repository, name).await?;
        if let Some((name, _)) = snapshot.objects().find(|(name, stamp)| !catalogue.has(*name, *stamp)) {
            let why = "it is missing, of another length, or damaged".to_owned();
            return Err(BackupError::Content { name: name.to_string(), why });
        }
        let listed = snapshot.inventory;
        let inventory = Inventory::get(repository, listed.epoch, listed.number, Some(listed.stamp)).await?;
        let mut holdings = Holdings::default();
        holdings.add(&inventory.contents);
        Ok(Self { snapshot, holdings })
    }
}

fn nothing() -> BackupError {
    BackupError::Unfit("the repository has no snapshot yet: nothing can be restored".into())
}

/// Why no snapshot of a path will do.
async fn without_start(
    repository: &Arc<Repository>,
    catalogue: &Catalogue,
    path: &[Stretch],
    passed_over: &[String],
) -> BackupError {
    if !passed_over.is_empty() {
        let why = "no snapshot that this moment could be restored from is whole".to_owned();
        return BackupError::Unfit(listed(why, passed_over));
    }
    let Some(oldest) = catalogue.snapshots_on(path).into_iter().next() else { return nothing() };
    match Snapshot::get(repository, oldest).await {
        Ok(oldest) => BackupError::Unfit(format!(
            "the oldest moment that can be restored is record {}, of {}",
            oldest.seq,
            oldest.seq_at.get()
        )),
        Err(error) => error,
    }
}

fn listed(why: String, passed_over: &[String]) -> String {
    passed_over.iter().fold(why, |why, one| why + "; " + one)
}

/// The last record of a segment that belongs to the target, and when it was made; `None`: it is all later.
fn last_wanted(segment: &Segment, link: &Link, target: Target) -> Option<(CommitSeq, UnixMillis)> {
    let numbered = (segment.first.get()..).map(CommitSeq::new).zip(&segment.records);
    numbered
        .filter(|(seq, _)| *seq > link.after && *seq <= link.up_to)
        .take_while(|(seq, stored)| match target {
            Target::Latest => true,
            Target::Seq(last) => *seq <= last,
            Target::Time(time) => stored.at <= time,
            Target::Snapshot(_) => false,
        })
        .last()
        .map(|(seq, stored)| (seq, stored.at))
}

fn reference(segment: &Segment, link: &Link, up_to: CommitSeq, stamp: Stamp) -> SegmentRef {
    let (first, last) = (segment.first, segment.last());
    let level = match link.name {
        ObjectName::Log { level, .. } => level,
        _ => crate::backup::LogLevel::Live,
    };
    SegmentRef { epoch: segment.epoch, level, first, last, up_to, stamp }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
