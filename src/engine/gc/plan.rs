//! Deciding, from sizes alone, what is to happen to each pack. The dry run and the real one decide alike.

use super::fence::lesser;
use super::report::{GcAction, GcPlan, PackPlan};
use super::settings::GcSettings;
use crate::engine::EngineError;
use crate::engine::index::{ChunkIndex, stamps};
use crate::engine::pack::{FOOTER_ENTRY_BYTES, PACK_HEADER_BYTES, PackInfo, PackSet, TRAILER_BYTES};
use crate::storage::PackId;
use crate::types::CommitSeq;
use std::collections::{BTreeMap, HashMap};

const BATCH_RECORDS: usize = 4096;
/// Holes give whole blocks of 4 KiB: below this nothing worth a scan comes back.
const MIN_PUNCH_BYTES: u64 = 16 << 10;

/// Sizes of a sealed pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) len: u64,
    pub(super) allocated: u64,
    /// Of the records that the index names.
    pub(super) live: u64,
    /// Header, footer, trailer.
    pub(super) frame: u64,
}

impl Sizes {
    pub(super) fn of(info: &PackInfo, records: u32, live: u64) -> Self {
        let frame = PACK_HEADER_BYTES + TRAILER_BYTES + records as usize * FOOTER_ENTRY_BYTES;
        Self { len: info.len, allocated: info.allocated, live, frame: frame as u64 }
    }

    /// Bytes on the device without use.
    pub(super) fn garbage(&self) -> u64 {
        // Less than written may be allocated: holes, or a file system that compresses.
        self.allocated.min(self.len).saturating_sub(self.live + self.frame)
    }

    pub(super) fn action(&self, settings: &GcSettings) -> Option<GcAction> {
        let whole = self.len.saturating_sub(self.frame) as f64;
        if self.live == 0 {
            Some(GcAction::Remove)
        } else if (self.live as f64) < whole * settings.rewrite_below_live_ratio {
            Some(GcAction::Rewrite)
        } else if self.garbage() >= MIN_PUNCH_BYTES {
            Some(GcAction::Punch)
        } else {
            None
        }
    }
}

/// Every sealed pack with its sizes, in order of id. Blocks.
pub(super) fn sealed_sizes(packs: &PackSet, index: &ChunkIndex) -> Result<Vec<(PackId, Sizes)>, EngineError> {
    let infos = packs.packs()?;
    let live: HashMap<_, _> =
        index.pack_usage()?.into_iter().map(|usage| (usage.pack, usage.live_bytes)).collect();
    let sized = infos.iter().filter_map(|info| {
        let records = packs.sealed_records(info.id)?;
        Some((info.id, Sizes::of(info, records, live.get(&info.id).copied().unwrap_or(0))))
    });
    Ok(sized.collect())
}

/// The plan for this moment. Memory grows with the number of packs, not of chunks. Blocks.
pub(super) fn plan(
    packs: &PackSet,
    index: &ChunkIndex,
    settings: &GcSettings,
    shipped: Option<CommitSeq>,
) -> Result<GcPlan, EngineError> {
    // A real run would put its mark behind what is applied.
    let bound = stamps::bound(index.applied().next(), lesser(index.oldest_hold(), shipped));
    let mut plan = GcPlan { uncounted_nodes: index.uncounted_nodes(), ..GcPlan::default() };
    let mut by_pack: BTreeMap<PackId, (u64, u64)> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = index.candidates(bound, after, BATCH_RECORDS)?;
        let Some((zero_since, id, _)) = page.last() else { break };
        after = Some((*zero_since, *id));
        for (_, _, location) in &page {
            let tally = by_pack.entry(location.pack).or_default();
            tally.0 += 1;
            tally.1 += location.record_len();
            plan.candidates += 1;
            plan.candidate_bytes += location.record_len();
        }
    }
    plan.allocated_bytes = packs.packs()?.iter().map(|info| info.allocated).sum();
    for (pack, mut sizes) in sealed_sizes(packs, index)? {
        let (candidates, candidate_bytes) = by_pack.get(&pack).copied().unwrap_or_default();
        sizes.live = sizes.live.saturating_sub(candidate_bytes);
        let Some(action) = sizes.action(settings) else { continue };
        plan.packs.push(PackPlan {
            pack,
            action,
            allocated_bytes: sizes.allocated,
            live_bytes: sizes.live,
            candidates,
            candidate_bytes,
        });
    }
    Ok(plan)
}

/// Garbage and all, in bytes on the device, of the sealed packs. Blocks.
pub(super) fn garbage(packs: &PackSet, index: &ChunkIndex) -> Result<(u64, u64), EngineError> {
    let unreferenced = index.counts()?.unreferenced_stored_bytes;
    let all = packs.packs()?.iter().map(|info| info.allocated).sum();
    let strays: u64 = sealed_sizes(packs, index)?.iter().map(|(_, sizes)| sizes.garbage()).sum();
    Ok((unreferenced + strays, all))
}
