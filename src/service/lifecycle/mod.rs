//! Lifecycle: what a bucket lets expire, and the worker that takes it away.
//!
//! The worker follows the change log and keeps an agenda of keys, each with the earliest moment at which a rule may
//! concern it. It looks at a key then and not before, decides on what is there at that moment, and notes when to look
//! again. New rules start a scan of their bucket. The log's cursor, the agenda and the scans are durable, so that a
//! restart goes on where it was. Every deletion or transition is a commit with its own condition: a key that changed
//! meanwhile keeps what it has, and what a lock protects stays.

mod configuration;
mod evaluate;
mod expiry;
mod follow;
mod look;
mod scan;
mod worker;

pub use expiry::Expiry;
pub use worker::LifecycleWorker;

#[cfg(test)]
pub(super) mod testing {
    pub(in crate::service) use super::worker::Worked;
    use super::worker::{LifecycleWorker, Turn};

    /// Until there is nothing left to do.
    pub(in crate::service) async fn turns(worker: &LifecycleWorker, worked: &mut Worked) {
        let mut idle = 0;
        while idle < 2 {
            let turn = worker.turn(worked).await.unwrap();
            idle = if turn == Turn::default() { idle + 1 } else { 0 };
        }
    }
}
