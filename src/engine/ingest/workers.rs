//! The engine's own threads, and how an async task hands them work.

use super::pool::{Length, Pool};
use crate::engine::EngineError;
use crate::sys::Queued;
use std::io;
use tokio::sync::oneshot;

/// So many chunks are worth another thread.
const CHUNKS_AT_ONCE: usize = 8;

/// Threads for what uses the CPU.
#[derive(Debug)]
pub(crate) struct Workers(Pool);

/// Work under way. Dropping it does not stop the work.
#[derive(Debug)]
pub(crate) struct Job<T>(oneshot::Receiver<T>);

impl Workers {
    /// `threads`: 0 for one more than there are cores, because a thread at times waits for the disk.
    pub(crate) fn new(threads: usize) -> Result<Self, EngineError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores() + 1 } else { threads };
        Ok(Self(Pool::new(threads)?))
    }

    /// Runs the job on one of the threads.
    pub(crate) fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (done, waiting) = promise();
        self.spawn(move || drop(done.send(job())));
        waiting
    }

    /// As [`Self::start`], for what tells by itself what comes of it.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.queue(Length::Any, job);
    }

    /// As [`Self::spawn`], for what takes less time than waking a thread.
    pub(super) fn spawn_short(&self, job: impl FnOnce() + Send + 'static) {
        self.queue(Length::Short, job);
    }

    fn queue(&self, length: Length, job: impl FnOnce() + Send + 'static) {
        let queued = Queued::in_queue("hash_jobs");
        self.0.spawn(length, move || {
            drop(queued);
            job();
        });
    }

    /// As [`Self::spawn`], for what costs less the later it begins. It does not wait for ever.
    pub(crate) fn spawn_late(&self, job: impl FnOnce() + Send + 'static) {
        let queued = Queued::in_queue("hash_jobs");
        self.0.spawn_late(move || {
            drop(queued);
            job();
        });
    }

    /// Maps the items in order, on the threads that have nothing else to do, too. Called from a job.
    ///
    /// # Errors
    /// When the work panicked.
    pub(super) fn map<I, T>(
        &self,
        items: &[I],
        work: impl Fn(&I) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>, EngineError>
    where
        I: Clone + Send + Sync + 'static,
        T: Send + 'static,
    {
        self.0.map(items, CHUNKS_AT_ONCE, work).ok_or_else(failed)
    }

    /// Runs a job that mostly waits for files on a thread of the runtime's.
    pub(crate) fn start_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (done, waiting) = oneshot::channel();
        tokio::task::spawn_blocking(move || drop(done.send(job())));
        Job(waiting)
    }
}

/// A job that is done when something is sent, and has failed when that can no longer be.
pub(crate) fn promise<T>() -> (oneshot::Sender<T>, Job<T>) {
    let (done, waiting) = oneshot::channel();
    (done, Job(waiting))
}

impl<T> Job<T> {
    /// # Errors
    /// When the job panicked.
    pub(crate) async fn wait(self) -> Result<T, EngineError> {
        self.0.await.map_err(|_| failed())
    }
}

fn failed() -> EngineError {
    EngineError::Io(io::Error::other("a worker thread failed"))
}
