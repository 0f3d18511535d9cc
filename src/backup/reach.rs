//! Which moments can be restored.

use super::{BackupError, Catalogue, Repository, Segment, SnapshotName, Stretch};
use crate::types::{CommitSeq, UnixMillis};
use std::sync::Arc;

/// Every moment between the two, along the path to the newest epoch. By names and order alone: whether the bytes
/// are sound is for verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The snapshot from which on the log has no gap was made then.
    pub from: UnixMillis,
    /// The last record that is there was made then.
    pub to: UnixMillis,
    pub seq: CommitSeq,
    /// There is more behind a gap, which cannot be restored.
    pub is_broken: bool,
}

impl Reach {
    /// `None` while there is no snapshot on that path.
    ///
    /// # Errors
    /// When the last segment of the log cannot be read.
    pub async fn find(
        repository: &Arc<Repository>,
        catalogue: &Catalogue,
    ) -> Result<Option<Self>, BackupError> {
        let Some(newest) = catalogue.timeline().newest() else { return Ok(None) };
        let path = catalogue.timeline().path_to(newest)?;
        let snapshots = catalogue.snapshots_on(&path);
        let Some(last) = snapshots.last().copied() else { return Ok(None) };
        let chain = catalogue.chain(&path, last.seq);
        let first = first_within(catalogue, &path, &snapshots).unwrap_or(last);
        let to = match chain.links.last() {
            Some(link) if link.up_to == link.last => {
                let segment = Segment::get(repository, link.name, None).await?;
                segment.last_at().unwrap_or_else(|| made(last))
            }
            // The rest of that segment is not of this path.
            _ => made(last),
        };
        let is_broken = chain.is_broken;
        Ok(Some(Self { from: made(first), to: to.max(made(first)), seq: chain.reaches, is_broken }))
    }
}

/// The first of the snapshots of a path from which on the log has no gap: what is between older ones may have been pruned.
pub(super) fn first_within(
    catalogue: &Catalogue,
    path: &[Stretch],
    snapshots: &[SnapshotName],
) -> Option<SnapshotName> {
    let reaches = |name: &SnapshotName| catalogue.chain(path, name.seq).reaches;
    let last = reaches(snapshots.last()?);
    // Where the log goes on so far from one, it does from all later ones.
    snapshots.get(snapshots.partition_point(|name| reaches(name) < last)).copied()
}

fn made(name: SnapshotName) -> UnixMillis {
    UnixMillis::new(i64::try_from(name.at.saturating_mul(1000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Reach;
    use crate::backup::objects::Writing;
    use crate::backup::testing::{STORE, repository};
    use crate::backup::{
        Catalogue, Contents, Epoch, EpochRecord, LogLevel, ObjectName, Repository, Segment, SnapshotName,
    };
    use crate::meta::{Change, LogRecord};
    use crate::remote::PutOptions;
    use crate::sys::SeededRandom;
    use crate::types::{BucketId, CommitSeq, UnixMillis};
    use std::sync::Arc;

    async fn begin(repository: &Repository) {
        let record = EpochRecord {
            epoch: Epoch::FIRST,
            parent: None,
            from_seq: CommitSeq::ZERO,
            store_id: STORE,
            tenure: String::new(),
            holder: String::new(),
            started: UnixMillis::new(0),
        };
        let name = ObjectName::Epoch(Epoch::FIRST);
        repository.write(name, &record, &PutOptions::ABSENT).await.unwrap();
    }

    /// Records `first..=last`, each made in the second of its number.
    async fn ship(repository: &Arc<Repository>, first: u64, last: u64) {
        let record = |seq: u64| LogRecord {
            seq: CommitSeq::new(seq),
            at: UnixMillis::new(seq as i64 * 1000),
            change: Change::BucketDeleted { bucket: BucketId::new(1) },
            added: Vec::new(),
            dropped: Vec::new(),
        };
        let records: Vec<_> = (first..=last).map(record).collect();
        let segment = Segment::new(Epoch::FIRST, &records, Contents::default()).unwrap().unwrap();
        let random = Arc::new(SeededRandom::new(first));
        let writing = Writing { random, level: 1, parts_in_flight: 1, retain_until: None };
        segment.put(repository, LogLevel::Live, &writing).await.unwrap();
    }

    /// Only its name counts here.
    async fn snapshot(repository: &Repository, seq: u64) {
        let name = SnapshotName { epoch: Epoch::FIRST, seq: CommitSeq::new(seq), at: seq };
        repository.write(ObjectName::Snapshot(name), &(), &PutOptions::ABSENT).await.unwrap();
    }

    async fn reach(repository: &Arc<Repository>) -> Option<(i64, i64, u64, bool)> {
        let catalogue = Catalogue::load(repository).await.unwrap();
        let reach = Reach::find(repository, &catalogue).await.unwrap()?;
        Some((reach.from.seconds(), reach.to.seconds(), reach.seq.get(), reach.is_broken))
    }

    #[tokio::test]
    async fn moments_reach_from_where_the_log_has_no_gap_to_its_last_record() {
        let (repository, _) = repository(true).await;
        assert_eq!(reach(&repository).await, None, "an empty repository");
        begin(&repository).await;
        ship(&repository, 1, 4).await;
        assert_eq!(reach(&repository).await, None, "a log alone restores nothing");
        snapshot(&repository, 4).await;
        assert_eq!(reach(&repository).await, Some((4, 4, 4, false)));
        ship(&repository, 7, 9).await;
        assert_eq!(reach(&repository).await, Some((4, 4, 4, true)), "behind a gap");
        snapshot(&repository, 8).await;
        assert_eq!(reach(&repository).await, Some((8, 9, 9, false)), "the gap is before it");
        snapshot(&repository, 9).await;
        ship(&repository, 10, 30).await;
        assert_eq!(reach(&repository).await, Some((8, 30, 30, false)));
    }
}
