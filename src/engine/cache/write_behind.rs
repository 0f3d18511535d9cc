//! Fills Redis behind the requests' backs: a bounded queue, and what does not fit is dropped.

use super::redis_tier::RedisTier;
use crate::sys::Queued;
use crate::types::ChunkId;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

const MAX_QUEUED_CHUNKS: usize = 4096;
const MAX_BATCH_CHUNKS: usize = 64;

#[derive(Debug)]
pub(super) struct WriteBehind {
    queue: mpsc::Sender<Item>,
    bytes_left: Arc<Semaphore>,
    tier: Arc<RedisTier>,
}

type Item = (ChunkId, Bytes, (OwnedSemaphorePermit, Queued));

impl WriteBehind {
    /// Starts the one task that writes; it ends when this is dropped.
    pub(super) fn start(tier: Arc<RedisTier>, queue_bytes: usize) -> Self {
        let (queue, items) = mpsc::channel(MAX_QUEUED_CHUNKS);
        tokio::spawn(drain(items, Arc::clone(&tier)));
        let bytes_left = Arc::new(Semaphore::new(queue_bytes.min(Semaphore::MAX_PERMITS)));
        Self { queue, bytes_left, tier }
    }

    pub(super) fn offer(&self, id: ChunkId, bytes: &Bytes) {
        if !self.tier.accepts(bytes) {
            return;
        }
        let queued = u32::try_from(bytes.len())
            .ok()
            .and_then(|len| Arc::clone(&self.bytes_left).try_acquire_many_owned(len).ok())
            .is_some_and(|permit| {
                // A copy, so that the queue's bound is a bound on memory and not on slices of large buffers.
                let kept = (permit, Queued::in_queue("redis_writes"));
                self.queue.try_send((id, Bytes::copy_from_slice(bytes), kept)).is_ok()
            });
        if !queued {
            metrics::counter!("sediment_cache_redis_dropped_total").increment(1);
        }
    }
}

async fn drain(mut items: mpsc::Receiver<Item>, tier: Arc<RedisTier>) {
    let mut batch = Vec::with_capacity(MAX_BATCH_CHUNKS);
    while items.recv_many(&mut batch, MAX_BATCH_CHUNKS).await > 0 {
        let (chunks, kept): (Vec<_>, Vec<_>) =
            batch.drain(..).map(|(id, bytes, kept)| ((id, bytes), kept)).unzip();
        tier.put(&chunks).await;
        drop(kept);
    }
}
