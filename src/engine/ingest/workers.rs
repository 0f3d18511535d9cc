//! The engine's own threads, and how an async task hands them work.

use crate::engine::EngineError;
use crate::sys::Queued;
use std::io;
use tokio::sync::oneshot;

/// Threads for what uses the CPU.
#[derive(Debug)]
pub(crate) struct Workers(rayon::ThreadPool);

/// Work under way. Dropping it does not stop the work.
#[derive(Debug)]
pub(crate) struct Job<T>(oneshot::Receiver<T>);

impl Workers {
    /// `threads`: 0 for one more than there are cores, because a thread at times waits for the disk.
    pub(crate) fn new(threads: usize) -> Result<Self, EngineError> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores() + 1 } else { threads };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("sediment-ingest-{n}"))
            // The job's waiter gets an error; the process lives on.
            .panic_handler(|_| tracing::error!("a job of a body on its way in panicked"))
            .build();
        pool.map(Self).map_err(|error| EngineError::Io(io::Error::other(error)))
    }

    /// Runs the job on one of the threads.
    pub(crate) fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (done, waiting) = oneshot::channel();
        let queued = Queued::in_queue("hash_jobs");
        self.0.spawn(move || {
            drop(queued);
            drop(done.send(job()));
        });
        Job(waiting)
    }

    /// Runs a job that mostly waits for files on a thread of the runtime's.
    pub(crate) fn start_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let (done, waiting) = oneshot::channel();
        tokio::task::spawn_blocking(move || drop(done.send(job())));
        Job(waiting)
    }
}

impl<T> Job<T> {
    /// # Errors
    /// When the job panicked.
    pub(crate) async fn wait(self) -> Result<T, EngineError> {
        self.0.await.map_err(|_| EngineError::Io(io::Error::other("a worker thread failed")))
    }
}
