//! Manifests of snapshots: everything that one moment of a store is made of.

use super::{BackupError, Epoch, ObjectName, Repository, SegmentRef, SnapshotName, Stamp};
use crate::remote::PutOptions;
use crate::types::{CommitSeq, UnixMillis};
use serde::{Deserialize, Serialize};

/// The most of the metadata's image that one object holds: 64 MiB.
pub const BASE_PIECE_BYTES: u64 = 64 << 20;

/// An image of the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub epoch: Epoch,
    /// The last record that is in it.
    pub seq: CommitSeq,
    /// When it was made, by the writer's clock.
    pub made: UnixMillis,
    pub length: u64,
    /// Of [`BASE_PIECE_BYTES`] each, but for the last.
    pub pieces: Vec<Stamp>,
}

impl Base {
    /// Its objects, in order.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectName, Stamp)> {
        let name = |piece| ObjectName::Base { epoch: self.epoch, seq: self.seq, piece };
        (0..).zip(&self.pieces).map(move |(piece, stamp)| (name(piece), *stamp))
    }
}

/// Where the list of packs and plain bodies is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRef {
    pub epoch: Epoch,
    pub number: u32,
    pub stamp: Stamp,
}

impl InventoryRef {
    #[must_use]
    pub const fn name(&self) -> ObjectName {
        ObjectName::Inventory { epoch: self.epoch, number: self.number }
    }
}

/// What people want to know of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotTotals {
    pub buckets: u64,
    /// Versions of objects; delete markers are not counted.
    pub versions: u64,
    /// What clients would read of all versions.
    pub logical_bytes: u64,
    /// Of all objects in the bucket that it needs.
    pub remote_bytes: u64,
    /// What was sent for it since the snapshot before it.
    pub sent_bytes: u64,
}

/// `snapshots/…`. It names everything, so every snapshot is a full one for whoever restores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub epoch: Epoch,
    /// The last record that is in it.
    pub seq: CommitSeq,
    /// When that record was made: nothing happened between then and `made`.
    pub seq_at: UnixMillis,
    /// By the writer's clock.
    pub made: UnixMillis,
    /// A new image of the metadata was made for it.
    pub is_full: bool,
    pub base: Base,
    /// From behind the base to `seq`, without a gap.
    pub log: Vec<SegmentRef>,
    pub inventory: InventoryRef,
    pub totals: SnapshotTotals,
    /// The version of the program that made it.
    pub program: String,
}

impl Snapshot {
    #[must_use]
    pub fn name(&self) -> SnapshotName {
        let at = u64::try_from(self.made.seconds()).unwrap_or(0);
        SnapshotName { epoch: self.epoch, seq: self.seq, at }
    }

    /// All objects that it names itself; what its inventory names is not among them.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectName, Stamp)> {
        let log = self.log.iter().map(|segment| (segment.name(), segment.stamp));
        self.base.objects().chain(log).chain([(self.inventory.name(), self.inventory.stamp)])
    }

    /// # Errors
    /// When it cannot be put. One of the same second and record stands there already: then that one counts.
    pub async fn put(&self, repository: &Repository, options: &PutOptions) -> Result<(), BackupError> {
        repository.write(ObjectName::Snapshot(self.name()), self, options).await?;
        Ok(())
    }

    /// # Errors
    /// When it is not there, was not signed with the repository's key, or contradicts itself.
    pub async fn get(repository: &Repository, name: SnapshotName) -> Result<Self, BackupError> {
        let object = ObjectName::Snapshot(name);
        let found = repository.read::<Self>(object).await?;
        let (snapshot, _) = found.ok_or_else(|| BackupError::Missing(object.to_string()))?;
        match snapshot.check(name) {
            Ok(()) => Ok(snapshot),
            Err(why) => Err(BackupError::Content { name: object.to_string(), why: why.to_owned() }),
        }
    }

    fn check(&self, name: SnapshotName) -> Result<(), &'static str> {
        if self.name() != name {
            return Err("it is of another moment than its name says");
        }
        let mut at = self.base.seq;
        for segment in &self.log {
            // A segment may begin before the image, which was made in the middle of it.
            if segment.first > at.next() || segment.up_to <= at || segment.last < segment.up_to {
                return Err("its log has a gap");
            }
            at = segment.up_to;
        }
        if at < self.seq {
            return Err("its log ends before it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Base, InventoryRef, Snapshot, SnapshotTotals};
    use crate::backup::testing::repository;
    use crate::backup::{BackupError, Epoch, LogLevel, Nonce, SegmentRef, Stamp};
    use crate::remote::PutOptions;
    use crate::types::{CommitSeq, UnixMillis};

    fn snapshot(base: u64, segments: &[(u64, u64)], seq: u64) -> Snapshot {
        let (epoch, stamp) = (Epoch::FIRST, Stamp { bytes: 1, nonce: Nonce([1; 16]) });
        let seq_of = CommitSeq::new;
        let made = UnixMillis::new(1_790_000_000_123);
        let segment = |(first, last): &(u64, u64)| SegmentRef {
            epoch,
            level: LogLevel::Live,
            first: seq_of(*first),
            last: seq_of(*last),
            up_to: seq_of(*last),
            stamp,
        };
        Snapshot {
            epoch,
            seq: seq_of(seq),
            seq_at: made,
            made,
            is_full: false,
            base: Base { epoch, seq: seq_of(base), made, length: 1, pieces: vec![stamp] },
            log: segments.iter().map(segment).collect(),
            inventory: InventoryRef { epoch, number: 0, stamp },
            totals: SnapshotTotals::default(),
            program: "test".into(),
        }
    }

    #[tokio::test]
    async fn a_snapshot_is_read_as_it_was_written_and_has_no_gap() {
        let (repository, _) = repository(true).await;
        for (at, (base, log, seq, is_sound)) in [
            (5, &[][..], 5, true),
            (5, &[(4, 7), (8, 9)][..], 9, true),
            (5, &[(4, 7), (8, 10)][..], 9, true),
            (5, &[(7, 9)][..], 9, false),
            (5, &[(6, 7), (9, 9)][..], 9, false),
            (5, &[(6, 8)][..], 9, false),
            (5, &[(3, 5)][..], 5, false),
        ]
        .into_iter()
        .enumerate()
        {
            let mut snapshot = snapshot(base, log, seq);
            snapshot.made = UnixMillis::new(snapshot.made.get() + 1000 * at as i64);
            snapshot.put(&repository, &PutOptions::ABSENT).await.unwrap();
            match Snapshot::get(&repository, snapshot.name()).await {
                Ok(read) => assert!(is_sound && read == snapshot, "{at}"),
                Err(error) => {
                    assert!(!is_sound && matches!(error, BackupError::Content { .. }), "{at}: {error}");
                }
            }
        }
    }
}
