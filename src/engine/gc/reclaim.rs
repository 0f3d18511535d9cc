//! Giving the space of dead records back: removing packs, punching holes, moving what is left of sparse packs.

use super::adopt::adopt_strays;
use super::plan::{Sizes, sealed_sizes};
use super::rate::{FREED_AT_ONCE, FREEING_PAUSE, pieces};
use super::report::{GcAction, GcPhase, GcReport};
use super::{Collector, Run, blocking};
use crate::engine::EngineError;
use crate::engine::index::ChunkIndex;
use crate::engine::pack::{Location, NewRecord, PackSet, RECORD_HEADER_BYTES, Record, ScannedRecord};
use crate::storage::PackId;
use crate::sys::{FailPoint, pause, yield_point};
use crate::types::ChunkId;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

/// How much is read, appended and synced at a time: a client's sync waits for the device no longer than that takes.
const MOVE_BYTES: u64 = 1 << 20;

/// Whether a pack was moved away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Away,
    /// Something in use could not be read or moved.
    Kept,
    Stopped,
}

impl Collector {
    /// Looks at every sealed pack. What frees without writing comes first, so that a full disk can recover.
    pub(super) async fn reclaim(&self, run: &mut Run, report: &mut GcReport) -> Result<(), EngineError> {
        let waiting = self.0.packs.clone();
        blocking(move || waiting.seal_waiting()).await?;
        // Listed before the mark: see `Notes::saw_sealed`.
        let (packs, index) = (self.0.packs.clone(), self.0.index.clone());
        let sealed: Vec<_> =
            packs.ids().into_iter().filter(|pack| packs.sealed_records(*pack).is_some()).collect();
        let Some(fence) = self.fence(&run.stop).await? else { return Ok(()) };
        let oldest_hold = fence.oldest_hold;
        let todo = blocking(move || sealed_sizes(&packs, &index)).await?;
        let mut work = self.work(&sealed, fence.mark, oldest_hold, todo);
        work.sort_by_key(|work| match work.action {
            GcAction::Remove => 0,
            GcAction::Punch => 1,
            GcAction::Rewrite => 2,
        });
        let total = work.len() as u64;
        for (done, work) in work.into_iter().enumerate() {
            if run.stop.is_cancelled() {
                break;
            }
            run.progress(GcPhase::Reclaiming, done as u64, total);
            let began = Instant::now();
            // That one rests by itself, in steps.
            let is_paced = work.action == GcAction::Rewrite;
            self.reclaim_one(work, run, report).await?;
            if !is_paced {
                run.rest(began.elapsed()).await;
            }
        }
        Ok(())
    }

    /// Punches where records were marked dead before, which needs nothing written: a full disk may give back enough
    /// by that for a fence.
    pub(super) async fn punch_marked(&self, run: &Run, report: &mut GcReport) -> Result<(), EngineError> {
        for pack in self.0.packs.ids() {
            if run.stop.is_cancelled() {
                break;
            }
            let (packs, index, began) = (self.0.packs.clone(), self.0.index.clone(), Instant::now());
            if packs.sealed_records(pack).is_some() {
                let (holes, _) = blocking(move || punch(&packs, &index, pack, false)).await?;
                report.packs_punched += u64::from(holes > 0);
                run.rest(began.elapsed()).await;
            }
        }
        Ok(())
    }

    /// What can be done now. A pack whose appenders may still be at work is only punched.
    fn work(
        &self,
        sealed: &[PackId],
        mark: crate::types::CommitSeq,
        oldest_hold: Option<crate::types::CommitSeq>,
        sizes: Vec<(PackId, Sizes)>,
    ) -> Vec<Work> {
        let mut notes = self.0.notes.lock();
        notes.saw_sealed(sealed, mark);
        let work = sizes.into_iter().filter_map(|(pack, sizes)| {
            let settled = notes.is_settled(pack, oldest_hold);
            let action = match sizes.action(&self.0.settings)? {
                _ if !settled => GcAction::Punch,
                action => action,
            };
            let skip = action == GcAction::Punch && !notes.is_worth_punching(pack, sizes.live, settled);
            (!skip).then_some(Work { pack, action, settled, live: sizes.live })
        });
        work.collect()
    }

    async fn reclaim_one(&self, work: Work, run: &mut Run, report: &mut GcReport) -> Result<(), EngineError> {
        let Work { pack, action, settled, live } = work;
        let (packs, index) = (self.0.packs.clone(), self.0.index.clone());
        match action {
            GcAction::Remove => {
                let gone = self.remove_if_unused(pack).await?;
                report.packs_removed += u64::from(gone);
                report.packs_kept += u64::from(!gone);
            }
            GcAction::Punch => {
                let (holes, strays) = blocking(move || punch(&packs, &index, pack, settled)).await?;
                self.0.notes.lock().punched(pack, live, settled);
                report.packs_punched += u64::from(holes > 0);
                report.strays += strays;
            }
            GcAction::Rewrite => match self.rewrite(pack, run, report).await? {
                Moved::Away => report.packs_rewritten += 1,
                Moved::Kept => {
                    report.packs_kept += 1;
                    // What cannot move still leaves holes around it.
                    let began = Instant::now();
                    let (holes, strays) = blocking(move || punch(&packs, &index, pack, settled)).await?;
                    report.packs_punched += u64::from(holes > 0);
                    report.strays += strays;
                    run.rest(began.elapsed()).await;
                }
                Moved::Stopped => {}
            },
        }
        Ok(())
    }

    /// Moves what the index still names in a settled pack, then removes the pack.
    pub(super) async fn rewrite(
        &self,
        pack: PackId,
        run: &mut Run,
        report: &mut GcReport,
    ) -> Result<Moved, EngineError> {
        let (packs, index, began) = (self.0.packs.clone(), self.0.index.clone(), Instant::now());
        let (live, strays) = blocking(move || live_records(&packs, &index, pack)).await?;
        report.strays += strays;
        run.rest(began.elapsed()).await;
        for batch in batches(live) {
            if run.stop.is_cancelled() {
                return Ok(Moved::Stopped);
            }
            let bytes: u64 = batch.iter().map(|(_, location)| location.record_len()).sum();
            let (packs, index, began) = (self.0.packs.clone(), self.0.index.clone(), Instant::now());
            match blocking(move || move_records(&packs, &index, &batch)).await {
                Ok(moved) => report.moved_records += moved as u64,
                Err(error @ (EngineError::Corrupt { .. } | EngineError::Missing(_))) => {
                    // The bytes that are left may be all that a repair has.
                    tracing::error!(%pack, %error, "a pack cannot be written anew: a record in use is damaged");
                    return Ok(Moved::Kept);
                }
                // The room for moving may be missing where the room for holes is not.
                Err(EngineError::Full) => return Ok(Moved::Kept),
                Err(error) => return Err(error),
            }
            report.moved_bytes += bytes;
            run.rest(began.elapsed()).await;
            run.throttle(bytes * 2, Instant::now()).await;
        }
        let began = Instant::now();
        let gone = self.remove_if_unused(pack).await?;
        run.rest(began.elapsed()).await;
        Ok(if gone { Moved::Away } else { Moved::Kept })
    }

    /// Removes a settled pack that no entry names, once the index that says so is durable. A counter alone is not trusted with
    /// that: every record of the pack is looked up.
    pub(super) async fn remove_if_unused(&self, pack: PackId) -> Result<bool, EngineError> {
        let (packs, index) = (self.0.packs.clone(), self.0.index.clone());
        let removed = blocking(move || {
            let _steady = index.steady();
            if index.pack_usage()?.iter().any(|usage| usage.pack == pack && usage.live_records > 0) {
                return Ok(false);
            }
            let (records, named) = scan_named(&packs, &index, pack)?;
            if named.contains(&true) {
                index.correct_usage(pack)?;
                return Ok(false);
            }
            if !needed(&index, &records, &named)?.is_empty() {
                return Ok(false);
            }
            // Only now: writers move chunks away, too, and what they did before this look is to last.
            yield_point();
            index.checkpoint()?;
            FailPoint::GcRemove.pass()?;
            yield_point();
            packs.remove(pack)?;
            FailPoint::GcRemoved.pass()?;
            yield_point();
            index.forget_pack(pack)?;
            FailPoint::GcForgotten.pass()?;
            Ok(true)
        })
        .await?;
        if removed {
            self.0.notes.lock().forget(pack);
        }
        Ok(removed)
    }
}

#[derive(Debug)]
struct Work {
    pack: PackId,
    action: GcAction,
    settled: bool,
    live: u64,
}

fn scan(packs: &PackSet, pack: PackId) -> Result<Vec<ScannedRecord>, EngineError> {
    let mut records = Vec::new();
    packs.scan(pack, &mut |record| records.push(record))?;
    Ok(records)
}

/// The records of a pack, and for each whether the index names exactly it, after it was given what it lacks.
fn scan_named(
    packs: &PackSet,
    index: &ChunkIndex,
    pack: PackId,
) -> Result<(Vec<ScannedRecord>, Vec<bool>), EngineError> {
    let records = scan(packs, pack)?;
    let adopted = adopt_strays(packs, index, &records)?;
    if adopted > 0 {
        tracing::warn!(%pack, adopted, "records were found again that something in use lacked");
    }
    let named = is_named(index, &records)?;
    Ok((records, named))
}

/// For each record, whether the index names exactly it.
fn is_named(index: &ChunkIndex, records: &[ScannedRecord]) -> Result<Vec<bool>, EngineError> {
    let ids: Vec<_> = records.iter().map(|record| record.id).collect();
    let named = index.get(&ids)?.into_iter().zip(records);
    Ok(named.map(|(location, record)| location == Some(record.location)).collect())
}

/// Of what is in use and nowhere, records that the index does not name, damaged ones among them: all that a repair has.
fn needed(
    index: &ChunkIndex,
    records: &[ScannedRecord],
    named: &[bool],
) -> Result<HashSet<ChunkId>, EngineError> {
    let unnamed = records.iter().zip(named).filter(|(_, named)| !**named);
    let ids: Vec<_> = unnamed.map(|(record, _)| record.id).collect();
    let homeless = index.homeless(&ids)?;
    Ok(ids.into_iter().zip(homeless).filter_map(|(id, is_homeless)| is_homeless.then_some(id)).collect())
}

/// The records that the index names, and the number of those that nothing names.
pub(super) fn live_records(
    packs: &PackSet,
    index: &ChunkIndex,
    pack: PackId,
) -> Result<(Vec<(ChunkId, Location)>, u64), EngineError> {
    let (records, named) = scan_named(packs, index, pack)?;
    let strays = named.iter().zip(&records).filter(|(named, record)| !**named && !record.dead).count();
    let live = records.iter().zip(named).filter(|(_, named)| *named);
    Ok((live.map(|(record, _)| (record.id, record.location)).collect(), strays as u64))
}

fn batches(records: Vec<(ChunkId, Location)>) -> Vec<Vec<(ChunkId, Location)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut bytes = MOVE_BYTES;
    for record in records {
        if bytes >= MOVE_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += record.1.record_len();
        if let Some(batch) = batches.last_mut() {
            batch.push(record);
        }
    }
    batches
}

/// Copies verified records to a pack of collection's own, durably, and only then tells the index. Returns how many entries
/// moved; a copy whose entry went elsewhere meanwhile is garbage.
pub(super) fn move_records(
    packs: &PackSet,
    index: &ChunkIndex,
    records: &[(ChunkId, Location)],
) -> Result<usize, EngineError> {
    // An index that is opened anew meanwhile finds the copies in an open pack, and may name one that is not durable.
    let _steady = index.steady();
    // The pack that they go to is not settled before the index knows of them.
    let _hold = index.hold();
    let copies =
        packs.read(records).into_iter().map(|read| read.map(copy_of)).collect::<Result<Vec<_>, _>>()?;
    FailPoint::GcMove.pass()?;
    yield_point();
    let places = packs.append_aside(&copies)?;
    FailPoint::GcMoved.pass()?;
    yield_point();
    let moves: Vec<_> = records.iter().zip(places).map(|((id, from), to)| (*id, *from, to)).collect();
    let moved = index.relocate(&moves)?;
    FailPoint::GcRelocated.pass()?;
    Ok(moved)
}

fn copy_of(record: Record) -> NewRecord {
    let Record { id, kind, codec, raw_len, payload } = record;
    NewRecord { id, kind, codec, raw_len, payload }
}

/// Punches holes over dead records; in a settled pack, records that nothing names are marked dead first.
/// Returns the holes punched and the strays found.
fn punch(
    packs: &PackSet,
    index: &ChunkIndex,
    pack: PackId,
    settled: bool,
) -> Result<(usize, u64), EngineError> {
    let _steady = index.steady();
    let (mut records, named) = scan_named(packs, index, pack)?;
    let needed = needed(index, &records, &named)?;
    let stray = |(record, named): (&ScannedRecord, &bool)| {
        (!named && !record.dead && !needed.contains(&record.id)).then_some(record.location)
    };
    let strays: Vec<_> =
        if settled { records.iter().zip(&named).filter_map(stray).collect() } else { Vec::new() };
    yield_point();
    if !strays.is_empty() {
        index.checkpoint()?;
        FailPoint::GcStrays.pass()?;
        packs.tombstone(&strays)?;
    }
    for (record, named) in records.iter_mut().zip(named) {
        // Never a record that the index names, whatever its mark says.
        record.dead = !named && !needed.contains(&record.id) && (record.dead || settled);
    }
    let (mut holes, mut freed) = (0, 0);
    for hole in dead_runs(&records).into_iter().flat_map(pieces) {
        yield_point();
        freed += hole.end - hole.start;
        holes += usize::from(packs.punch(pack, hole)?);
        if freed >= FREED_AT_ONCE {
            pause(FREEING_PAUSE);
            freed = 0;
        }
    }
    Ok((holes, strays.len() as u64))
}

/// Maximal runs of dead neighbours, without the first one's header: a walk that meets it steps over it.
fn dead_runs(records: &[ScannedRecord]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for record in records.iter().filter(|record| record.dead) {
        let Range { start, end } = record.location.range();
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start + RECORD_HEADER_BYTES as u64..end),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}
