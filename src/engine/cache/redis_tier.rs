//! The Redis tier: asked in batches, for a bounded time, and not believed.

use super::breaker::Breaker;
use super::{CacheError, CacheSettings, RedisUrl};
use crate::sys::Clock;
use crate::types::{ChunkId, Node};
use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Pipeline, RedisError, RedisResult};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Chunks per request, so that one answer stays near a megabyte.
const BATCH: usize = 64;

#[derive(Debug)]
pub(super) struct RedisTier {
    connection: Connection,
    breaker: Breaker,
    in_flight: Semaphore,
    prefix: String,
    ttl_seconds: u64,
    max_value_bytes: usize,
    timeout: Duration,
}

struct Connection(ConnectionManager);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The manager's own would show the URL.
        f.write_str("Connection")
    }
}

impl RedisTier {
    /// Connects with the first request, and again whenever the connection is lost. Needs a running runtime.
    pub(super) fn new(
        url: &RedisUrl,
        settings: &CacheSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CacheError> {
        // The crate's detail may quote the URL, its category does not.
        let refuse = |error: RedisError| CacheError::RedisUrl(error.category().to_owned());
        let timeout = Duration::from_millis(settings.redis_timeout_milliseconds.max(1));
        let client = redis::Client::open(url.secret()).map_err(refuse)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(5))
            .set_number_of_retries(3);
        let manager = ConnectionManager::new_lazy_with_config(client, config).map_err(refuse)?;
        Ok(Self {
            connection: Connection(manager),
            breaker: Breaker::new(clock),
            in_flight: Semaphore::new(settings.redis_max_in_flight.max(1)),
            prefix: settings.redis_key_prefix.clone(),
            ttl_seconds: settings.redis_ttl_seconds.max(1),
            max_value_bytes: settings.redis_max_value_bytes,
            timeout,
        })
    }

    /// The chunks that Redis has, their hashes checked.
    pub(super) async fn get(&self, ids: &[ChunkId]) -> HashMap<ChunkId, Bytes> {
        let mut found = HashMap::new();
        for batch in ids.chunks(BATCH) {
            match self.get_batch(batch).await {
                Some(chunks) => found.extend(chunks),
                None => break,
            }
        }
        metrics::counter!("sediment_cache_hits_total", "tier" => "redis").increment(found.len() as u64);
        let misses = ids.len().saturating_sub(found.len());
        metrics::counter!("sediment_cache_misses_total", "tier" => "redis").increment(misses as u64);
        found
    }

    /// `None` when it is no use to ask further now.
    async fn get_batch(&self, ids: &[ChunkId]) -> Option<Vec<(ChunkId, Bytes)>> {
        let _slot = self.in_flight.try_acquire().ok()?;
        let permit = self.breaker.try_acquire()?;
        let mut pipeline = Pipeline::with_capacity(ids.len());
        for id in ids {
            // GETRANGE rather than GET: a value of any size in Redis costs a bounded one here.
            pipeline.cmd("GETRANGE").arg(self.key(*id)).arg(0).arg(self.max_value_bytes);
        }
        let values: Vec<Vec<u8>> = match self.run(&pipeline).await {
            Ok(values) => values,
            Err(kind) => {
                count_error(kind);
                permit.failed();
                return None;
            }
        };
        let answered: Vec<_> = ids.iter().copied().zip(values).filter(|(_, v)| !v.is_empty()).collect();
        let asked = answered.len();
        let verified = verify(answered).await;
        if verified.len() < asked {
            count_error("wrong-bytes");
            tracing::warn!(chunks = asked - verified.len(), "redis cache: wrong bytes, not used");
            permit.failed();
        } else {
            permit.succeeded();
        }
        Some(verified)
    }

    /// Stores chunks; failing is no news to anybody but the metrics.
    pub(super) async fn put(&self, chunks: &[(ChunkId, Bytes)]) {
        if !self.breaker.is_closed() {
            return;
        }
        let mut pipeline = Pipeline::with_capacity(chunks.len());
        for (id, bytes) in chunks {
            pipeline.cmd("SET").arg(self.key(*id)).arg(&bytes[..]).arg("EX").arg(self.ttl_seconds).ignore();
        }
        // Not told to the breaker: a full Redis refuses writes and still answers reads.
        if let Err(kind) = self.run::<()>(&pipeline).await {
            count_error(if kind == "refused" { "write-refused" } else { kind });
        }
    }

    pub(super) const fn accepts(&self, bytes: &Bytes) -> bool {
        bytes.len() <= self.max_value_bytes
    }

    async fn run<T: redis::FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, &'static str> {
        let mut connection = self.connection.0.clone();
        let answer: Result<RedisResult<T>, _> =
            tokio::time::timeout(self.timeout, pipeline.query_async(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_timeout() => Err("timeout"),
            Ok(Err(error)) if error.is_io_error() || error.is_connection_dropped() => Err("io"),
            Ok(Err(error)) => {
                tracing::debug!(kind = error.category(), "redis cache: refused");
                Err("refused")
            }
            Err(_) => Err("timeout"),
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
