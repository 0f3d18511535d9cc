//! Snapshots: manifests of all that one moment is made of.

use super::Shipper;
use crate::backup::{BackupError, Base, Inventory, InventoryRef, Snapshot, SnapshotTotals};
use crate::remote::PutOptions;
use std::sync::Arc;

impl Shipper {
    /// Makes a snapshot of everything that was committed before the call.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub async fn snapshot(&mut self, full: bool) -> Result<Snapshot, BackupError> {
        let is_full = full || self.needs_base();
        if is_full {
            self.base = Some(self.new_base().await?);
        }
        // The last look at the packs decides which of them the inventory has.
        self.ship_packs().await?;
        self.round().await?;
        if let Some(last) = self.last.as_ref().filter(|last| !is_full && last.seq == self.shipped.0) {
            return Ok(last.clone());
        }
        if let Some(base) = &self.base {
            self.log.retain(|segment| segment.up_to > base.seq);
        }
        self.merge_log().await?;
        let inventory = self.whole_inventory().await?;
        let Some(base) = self.base.clone() else {
            return Err(BackupError::Unfit("there is no image of the metadata".into()));
        };
        let totals = self.totals(inventory, &base).await?;
        let (seq, seq_at) = self.shipped;
        let snapshot = Snapshot {
            epoch: self.session.epoch(),
            seq,
            seq_at,
            made: self.source.clock.now(),
            is_full,
            base,
            log: self.log.clone(),
            inventory,
            totals,
            program: env!("CARGO_PKG_VERSION").into(),
        };
        self.session.check().await?;
        let options = PutOptions { retain_until: self.writing().retain_until, ..PutOptions::ABSENT };
        snapshot.put(self.session.repository(), &options).await?;
        self.sent_bytes = 0;
        self.last = Some(snapshot.clone());
        self.phase("", 0);
        Ok(snapshot)
    }

    fn needs_base(&self) -> bool {
        let Some(base) = &self.base else { return true };
        let age = self.source.clock.now().get().saturating_sub(base.made.get());
        let is_old = u128::try_from(age).unwrap_or(0) > self.settings.full_interval.as_millis();
        let behind = self.shipped.0.get().saturating_sub(base.seq.get());
        self.settings.always_full || is_old || behind > self.settings.log_records
    }

    /// With everything that it names in the bucket.
    async fn new_base(&mut self) -> Result<Base, BackupError> {
        if self.base.is_none() {
            // Long, the first time: so that the image and the log behind it are short.
            self.ship_packs().await?;
            self.ship_plains().await?;
        }
        let base = self.ship_base().await?;
        // What was committed before the image was made, and is not in the log that was shipped.
        self.ship_packs().await?;
        if self.base.is_none() {
            self.ship_plains().await?;
        }
        Ok(base)
    }

    /// All that the last record in the bucket may name. Packs: those that were there when they were last looked at; into which others
    /// collection has moved something since, that is not in the bucket. Plain bodies: those that are there or in use now; collection
    /// spares what is not shipped, and what is lost here alone stays in the bucket.
    async fn whole_inventory(&mut self) -> Result<InventoryRef, BackupError> {
        self.look_for_lost().await?;
        let plains = self.all_plains().await?;
        self.held.retain_packs(|id| self.present.contains(&id));
        self.held.retain_plains(|id| plains.contains(&id));
        let (epoch, seq) = (self.session.epoch(), self.shipped.0);
        let inventory = Inventory { epoch, seq, is_whole: true, contents: self.held.contents() };
        self.session.check().await?;
        self.put_inventory(&inventory).await
    }

    pub(super) async fn put_inventory(&mut self, inventory: &Inventory) -> Result<InventoryRef, BackupError> {
        let number = self.next_inventory;
        // Before it is put: what became of a put that failed is not known.
        self.next_inventory += 1;
        let repository = Arc::clone(self.session.repository());
        let stamp = inventory.put(&repository, number, &self.writing()).await?;
        self.sent(0, stamp.bytes);
        Ok(InventoryRef { epoch: inventory.epoch, number, stamp })
    }

    async fn totals(&self, inventory: InventoryRef, base: &Base) -> Result<SnapshotTotals, BackupError> {
        let totals = self.source.log.totals().await?;
        let log: u64 = self.log.iter().map(|segment| segment.stamp.bytes).sum();
        let base: u64 = base.pieces.iter().map(|stamp| stamp.bytes).sum();
        Ok(SnapshotTotals {
            buckets: totals.buckets,
            versions: totals.versions,
            logical_bytes: totals.logical_bytes,
            remote_bytes: self.held.contents().bytes() + log + base + inventory.stamp.bytes,
            sent_bytes: self.sent_bytes,
        })
    }
}
