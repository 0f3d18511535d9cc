//! What is damaged in the bucket, or missing there, and stands in the store, is sent again.
//!
//! An object is never replaced, since what was written once is what snapshots mean: extents are sent under other names, and the next snapshot names
//! those. Those before it stay as they are. Only pieces of plain bodies, whose names say nothing of a writer, are written over.

use super::Shipper;
use crate::backup::{BackupError, Contents, ObjectName, Snapshot};
use crate::meta::Commit;
use crate::storage::PackId;
use crate::types::PlainId;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

impl Shipper {
    /// Makes a snapshot that needs none of these objects: what of them the store has is sent again.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub async fn repair(&mut self, damaged: &[ObjectName]) -> Result<Snapshot, BackupError> {
        self.forget(damaged);
        self.ship_packs().await?;
        // A record of its own: the snapshot is another one, whatever else has happened or not.
        self.source.meta.commit(Commit::Mark).await?;
        self.snapshot(false).await
    }

    /// From now on they count as not there. Plain bodies are owed: no snapshot is made before they are sent again.
    fn forget(&mut self, damaged: &[ObjectName]) {
        let gone: HashSet<_> = damaged.iter().copied().collect();
        let plains = damaged.iter().filter_map(|name| match name {
            ObjectName::Plain { id, .. } => Some(*id),
            _ => None,
        });
        let plains: BTreeSet<PlainId> = plains.collect();
        let before: HashSet<_> = self.held.contents().objects().collect();
        self.held.retain(|name, _| !gone.contains(&name));
        // What stands behind a gap is sent again, too: what the store has there may have been given back since.
        let after: HashSet<_> = self.held.contents().objects().collect();
        let behind = before.difference(&after).map(|(name, _)| *name);
        self.spoiled.extend(behind.filter(|name| matches!(name, ObjectName::Extent { .. })));
        for list in [&mut self.fresh, &mut self.unnoted] {
            without(list, &gone);
        }
        let is_log = |name: &ObjectName| matches!(name, ObjectName::Base { .. } | ObjectName::Log { .. });
        if gone.iter().any(is_log) {
            // The store's log may not go back so far; a new image needs none of it.
            self.base = None;
        }
        self.spoiled.extend(gone);
        self.owed_plains.extend(plains);
    }

    /// The range, cut so that no piece has the name of an object that is damaged.
    pub(super) fn around_spoiled(&self, pack: PackId, range: Range<u64>) -> Vec<(PackId, Range<u64>)> {
        let epoch = self.session.epoch();
        let (mut ahead, mut pieces) = (vec![range], Vec::new());
        while let Some(range) = ahead.pop() {
            // Longer ones are refused when they are put.
            let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
            let name = ObjectName::Extent { pack, from: place(range.start), to: place(range.end), epoch };
            let middle = range.start + (range.end - range.start) / 2;
            if middle > range.start && self.spoiled.contains(&name) {
                ahead.extend([middle..range.end, range.start..middle]);
            } else {
                pieces.push((pack, range));
            }
        }
        pieces
    }
}

fn without(list: &mut Contents, gone: &HashSet<ObjectName>) {
    list.packs.retain(|extent| !gone.contains(&extent.name()));
    list.plains.retain(|plain| plain.objects().all(|(name, _)| !gone.contains(&name)));
}
