//! A small writer of repositories, and what can be restored from what it wrote.

use crate::backup::container::Kind;
use crate::backup::objects::{self, Writing};
use crate::backup::testing::{STORE, TestRemote, open};
use crate::backup::{
    BackupError, Base, Catalogue, Epoch, EpochRecord, Extent, Holdings, Inventory, InventoryRef, Known,
    LogLevel, ObjectName, Repository, Segment, SegmentRef, Snapshot, SnapshotName, SnapshotTotals, Stored,
};
use crate::remote::{Faulty, MemoryRemote, PutOptions};
use crate::storage::PackId;
use crate::sys::{Clock, ManualClock, Random, SeededRandom};
use crate::types::{CommitSeq, UnixMillis};
use bytes::Bytes;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Noon of 15 March 2026.
const BEGIN: i64 = 1_773_576_000_000;

#[derive(Debug)]
pub(super) struct World {
    pub(super) remote: TestRemote,
    pub(super) clock: Arc<ManualClock>,
    pub(super) repository: Arc<Repository>,
    pub(super) random: Arc<SeededRandom>,
    pub(super) epoch: Epoch,
    /// The last record that the store has, all shipped.
    pub(super) seq: CommitSeq,
    /// When each record of the current line was made.
    pub(super) stamps: BTreeMap<CommitSeq, UnixMillis>,
    holdings: Holdings,
    base: Option<Base>,
    /// Behind the base.
    log: Vec<SegmentRef>,
    inventories: u32,
    next_pack: u64,
}

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(BEGIN)));
        let remote = Arc::new(Faulty::new(MemoryRemote::new(clock.clone())).stepwise());
        let repository = open(&remote, true).await;
        let world = Self {
            remote,
            clock,
            repository,
            random: Arc::new(SeededRandom::new(seed)),
            epoch: Epoch::FIRST,
            seq: CommitSeq::ZERO,
            stamps: BTreeMap::new(),
            holdings: Holdings::default(),
            base: None,
            log: Vec::new(),
            inventories: 0,
            next_pack: 1,
        };
        world.begin(None, CommitSeq::ZERO).await;
        world
    }

    pub(super) fn advance(&self, hours: i64) {
        self.clock.advance_millis(hours * 60 * 60 * 1000);
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        self.random.u64() % limit
    }

    fn writing(&self) -> Writing {
        Writing { random: self.random.clone(), level: 0, parts_in_flight: 1, retain_until: None }
    }

    async fn begin(&self, parent: Option<Epoch>, from_seq: CommitSeq) {
        let record = EpochRecord {
            epoch: self.epoch,
            parent,
            from_seq,
            store_id: STORE,
            tenure: String::new(),
            holder: String::new(),
            started: self.clock.now(),
        };
        self.repository.write(ObjectName::Epoch(self.epoch), &record, &PutOptions::ABSENT).await.unwrap();
    }

    /// Puts an extent of a new pack, which nothing names.
    pub(super) async fn put_extent(&mut self) -> Extent {
        let content = Bytes::from(self.random.id128().to_vec());
        let pack = PackId::new(self.next_pack);
        self.next_pack += 1;
        let (from, to) = (0, content.len() as u32);
        let name = ObjectName::Extent { pack, from, to, epoch: self.epoch };
        let put =
            objects::put(&self.repository, name, Kind::Extent, Arc::new(content), &self.writing()).await;
        let stamp = put.unwrap();
        Extent { pack: pack.get(), from, to, epoch: self.epoch, stamp, crc: 0 }
    }

    /// A round: some packs, then some records.
    pub(super) async fn ship(&mut self, records: u64) {
        let mut contents = crate::backup::Contents::default();
        for _ in 0..self.below(3) {
            contents.packs.push(self.put_extent().await);
        }
        let (first, at) = (self.seq.next(), self.clock.now());
        let stored = Stored { at, record: ByteBuf::from(vec![1]) };
        let records = vec![stored; records as usize];
        let segment = Segment { epoch: self.epoch, first, records, contents: contents.clone() };
        let shipped = segment.put(&self.repository, LogLevel::Live, &self.writing()).await.unwrap();
        self.stamps.extend((first.get()..=shipped.last.get()).map(|seq| (CommitSeq::new(seq), at)));
        self.holdings.add(&contents);
        self.seq = shipped.last;
        self.log.push(shipped);
    }

    /// The store collects some packs: later snapshots lack them.
    pub(super) fn collect(&mut self) {
        let random = Arc::clone(&self.random);
        self.holdings.retain_packs(|_| random.u64().is_multiple_of(2));
    }

    async fn put_inventory(&mut self, is_whole: bool, contents: crate::backup::Contents) -> InventoryRef {
        let (epoch, number) = (self.epoch, self.inventories);
        self.inventories += 1;
        let inventory = Inventory { epoch, seq: self.seq, is_whole, contents };
        let stamp = inventory.put(&self.repository, number, &self.writing()).await.unwrap();
        InventoryRef { epoch, number, stamp }
    }

    /// What was put there, and no log names yet.
    pub(super) async fn put_loose(&mut self) -> Extent {
        let extent = self.put_extent().await;
        let contents = crate::backup::Contents { packs: vec![extent], ..Default::default() };
        self.put_inventory(false, contents).await;
        extent
    }

    pub(super) async fn put_base(&mut self) {
        let (epoch, seq, made) = (self.epoch, self.seq, self.clock.now());
        let name = ObjectName::Base { epoch, seq, piece: 0 };
        let content = Arc::new(Bytes::from_static(b"image"));
        let put = objects::put(&self.repository, name, Kind::Base, content, &self.writing()).await;
        let pieces = vec![put.unwrap()];
        self.base = Some(Base { epoch, seq, made, length: 5, pieces });
        self.log.clear();
    }

    pub(super) async fn snapshot(&mut self, is_full: bool) -> SnapshotName {
        if is_full || self.base.is_none() {
            // An image has a record of its own.
            self.ship(1).await;
            self.put_base().await;
        }
        let contents = self.holdings.contents();
        let inventory = self.put_inventory(true, contents).await;
        let base = self.base.clone().unwrap();
        let log = self.log.iter().filter(|segment| segment.last > base.seq).copied().collect();
        let snapshot = Snapshot {
            epoch: self.epoch,
            seq: self.seq,
            seq_at: self.stamps.get(&self.seq).copied().unwrap_or(UnixMillis::new(0)),
            made: self.clock.now(),
            is_full,
            base,
            log,
            inventory,
            totals: SnapshotTotals::default(),
            program: "test".into(),
        };
        let put = snapshot.put(&self.repository, &PutOptions::ABSENT).await;
        // One of the same second stands there already.
        assert!(put.is_ok() || self.names().await.contains(&snapshot.name()), "{put:?}");
        snapshot.name()
    }

    /// Merges what the writer has of its epoch's log into one segment, and forgets the single ones; unless it learned not that it was put.
    pub(super) async fn merge(&mut self, is_answered: bool) {
        let own: Vec<_> = self
            .log
            .iter()
            .filter(|one| one.epoch == self.epoch && one.level == LogLevel::Live)
            .copied()
            .collect();
        if own.len() < 2 || own.windows(2).any(|pair| pair[0].last.next() != pair[1].first) {
            return;
        }
        let mut merged: Option<Segment> = None;
        for segment in &own {
            let next = Segment::get(&self.repository, segment.name(), Some(segment.stamp)).await.unwrap();
            merged = Some(match merged {
                Some(merged) => merged.join(next).unwrap(),
                None => next,
            });
        }
        let merged = merged.unwrap().put(&self.repository, LogLevel::Hour, &self.writing()).await.unwrap();
        if !is_answered {
            return;
        }
        let at = self.log.iter().position(|one| one.first == merged.first).unwrap();
        self.log.retain(|one| !own.contains(one));
        self.log.insert(at, merged);
    }

    /// Another writer goes on behind a record of the current line: the last one, or an older one that the store was restored to.
    pub(super) async fn take_over(&mut self, from_seq: CommitSeq) {
        let parent = self.epoch;
        self.epoch = parent.next().unwrap();
        self.begin(Some(parent), from_seq).await;
        let catalogue = self.catalogue().await;
        let path = catalogue.timeline().path_to(self.epoch).unwrap();
        let known = Known::load(&self.repository, &catalogue, &path, from_seq).await.unwrap();
        assert_eq!(known.reaches, from_seq);
        (self.seq, self.holdings, self.inventories) = (from_seq, known.holdings, 0);
        self.stamps.split_off(&from_seq.next());
        // The next snapshot is a full one.
        (self.base, self.log) = (None, Vec::new());
    }

    /// Another writer, which does not know what was before it.
    pub(super) async fn begin_anew(&mut self) {
        self.epoch = self.epoch.next().unwrap();
        self.begin(None, self.seq).await;
        (self.holdings, self.inventories) = (Holdings::default(), 0);
        (self.base, self.log) = (None, Vec::new());
    }

    pub(super) async fn set_state(&self, name: SnapshotName, state: &str) {
        let finding = serde_json::json!({ "state": state, "at": 7 });
        self.repository.write(ObjectName::Verified(name), &finding, &PutOptions::ALWAYS).await.unwrap();
    }

    pub(super) async fn catalogue(&self) -> Catalogue {
        Catalogue::load(&self.repository).await.unwrap()
    }

    pub(super) async fn names(&self) -> Vec<SnapshotName> {
        self.catalogue().await.snapshots()
    }

    /// Everything that a snapshot names is there and is what it should be.
    pub(super) async fn check_snapshot(
        &self,
        catalogue: &Catalogue,
        name: SnapshotName,
    ) -> Result<(), BackupError> {
        let snapshot = Snapshot::get(&self.repository, name).await?;
        let listed = snapshot.inventory;
        let inventory =
            Inventory::get(&self.repository, listed.epoch, listed.number, Some(listed.stamp)).await?;
        has_all(catalogue, snapshot.objects().chain(inventory.contents.objects()))
    }

    /// Segments and inventories, of which many are in no manifest, name only what is there too.
    pub(super) async fn check_named(&self, catalogue: &Catalogue) -> Result<(), BackupError> {
        for name in catalogue.objects().keys() {
            let contents = match name {
                ObjectName::Log { .. } => Segment::get(&self.repository, *name, None).await?.contents,
                ObjectName::Inventory { epoch, number } => {
                    Inventory::get(&self.repository, *epoch, *number, None).await?.contents
                }
                _ => continue,
            };
            has_all(catalogue, contents.objects())?;
        }
        Ok(())
    }

    /// The records of the current line that the store can be restored to.
    pub(super) async fn restorable(&self) -> BTreeSet<CommitSeq> {
        self.restorable_in(self.epoch).await
    }

    /// Those of the line that ends in an epoch.
    pub(super) async fn restorable_in(&self, epoch: Epoch) -> BTreeSet<CommitSeq> {
        let catalogue = self.catalogue().await;
        let path = catalogue.timeline().path_to(epoch).unwrap();
        let mut restorable = BTreeSet::new();
        for name in catalogue.snapshots_on(&path) {
            if self.check_snapshot(&catalogue, name).await.is_err() {
                continue;
            }
            restorable.insert(name.seq);
            for link in catalogue.chain(&path, name.seq).links {
                let Ok(segment) = Segment::get(&self.repository, link.name, None).await else { break };
                if has_all(&catalogue, segment.contents.objects()).is_err() {
                    break;
                }
                restorable.extend((link.after.get() + 1..=link.up_to.get()).map(CommitSeq::new));
            }
        }
        restorable
    }
}

fn has_all(
    catalogue: &Catalogue,
    objects: impl Iterator<Item = (ObjectName, crate::backup::Stamp)>,
) -> Result<(), BackupError> {
    for (name, stamp) in objects {
        if !catalogue.has(name, stamp) {
            return Err(BackupError::Missing(name.to_string()));
        }
    }
    Ok(())
}
