//! From cut bytes to records and a manifest.

use super::rewrite::{Placed, Rewrite};
use super::stages::Stage;
use super::tree::{NewNode, TreeBuilder};
use super::{Ingest, Lease, Workers};
use crate::engine::EngineError;
use crate::engine::codec::{encode, is_worth_a_try};
use crate::engine::pack::{Codec, Location, NewRecord, RecordKind};
use crate::sys::FailPoint;
use crate::types::{ChunkId, Entry, EntryKind, Manifest};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// Nodes are appended when so many bytes of them wait.
const NODE_BATCH_BYTES: usize = 1 << 20;

/// What a record is to hold.
type Content = (ChunkId, RecordKind, Bytes);

/// What becomes of one body's bytes. All calls block: they belong on the workers.
#[derive(Debug)]
pub(crate) struct ChunkSink {
    ingest: Arc<Ingest>,
    lease: Lease,
    tree: TreeBuilder,
    /// Nodes that are complete and not appended.
    nodes: Vec<NewNode>,
    rewrite: Rewrite,
    /// The bytes behind the last cut.
    tail: Bytes,
    root: Option<Manifest>,
    has_stored: bool,
    unsynced_bytes: u64,
}

impl ChunkSink {
    pub(crate) fn new(ingest: Arc<Ingest>, lease: Lease) -> Self {
        let (tree, nodes, tail) = (TreeBuilder::new(), Vec::new(), Bytes::new());
        let rewrite = Rewrite::new(ingest.parts.settings.rewrite_percent);
        Self { ingest, lease, tree, nodes, rewrite, tail, root: None, has_stored: false, unsynced_bytes: 0 }
    }

    /// The bytes that the next block must begin with.
    pub(super) fn take_tail(&mut self) -> Bytes {
        std::mem::take(&mut self.tail)
    }

    /// Whether any byte of the body is stored already.
    pub(super) const fn has_stored(&self) -> bool {
        self.has_stored
    }

    /// The one chunk that a body of so many bytes is, if it is complete and one.
    pub(super) fn only_chunk(&self, size: u64) -> Option<ChunkId> {
        match self.root.as_ref()?.entries() {
            [Entry { kind: EntryKind::Chunk, id, len }] if *len == size => Some(*id),
            _ => None,
        }
    }

    /// Bytes appended since this was last asked with less than it found.
    pub(super) fn take_unsynced(&mut self, at_least: u64) -> bool {
        let is_due = self.unsynced_bytes >= at_least;
        if is_due {
            self.unsynced_bytes = 0;
        }
        is_due
    }

    /// Takes a block that begins with the tail of the one before; with the last one, the manifest is complete.
    pub(super) fn absorb(&mut self, block: &Bytes, is_last: bool) -> Result<(), EngineError> {
        let ingest = Arc::clone(&self.ingest);
        let (chunks, tail) = ingest.stages.time(Stage::Cut, || ingest.chunker.cut(block, is_last));
        self.tail = tail;
        self.push_chunks(chunks, is_last)
    }

    /// Adds chunks as they are.
    pub(crate) fn push_chunks(&mut self, chunks: Vec<Bytes>, is_last: bool) -> Result<(), EngineError> {
        let hash = |chunk: &Bytes| ChunkId::new(Sha256::digest(chunk).into());
        let ids = self.ingest.stages.time(Stage::Hash, || self.ingest.workers.map(&chunks, hash))?;
        for (id, chunk) in ids.iter().zip(&chunks) {
            let entry = Entry { kind: EntryKind::Chunk, id: *id, len: chunk.len() as u64 };
            self.tree.push(entry, &mut self.nodes)?;
        }
        if is_last {
            self.complete()?;
        }
        let chunks = ids.into_iter().zip(chunks).map(|(id, bytes)| (id, RecordKind::Chunk, bytes));
        let nodes = std::mem::take(&mut self.nodes);
        let nodes = nodes.into_iter().map(|(id, bytes)| (id, RecordKind::Node, bytes));
        let mut seen = HashSet::new();
        let records = chunks.chain(nodes).filter(|(id, ..)| seen.insert(*id)).collect();
        self.store(records)?;
        self.has_stored = true;
        self.settle_moves(is_last)
    }

    /// Adds what another body's manifest lists. Its chunks must be held by that body until the commit.
    pub(crate) fn push_entries(&mut self, entries: &[Entry]) -> Result<(), EngineError> {
        for entry in entries {
            self.tree.push(*entry, &mut self.nodes)?;
        }
        let waiting = self.nodes.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        if waiting >= NODE_BATCH_BYTES { self.push_chunks(Vec::new(), false) } else { Ok(()) }
    }

    /// The manifest of all that was pushed; everything below it is appended.
    pub(crate) fn finish(&mut self) -> Result<Manifest, EngineError> {
        if self.root.is_none() {
            self.push_chunks(Vec::new(), true)?;
        }
        self.root.take().ok_or_else(|| EngineError::Io(std::io::Error::other("a manifest was not completed")))
    }

    fn complete(&mut self) -> Result<(), EngineError> {
        let tree = std::mem::replace(&mut self.tree, TreeBuilder::new());
        self.root = Some(tree.finish(&mut self.nodes)?);
        Ok(())
    }

    /// Appends those of the records that are not there, each once, and those that are stored again.
    fn store(&mut self, records: Vec<Content>) -> Result<(), EngineError> {
        if records.is_empty() {
            return Ok(());
        }
        let ingest = Arc::clone(&self.ingest);
        let ids: Vec<_> = records.iter().map(|(id, ..)| *id).collect();
        let found = ingest.stages.time(Stage::Index, || self.lease.session.hit(&ids))?;
        let again = self.choose(&records, &found);
        let all = bytes_of(records.iter());
        let is_appended =
            |((record, at), again): ((_, Option<_>), bool)| (at.is_none() || again).then_some((record, at));
        let (new, from): (Vec<_>, Vec<_>) =
            records.into_iter().zip(found).zip(again).filter_map(is_appended).unzip();
        let raw = bytes_of(new.iter().zip(&from).filter(|(_, from)| from.is_none()).map(|(new, _)| new));
        let stored = if new.is_empty() { 0 } else { self.append(&new, &from)? };
        ingest.stages.count(all, all - raw, stored);
        Ok(())
    }

    /// For each record, whether it is to be stored again. Nodes are few.
    fn choose(&mut self, records: &[Content], found: &[Option<Location>]) -> Vec<bool> {
        let chunks = records.iter().zip(found).filter(|((_, kind, _), _)| *kind == RecordKind::Chunk);
        let placed = |((id, _, bytes), at): (&Content, &Option<Location>)| Placed {
            id: *id,
            bytes: bytes.len() as u64,
            at: *at,
        };
        // Nodes stand behind the chunks.
        let mut again = self.rewrite.choose(&chunks.map(placed).collect::<Vec<_>>());
        again.resize(records.len(), false);
        self.ingest.parts.packs.mark_unreadable(found, &mut again);
        again
    }

    /// Appends records, and adds to the index those that it does not have elsewhere. Returns the bytes appended.
    fn append(&mut self, new: &[Content], from: &[Option<Location>]) -> Result<u64, EngineError> {
        let Ingest { parts, stages, workers, .. } = &*self.ingest;
        let level = parts.settings.compression_level;
        let records = stages.time(Stage::Compress, || records_of(workers, new, level))?;
        FailPoint::IngestAppend.pass()?;
        let locations = stages.time(Stage::Append, || parts.packs.append(&records))?;
        FailPoint::IngestAppended.pass()?;
        let (mut added, mut stored, mut rewritten) = (Vec::with_capacity(records.len()), 0, 0);
        for ((record, to), from) in records.iter().zip(locations).zip(from) {
            let bytes = record.payload.len() as u64;
            stored += bytes;
            self.rewrite.appended(record.id, *from, to);
            match from {
                None => added.push((record.id, record.kind, to)),
                Some(_) => rewritten += bytes,
            }
        }
        self.unsynced_bytes += stored;
        stages.time(Stage::Index, || self.lease.session.insert(&added))?;
        FailPoint::IngestInserted.pass()?;
        if rewritten > 0 {
            stages.count_rewritten(rewritten);
        }
        Ok(stored)
    }

    /// Tells the index where chunks were stored again. It may reach the disk at any moment from then on: so their
    /// records do before.
    fn settle_moves(&mut self, is_last: bool) -> Result<(), EngineError> {
        let moves = self.rewrite.take_moves(is_last);
        if moves.is_empty() {
            return Ok(());
        }
        self.ingest.parts.packs.sync()?;
        FailPoint::IngestMovesSynced.pass()?;
        if let Err(error) = self.lease.session.moved(&moves) {
            // The body is as good with its chunks where they were.
            tracing::warn!(%error, "chunks that were stored again stay where they were");
        }
        Ok(FailPoint::IngestMoved.pass()?)
    }
}

fn bytes_of<'a>(records: impl Iterator<Item = &'a Content>) -> u64 {
    records.map(|(.., bytes)| bytes.len() as u64).sum()
}

/// Other threads are woken only where there is something to compress.
fn records_of(workers: &Workers, new: &[Content], level: i32) -> Result<Vec<NewRecord>, EngineError> {
    let takes_time = |(_, kind, raw): &Content| *kind == RecordKind::Chunk && is_worth_a_try(raw, level);
    if new.iter().any(takes_time) {
        return workers.map(new, move |content| record_of(content, level));
    }
    Ok(new.iter().map(|content| record_of(content, 0)).collect())
}

fn record_of((id, kind, raw): &Content, level: i32) -> NewRecord {
    // No chunk and no node is near 4 GiB.
    let raw_len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let (codec, payload) = match kind {
        RecordKind::Chunk => encode(raw, level),
        // Mostly hashes: there is nothing to gain.
        RecordKind::Node => (Codec::Raw, raw.clone()),
    };
    NewRecord { id: *id, kind: *kind, codec, raw_len, payload }
}
