//! Chunks that were stored again.

use super::changes::Changes;
use super::hold::Hold;
use super::lookup::ChunkIndex;
use super::store::Home;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::engine::pack::{Location, RecordKind};
use crate::types::ChunkId;

impl ChunkIndex {
    /// Points entries, found at the first place and appended again at the second with this hold, to the second.
    /// The records there must be durable: this may be, before it returns. An entry that is elsewhere by now stays there,
    /// unless nothing is there.
    ///
    /// # Errors
    /// As [`Self::get`]; then nothing changed, and the records are garbage.
    pub fn replace(&self, hold: &Hold, moves: &[(ChunkId, Location, Location)]) -> Result<(), EngineError> {
        let _ = hold;
        let mut totals = self.0.totals.lock();
        let now = self.applied();
        let mut changes = Changes::new(&self.0.store);
        for (id, from, to) in moves {
            match changes.get(id)? {
                Some(entry) if entry.location == *from => {
                    changes.set(id, Some(IndexEntry { location: *to, ..entry }))?;
                }
                // As somebody else's copy: condemned meanwhile, it has its place here.
                other => {
                    let kind = other.map_or(RecordKind::Chunk, |entry| entry.kind);
                    self.0.add(&mut changes, id, kind, *to, now, Home::Tree)?;
                }
            }
        }
        changes.commit(&mut totals)
    }
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
