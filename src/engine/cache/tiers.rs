//! The tiers together: look-up, load, promotion, warming.

use super::flights::{Claims, Flights};
use super::memory::MemoryTier;
use super::redis_tier::RedisTier;
use super::write_behind::WriteBehind;
use super::{CacheError, CacheSettings, hot_list};
use crate::engine::EngineError;
use crate::sys::{FileSystem, Steady};
use crate::types::ChunkId;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Chunks warmed at a time.
const WARM_BATCH: usize = 64;

/// A chunk that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub id: ChunkId,
    /// It has no more bytes than this: a tier that is not trusted may send no more.
    pub max_bytes: usize,
}

/// Chunks by id. Cheap to clone; all clones are one cache.
#[derive(Debug, Clone)]
pub struct ChunkCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    memory: MemoryTier,
    redis: Option<(Arc<RedisTier>, WriteBehind)>,
    flights: Arc<Flights>,
}

impl ChunkCache {
    /// Must be called inside a tokio runtime. `clock` times how long a Redis that fails is left alone. An unreachable Redis is no error: it is a tier that misses.
    ///
    /// # Errors
    /// When the Redis URL is malformed.
    pub fn new(settings: &CacheSettings, clock: Arc<dyn Steady>) -> Result<Self, CacheError> {
        let redis = match &settings.redis_url {
            None => None,
            Some(url) => {
                let tier = Arc::new(RedisTier::new(url, settings, clock)?);
                let queue = WriteBehind::start(Arc::clone(&tier), settings.redis_queue_bytes);
                Some((tier, queue))
            }
        };
        let inner = Inner { memory: MemoryTier::new(settings.memory_bytes), redis, flights: Arc::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Puts a chunk that is at hand (just written) into memory.
    pub fn insert(&self, id: ChunkId, bytes: &Bytes) {
        self.inner.memory.insert(id, bytes);
    }

    /// The chunks, in the order asked for; one may be named more than once.
    ///
    /// `load` gets the distinct chunks that no tier has and returns their verified bytes in that order. It runs in
    /// a task of its own, to its end even when the caller goes away, because others may be waiting for the same
    /// chunks: so it must own what it needs (its `Hold` on the index above all), and must not wait for anything
    /// that its caller does later.
    ///
    /// # Errors
    /// Only those of `load`.
    pub async fn get_or_load<L, F>(&self, wanted: &[Wanted], load: L) -> Result<Vec<Bytes>, EngineError>
    where
        L: Fn(Vec<Wanted>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Vec<Bytes>, EngineError>> + Send + 'static,
    {
        let mut found: HashMap<ChunkId, Bytes> = HashMap::with_capacity(wanted.len());
        let mut missing = Vec::new();
        let mut seen = HashSet::with_capacity(wanted.len());
        for wanted in wanted.iter().filter(|wanted| seen.insert(wanted.id)) {
            match self.inner.memory.get(&wanted.id) {
                Some(bytes) => drop(found.insert(wanted.id, bytes)),
                None => missing.push(*wanted),
            }
        }
        count_memory(found.len(), missing.len());
        while !missing.is_empty() {
            missing = self.fetch(&missing, load.clone(), &mut found).await?;
        }
        wanted.iter().map(|w| found.get(&w.id).cloned().ok_or(EngineError::Missing(w.id))).collect()
    }

    /// As [`Self::get_or_load`] for a long read, which takes from memory what is there and leaves no trace. What others
    /// load at the same time is of no use to it: it waits for nobody. Blocks as `load` does.
    ///
    /// # Errors
    /// Only those of `load`.
    pub fn scan(
        &self,
        wanted: &[Wanted],
        load: impl FnOnce(Vec<Wanted>) -> Result<Vec<Bytes>, EngineError>,
    ) -> Result<Vec<Bytes>, EngineError> {
        let (mut chunks, missing) = self.in_memory(wanted);
        let loaded = if missing.is_empty() { Vec::new() } else { load(missing)? };
        fill(&mut chunks, loaded);
        whole(chunks, wanted)
    }

    /// All of the chunks, if memory has them.
    #[must_use]
    pub fn get_hot(&self, ids: impl Iterator<Item = ChunkId>) -> Option<Vec<Bytes>> {
        let chunks: Vec<Bytes> = ids.map(|id| self.inner.memory.get(&id)).collect::<Option<_>>()?;
        count_memory(chunks.len(), 0);
        Some(chunks)
    }

    fn in_memory(&self, wanted: &[Wanted]) -> (Vec<Option<Bytes>>, Vec<Wanted>) {
        let chunks: Vec<_> = wanted.iter().map(|wanted| self.inner.memory.get(&wanted.id)).collect();
        let missing = wanted.iter().zip(&chunks).filter(|(_, chunk)| chunk.is_none());
        let missing: Vec<Wanted> = missing.map(|(wanted, _)| *wanted).collect();
        count_memory(chunks.len() - missing.len(), missing.len());
        (chunks, missing)
    }

    /// Returns the chunks that others gave up to load, perhaps for reasons of their own: whoever claims them next
    /// finds out for itself.
    async fn fetch<L, F>(
        &self,
        missing: &[Wanted],
        load: L,
        found: &mut HashMap<ChunkId, Bytes>,
    ) -> Result<Vec<Wanted>, EngineError>
    where
        L: Fn(Vec<Wanted>) -> F + Send + 'static,
        F: Future<Output = Result<Vec<Bytes>, EngineError>> + Send + 'static,
    {
        let (mine, claims, awaited) = self.inner.flights.claim(missing);
        if !mine.is_empty() {
            let inner = Arc::clone(&self.inner);
            let task = tokio::spawn(async move { inner.bring(mine, claims, load).await });
            found.extend(task.await.map_err(|e| EngineError::Io(io::Error::other(e)))??);
        }
        let mut given_up = Vec::new();
        for flight in awaited {
            let wanted = flight.wanted;
            match flight.bytes().await {
                Some(bytes) => drop(found.insert(wanted.id, bytes)),
                None => given_up.push(wanted),
            }
        }
        Ok(given_up)
    }

    /// Fills memory with the chunks of an earlier run's hot list, until it is full or the list ends. `load`
    /// returns those of the chunks asked for that still exist. Returns how many were warmed.
    pub async fn warm<L, F>(&self, ids: &[ChunkId], load: L) -> usize
    where
        L: Fn(Vec<ChunkId>) -> F + Send,
        F: Future<Output = Vec<(ChunkId, Bytes)>> + Send,
    {
        let mut warmed = 0;
        for batch in ids.chunks(WARM_BATCH) {
            if self.memory_used_bytes() >= self.inner.memory.max_bytes() / 10 * 9 {
                break;
            }
            for (id, bytes) in load(batch.to_vec()).await {
                self.insert(id, &bytes);
                warmed += 1;
            }
        }
        warmed
    }

    /// Writes the ids of the chunks in memory, for [`ChunkCache::warm`] at the next start. Blocking.
    ///
    /// # Errors
    /// When the file cannot be written; nothing depends on it.
    pub fn save_hot_list(&self, fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
        hot_list::write(fs, path, &self.inner.memory.ids())
    }

    /// Memory that cached chunks use, overhead counted roughly.
    #[must_use]
    pub fn memory_used_bytes(&self) -> u64 {
        let used = self.inner.memory.used_bytes();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("sediment_cache_memory_bytes").set(used as f64);
        used
    }
}

impl Inner {
    /// Chunks from Redis, the others from the packs; all are handed to who waits for them.
    async fn bring<L, F>(
        &self,
        wanted: Vec<Wanted>,
        mut claims: Claims,
        load: L,
    ) -> Result<Vec<(ChunkId, Bytes)>, EngineError>
    where
        L: Fn(Vec<Wanted>) -> F,
        F: Future<Output = Result<Vec<Bytes>, EngineError>>,
    {
        let mut land = |id: ChunkId, bytes: &Bytes, is_new: bool| {
            if is_new {
                self.memory.insert(id, bytes);
            }
            claims.land(id, bytes);
        };
        let mut brought = Vec::with_capacity(wanted.len());
        let mut wanted = wanted;
        // Another load may have landed between the look into memory and the claim.
        wanted.retain(|&Wanted { id, .. }| {
            let landed = self.memory.get(&id);
            let is_missing = landed.is_none();
            if let Some(bytes) = landed {
                land(id, &bytes, false);
                brought.push((id, bytes));
            }
            is_missing
        });
        if let Some((tier, _)) = &self.redis {
            let cached = tier.get(&wanted).await;
            wanted.retain(|wanted| !cached.contains_key(&wanted.id));
            for (id, bytes) in cached {
                land(id, &bytes, true);
                brought.push((id, bytes));
            }
        }
        if wanted.is_empty() {
            return Ok(brought);
        }
        let loaded = load(wanted.clone()).await?;
        for (Wanted { id, .. }, bytes) in wanted.into_iter().zip(loaded) {
            land(id, &bytes, true);
            if let Some((_, queue)) = &self.redis {
                queue.offer(id, &bytes);
            }
            brought.push((id, bytes));
        }
        Ok(brought)
    }
}

fn fill(chunks: &mut [Option<Bytes>], loaded: Vec<Bytes>) {
    for (chunk, bytes) in chunks.iter_mut().filter(|chunk| chunk.is_none()).zip(loaded) {
        *chunk = Some(bytes);
    }
}

fn whole(chunks: Vec<Option<Bytes>>, wanted: &[Wanted]) -> Result<Vec<Bytes>, EngineError> {
    let missing = |(chunk, wanted): (Option<Bytes>, &Wanted)| chunk.ok_or(EngineError::Missing(wanted.id));
    chunks.into_iter().zip(wanted).map(missing).collect()
}

fn count_memory(hits: usize, misses: usize) {
    metrics::counter!("sediment_cache_hits_total", "tier" => "memory").increment(hits as u64);
    metrics::counter!("sediment_cache_misses_total", "tier" => "memory").increment(misses as u64);
}

#[cfg(test)]
#[path = "tiers_tests.rs"]
mod tests;
