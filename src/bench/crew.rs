//! Workers: each has a connection and one request under way. Each thread drives its share of them alone, so nothing is
//! handed from thread to thread.

use super::client::Client;
use super::context::Context;
use futures::future::join_all;
use std::io;
use tokio::task::LocalSet;

/// Runs `work` for each worker and returns what they made, in their order.
///
/// # Errors
/// When threads cannot be started.
pub(super) fn run<'a, R: Send>(
    context: &'a Context<'a>,
    work: impl AsyncFn(usize, Client<'a>) -> R + Sync,
) -> io::Result<Vec<R>> {
    let workers = context.plan.concurrency;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(workers);
    let work = &work;
    let share = move |thread: usize| -> io::Result<Vec<(usize, R)>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mine = (thread..workers).step_by(threads);
        let all = mine.map(async |worker| (worker, work(worker, Client::new(context)).await));
        Ok(LocalSet::new().block_on(&runtime, join_all(all)))
    };
    let shares = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        let ended = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the load panicked")))
        });
        ended.collect::<io::Result<Vec<_>>>()
    })?;
    let mut made: Vec<_> = shares.into_iter().flatten().collect();
    made.sort_by_key(|(worker, _)| *worker);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}
