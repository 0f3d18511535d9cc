//! Threads that give way to all others: for work that nobody waits for, or that may take long.

use super::slice::lengthen_slice;
use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use tokio::runtime::{Builder, Handle, Runtime};

/// How much lower than the process its threads' priority is: a tenth of the weight, where all cores are busy. Never none of it: they
/// hold locks that others want.
const NICER: i32 = 10;
const WORKERS: usize = 2;

/// Dropped, it stops without waiting for what it runs.
#[derive(Debug)]
pub struct Aside(Option<Runtime>);

impl Aside {
    /// # Errors
    /// When its threads cannot be made.
    pub fn new() -> io::Result<Self> {
        // Threads inherit it, and these make each other: each would be lower than the one that made it.
        let others = getpriority_process(None)?;
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().worker_threads(WORKERS).thread_name("sediment-aside");
        builder.on_thread_start(move || give_way_to(others));
        builder.build().map(Some).map(Self)
    }

    /// That of the caller, once it is dropped.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Its own drop would block, which async threads must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// From now on the calling thread gives way to those of requests, where cores are wanted by several; else it loses nothing. It cannot be
/// taken back without privilege, and what the thread spawns gives way, too. On Linux a priority is the thread's.
pub fn give_way() {
    match getpriority_process(None) {
        Ok(others) => give_way_to(others),
        Err(error) => tracing::debug!(%error, "a thread goes on at the priority of requests"),
    }
}

/// To those of that priority.
fn give_way_to(others: i32) {
    if let Err(error) = setpriority_process(None, others.saturating_add(NICER)) {
        tracing::debug!(%error, "a thread goes on at the priority of requests");
    }
    // A thread at work is seldom taken off before its slice is over, whoever wakes up, and each of a request's threads would wait for that.
    if let Err(error) = lengthen_slice() {
        tracing::debug!(%error, "a thread keeps the processor for as long as those of requests");
    }
}

#[cfg(test)]
mod tests {
    use super::{Aside, NICER};
    use rustix::process::getpriority_process;

    #[tokio::test]
    async fn its_threads_give_way_and_nobody_elses_do() {
        let before = getpriority_process(None).unwrap();
        let aside = Aside::new().unwrap();
        let worker = aside.handle().spawn(async { getpriority_process(None).unwrap() });
        let blocking = aside.handle().spawn_blocking(|| getpriority_process(None).unwrap());
        let expected = (before + NICER).min(19);
        assert_eq!((worker.await.unwrap(), blocking.await.unwrap()), (expected, expected));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[tokio::test]
    async fn a_thread_that_one_of_them_made_gives_way_no_more_than_it() {
        let aside = Aside::new().unwrap();
        let nested = async {
            let blocking = tokio::task::spawn_blocking(|| getpriority_process(None).unwrap());
            (getpriority_process(None).unwrap(), blocking.await.unwrap())
        };
        let (worker, blocking) = aside.handle().spawn(nested).await.unwrap();
        assert_eq!(blocking, worker);
    }
}
