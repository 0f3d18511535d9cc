//! Taking unused entries out of the index, durably, before their records are marked dead.

use super::rate::rest;
use super::report::{GcPhase, GcReport};
use super::{Collector, Run, blocking};
use crate::engine::EngineError;
use crate::engine::index::ChunkIndex;
use crate::engine::pack::{Location, PackSet};
use crate::storage::PackId;
use crate::sys::{FailPoint, pause, yield_point};
use crate::types::CommitSeq;
use std::collections::HashMap;
use std::time::Instant;

/// Entries collected and marked dead before the next rest: each mark dirties a page of its own, which is synced.
const BATCH_RECORDS: usize = 512;
/// An open pack of which this share is dead is sealed, so that its space can come back.
const SEAL_WHEN_DEAD_ONE_IN: u64 = 4;

impl Collector {
    /// Collects everything below `bound`, a batch at a time. Each batch is complete in itself: a crash leaves
    /// records that no index names, and later runs find those.
    pub(super) async fn collect(
        &self,
        bound: CommitSeq,
        run: &Run,
        report: &mut GcReport,
    ) -> Result<(), EngineError> {
        let mut after = None;
        while !run.stop.is_cancelled() {
            let index = self.0.index.clone();
            let page = blocking(move || index.candidates(bound, after, BATCH_RECORDS)).await?;
            let Some((zero_since, id, _)) = page.last() else { return Ok(()) };
            after = Some((*zero_since, *id));
            let ids: Vec<_> = page.iter().map(|(_, id, _)| *id).collect();
            let (index, packs) = (self.0.index.clone(), self.0.packs.clone());
            let began = Instant::now();
            yield_point();
            let removed = blocking(move || {
                let _steady = index.steady();
                let removed = index.collect_in_steps(&ids, bound, &mut |took| pause(rest(took)))?;
                let removed: Vec<_> = removed.into_iter().map(|(_, location)| location).collect();
                FailPoint::GcCollected.pass()?;
                bury(&index, &packs, &removed)?;
                Ok(removed)
            })
            .await?;
            report.collected += removed.len() as u64;
            report.collected_bytes += removed.iter().map(Location::record_len).sum::<u64>();
            run.progress(GcPhase::Collecting, report.collected, 0);
            run.rest(began.elapsed()).await;
        }
        Ok(())
    }
}

/// Marks records as dead that the index no longer names. The index is made durable first: after a power cut it
/// must not name a record that was marked, punched or removed.
fn bury(index: &ChunkIndex, packs: &PackSet, removed: &[Location]) -> Result<(), EngineError> {
    if removed.is_empty() {
        return Ok(());
    }
    yield_point();
    index.checkpoint()?;
    FailPoint::GcBury.pass()?;
    yield_point();
    // An entry may have named bytes that never reached the disk, or a pack that is gone.
    let there: Vec<_> = removed.iter().filter(|location| packs.is_valid(location)).copied().collect();
    seal_if_mostly_dead(packs, &there)?;
    packs.tombstone(&there)?;
    Ok(())
}

fn seal_if_mostly_dead(packs: &PackSet, dead: &[Location]) -> Result<(), EngineError> {
    let mut open: HashMap<PackId, u64> = HashMap::new();
    for location in dead {
        if packs.sealed_records(location.pack).is_none() {
            *open.entry(location.pack).or_default() += location.record_len();
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let is_mostly_dead = |info: &crate::engine::pack::PackInfo| {
        open.get(&info.id).is_some_and(|dead| dead * SEAL_WHEN_DEAD_ONE_IN >= info.len)
    };
    if packs.packs()?.iter().any(is_mostly_dead) { packs.seal() } else { Ok(()) }
}
