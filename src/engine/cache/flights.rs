//! Which chunks are being loaded right now, so that nobody loads them a second time.

use super::Wanted;
use crate::types::ChunkId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::watch;

/// Beyond this many loads nobody waits for another's; each request loads for itself.
const MAX_FLIGHTS: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Flights {
    open: Mutex<HashMap<ChunkId, watch::Receiver<Option<Bytes>>>>,
}

/// Chunks that the holder has to load. Whatever is not landed when this is dropped is given up, and those who
/// wait for it load it themselves.
#[derive(Debug)]
pub(super) struct Claims {
    flights: Arc<Flights>,
    senders: HashMap<ChunkId, watch::Sender<Option<Bytes>>>,
}

/// A chunk that somebody else is loading.
pub(super) struct Awaited {
    pub(super) wanted: Wanted,
    receiver: watch::Receiver<Option<Bytes>>,
}

impl Flights {
    /// Sorts distinct chunks into those to load and those to wait for.
    pub(super) fn claim(self: &Arc<Self>, wanted: &[Wanted]) -> (Vec<Wanted>, Claims, Vec<Awaited>) {
        let mut mine = Vec::with_capacity(wanted.len());
        let mut claims = Claims { flights: Arc::clone(self), senders: HashMap::new() };
        let mut awaited = Vec::new();
        let mut open = self.open.lock();
        for &wanted in wanted {
            let room_left = open.len() < MAX_FLIGHTS;
            match open.entry(wanted.id) {
                Entry::Occupied(flight) => awaited.push(Awaited { wanted, receiver: flight.get().clone() }),
                Entry::Vacant(_) if !room_left => mine.push(wanted),
                Entry::Vacant(slot) => {
                    let (sender, receiver) = watch::channel(None);
                    slot.insert(receiver);
                    claims.senders.insert(wanted.id, sender);
                    mine.push(wanted);
                }
            }
        }
        (mine, claims, awaited)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

impl Claims {
    /// Hands a loaded chunk to all who wait for it.
    pub(super) fn land(&mut self, id: ChunkId, bytes: &Bytes) {
        if let Some(sender) = self.senders.remove(&id) {
            drop(self.flights.open.lock().remove(&id));
            // A copy: a chunk is a slice of all that was read with it, which a slow reader must not keep.
            if sender.receiver_count() > 0 {
                sender.send_replace(Some(Bytes::copy_from_slice(bytes)));
            }
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if !self.senders.is_empty() {
            let mut open = self.flights.open.lock();
            for id in self.senders.keys() {
                open.remove(id);
            }
        }
    }
}

impl Awaited {
    /// `None` when the load failed.
    pub(super) async fn bytes(mut self) -> Option<Bytes> {
        self.receiver.wait_for(Option::is_some).await.ok().and_then(|bytes| bytes.clone())
    }
}
