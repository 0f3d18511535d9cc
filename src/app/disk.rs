//! How much space is left, and refusing new bodies before there is none.
//!
//! The margin is kept for what must go on when the disk is full: deletes, collection, metadata, the index.

use super::reserve;
use crate::engine::{
    BodySpec, BodyStore, BodyStream, BodyWriter, ChunkStore, EngineError, ReadHold, StagedBody,
};
use crate::meta::StoredBody;
use crate::sys::FileSystem;
use crate::types::ResolvedRange;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The free bytes of the data directory's device, as last looked at.
#[derive(Debug)]
pub(super) struct Disk {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    min_free_bytes: u64,
    free_bytes: AtomicU64,
    /// A write found no room, whatever the device says is free: a quota, or no more files.
    ran_out: AtomicBool,
    retry: Mutex<Retry>,
}

/// Looks until the next try to write, and how many the last wait was.
#[derive(Debug, Default)]
struct Retry {
    left: u32,
    wait: u32,
}

impl Retry {
    const LONGEST: u32 = 16;

    fn is_due(&mut self) -> bool {
        if self.left == 0 {
            self.wait = (self.wait * 2).clamp(1, Self::LONGEST);
            self.left = self.wait;
        }
        self.left -= 1;
        self.left == 0
    }
}

impl Disk {
    pub(super) fn new(fs: Arc<dyn FileSystem>, dir: PathBuf, min_free_bytes: u64) -> Self {
        let disk = Self {
            fs,
            dir,
            min_free_bytes,
            free_bytes: AtomicU64::new(u64::MAX),
            ran_out: AtomicBool::new(false),
            retry: Mutex::default(),
        };
        disk.look();
        disk
    }

    /// Blocks. A device that does not answer leaves the last answer standing.
    pub(super) fn look(&self) {
        match self.fs.available_bytes(&self.dir) {
            Ok(free) => {
                self.free_bytes.store(free, Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                metrics::gauge!("sediment_disk_free_bytes").set(free as f64);
            }
            Err(error) => tracing::warn!(%error, "cannot tell how much space is left"),
        }
        if self.has_run_out() {
            self.try_again();
        }
    }

    /// A write found no room: bodies are refused until there is some.
    pub(super) fn ran_out(&self) {
        if !self.ran_out.swap(true, Ordering::AcqRel) {
            tracing::error!(
                free = self.free_bytes(),
                "a write found no room: new bodies are refused until there is"
            );
            *self.retry.lock() = Retry::default();
        }
    }

    fn has_run_out(&self) -> bool {
        self.ran_out.load(Ordering::Acquire)
    }

    /// What was kept back is for deletes, until it can be kept again and something beside it. That is tried less often the
    /// longer it fails: it takes what room there is for a moment.
    fn try_again(&self) {
        let spare = self.free_bytes().saturating_sub(self.min_free_bytes);
        let is_due = self.retry.lock().is_due();
        if is_due && spare > 0 && reserve::has_room(self.fs.as_ref(), &self.dir, spare) {
            tracing::warn!("there is room again: new bodies are taken");
            self.ran_out.store(false, Ordering::Release);
        } else {
            reserve::release(self.fs.as_ref(), &self.dir);
        }
    }

    /// Blocks. Keeps some space back, or gives it when there is no other.
    pub(super) fn tend_reserve(&self) {
        if !self.has_run_out() {
            reserve::tend(self.fs.as_ref(), &self.dir, self.free_bytes(), self.min_free_bytes);
        }
    }

    /// What keeps bodies from being taken, for people.
    pub(super) fn trouble(&self) -> Option<String> {
        let free = self.free_bytes();
        if free < self.min_free_bytes {
            return Some("disk full: new bodies are refused".to_owned());
        }
        self.has_run_out().then(|| {
            format!("disk full: new bodies are refused: writes find no room, though {free} bytes are free (a quota, or no more files?)")
        })
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more leave what must be free.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        self.free_bytes().saturating_sub(self.min_free_bytes) >= bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.free_bytes() < self.min_free_bytes || self.has_run_out()
    }

    fn check(&self) -> Result<(), EngineError> {
        if !self.is_full() {
            return Ok(());
        }
        metrics::counter!("sediment_disk_full_refusals_total").increment(1);
        Err(EngineError::Full)
    }

    fn seen<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        result.inspect_err(|error| {
            if matches!(error, EngineError::Full) {
                self.ran_out();
            }
        })
    }
}

/// Bodies, refused while the disk is full. Reading is never refused.
#[derive(Debug)]
pub(super) struct GuardedBodies {
    pub(super) inner: Arc<dyn BodyStore>,
    pub(super) disk: Arc<Disk>,
}

struct GuardedWriter {
    inner: Box<dyn BodyWriter>,
    disk: Arc<Disk>,
}

#[async_trait]
impl BodyStore for GuardedBodies {
    async fn writer(&self, spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
        self.disk.check()?;
        let inner = self.disk.seen(self.inner.writer(spec).await)?;
        Ok(Box::new(GuardedWriter { inner, disk: Arc::clone(&self.disk) }))
    }

    fn hold(&self) -> ReadHold {
        self.inner.hold()
    }

    async fn read(
        &self,
        hold: ReadHold,
        body: &StoredBody,
        size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        self.inner.read(hold, body, size, range).await
    }

    async fn join(&self, bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
        // Of bodies in chunks it writes a manifest at most, and the margin is for that; others are cut anew.
        if bodies.iter().any(|(body, _)| matches!(body, StoredBody::Plain(_))) {
            self.disk.check()?;
        }
        self.disk.seen(self.inner.join(bodies).await)
    }

    fn chunk_store(&self) -> Option<Arc<dyn ChunkStore>> {
        self.inner.chunk_store()
    }
}

#[async_trait]
impl BodyWriter for GuardedWriter {
    async fn admit(&mut self) -> Result<(), EngineError> {
        self.inner.admit().await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> {
        self.disk.check()?;
        self.disk.seen(self.inner.write(bytes).await)
    }

    async fn finish(self: Box<Self>) -> Result<StagedBody, EngineError> {
        self.disk.seen(self.inner.finish().await)
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
