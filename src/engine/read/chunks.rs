//! Chunks and nodes by id: from the cache, or resolved, read, verified and decoded on a blocking thread.

use super::along::{Along, Found, content};
use crate::engine::codec::{decode_node, decode_record};
use crate::engine::pack::{Location, PackSet, Record, RecordKind};
use crate::engine::{ChunkCache, EngineError, Wanted};
use crate::types::{ChunkId, Entry, MAX_NODE_BYTES, Node};
use bytes::Bytes;
use std::any::Any;
use std::io;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

/// The most reads that block at once in this process: enough to keep a disk busy, few enough to leave the
/// blocking threads to others.
const MAX_BLOCKING: usize = 32;
/// How often a chunk may move while it is read: each time a pack is written anew, which takes longer than a read.
const MOST_MOVES: usize = 8;
static BLOCKING: Semaphore = Semaphore::const_new(MAX_BLOCKING);

/// Work that will not stop halfway.
pub(super) type Running<T> = JoinHandle<Result<T, EngineError>>;

/// What keeps chunks from collection, or memory from being given away, until the last clone is dropped.
pub(super) type Guard = Arc<dyn Any + Send + Sync>;

/// Where chunks are: the index, as far as reading needs it.
pub trait Locate: Send + Sync + std::fmt::Debug {
    /// Blocks. `None` for what is nowhere.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Option<Location>>, EngineError>;

    /// While the hold lives nothing that is referenced now is collected. Does not block.
    fn hold(&self) -> Box<dyn Any + Send + Sync>;

    /// The bytes at that place are damaged: no writer may take the chunk for stored any more. Blocks.
    fn condemn(&self, id: &ChunkId, damaged: Location);
}

#[derive(Debug, Clone)]
pub(super) struct Chunks {
    pub(super) packs: PackSet,
    pub(super) locate: Arc<dyn Locate>,
    pub(super) cache: ChunkCache,
}

impl Chunks {
    /// Whole chunks, decoded, in the order asked for. The guard lives until the work is done, which may be after
    /// the caller went away.
    pub(super) async fn get(
        &self,
        wanted: &[Wanted],
        kind: RecordKind,
        guard: &Guard,
    ) -> Result<Vec<Bytes>, EngineError> {
        let (chunks, guard) = (self.clone(), Arc::clone(guard));
        let load = move |wanted: Vec<Wanted>| {
            let (chunks, guard) = (chunks.clone(), Arc::clone(&guard));
            blocking(move || {
                let _guard = guard;
                chunks.load(&wanted, kind)
            })
        };
        self.cache.get_or_load(wanted, load).await
    }

    /// As [`Self::get`] for a long read. Blocks.
    pub(super) fn scan(&self, wanted: &[Wanted]) -> Result<Vec<Bytes>, EngineError> {
        self.cache.scan(wanted, |missing| self.load(&missing, RecordKind::Chunk))
    }

    /// A manifest node. Nodes are few and shared by similar bodies: always admitted.
    pub(super) async fn node(&self, entry: &Entry, guard: &Guard) -> Result<Node, EngineError> {
        let wanted = Wanted { id: entry.id, max_bytes: MAX_NODE_BYTES };
        let bytes = self.get(&[wanted], RecordKind::Node, guard).await?;
        let bytes = bytes.first().ok_or(EngineError::Missing(entry.id))?;
        Ok(Node::decode(bytes)?)
    }

    /// Blocks. What stands together is read together, and what follows in the packs as it does here is not looked up.
    pub(super) fn load(&self, wanted: &[Wanted], kind: RecordKind) -> Result<Vec<Bytes>, EngineError> {
        let Found { records, places } = Along::find(self, wanted, kind)?;
        let mut chunks = content(records, wanted, self.packs.buffers());
        let left = || (0..wanted.len()).filter(|&i| chunks[i].is_none());
        let asked: Vec<_> = left().map(|i| (wanted[i].id, places[i])).collect();
        let left: Vec<usize> = left().collect();
        for (i, chunk) in left.into_iter().zip(self.look_up(&asked, kind)?) {
            chunks[i] = Some(chunk);
        }
        let missing =
            |(chunk, wanted): (Option<Bytes>, &Wanted)| chunk.ok_or(EngineError::Missing(wanted.id));
        chunks.into_iter().zip(wanted).map(missing).collect()
    }

    /// Blocks. Each by the index, unless that was asked already; neighbours are read together.
    fn look_up(
        &self,
        asked: &[(ChunkId, Option<Location>)],
        kind: RecordKind,
    ) -> Result<Vec<Bytes>, EngineError> {
        let unknown: Vec<ChunkId> = asked.iter().filter(|(_, at)| at.is_none()).map(|(id, _)| *id).collect();
        let mut found = self.resolve(&unknown)?.into_iter();
        let places = asked.iter().filter_map(|(id, at)| at.map(|at| (*id, at)).or_else(|| found.next()));
        let wanted: Vec<_> = places.collect();
        let read = self.packs.read(&wanted).into_iter().zip(&wanted);
        let decoded = read.map(|(record, wanted)| {
            record.and_then(|record| decode(&record, kind)).or_else(|error| self.again(wanted, kind, error))
        });
        decoded.collect::<Result<_, _>>().inspect_err(count_corrupt)
    }

    /// A collection may have moved the chunk between the look-up and the read, and removed or punched what stood
    /// there before; and may have done so again.
    fn again(
        &self,
        read: &(ChunkId, Location),
        kind: RecordKind,
        error: EngineError,
    ) -> Result<Bytes, EngineError> {
        let (mut last, mut error) = (*read, error);
        for _ in 0..MOST_MOVES {
            let now = self.resolve(&[read.0])?;
            if now.first() == Some(&last) {
                return self.once_more(&last, kind, error);
            }
            let record = self.packs.read(&now).pop().unwrap_or(Err(error));
            error = match record.and_then(|record| decode(&record, kind)) {
                Ok(chunk) => return Ok(chunk),
                Err(error) => error,
            };
            last = now.first().copied().unwrap_or(last);
        }
        Err(error)
    }

    /// What is damaged where it should be is read once more, from the device: memory may have changed what the disk
    /// has whole. Damaged there, too, it is condemned.
    fn once_more(
        &self,
        at: &(ChunkId, Location),
        kind: RecordKind,
        error: EngineError,
    ) -> Result<Bytes, EngineError> {
        if !is_damage(&error) || self.packs.reload(at.1.pack).is_err() {
            return Err(error);
        }
        let record = self.packs.read(&[*at]).pop().unwrap_or(Err(error));
        let is_other_kind = record.as_ref().is_ok_and(|record| record.kind != kind);
        let decoded = record.and_then(|record| decode(&record, kind));
        if !is_other_kind && decoded.as_ref().is_err_and(is_damage) {
            self.locate.condemn(&at.0, at.1);
        }
        decoded
    }

    fn resolve(&self, ids: &[ChunkId]) -> Result<Vec<(ChunkId, Location)>, EngineError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.locate.locate(ids)?.into_iter().zip(ids);
        found.map(|(at, id)| at.map(|at| (*id, at)).ok_or(EngineError::Missing(*id))).collect()
    }
}

fn decode(record: &Record, kind: RecordKind) -> Result<Bytes, EngineError> {
    match kind {
        RecordKind::Node => {
            decode_node(record)?;
        }
        RecordKind::Chunk if record.kind != kind => {
            return Err(EngineError::Corrupt { id: record.id, why: "a node stands where a chunk should" });
        }
        RecordKind::Chunk => {}
    }
    decode_record(record)
}

const fn is_damage(error: &EngineError) -> bool {
    matches!(error, EngineError::Corrupt { .. })
}

pub(super) fn count_corrupt(error: &EngineError) {
    if matches!(error, EngineError::Corrupt { .. } | EngineError::CorruptPlain { .. }) {
        metrics::counter!("sediment_corrupt_chunks_total").increment(1);
        tracing::error!(%error, "stored bytes are damaged; they were not served");
    }
}

/// Runs `f` on a blocking thread, to its end even when the caller goes away.
pub(super) async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let permit = BLOCKING.acquire().await.map_err(io::Error::other)?;
    spawn(permit, f).await.map_err(io::Error::other)?
}

/// As [`blocking`], begun at once, where a thread may be had at once. Aborted before it has begun, it never does.
pub(super) fn try_blocking<T: Send + 'static, F: FnOnce() -> Result<T, EngineError> + Send + 'static>(
    f: F,
) -> Result<Running<T>, F> {
    match BLOCKING.try_acquire() {
        Ok(permit) => Ok(spawn(permit, f)),
        Err(_) => Err(f),
    }
}

fn spawn<T: Send + 'static>(
    permit: SemaphorePermit<'static>,
    f: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Running<T> {
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        f()
    })
}
