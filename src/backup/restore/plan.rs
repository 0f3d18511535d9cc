//! What a moment of a store is made of.

use crate::backup::catalogue::READ_AT_ONCE;
use crate::backup::{
    BackupError, Catalogue, Epoch, Holdings, Inventory, Link, Repository, Segment, SegmentRef, Snapshot,
    SnapshotName, Stamp, Stretch,
};
use crate::types::{CommitSeq, UnixMillis};
use futures::stream::{self, StreamExt, TryStreamExt};
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
}

/// A snapshot and the log behind it.
struct Found {
    snapshot: Snapshot,
    links: Vec<Link>,
    path: Vec<Stretch>,
    is_broken: bool,
}

impl Plan {
    /// # Errors
    /// When there is no such moment in the bucket, with what there is; or what is there cannot be read.
    pub async fn make(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        target: Target,
    ) -> Result<Self, BackupError> {
        let found = Found::of(repository, catalogue, target).await?;
        let listed = found.snapshot.inventory;
        let inventory = Inventory::get(repository, listed.epoch, listed.number, Some(listed.stamp)).await?;
        let mut holdings = Holdings::default();
        holdings.add(&inventory.contents);
        let mut plan = Self {
            seq: found.snapshot.seq,
            at: found.snapshot.seq_at,
            epoch: found.snapshot.epoch,
            log: found.snapshot.log.clone(),
            holdings,
            snapshot: found.snapshot.clone(),
        };
        plan.follow(repository, &found, target).await?;
        plan.check(&found, target)?;
        if let Some(holder) = found.path.iter().find(|stretch| stretch.holds(plan.seq)) {
            plan.epoch = holder.epoch;
        }
        Ok(plan)
    }

    /// Reads the log behind the snapshot, up to the target.
    async fn follow(
        &mut self,
        repository: &Arc<Repository>,
        found: &Found,
        target: Target,
    ) -> Result<(), BackupError> {
        let mut segments = stream::iter(found.links.clone())
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
    fn check(&self, found: &Found, target: Target) -> Result<(), BackupError> {
        match target {
            Target::Seq(seq) if self.seq < seq => Err(BackupError::Unfit(format!(
                "record {seq} is not in the backup: the newest one that can be restored is {} of {}",
                self.seq,
                self.at.get()
            ))),
            Target::Time(_) | Target::Latest
                if found.is_broken && found.links.last().is_none_or(|link| link.up_to == self.seq) =>
            {
                Err(BackupError::Unfit(format!(
                    "the log has a gap behind record {}: name it with --seq, or a snapshot, to restore what is before it",
                    self.seq
                )))
            }
            _ => Ok(()),
        }
    }

    /// Of all objects that are read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let base: u64 = self.snapshot.base.pieces.iter().map(|stamp| stamp.bytes).sum();
        let log: u64 = self.log.iter().map(|segment| segment.stamp.bytes).sum();
        base + log + self.holdings.contents().bytes()
    }
}

impl Found {
    async fn of(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        target: Target,
    ) -> Result<Self, BackupError> {
        if let Target::Snapshot(name) = target {
            let snapshot = Snapshot::get(repository, name).await?;
            return Ok(Self { snapshot, links: Vec::new(), path: Vec::new(), is_broken: false });
        }
        let nothing =
            || BackupError::Unfit("the repository has no snapshot yet: nothing can be restored".into());
        let newest = catalogue.timeline().newest().ok_or_else(nothing)?;
        let path = catalogue.timeline().path_to(newest)?;
        for name in catalogue.snapshots_on(&path).into_iter().rev() {
            if matches!(target, Target::Seq(seq) if name.seq > seq) {
                continue;
            }
            let snapshot = Snapshot::get(repository, name).await?;
            if matches!(target, Target::Time(time) if snapshot.seq_at > time) {
                continue;
            }
            let chain = catalogue.chain(&path, snapshot.seq);
            return Ok(Self { snapshot, links: chain.links, path, is_broken: chain.is_broken });
        }
        let oldest = catalogue.snapshots_on(&path).into_iter().next().ok_or_else(nothing)?;
        let oldest = Snapshot::get(repository, oldest).await?;
        Err(BackupError::Unfit(format!(
            "the oldest moment that can be restored is record {}, of {}",
            oldest.seq,
            oldest.seq_at.get()
        )))
    }
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
        crate::backup::ObjectName::Log { level, .. } => level,
        _ => crate::backup::LogLevel::Live,
    };
    SegmentRef { epoch: segment.epoch, level, first, last, up_to, stamp }
}
