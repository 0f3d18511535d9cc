//! The packs' sync beside the transaction that needs it: both take their time, and COMMIT waits for both.

use crate::sys::Barrier;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Answer = oneshot::Sender<io::Result<()>>;

/// A thread that syncs when it is told to.
#[derive(Debug)]
pub(super) struct Syncs {
    queue: Option<SyncSender<Answer>>,
    thread: Option<JoinHandle<()>>,
}

/// A sync under way. Each has an answer of its own, so that none is taken for a later one's.
#[derive(Debug)]
pub(super) struct Syncing(oneshot::Receiver<io::Result<()>>);

impl Syncs {
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn new(barrier: Arc<dyn Barrier>) -> io::Result<Self> {
        let (queue, asked) = sync_channel::<Answer>(1);
        let work = move || asked.into_iter().for_each(|answer| drop(answer.send(barrier.sync())));
        let thread = std::thread::Builder::new().name("meta-sync".into()).spawn(work)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Begins to make durable what is appended by now.
    pub(super) fn start(&self) -> Syncing {
        let (answer, answered) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // Without its thread there is no answer, and the wait fails.
            let _ = queue.send(answer);
        }
        Syncing(answered)
    }
}

impl Syncing {
    /// # Errors
    /// When the sync failed, or nobody can tell that it did not.
    pub(super) fn wait(self) -> io::Result<()> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has ended")))
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Syncs;
    use crate::sys::{Barrier, NoBarrier};
    use std::sync::Arc;

    #[derive(Debug)]
    struct Breaks;

    impl Barrier for Breaks {
        fn sync(&self) -> std::io::Result<()> {
            panic!("on purpose")
        }
    }

    #[test]
    fn i1_a_sync_that_nobody_finished_counts_as_failed() {
        let syncs = Syncs::new(Arc::new(NoBarrier)).unwrap();
        syncs.start().wait().unwrap();
        let syncs = Syncs::new(Arc::new(Breaks)).unwrap();
        syncs.start().wait().unwrap_err();
        syncs.start().wait().unwrap_err();
    }
}
