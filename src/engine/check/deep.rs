//! Reading every record in use, pack after pack, in the order in which they lie; then everything else that bodies are
//! made of.

use super::Pass;
use super::report::CheckPhase;
use crate::engine::EngineError;
use std::collections::HashSet;
use tokio::runtime::Handle;

impl Pass<'_> {
    pub(super) fn deep(&mut self, handle: &Handle) -> Result<(), EngineError> {
        let packs = self.checker.packs.ids();
        let total = packs.len() as u64;
        let mut hidden = HashSet::new();
        for (done, pack) in packs.into_iter().enumerate() {
            self.progress(CheckPhase::Reading, done as u64, total);
            self.frames(pack)?;
            let in_use = self.records_in_use(pack)?;
            if in_use.is_partial {
                hidden.insert(pack);
            } else {
                self.prove_all(&in_use.places)?;
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        self.all_entries(&hidden)?;
        if !self.lost.is_empty() {
            self.search_copies()?;
        }
        if self.report.damaged > 0 || self.report.healed > 0 {
            self.checker.index.checkpoint()?;
        }
        self.progress(CheckPhase::Reading, total, total);
        let checker = self.checker;
        match &checker.plain {
            Some(plain) if !self.stop.is_cancelled() => self.plain(plain, handle),
            _ => Ok(()),
        }
    }
}
