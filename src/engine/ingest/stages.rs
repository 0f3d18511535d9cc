//! Where the time of a body on its way in goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time spent so far by all threads, for each stage; and the bytes that went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct IngestStages {
    /// MD5 and the checksums asked for; beside all others.
    pub digest: Duration,
    pub cut: Duration,
    /// SHA-256 of the chunks.
    pub hash: Duration,
    pub index: Duration,
    pub compress: Duration,
    pub append: Duration,
    pub bytes: u64,
    /// Of them in chunks that were there already.
    pub duplicate_bytes: u64,
    /// Bytes appended to packs, without record headers.
    pub stored_bytes: u64,
    /// Of them in chunks that were there already.
    pub rewritten_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    Digest,
    Cut,
    Hash,
    Index,
    Compress,
    Append,
}

#[derive(Debug, Default)]
pub(crate) struct Stages {
    nanos: [AtomicU64; 6],
    bytes: AtomicU64,
    duplicate_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    rewritten_bytes: AtomicU64,
}

impl Stages {
    pub(super) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos[stage as usize].fetch_add(nanos, Ordering::Relaxed);
        done
    }

    /// Counts one block's bytes: all, those of chunks that were there, those appended.
    pub(super) fn count(&self, bytes: u64, duplicate: u64, stored: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.duplicate_bytes.fetch_add(duplicate, Ordering::Relaxed);
        self.stored_bytes.fetch_add(stored, Ordering::Relaxed);
        metrics::counter!("sediment_ingest_bytes_total").increment(bytes);
        metrics::counter!("sediment_ingest_duplicate_bytes_total").increment(duplicate);
        metrics::counter!("sediment_ingest_stored_bytes_total").increment(stored);
    }

    /// Counts those appended of chunks that were there.
    pub(super) fn count_rewritten(&self, bytes: u64) {
        self.rewritten_bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::counter!("sediment_ingest_rewritten_bytes_total").increment(bytes);
    }

    pub(crate) fn snapshot(&self) -> IngestStages {
        let time = |stage: Stage| Duration::from_nanos(self.nanos[stage as usize].load(Ordering::Relaxed));
        IngestStages {
            digest: time(Stage::Digest),
            cut: time(Stage::Cut),
            hash: time(Stage::Hash),
            index: time(Stage::Index),
            compress: time(Stage::Compress),
            append: time(Stage::Append),
            bytes: self.bytes.load(Ordering::Relaxed),
            duplicate_bytes: self.duplicate_bytes.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            rewritten_bytes: self.rewritten_bytes.load(Ordering::Relaxed),
        }
    }
}
