//! Counting references, as the change log tells of manifests that came and went.
//!
//! A node that gets its first reference references its entries in turn, one that loses its last takes them back.
//! The tree below is walked depth first with a stack that is stored with every batch: memory and batches stay
//! small whatever a body's size, and a crash in the middle goes on where it was.

use super::changes::Changes;
use super::encoding::Work;
use super::lookup::{ChunkIndex, Shared};
use super::store::Totals;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::engine::codec::decode_node;
use crate::engine::pack::{Location, RecordKind};
use crate::meta::{LogRecord, ManifestRow};
use crate::storage::PackId;
use crate::types::{ChunkId, CommitSeq, Entry, EntryKind};

/// Entries changed in one batch, roughly: a few milliseconds under the lock.
const BATCH_ENTRIES: usize = 2048;

impl ChunkIndex {
    /// Counts what the records say, in order. Records that were applied before are skipped.
    ///
    /// # Errors
    /// `Index` when a record is missing in between, or a node cannot be read; what came before stays applied.
    pub fn apply(&self, records: &[LogRecord]) -> Result<(), EngineError> {
        let _one = self.0.applying.lock();
        let mut rest = records;
        loop {
            let mut totals = self.0.totals.lock();
            let mut changes = Changes::new(&self.0.store);
            let mut next = totals.clone_position();
            rest = self.0.take_in(rest, &mut next, &mut changes)?;
            let before = totals.put_position(next);
            if let Err(error) = changes.commit(&mut totals) {
                totals.put_position(before);
                return Err(error);
            }
            if totals.work.is_empty() {
                let applied = totals.applied;
                self.0.holds.publish(applied);
                self.0.published.send_if_modified(|seq| std::mem::replace(seq, applied) < applied);
                if applied > CommitSeq::ZERO {
                    self.0.is_new.store(false, std::sync::atomic::Ordering::Release);
                }
                if rest.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    /// Counts manifests that are there, for a rebuild.
    pub(super) fn count(&self, manifests: &[ManifestRow]) -> Result<(), EngineError> {
        let _one = self.0.applying.lock();
        let mut work: Vec<_> = manifests.iter().flat_map(|m| of_manifest(m, true)).collect();
        while !work.is_empty() {
            let mut totals = self.0.totals.lock();
            let mut changes = Changes::new(&self.0.store);
            self.0.work_off(&mut work, &mut changes, CommitSeq::ZERO)?;
            changes.commit(&mut totals)?;
        }
        Ok(())
    }
}

/// How far the log is counted.
pub(super) struct Position {
    applied: CommitSeq,
    work: Vec<Work>,
}

impl Totals {
    fn clone_position(&self) -> Position {
        Position { applied: self.applied, work: self.work.clone() }
    }

    fn put_position(&mut self, position: Position) -> Position {
        self.moved = true;
        Position {
            applied: std::mem::replace(&mut self.applied, position.applied),
            work: std::mem::replace(&mut self.work, position.work),
        }
    }
}

impl Shared {
    /// Works off what is left, then takes record after record until the batch is full. Returns the records that
    /// are left.
    fn take_in<'r>(
        &self,
        mut records: &'r [LogRecord],
        position: &mut Position,
        changes: &mut Changes<'_>,
    ) -> Result<&'r [LogRecord], EngineError> {
        loop {
            self.work_off(&mut position.work, changes, position.applied)?;
            if !position.work.is_empty() || changes.len() >= BATCH_ENTRIES {
                return Ok(records);
            }
            let Some((record, rest)) = records.split_first() else { return Ok(records) };
            records = rest;
            if record.seq <= position.applied {
                continue;
            }
            if record.seq != position.applied.next() {
                let (at, seq) = (position.applied, record.seq);
                return Err(EngineError::Index(format!("the log goes from {at} to {seq}")));
            }
            position.applied = record.seq;
            // The stack is worked off from its end: first what was added, then what was dropped.
            position.work.extend(record.dropped.iter().flat_map(|m| of_manifest(m, false)));
            position.work.extend(record.added.iter().flat_map(|m| of_manifest(m, true)));
        }
    }

    fn work_off(
        &self,
        work: &mut Vec<Work>,
        changes: &mut Changes<'_>,
        now: CommitSeq,
    ) -> Result<(), EngineError> {
        while changes.len() < BATCH_ENTRIES
            && let Some(one) = work.pop()
        {
            self.refer(one, work, changes, now)?;
        }
        Ok(())
    }

    fn refer(
        &self,
        one: Work,
        work: &mut Vec<Work>,
        changes: &mut Changes<'_>,
        now: CommitSeq,
    ) -> Result<(), EngineError> {
        let entry = changes.get(&one.id)?.unwrap_or_else(|| phantom(&one));
        let references = match one.adds {
            true => entry.references + 1,
            false if entry.references == 0 => {
                metrics::counter!("sediment_index_miscounts_total").increment(1);
                tracing::error!(id = %one.id, "a reference is dropped that was never counted; run fsck");
                return Ok(());
            }
            false => entry.references - 1,
        };
        let zero_since = if references == 0 { now } else { entry.zero_since };
        changes.set(&one.id, Some(IndexEntry { references, zero_since, ..entry }))?;
        let turns = if one.adds { references == 1 } else { references == 0 };
        if one.kind == RecordKind::Node && turns {
            match self.node_entries(&one.id, &entry) {
                Ok(entries) => work.extend(entries.iter().map(|e| of_entry(e, one.adds))),
                // What it referenced stays for ever, which a recount finds. Nothing live is lost by that.
                Err(error @ (EngineError::Missing(_) | EngineError::Corrupt { .. })) if !one.adds => {
                    metrics::counter!("sediment_index_miscounts_total").increment(1);
                    tracing::error!(id = %one.id, %error, "a dropped manifest node cannot be read; run fsck");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn node_entries(&self, id: &ChunkId, entry: &IndexEntry) -> Result<Vec<Entry>, EngineError> {
        let place = self.place(entry).ok_or(EngineError::Missing(*id))?;
        let record = self.packs.read(&[(*id, place)]).pop().unwrap_or(Err(EngineError::Missing(*id)))?;
        Ok(decode_node(&record)?.entries().to_vec())
    }
}

fn of_manifest(manifest: &ManifestRow, adds: bool) -> impl Iterator<Item = Work> + '_ {
    manifest.root.entries().iter().map(move |entry| of_entry(entry, adds))
}

fn of_entry(entry: &Entry, adds: bool) -> Work {
    let kind = match entry.kind {
        EntryKind::Chunk => RecordKind::Chunk,
        EntryKind::Node => RecordKind::Node,
    };
    let raw_len = match kind {
        RecordKind::Chunk => u32::try_from(entry.len).unwrap_or(u32::MAX),
        RecordKind::Node => 0,
    };
    Work { id: entry.id, kind, adds, raw_len }
}

/// Referenced, but in no pack: it is counted all the same, so that a check finds it, and heals when the same
/// bytes are stored again.
fn phantom(work: &Work) -> IndexEntry {
    let location = Location { pack: PackId::new(0), offset: 0, stored_len: 0, raw_len: work.raw_len };
    IndexEntry { kind: work.kind, location, references: 0, zero_since: CommitSeq::ZERO }
}
