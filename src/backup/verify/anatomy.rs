//! What a snapshot is made of, and whether all of it is listed.

use super::ObjectFault;
use crate::backup::{
    BASE_PIECE_BYTES, BackupError, Base, Catalogue, Contents, Extent, Inventory, ObjectName,
    PLAIN_PIECE_BYTES, PlainFile, Repository, Segment, SegmentRef, Snapshot, SnapshotName, Stamp,
};
use crate::storage::PackId;
use crate::types::CommitSeq;
use futures::stream::{self, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;

const READ_AT_ONCE: usize = 8;

/// What is read and proven together.
#[derive(Debug, Clone)]
pub(super) enum Unit {
    Extent(Extent),
    Plain(PlainFile),
    Base(Base),
    Log(SegmentRef),
}

impl Unit {
    /// Its objects, in order.
    pub(super) fn objects(&self) -> Vec<(ObjectName, Stamp)> {
        match self {
            Self::Extent(extent) => vec![(extent.name(), extent.stamp)],
            Self::Plain(plain) => plain.objects().collect(),
            Self::Base(base) => base.objects().collect(),
            Self::Log(segment) => vec![(segment.name(), segment.stamp)],
        }
    }

    /// In the bucket.
    pub(super) fn bytes(&self) -> u64 {
        self.objects().iter().map(|(_, stamp)| stamp.bytes).sum()
    }
}

/// A snapshot, taken apart.
#[derive(Debug, Default)]
pub(super) struct Anatomy {
    pub(super) units: Vec<Unit>,
    pub(super) faults: Vec<ObjectFault>,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Bodies that the store had lost before they could be sent.
    pub(super) lost: Vec<ObjectFault>,
    /// Up to where each pack is there.
    ends: HashMap<PackId, u32>,
    seq: CommitSeq,
}

/// Of a snapshot, what it names itself and what its inventory does.
pub(super) async fn anatomy(
    repository: &Arc<Repository>,
    catalogue: &Catalogue,
    name: SnapshotName,
) -> Result<Anatomy, BackupError> {
    let mut found = Anatomy { objects: 1, ..Anatomy::default() };
    let snapshot = match Snapshot::get(repository, name).await {
        Ok(snapshot) => snapshot,
        Err(error) => {
            found.faults.push(ObjectFault::of(error)?);
            return Ok(found);
        }
    };
    found.seq = snapshot.seq;
    found.epochs(catalogue, &snapshot);
    found.base(catalogue, &snapshot.base);
    for segment in &snapshot.log {
        found.unit(catalogue, Unit::Log(*segment));
    }
    let listed = snapshot.inventory;
    found.objects += 1;
    found.bytes += listed.stamp.bytes;
    match Inventory::get(repository, listed.epoch, listed.number, Some(listed.stamp)).await {
        Ok(inventory) => {
            let is_its_own = inventory.is_whole && inventory.seq == snapshot.seq;
            if !is_its_own || inventory.epoch != listed.epoch {
                found.fault(listed.name(), "it is not the list of all that its snapshot needs");
            }
            found.contents(catalogue, inventory.contents, &|extent| extent.name());
        }
        Err(error) => found.faults.push(ObjectFault::of(error)?),
    }
    Ok(found)
}

/// Of the log behind the newest snapshot: up to where it goes without a fault, what is wrong behind that, and what else it names.
pub(super) async fn behind(
    repository: &Arc<Repository>,
    catalogue: &Catalogue,
    snapshot: &mut Anatomy,
) -> Result<super::Behind, BackupError> {
    let mut behind = super::Behind { through: snapshot.seq, faults: Vec::new() };
    let Some(newest) = catalogue.timeline().newest() else { return Ok(behind) };
    let path = catalogue.timeline().path_to(newest)?;
    let chain = catalogue.chain(&path, snapshot.seq);
    let own_faults = std::mem::take(&mut snapshot.faults);
    let mut read = stream::iter(chain.links)
        .map(|link| async move { (link, Segment::get(repository, link.name, None).await) })
        .buffered(READ_AT_ONCE);
    while let Some((link, segment)) = read.next().await {
        let name = link.name;
        let segment = match segment {
            Ok(segment) => segment,
            Err(error) => {
                snapshot.faults.push(ObjectFault::of(error)?);
                continue;
            }
        };
        if let Err(error) = segment.decode() {
            snapshot.fault(name, error.to_string());
        }
        snapshot.contents(catalogue, segment.contents, &|_| name);
        if snapshot.faults.is_empty() {
            behind.through = link.up_to;
        }
    }
    if chain.is_broken {
        let why = format!("the log has a gap behind record {}", chain.reaches);
        snapshot.faults.push(ObjectFault { object: ObjectName::LOG.to_owned(), why });
    }
    behind.faults = std::mem::replace(&mut snapshot.faults, own_faults);
    Ok(behind)
}

impl Anatomy {
    fn fault(&mut self, object: ObjectName, why: impl Into<String>) {
        self.faults.push(ObjectFault::new(object, why));
    }

    /// Its epoch is known, and its log is of epochs on the way there, up to where they branch.
    fn epochs(&mut self, catalogue: &Catalogue, snapshot: &Snapshot) {
        let Ok(path) = catalogue.timeline().path_to(snapshot.epoch) else {
            self.fault(ObjectName::Epoch(snapshot.epoch), "a snapshot is of it, and it is not known");
            return;
        };
        for segment in &snapshot.log {
            let stretch = path.iter().find(|stretch| stretch.epoch == segment.epoch);
            let is_inside = match stretch {
                Some(stretch) => stretch.up_to.is_none_or(|end| segment.up_to <= end),
                // What is not known any more was pruned.
                None => catalogue.timeline().get(segment.epoch).is_none(),
            };
            if !is_inside {
                let why = "its records are not of the history that the snapshot is of";
                self.fault(segment.name(), why);
            }
        }
    }

    fn base(&mut self, catalogue: &Catalogue, base: &Base) {
        let manifest = ObjectName::Base { epoch: base.epoch, seq: base.seq, piece: 0 };
        if base.pieces.len() as u64 != base.length.div_ceil(BASE_PIECE_BYTES).max(1) {
            self.fault(
                manifest,
                "the image of the metadata has another number of pieces than its length needs",
            );
            return;
        }
        self.unit(catalogue, Unit::Base(base.clone()));
    }

    /// `named_by`: where it is named that a pack goes on with an extent.
    fn contents(
        &mut self,
        catalogue: &Catalogue,
        contents: Contents,
        named_by: &dyn Fn(&Extent) -> ObjectName,
    ) {
        let mut packs = contents.packs;
        packs.sort_by_key(|extent| (extent.pack, extent.from, extent.to));
        for extent in packs {
            let end = self.ends.get(&extent.pack()).copied().unwrap_or(0);
            if extent.from > end || extent.to <= extent.from {
                let why = format!(
                    "of pack {} it names bytes from {}, and none from {end}",
                    extent.pack(),
                    extent.from
                );
                self.fault(named_by(&extent), why);
            } else if extent.from == end {
                self.ends.insert(extent.pack(), extent.to);
                self.unit(catalogue, Unit::Extent(extent));
            }
        }
        self.lost.extend(contents.lost_plains.iter().map(|id| {
            let first = ObjectName::Plain { id: *id, piece: 0 };
            ObjectFault::new(first, "the store had lost the body before it was sent")
        }));
        for plain in contents.plains {
            if plain.pieces.len() as u64 == plain.length.div_ceil(PLAIN_PIECE_BYTES).max(1) {
                self.unit(catalogue, Unit::Plain(plain));
            } else {
                let first = ObjectName::Plain { id: plain.id, piece: 0 };
                self.fault(first, "it has another number of pieces than its length needs");
            }
        }
    }

    /// Notes what is not listed as it should be.
    fn unit(&mut self, catalogue: &Catalogue, unit: Unit) {
        for (name, stamp) in unit.objects() {
            self.objects += 1;
            self.bytes += stamp.bytes;
            match catalogue.objects().get(&name) {
                None => self.fault(name, "it is not in the bucket"),
                Some(found) if found.bytes != stamp.bytes => {
                    self.fault(name, format!("it has {} bytes instead of {}", found.bytes, stamp.bytes));
                }
                Some(_) => {}
            }
        }
        self.units.push(unit);
    }
}
