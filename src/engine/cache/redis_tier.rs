//! The Redis tier: asked in batches, for a bounded time and a bounded number of bytes, and not believed.

use super::breaker::Breaker;
use super::redis_pool::{Connection, Pool};
use super::resp::Reply;
use super::{CacheError, CacheSettings, RedisUrl, Wanted};
use crate::sys::Steady;
use crate::types::{ChunkId, Node};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Chunks per request, so that one answer stays near a megabyte.
const BATCH: usize = 64;
/// What takes longer than this part of the timeout is no help: always just within it, every read would wait for it.
const SLOW_PART: u32 = 2;

#[derive(Debug)]
pub(super) struct RedisTier {
    pool: Arc<Pool>,
    breaker: Breaker,
    in_flight: Semaphore,
    prefix: String,
    ttl_seconds: u64,
    max_value_bytes: usize,
    timeout: Duration,
}

impl RedisTier {
    /// Connects with the first request, and again whenever a connection is lost.
    pub(super) fn new(
        url: &RedisUrl,
        settings: &CacheSettings,
        clock: Arc<dyn Steady>,
    ) -> Result<Self, CacheError> {
        let max_in_flight = settings.redis_max_in_flight.clamp(1, Semaphore::MAX_PERMITS - 1);
        Ok(Self {
            // One more, for the task that fills Redis.
            pool: Arc::new(Pool::new(url, max_in_flight + 1)?),
            breaker: Breaker::new(clock),
            in_flight: Semaphore::new(max_in_flight),
            prefix: settings.redis_key_prefix.clone(),
            ttl_seconds: settings.redis_ttl_seconds.max(1),
            max_value_bytes: settings.redis_max_value_bytes,
            timeout: Duration::from_millis(settings.redis_timeout_milliseconds.max(1)),
        })
    }

    /// The chunks that Redis has, their hashes checked.
    pub(super) async fn get(&self, wanted: &[Wanted]) -> HashMap<ChunkId, Bytes> {
        let mut found = HashMap::new();
        for batch in wanted.chunks(BATCH) {
            match self.get_batch(batch).await {
                Some(chunks) => found.extend(chunks),
                None => break,
            }
        }
        metrics::counter!("sediment_cache_hits_total", "tier" => "redis").increment(found.len() as u64);
        let misses = wanted.len().saturating_sub(found.len());
        metrics::counter!("sediment_cache_misses_total", "tier" => "redis").increment(misses as u64);
        found
    }

    /// `None` when it is no use to ask further now.
    async fn get_batch(&self, wanted: &[Wanted]) -> Option<Vec<(ChunkId, Bytes)>> {
        let _slot = self.in_flight.try_acquire().ok()?;
        let permit = self.breaker.try_acquire()?;
        let asked_at = Instant::now();
        let values = match self.run(async |connection| self.ask(connection, wanted).await).await {
            Ok(values) => values,
            Err(kind) => {
                count_error(kind);
                permit.failed();
                return None;
            }
        };
        let is_slow = asked_at.elapsed() > self.timeout / SLOW_PART;
        let ids = wanted.iter().map(|wanted| wanted.id);
        let answered: Vec<_> = ids.zip(values).filter(|(_, v)| !v.is_empty()).collect();
        let asked = answered.len();
        let verified = verify(answered).await;
        if verified.len() < asked {
            count_error("wrong-bytes");
            tracing::warn!(chunks = asked - verified.len(), "redis cache: wrong bytes, not used");
            permit.failed();
        } else if is_slow {
            // Used, as it is here; but the packs would have been quicker.
            count_error("slow");
            permit.failed();
        } else {
            permit.succeeded();
        }
        Some(verified)
    }

    async fn ask(&self, connection: &mut Connection, wanted: &[Wanted]) -> io::Result<Option<Vec<Vec<u8>>>> {
        for wanted in wanted {
            // GETRANGE rather than GET: what has grown too long costs one byte more than the chunk, and is wrong.
            let last = self.max_bytes(wanted).to_string();
            connection.send(&[b"GETRANGE", &self.key(wanted.id), b"0", last.as_bytes()]).await?;
        }
        let (mut values, mut is_refused) = (Vec::with_capacity(wanted.len()), false);
        for wanted in wanted {
            match connection.receive(self.max_bytes(wanted) + 1).await? {
                Reply::Value(value) => values.push(value),
                Reply::Nothing => values.push(Vec::new()),
                Reply::Refused => is_refused = true,
                Reply::Done => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok((!is_refused).then_some(values))
    }

    /// Stores chunks; failing is no news to anybody but the metrics.
    pub(super) async fn put(&self, chunks: &[(ChunkId, Bytes)]) {
        if !self.breaker.is_closed() {
            return;
        }
        // Not told to the breaker: a full Redis refuses writes and still answers reads.
        if let Err(kind) = self.run(async |connection| self.store(connection, chunks).await).await {
            count_error(if kind == "refused" { "write-refused" } else { kind });
        }
    }

    async fn store(
        &self,
        connection: &mut Connection,
        chunks: &[(ChunkId, Bytes)],
    ) -> io::Result<Option<()>> {
        let seconds = self.ttl_seconds.to_string();
        for (id, bytes) in chunks {
            connection.send(&[b"SET", &self.key(*id), bytes, b"EX", seconds.as_bytes()]).await?;
        }
        let mut is_refused = false;
        for _ in chunks {
            is_refused |= connection.receive(0).await? == Reply::Refused;
        }
        Ok((!is_refused).then_some(()))
    }

    pub(super) const fn accepts(&self, bytes: &Bytes) -> bool {
        bytes.len() <= self.max_value_bytes
    }

    fn max_bytes(&self, wanted: &Wanted) -> usize {
        wanted.max_bytes.min(self.max_value_bytes)
    }

    /// One exchange on one connection, which is closed unless it went well; `None` is the server's refusal.
    async fn run<T>(
        &self,
        exchange: impl AsyncFnOnce(&mut Connection) -> io::Result<Option<T>>,
    ) -> Result<T, &'static str> {
        let work = async {
            let mut connection = self.pool.checkout().await?;
            let answer = exchange(&mut connection).await?;
            if !connection.is_quiet() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.pool.give_back(connection);
            Ok(answer)
        };
        let answer: io::Result<Option<T>> = tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match answer {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err("refused"),
            Err(error) => {
                self.pool.close_idle();
                Err(match error.kind() {
                    io::ErrorKind::TimedOut => "timeout",
                    io::ErrorKind::InvalidData => "protocol",
                    _ => "io",
                })
            }
        }
    }

    fn key(&self, id: ChunkId) -> Vec<u8> {
        let mut key = self.prefix.clone().into_bytes();
        key.extend_from_slice(id.as_bytes());
        key
    }
}

fn count_error(kind: &'static str) {
    metrics::counter!("sediment_cache_redis_errors_total", "kind" => kind).increment(1);
}

/// Keeps the chunks whose bytes are what their names say. Off the async threads: a batch is up to a millisecond.
async fn verify(answered: Vec<(ChunkId, Vec<u8>)>) -> Vec<(ChunkId, Bytes)> {
    if answered.is_empty() {
        return Vec::new();
    }
    let check = move || -> Vec<(ChunkId, Bytes)> {
        let right = answered.into_iter().filter(|(id, bytes)| is_named(*id, bytes));
        right.map(|(id, bytes)| (id, Bytes::from(bytes))).collect()
    };
    tokio::task::spawn_blocking(check).await.unwrap_or_default()
}

/// Data is named by its SHA-256, a manifest node by the complement; no bytes can be found that fit the other way.
fn is_named(id: ChunkId, bytes: &[u8]) -> bool {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    id == ChunkId::new(digest) || id == Node::id_of(bytes)
}
