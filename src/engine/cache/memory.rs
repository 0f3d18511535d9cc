//! The memory tier.

use crate::types::ChunkId;
use bytes::Bytes;

/// Id, pointers and list entries that each cached chunk costs beside its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 200;

/// Weighed by bytes; admission by TinyLFU, so that chunks seen once do not push out those seen often.
#[derive(Debug)]
pub(super) struct MemoryTier(moka::sync::Cache<ChunkId, Bytes>);

impl MemoryTier {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |_: &ChunkId, bytes: &Bytes| {
            u32::try_from(bytes.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        Self(moka::sync::Cache::builder().max_capacity(max_bytes).weigher(weigh).build())
    }

    pub(super) fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.0.get(id)
    }

    /// Keeps a copy of exactly the chunk's size, whatever buffer the bytes are a slice of.
    pub(super) fn insert(&self, id: ChunkId, bytes: &Bytes) {
        self.0.insert(id, Bytes::copy_from_slice(bytes));
    }

    pub(super) fn ids(&self) -> Vec<ChunkId> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.weighted_size()
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.0.policy().max_capacity().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryTier;
    use crate::types::ChunkId;
    use bytes::Bytes;

    fn id(n: u32) -> ChunkId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        ChunkId::new(bytes)
    }

    #[test]
    fn a_cached_slice_does_not_keep_its_buffer() {
        let tier = MemoryTier::new(1 << 20);
        let buffer = Bytes::from(vec![7; 1 << 20]);
        tier.insert(id(1), &buffer.slice(4096..8192));
        assert!(buffer.is_unique(), "the cache holds a reference into the big buffer");
        assert_eq!(tier.get(&id(1)).unwrap(), vec![7; 4096]);
    }

    #[test]
    fn i5_memory_stays_bounded() {
        let tier = MemoryTier::new(1 << 20);
        for n in 0..1000 {
            tier.insert(id(n), &Bytes::from(vec![0; 16 << 10]));
        }
        assert!(tier.used_bytes() <= 1 << 20);
        assert!(tier.used_bytes() > 1 << 19, "it should be nearly full");
    }

    #[test]
    fn a_scan_does_not_flush_the_hot_set() {
        let tier = MemoryTier::new(1 << 20);
        let hot: Vec<ChunkId> = (0..32).map(id).collect();
        for id in &hot {
            tier.insert(*id, &Bytes::from(vec![0; 16 << 10]));
        }
        for _ in 0..20 {
            assert!(hot.iter().all(|id| tier.get(id).is_some()));
        }
        tier.used_bytes();
        for n in 1000..3000 {
            let _ = tier.get(&id(n));
            tier.insert(id(n), &Bytes::from(vec![0; 16 << 10]));
        }
        tier.used_bytes();
        let left = hot.iter().filter(|id| tier.get(id).is_some()).count();
        assert!(left >= 28, "only {left} of 32 hot chunks survived a scan");
    }
}
