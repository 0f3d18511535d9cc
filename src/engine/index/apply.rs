//! Counting references, as the change log tells of manifests that came and went.
//!
//! A node that gets its first reference references its entries in turn, one that loses its last takes them back.
//! What is still to be done for a node stands in a row (`Owed`) until it is done, and how far a record is counted in
//! a cursor of two numbers: batches stay small whatever a body's size, their cost grows with what they change, and
//! a crash in the middle goes on where it was.
//!
//! A node that cannot be read keeps its row, and counting goes on: one rotten block must not close the store. While
//! such a node is in use, what it needs is not known, and nothing is collected ([`ChunkIndex::uncounted_nodes`]).

use super::changes::{Changes, Owed};
use super::encoding::Cursor;
use super::lookup::{ChunkIndex, Shared};
use super::stamps;
use super::store::Totals;
use super::types::IndexEntry;
use crate::engine::EngineError;
use crate::engine::codec::decode_node;
use crate::engine::pack::{Location, RecordKind};
use crate::meta::{LogRecord, ManifestRow};
use crate::storage::PackId;
use crate::sys::{FailPoint, stall_point, yield_point};
use crate::types::{ChunkId, CommitSeq, Entry, EntryKind};
use std::sync::atomic::Ordering;

/// Entries changed in one batch, roughly: a few milliseconds under the lock.
const BATCH_ENTRIES: usize = 512;
/// Nodes tried again at a time.
const RETRY_NODES: usize = 64;

/// Nodes whose entries are to be counted, the next one last; `None`: the rows say. Memory: a root's entries and a
/// node's for each level of the tree.
pub(super) type ToCount = Option<Vec<ChunkId>>;

impl ChunkIndex {
    /// Counts what the records say, in order. Records that were applied before are skipped.
    ///
    /// # Errors
    /// `Index` when a record is missing in between; what came before stays applied.
    pub fn apply(&self, records: &[LogRecord]) -> Result<(), EngineError> {
        let mut to_count = self.0.applying.lock();
        self.0.unnamed.named_by(records);
        let mut nodes = self.0.take_nodes(&mut to_count)?;
        let mut rest = records;
        while !rest.is_empty() {
            stall_point();
            let mut totals = self.0.totals.lock();
            let mut changes = Changes::new(&self.0.store);
            let mut next = totals.position;
            rest = self.0.take_in(rest, &mut next, &mut nodes, &mut changes)?;
            self.0.commit_at(next, &mut totals, changes)?;
            drop(totals);
            FailPoint::IndexApplied.pass()?;
            yield_point();
            if next.cursor.is_none() {
                self.publish(next.applied);
            }
        }
        *to_count = Some(nodes);
        Ok(())
    }

    fn publish(&self, applied: CommitSeq) {
        self.0.holds.publish(applied);
        self.0.published.send_if_modified(|seq| std::mem::replace(seq, applied) < applied);
        if applied > CommitSeq::ZERO {
            self.0.is_new.store(false, Ordering::Release);
        }
    }

    /// Counts manifests that are there, for a rebuild.
    pub(super) fn count(&self, manifests: &[ManifestRow]) -> Result<(), EngineError> {
        let mut to_count = self.0.applying.lock();
        let mut nodes = self.0.take_nodes(&mut to_count)?;
        let (mut cursor, mut is_done) = (Cursor::default(), false);
        while !is_done {
            let mut totals = self.0.totals.lock();
            let mut changes = Changes::new(&self.0.store);
            let mut count = Count { nodes: &mut nodes, changes: &mut changes, now: CommitSeq::ZERO };
            is_done = self.0.advance((manifests, &[]), &mut cursor, &mut count)?;
            changes.commit(&mut totals)?;
        }
        *to_count = Some(nodes);
        Ok(())
    }

    /// Manifest nodes in use that could not be read. What they need has no references here: while there are any,
    /// [`Self::collect`] refuses. Does not block.
    #[must_use]
    pub fn uncounted_nodes(&self) -> u64 {
        self.0.store.uncounted()
    }

    /// Counts a node that nobody can read: from now on nothing is collected, until the index is built anew.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn owe_unread(&self, id: ChunkId) -> Result<(), EngineError> {
        let mut totals = self.0.totals.lock();
        let mut changes = Changes::new(&self.0.store);
        changes.owe(&id, Some(Owed { adds: true, unread: true }))?;
        changes.commit(&mut totals)
    }

    /// Counts the nodes that could not be read and can be by now. Returns [`Self::uncounted_nodes`].
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn count_unread(&self) -> Result<u64, EngineError> {
        let mut to_count = self.0.applying.lock();
        let mut nodes = self.0.take_nodes(&mut to_count)?;
        let mut after = None;
        // A record that is half counted goes first.
        while self.0.totals.lock().position.cursor.is_none() {
            let page = self.0.store.unread_after(after, RETRY_NODES)?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for (id, place) in page.iter().zip(self.get(&page)?) {
                if self.0.node_entries(id, place).is_ok() {
                    nodes.push(*id);
                }
            }
            while !nodes.is_empty() {
                let mut totals = self.0.totals.lock();
                let mut changes = Changes::new(&self.0.store);
                let mut count = Count { nodes: &mut nodes, changes: &mut changes, now: self.applied() };
                self.0.count_nodes(&mut count)?;
                changes.commit(&mut totals)?;
            }
        }
        *to_count = Some(nodes);
        Ok(self.uncounted_nodes())
    }
}

/// How far the log is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    pub(super) applied: CommitSeq,
    /// In the record behind `applied`, once something of it is counted.
    pub(super) cursor: Option<Cursor>,
}

/// What counting one batch works on.
struct Count<'c, 's> {
    nodes: &'c mut Vec<ChunkId>,
    changes: &'c mut Changes<'s>,
    now: CommitSeq,
}

impl Count<'_, '_> {
    fn is_full(&self) -> bool {
        self.changes.steps() >= BATCH_ENTRIES
    }
}

impl Shared {
    /// Taken away until the work is whole: after an error the rows are read again.
    fn take_nodes(&self, to_count: &mut ToCount) -> Result<Vec<ChunkId>, EngineError> {
        to_count.take().map_or_else(|| self.store.nodes_to_count(), Ok)
    }

    fn commit_at(
        &self,
        next: Position,
        totals: &mut Totals,
        changes: Changes<'_>,
    ) -> Result<(), EngineError> {
        let before = std::mem::replace(&mut totals.position, next);
        totals.moved |= before != next;
        changes.commit(totals).inspect_err(|_| totals.position = before)?;
        self.is_catalogued.store(false, Ordering::Release);
        self.batches.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Takes record after record until the batch is full. Returns the records that are left, the one under way
    /// among them.
    fn take_in<'r>(
        &self,
        mut records: &'r [LogRecord],
        position: &mut Position,
        nodes: &mut Vec<ChunkId>,
        changes: &mut Changes<'_>,
    ) -> Result<&'r [LogRecord], EngineError> {
        while let Some((record, rest)) = records.split_first() {
            if record.seq <= position.applied {
                records = rest;
                continue;
            }
            if record.seq != position.applied.next() {
                let (at, seq) = (position.applied, record.seq);
                return Err(EngineError::Index(format!("the log goes from {at} to {seq}")));
            }
            let mut cursor = position.cursor.unwrap_or_default();
            let mut count = Count { nodes, changes, now: record.seq };
            if !self.advance((&record.added, &record.dropped), &mut cursor, &mut count)? {
                position.cursor = Some(cursor);
                return Ok(records);
            }
            let is_full = count.is_full();
            *position = Position { applied: record.seq, cursor: None };
            records = rest;
            if is_full {
                break;
            }
        }
        Ok(records)
    }

    /// Goes on counting the manifests, first those added, then those dropped. Returns whether all is done; if not,
    /// the batch is full.
    fn advance(
        &self,
        (added, dropped): (&[ManifestRow], &[ManifestRow]),
        cursor: &mut Cursor,
        count: &mut Count<'_, '_>,
    ) -> Result<bool, EngineError> {
        // Nodes first, so that few wait at a time.
        if !self.count_nodes(count)? {
            return Ok(false);
        }
        let all = added.iter().map(|m| (m, true)).chain(dropped.iter().map(|m| (m, false)));
        for (manifest, adds) in all.skip(cursor.manifest) {
            for entry in manifest.root.entries().iter().skip(cursor.entry) {
                if count.is_full() {
                    return Ok(false);
                }
                refer(entry, adds, count)?;
                cursor.entry += 1;
            }
            *cursor = Cursor { manifest: cursor.manifest + 1, entry: 0 };
            if !self.count_nodes(count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Counts the entries of nodes until none waits, or the batch is full. Returns whether none waits.
    fn count_nodes(&self, count: &mut Count<'_, '_>) -> Result<bool, EngineError> {
        while !count.is_full() {
            let Some(id) = count.nodes.pop() else { return Ok(true) };
            let Some(Owed { adds, .. }) = count.changes.owed(&id)? else { continue };
            let place = self.store.get(&id)?.and_then(|entry| self.place(&entry));
            match self.node_entries(&id, place) {
                Ok(entries) => {
                    count.changes.owe(&id, None)?;
                    for entry in &entries {
                        refer(entry, adds, count)?;
                    }
                }
                Err(error) => {
                    metrics::counter!("sediment_index_unread_nodes_total").increment(1);
                    tracing::error!(%id, %error, "a manifest node cannot be read; run fsck");
                    count.changes.owe(&id, Some(Owed { adds, unread: true }))?;
                }
            }
        }
        Ok(count.nodes.is_empty())
    }

    fn node_entries(&self, id: &ChunkId, place: Option<Location>) -> Result<Vec<Entry>, EngineError> {
        let place = place.ok_or(EngineError::Missing(*id))?;
        let record = self.packs.read(&[(*id, place)]).pop().unwrap_or(Err(EngineError::Missing(*id)))?;
        Ok(decode_node(&record)?.entries().to_vec())
    }
}

fn refer(of: &Entry, adds: bool, count: &mut Count<'_, '_>) -> Result<(), EngineError> {
    let Count { nodes, changes, now } = count;
    let entry = changes.get(&of.id)?.unwrap_or_else(|| phantom(of));
    let counted = stamps::counted(entry.references, entry.zero_since, adds, *now);
    let Some((references, zero_since)) = counted else {
        metrics::counter!("sediment_index_miscounts_total").increment(1);
        tracing::error!(id = %of.id, "a reference is dropped that was never counted; run fsck");
        return Ok(());
    };
    changes.set(&of.id, Some(IndexEntry { references, zero_since, ..entry }))?;
    let turns = if adds { references == 1 } else { references == 0 };
    if of.kind == EntryKind::Node && turns {
        match changes.owed(&of.id)? {
            // The opposite was never done: now it need not be.
            Some(_) => changes.owe(&of.id, None)?,
            None => {
                changes.owe(&of.id, Some(Owed { adds, unread: false }))?;
                nodes.push(of.id);
            }
        }
    }
    Ok(())
}

/// Referenced, but in no pack: it is counted all the same, so that a check finds it, and heals when the same
/// bytes are stored again.
fn phantom(of: &Entry) -> IndexEntry {
    let (kind, raw_len) = match of.kind {
        EntryKind::Chunk => (RecordKind::Chunk, u32::try_from(of.len).unwrap_or(u32::MAX)),
        EntryKind::Node => (RecordKind::Node, 0),
    };
    let location = Location { pack: PackId::new(0), offset: 0, stored_len: 0, raw_len };
    IndexEntry { kind, location, references: 0, zero_since: CommitSeq::ZERO }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
