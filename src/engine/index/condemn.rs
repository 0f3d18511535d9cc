//! Damaged records.

use super::changes::Changes;
use super::lookup::ChunkIndex;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::engine::pack::Location;
use crate::storage::PackId;
use crate::types::ChunkId;

impl ChunkIndex {
    /// Which of these are referenced, but in no pack.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn homeless(&self, ids: &[ChunkId]) -> Result<Vec<bool>, EngineError> {
        let _open = self.0.gate.read();
        let is_homeless = |entry: IndexEntry| entry.references > 0 && self.0.place(&entry).is_none();
        let entries = self.0.store.get_all(ids)?;
        Ok(entries.into_iter().map(|entry| entry.is_some_and(is_homeless)).collect())
    }

    /// Forgets the place of a record whose bytes are damaged, unless it has another place by now. Its references
    /// stay: when the same bytes are stored again, whatever names them is whole again. The record is marked dead, so
    /// that a rebuilt index does not take it for the good one. Returns whether the place was forgotten.
    ///
    /// # Errors
    /// As [`Self::get`]; then nothing changed.
    pub fn condemn(&self, id: &ChunkId, damaged: Location) -> Result<bool, EngineError> {
        let mut totals = self.0.totals.lock();
        let mut changes = Changes::new(&self.0.store);
        let Some(entry) = changes.get(id)?.filter(|entry| entry.location == damaged) else {
            return Ok(false);
        };
        let nowhere = Location { pack: PackId::new(0), offset: 0, stored_len: 0, raw_len: damaged.raw_len };
        changes.set(id, Some(IndexEntry { location: nowhere, ..entry }))?;
        changes.commit(&mut totals)?;
        drop(totals);
        metrics::counter!("sediment_condemned_chunks_total").increment(1);
        match self.0.packs.bury(&damaged) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(%id, "a damaged record is in a pack that cannot be sealed to mark it");
            }
            Err(error) => tracing::warn!(%id, %error, "a damaged record could not be marked"),
        }
        Ok(true)
    }
}
