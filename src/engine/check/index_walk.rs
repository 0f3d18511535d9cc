//! The index's entries against the packs.

use super::Pass;
use super::report::Finding;
use crate::engine::EngineError;
use crate::storage::PackId;
use crate::types::ChunkId;
use std::collections::HashSet;

pub(super) const PAGE: usize = 4096;

impl Pass<'_> {
    /// One page of entries behind `after`: what is referenced must be in a pack; what stands in one of `hidden`, of which a
    /// scan found too little, is proven by its place. Returns the last id, or `None` at the end.
    pub(super) fn entries_from(
        &mut self,
        after: Option<ChunkId>,
        hidden: &HashSet<PackId>,
    ) -> Result<Option<ChunkId>, EngineError> {
        let page = self.checker.index.entries(after, PAGE)?;
        self.report.entries_read += page.len() as u64;
        let Some((last, _)) = page.last() else { return Ok(None) };
        let last = *last;
        if !hidden.is_empty() {
            self.prove_hidden(&page, hidden)?;
        }
        let nowhere = page
            .iter()
            .filter(|(_, entry)| entry.references > 0 && !self.checker.packs.is_valid(&entry.location));
        let mut ids: Vec<_> = nowhere.map(|(id, _)| *id).collect();
        if !hidden.is_empty() {
            // What was condemned just now.
            let in_hidden = page.iter().filter(|(_, entry)| hidden.contains(&entry.location.pack));
            ids.extend(in_hidden.map(|(id, _)| *id));
        }
        // Asked once more: a collection moves what it read before.
        for (id, is_homeless) in ids.iter().zip(self.checker.index.homeless(&ids)?) {
            if is_homeless && self.lost.gone(*id) {
                self.found(Finding::Missing { id: *id });
            }
        }
        Ok(Some(last))
    }

    pub(super) fn all_entries(&mut self, hidden: &HashSet<PackId>) -> Result<(), EngineError> {
        let mut after = None;
        while !self.stop.is_cancelled() {
            after = self.entries_from(after, hidden)?;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }
}
