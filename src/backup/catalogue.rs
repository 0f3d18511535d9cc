//! Everything that is in the bucket, by name, and how the pieces of the log follow one another.

use super::restore::Target;
use super::{
    BackupError, Contents, Epoch, Holdings, Inventory, LogLevel, ObjectName, Repository, Segment, SegmentRef,
    Snapshot, SnapshotName, Stamp, Stretch, Timeline,
};
use crate::remote::list_all;
use crate::types::{CommitSeq, PlainId, UnixMillis};
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Segments that are read at the same time.
pub(super) const READ_AT_ONCE: usize = 8;

/// An object as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub bytes: u64,
    /// By the remote's clock.
    pub modified: UnixMillis,
}

/// The bucket as it was listed.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    objects: BTreeMap<ObjectName, Found>,
    timeline: Timeline,
    /// Names that no repository has.
    foreign: u64,
}

/// A piece of the log and what of it counts: records behind `after`, up to `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub name: ObjectName,
    pub first: CommitSeq,
    pub last: CommitSeq,
    pub after: CommitSeq,
    pub up_to: CommitSeq,
}

impl Link {
    fn found(&self, stamp: Stamp, up_to: CommitSeq) -> SegmentRef {
        let ObjectName::Log { epoch, level, first, last } = self.name else {
            unreachable!("links are made of names of segments")
        };
        SegmentRef { epoch, level, first, last, up_to: self.up_to.min(up_to), stamp }
    }
}

/// A stretch of the log without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub links: Vec<Link>,
    /// The last record that it has.
    pub reaches: CommitSeq,
    /// The path goes on behind a gap: what comes then cannot be restored from here.
    pub is_broken: bool,
}

impl Catalogue {
    /// Lists all objects, then reads the epochs.
    ///
    /// # Errors
    /// When the remote fails, or an epoch is not believed.
    pub async fn load(repository: &Repository) -> Result<Self, BackupError> {
        let listed = Self::list(repository).await?;
        Ok(listed.along(repository.timeline().await?))
    }

    /// For whoever restores: a snapshot that is named needs none of the epochs, which may be damaged.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_for(repository: &Repository, target: Target) -> Result<Self, BackupError> {
        match target {
            Target::Snapshot(_) => Self::list(repository).await,
            Target::Latest | Target::Seq(_) | Target::Time(_) => Self::load(repository).await,
        }
    }

    /// Without the epochs.
    pub(super) async fn list(repository: &Repository) -> Result<Self, BackupError> {
        let mut catalogue = Self::default();
        let mut listed = list_all(&**repository.remote(), "");
        while let Some(found) = listed.try_next().await? {
            match ObjectName::parse(found.key.as_str()) {
                Ok(name) => {
                    let seen = Found { bytes: found.bytes, modified: found.modified };
                    catalogue.objects.insert(name, seen);
                }
                Err(_) => catalogue.foreign += 1,
            }
        }
        Ok(catalogue)
    }

    pub(super) fn along(self, timeline: Timeline) -> Self {
        Self { timeline, ..self }
    }

    #[must_use]
    pub const fn objects(&self) -> &BTreeMap<ObjectName, Found> {
        &self.objects
    }

    #[must_use]
    pub const fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.values().map(|found| found.bytes).sum()
    }

    /// Whether an object is there with its length. What it holds is not looked at.
    #[must_use]
    pub fn has(&self, name: ObjectName, stamp: Stamp) -> bool {
        self.objects.get(&name).is_some_and(|found| found.bytes == stamp.bytes)
    }

    /// From now on it counts as not there: it is damaged. `false`: it did not before.
    pub fn forget(&mut self, name: ObjectName) -> bool {
        self.objects.remove(&name).is_some()
    }

    /// Oldest first, by the writers' clocks; those of all epochs.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotName> {
        let mut names: Vec<_> = self
            .objects
            .keys()
            .filter_map(|name| if let ObjectName::Snapshot(name) = name { Some(*name) } else { None })
            .collect();
        names.sort_by_key(|name| (name.at, name.epoch, name.seq));
        names
    }

    /// The snapshots that are on a path, by what they hold, oldest first.
    #[must_use]
    pub fn snapshots_on(&self, path: &[Stretch]) -> Vec<SnapshotName> {
        let is_on = |name: &SnapshotName| {
            let of = |stretch: &&Stretch| stretch.epoch == name.epoch;
            // One that was made before its epoch shipped anything is of the record that the epoch begins behind.
            path.iter().find(of).is_some_and(|stretch| name.seq == stretch.after || stretch.holds(name.seq))
        };
        let mut names: Vec<_> = self.snapshots().into_iter().filter(is_on).collect();
        names.sort_by_key(|name| (name.seq, name.epoch, name.at));
        names
    }

    /// The log behind a record, along a path: of segments that hold the same the longest.
    #[must_use]
    pub fn chain(&self, path: &[Stretch], after: CommitSeq) -> Chain {
        let (mut links, mut at) = (Vec::new(), after);
        for stretch in path {
            let segments = self.segments(stretch.epoch);
            if stretch.up_to.is_some_and(|end| end <= at) {
                continue;
            }
            if stretch.after > at {
                return Chain { links, reaches: at, is_broken: true };
            }
            while stretch.up_to.is_none_or(|end| at < end) {
                let next = segments
                    .iter()
                    .filter(|(first, last, _)| *first <= at.next() && at < *last)
                    .max_by_key(|(_, last, level)| (*last, *level));
                let Some((first, last, level)) = next.copied() else { break };
                let name = ObjectName::Log { epoch: stretch.epoch, level, first, last };
                let up_to = stretch.up_to.map_or(last, |end| end.min(last));
                links.push(Link { name, first, last, after: at, up_to });
                at = up_to;
            }
            if stretch.up_to.is_some_and(|end| at < end) {
                return Chain { links, reaches: at, is_broken: true };
            }
        }
        // What stands further on in the newest epoch cannot be reached.
        let newest = path.last().map(|stretch| self.segments(stretch.epoch)).unwrap_or_default();
        let is_broken = newest.iter().any(|(_, last, _)| *last > at);
        Chain { links, reaches: at, is_broken }
    }

    fn segments(&self, of: Epoch) -> Vec<(CommitSeq, CommitSeq, LogLevel)> {
        let lowest = CommitSeq::ZERO;
        let begin = ObjectName::Log { epoch: of, level: LogLevel::Live, first: lowest, last: lowest };
        let named = self.objects.range(begin..).map_while(|(name, _)| match name {
            ObjectName::Log { epoch, level, first, last } if *epoch == of => Some((*first, *last, *level)),
            _ => None,
        });
        named.collect()
    }

    fn inventories(&self, of: Epoch) -> Vec<u32> {
        let begin = ObjectName::Inventory { epoch: of, number: 0 };
        let named = self.objects.range(begin..).map_while(|(name, _)| match name {
            ObjectName::Inventory { epoch, number } if *epoch == of => Some(*number),
            _ => None,
        });
        named.collect()
    }
}

/// A path and the newest snapshot on it that holds no more than a record.
#[derive(Debug, Clone)]
pub struct Known {
    pub snapshot: Option<Snapshot>,
    /// What the snapshot and the log behind it name and the bucket has.
    pub holdings: Holdings,
    /// Plain bodies that they name and the bucket does not have: the log tells of them no more.
    pub gone_plains: Vec<PlainId>,
    /// What was put there and no log names yet: whoever uses it compares it with what he has.
    pub loose: Contents,
    /// The log behind the snapshot.
    pub log: Vec<SegmentRef>,
    /// The last record of the log that is there, and when it was made.
    pub reaches: CommitSeq,
    pub reaches_at: Option<UnixMillis>,
}

impl Known {
    /// What a writer that goes on behind `up_to` of a path finds.
    ///
    /// # Errors
    /// When something that is there cannot be read, or is not believed.
    pub async fn load(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        path: &[Stretch],
        up_to: CommitSeq,
    ) -> Result<Self, BackupError> {
        let mut known = Self {
            snapshot: None,
            holdings: Holdings::default(),
            gone_plains: Vec::new(),
            loose: Contents::default(),
            log: Vec::new(),
            reaches_at: None,
            reaches: path.first().map_or(CommitSeq::ZERO, |stretch| stretch.after),
        };
        let newest = catalogue.snapshots_on(path).into_iter().rev().find(|name| name.seq <= up_to);
        if let Some(name) = newest {
            let snapshot = Snapshot::get(repository, name).await?;
            let listed = snapshot.inventory;
            let inventory =
                Inventory::get(repository, listed.epoch, listed.number, Some(listed.stamp)).await?;
            known.holdings.add(&inventory.contents);
            (known.reaches, known.reaches_at) = (snapshot.seq, Some(snapshot.seq_at));
            known.snapshot = Some(snapshot);
        }
        known.add_log(repository, catalogue, path, up_to).await?;
        known.add_loose(repository, catalogue, path).await?;
        let named: Vec<PlainId> = known.holdings.plains().map(|plain| plain.id).collect();
        known.holdings.retain(|name, stamp| catalogue.has(name, stamp));
        known.gone_plains = named.into_iter().filter(|id| !known.holdings.has_plain(*id)).collect();
        Ok(known)
    }

    async fn add_log(
        &mut self,
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        path: &[Stretch],
        up_to: CommitSeq,
    ) -> Result<(), BackupError> {
        let chain = catalogue.chain(path, self.reaches);
        let wanted = chain.links.into_iter().take_while(|link| link.after < up_to);
        let mut segments = stream::iter(wanted)
            .map(|link| async move {
                Ok::<_, BackupError>((link, Segment::get_stamped(repository, link.name).await?))
            })
            .buffered(READ_AT_ONCE);
        while let Some((link, (segment, stamp))) = segments.try_next().await? {
            self.holdings.add(&segment.contents);
            let found = link.found(stamp, up_to);
            self.reaches = found.up_to;
            self.reaches_at = segment.cut(found.up_to).last_at();
            self.log.push(found);
        }
        Ok(())
    }

    /// Inventories of the path that no snapshot stands behind.
    async fn add_loose(
        &mut self,
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
        path: &[Stretch],
    ) -> Result<(), BackupError> {
        let newest = self.snapshot.as_ref().map(|snapshot| snapshot.inventory);
        for stretch in path {
            for number in catalogue.inventories(stretch.epoch) {
                if newest.is_some_and(|newest| (stretch.epoch, number) <= (newest.epoch, newest.number)) {
                    continue;
                }
                let inventory = Inventory::get(repository, stretch.epoch, number, None).await?;
                if !inventory.is_whole {
                    let has = |extent: &super::Extent| catalogue.has(extent.name(), extent.stamp);
                    self.loose.packs.extend(inventory.contents.packs.into_iter().filter(has));
                    let is_whole = |plain: &super::PlainFile| {
                        plain.objects().all(|(name, stamp)| catalogue.has(name, stamp))
                    };
                    self.loose.plains.extend(inventory.contents.plains.into_iter().filter(is_whole));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
