//! From cut bytes to records and a manifest.

use super::stages::Stage;
use super::tree::{NewNode, TreeBuilder};
use super::{Ingest, Lease, Workers};
use crate::engine::EngineError;
use crate::engine::codec::{encode, is_worth_a_try};
use crate::engine::pack::{Codec, NewRecord, RecordKind};
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
    /// The bytes behind the last cut.
    tail: Bytes,
    root: Option<Manifest>,
    has_stored: bool,
    unsynced_bytes: u64,
}

impl ChunkSink {
    pub(crate) fn new(ingest: Arc<Ingest>, lease: Lease) -> Self {
        let (tree, nodes, tail) = (TreeBuilder::new(), Vec::new(), Bytes::new());
        Self { ingest, lease, tree, nodes, tail, root: None, has_stored: false, unsynced_bytes: 0 }
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
        Ok(())
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

    /// Appends those of the records that are not there, each once.
    fn store(&mut self, records: Vec<Content>) -> Result<(), EngineError> {
        if records.is_empty() {
            return Ok(());
        }
        let Ingest { parts, stages, workers, .. } = &*self.ingest;
        let session = &self.lease.session;
        let ids: Vec<_> = records.iter().map(|(id, ..)| *id).collect();
        let found = stages.time(Stage::Index, || session.hit(&ids))?;
        let all = records.iter().map(|(.., bytes)| bytes.len() as u64).sum::<u64>();
        let is_new = |(record, found): (_, Option<_>)| found.is_none().then_some(record);
        let new: Vec<_> = records.into_iter().zip(found).filter_map(is_new).collect();
        let raw = new.iter().map(|(.., bytes)| bytes.len() as u64).sum::<u64>();
        if new.is_empty() {
            stages.count(all, all, 0);
            return Ok(());
        }
        let level = parts.settings.compression_level;
        let records = stages.time(Stage::Compress, || records_of(workers, &new, level))?;
        let locations = stages.time(Stage::Append, || parts.packs.append(&records))?;
        let stored = records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
        self.unsynced_bytes += stored;
        let appended: Vec<_> = records
            .iter()
            .zip(locations)
            .map(|(record, location)| (record.id, record.kind, location))
            .collect();
        stages.time(Stage::Index, || session.insert(&appended))?;
        stages.count(all, all - raw, stored);
        Ok(())
    }
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
