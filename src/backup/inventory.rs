//! What of a store is in the bucket: extents of packs and plain bodies, each put there once.

use super::container::Kind;
use super::objects::{self, Writing};
use super::{BackupError, Epoch, ObjectName, Repository, Stamp};
use crate::storage::PackId;
use crate::types::{CommitSeq, PlainId};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most of a plain body's file that one object holds: 64 MiB.
pub const PLAIN_PIECE_BYTES: u64 = 64 << 20;

/// Bytes `from..to` of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub pack: u64,
    pub from: u32,
    pub to: u32,
    pub epoch: Epoch,
    pub stamp: Stamp,
    /// CRC32C of the content.
    pub crc: u32,
}

impl Extent {
    #[must_use]
    pub const fn pack(&self) -> PackId {
        PackId::new(self.pack)
    }

    #[must_use]
    pub const fn name(&self) -> ObjectName {
        ObjectName::Extent { pack: self.pack(), from: self.from, to: self.to, epoch: self.epoch }
    }
}

/// The file of a plain body, in pieces of [`PLAIN_PIECE_BYTES`] but for the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainFile {
    pub id: PlainId,
    /// Of the file.
    pub length: u64,
    pub pieces: Vec<Stamp>,
}

impl PlainFile {
    /// Its objects, in order.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectName, Stamp)> {
        (0..).zip(&self.pieces).map(|(piece, stamp)| (ObjectName::Plain { id: self.id, piece }, *stamp))
    }
}

/// A list of what was put there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    #[serde(default)]
    pub packs: Vec<Extent>,
    #[serde(default)]
    pub plains: Vec<PlainFile>,
    /// Plain bodies of which the store had nothing any more when they were to be sent: versions may name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_plains: Vec<PlainId>,
}

impl Contents {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.plains.is_empty() && self.lost_plains.is_empty()
    }

    /// All objects that it names.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectName, Stamp)> {
        let packs = self.packs.iter().map(|extent| (extent.name(), extent.stamp));
        packs.chain(self.plains.iter().flat_map(PlainFile::objects))
    }

    /// Bytes of the objects that it names.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects().map(|(_, stamp)| stamp.bytes).sum()
    }
}

/// The content of `inventory/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub epoch: Epoch,
    /// The store's last record when it was made.
    pub seq: CommitSeq,
    /// All that a snapshot needs; else only what this epoch has put there and no segment of the log names yet.
    pub is_whole: bool,
    pub contents: Contents,
}

impl Inventory {
    /// # Errors
    /// When it cannot be put.
    pub async fn put(
        &self,
        repository: &Arc<Repository>,
        number: u32,
        writing: &Writing,
    ) -> Result<Stamp, BackupError> {
        let name = ObjectName::Inventory { epoch: self.epoch, number };
        let content = Arc::new(packed(name, self)?);
        objects::put(repository, name, Kind::Inventory, content, writing).await
    }

    /// # Errors
    /// When it is not there, or is not what it should be.
    pub async fn get(
        repository: &Arc<Repository>,
        epoch: Epoch,
        number: u32,
        stamp: Option<Stamp>,
    ) -> Result<Self, BackupError> {
        let name = ObjectName::Inventory { epoch, number };
        unpacked(name, &objects::get(repository, name, Kind::Inventory, stamp).await?)
    }
}

pub(super) fn packed<T: Serialize>(name: ObjectName, value: &T) -> Result<Bytes, BackupError> {
    let packed = rmp_serde::to_vec_named(value).map_err(|error| content(name, &error))?;
    Ok(packed.into())
}

pub(super) fn unpacked<T: DeserializeOwned>(name: ObjectName, bytes: &[u8]) -> Result<T, BackupError> {
    rmp_serde::from_slice(bytes).map_err(|error| content(name, &error))
}

fn content(name: ObjectName, why: &dyn std::fmt::Display) -> BackupError {
    BackupError::Content { name: name.to_string(), why: why.to_string() }
}

/// What is in the bucket, by what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// In order, without a gap from 0.
    packs: BTreeMap<PackId, Vec<Extent>>,
    plains: BTreeMap<PlainId, PlainFile>,
    /// See [`Contents::lost_plains`]; none that is there.
    lost_plains: BTreeSet<PlainId>,
}

impl Holdings {
    /// Extents that do not go on where the ones before them end are left out: they add nothing that a reader could use.
    pub fn add(&mut self, contents: &Contents) {
        let mut packs = contents.packs.clone();
        packs.sort_by_key(|extent| (extent.pack, extent.from, extent.to));
        for extent in packs {
            if extent.from == self.end(extent.pack()) {
                self.packs.entry(extent.pack()).or_default().push(extent);
            }
        }
        for plain in &contents.plains {
            self.lost_plains.remove(&plain.id);
            self.plains.insert(plain.id, plain.clone());
        }
        let lost = contents.lost_plains.iter().filter(|id| !self.plains.contains_key(id));
        self.lost_plains.extend(lost);
    }

    /// Up to where the pack is there.
    #[must_use]
    pub fn end(&self, pack: PackId) -> u32 {
        self.packs.get(&pack).and_then(|extents| extents.last()).map_or(0, |extent| extent.to)
    }

    #[must_use]
    pub fn has_plain(&self, id: PlainId) -> bool {
        self.plains.contains_key(&id)
    }

    /// Bodies that the store had lost before they could be sent.
    #[must_use]
    pub const fn lost_plains(&self) -> &BTreeSet<PlainId> {
        &self.lost_plains
    }

    /// Nothing names it any more.
    pub fn forget_lost(&mut self, id: PlainId) {
        self.lost_plains.remove(&id);
    }

    #[must_use]
    pub fn plain(&self, id: PlainId) -> Option<&PlainFile> {
        self.plains.get(&id)
    }

    /// The extents of a pack, in order.
    #[must_use]
    pub fn pack(&self, id: PackId) -> &[Extent] {
        self.packs.get(&id).map_or(&[], Vec::as_slice)
    }

    pub fn packs(&self) -> impl Iterator<Item = (PackId, &[Extent])> {
        self.packs.iter().map(|(id, extents)| (*id, extents.as_slice()))
    }

    pub fn plains(&self) -> impl Iterator<Item = &PlainFile> {
        self.plains.values()
    }

    /// Only what these say stays: of a pack what stands before the first extent that does not.
    pub fn retain(&mut self, mut is_there: impl FnMut(ObjectName, Stamp) -> bool) {
        self.packs.retain(|_, extents| {
            let whole = extents.iter().take_while(|extent| is_there(extent.name(), extent.stamp)).count();
            extents.truncate(whole);
            whole > 0
        });
        self.plains.retain(|_, plain| plain.objects().all(|(name, stamp)| is_there(name, stamp)));
    }

    pub fn retain_packs(&mut self, mut keep: impl FnMut(PackId) -> bool) {
        self.packs.retain(|id, _| keep(*id));
    }

    pub fn retain_plains(&mut self, mut keep: impl FnMut(PlainId) -> bool) {
        self.plains.retain(|id, _| keep(*id));
    }

    #[must_use]
    pub fn contents(&self) -> Contents {
        let packs = self.packs.values().flatten().copied().collect();
        let plains = self.plains.values().cloned().collect();
        Contents { packs, plains, lost_plains: self.lost_plains.iter().copied().collect() }
    }
}

/// No bytes may panic.
#[doc(hidden)]
pub mod fuzzing {
    use super::{Inventory, unpacked};
    use crate::backup::{Epoch, ObjectName};

    pub fn inventory(bytes: &[u8]) {
        let name = ObjectName::Inventory { epoch: Epoch::FIRST, number: 0 };
        if let Ok(inventory) = unpacked::<Inventory>(name, bytes) {
            let mut holdings = super::Holdings::default();
            holdings.add(&inventory.contents);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, Extent, Holdings, PlainFile};
    use crate::backup::{Epoch, Nonce, Stamp};
    use crate::storage::PackId;
    use crate::types::PlainId;

    fn stamp(n: u8) -> Stamp {
        Stamp { bytes: n.into(), nonce: Nonce([n; 16]) }
    }

    fn extent(pack: u64, from: u32, to: u32) -> Extent {
        Extent { pack, from, to, epoch: Epoch::FIRST, stamp: stamp(to as u8), crc: 0 }
    }

    fn holdings(extents: &[(u64, u32, u32)]) -> Holdings {
        let packs = extents.iter().map(|(pack, from, to)| extent(*pack, *from, *to)).collect();
        let mut holdings = Holdings::default();
        holdings.add(&Contents { packs, ..Contents::default() });
        holdings
    }

    #[test]
    fn a_pack_is_held_up_to_the_first_gap() {
        let held = holdings(&[(1, 5, 9), (1, 0, 5), (2, 3, 7), (3, 0, 4), (3, 5, 6)]);
        assert_eq!([1, 2, 3].map(|id| held.end(PackId::new(id))), [9, 0, 4]);
        assert_eq!(held.contents().packs.len(), 3);
    }

    #[test]
    fn what_is_gone_from_the_bucket_is_not_held() {
        let mut held = holdings(&[(1, 0, 5), (1, 5, 9), (1, 9, 12), (2, 0, 7)]);
        let plain = PlainFile { id: PlainId::new([1; 16]), length: 2, pieces: vec![stamp(1), stamp(2)] };
        held.add(&Contents { plains: vec![plain.clone()], ..Contents::default() });
        assert_eq!(held.plain(plain.id), Some(&plain));
        held.retain(|name, found| name != extent(1, 5, 9).name() && found != stamp(2));
        assert_eq!((held.end(PackId::new(1)), held.end(PackId::new(2))), (5, 7));
        assert!(!held.has_plain(plain.id));
    }
}
