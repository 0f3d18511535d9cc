//! Threads that read: each with a connection of its own, fed by a bounded queue. Look-ups and scans have lanes of
//! their own, so that a look-up never waits behind a page of a listing.

use super::error::{damaged, poison};
use super::open;
use super::settings::SqliteSettings;
use crate::meta::MetaError;
use crate::sys::{Queued, give_way};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for a thread; one more waits outside.
const QUEUE: usize = 256;
/// For an answer. A disk that hangs must not keep those who ask for ever.
const PATIENCE: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Set by whoever meets a page that is damaged: then nothing is written any more.
    poisoned: Arc<OnceLock<String>>,
}

/// What threads are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    LookUps,
    Scans,
}

impl Lane {
    const fn name(self) -> &'static str {
        match self {
            Self::LookUps => "meta-read",
            Self::Scans => "meta-scan",
        }
    }

    /// A page of a listing takes as long as a hundred look-ups: a flood of them would have the cores, and each look-up would wait for its
    /// turn at one. What others want of them they hold for moments.
    fn prepare(self) {
        if self == Self::Scans {
            give_way();
        }
    }
}

impl Readers {
    /// The threads for look-ups of a row or a few, and those for everything longer.
    pub(super) fn lanes(
        path: &Path,
        settings: &SqliteSettings,
        poisoned: &Arc<OnceLock<String>>,
    ) -> Result<(Self, Self), MetaError> {
        let (look_ups, scans) = (settings.reader_threads, settings.reader_threads.div_ceil(2));
        let share = settings.page_cache_bytes / 2 / (look_ups + scans).max(1) as u64;
        let start = |lane, threads| Self::start(path, lane, threads, share, Arc::clone(poisoned));
        Ok((start(Lane::LookUps, look_ups)?, start(Lane::Scans, scans)?))
    }

    fn start(
        path: &Path,
        lane: Lane,
        threads: usize,
        cache_bytes: u64,
        poisoned: Arc<OnceLock<String>>,
    ) -> Result<Self, MetaError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut readers = Self { queue: Some(queue), threads: Vec::new(), poisoned };
        for n in 0..threads {
            let db = open::open_reader(path, cache_bytes)?;
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new().name(format!("{}-{n}", lane.name()));
            let work = move || {
                lane.prepare();
                serve(&db, &jobs);
            };
            readers.threads.push(thread.spawn(work)?);
        }
        Ok(readers)
    }

    /// A question whose asker has gone is not answered.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, MetaError> + Send + 'static,
    ) -> Result<T, MetaError> {
        const STOPPING: MetaError = MetaError::Unavailable("stopping");
        let (answer, answered) = oneshot::channel();
        let queued = Queued::in_queue("metadata_reads");
        let job = Box::new(move |db: &Connection| {
            drop(queued);
            if !answer.is_closed() {
                let _ = answer.send(question(db));
            }
        });
        let queue = self.queue.as_ref().ok_or(STOPPING)?;
        let asked = async {
            queue.send(job).await.map_err(|_| STOPPING)?;
            answered.await.unwrap_or(Err(MetaError::Database("a look-up failed unexpectedly".into())))
        };
        const STALLED: MetaError = MetaError::Unavailable("its disk hangs, or too much is asked of it");
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(STALLED));
        if let Err(MetaError::Damaged(why)) = &answer {
            poison(&self.poisoned, &damaged(why));
        }
        answer
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(db: &Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // One thread waits for work, the others for the lock: the guard goes before the job runs.
        let job = jobs.lock().blocking_recv();
        let Some(job) = job else { return };
        // A panic is a bug, but it must not take the thread with it; the asker gets an error.
        if catch_unwind(AssertUnwindSafe(|| job(db))).is_err() {
            tracing::error!("a metadata look-up panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Readers;
    use crate::meta::sqlite::SqliteSettings;
    use rusqlite::Connection;
    use rustix::process::getpriority_process;
    use std::sync::Arc;

    #[tokio::test]
    async fn scans_give_way_to_look_ups() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("any.db");
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
        let (look_ups, scans) = Readers::lanes(&path, &SqliteSettings::default(), &Arc::default()).unwrap();
        let look_up = look_ups.ask(|_| Ok(getpriority_process(None).unwrap())).await.unwrap();
        let scan = scans.ask(|_| Ok(getpriority_process(None).unwrap())).await.unwrap();
        assert_eq!(look_up, getpriority_process(None).unwrap());
        assert!(scan > look_up, "{scan} and {look_up}");
    }
}
