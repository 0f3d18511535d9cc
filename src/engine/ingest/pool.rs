//! A fixed number of threads and one queue of jobs, and behind it one for what gains by beginning late.
//!
//! A thread without work sleeps. One that looks around for work before it does, as those of a work-stealing pool, took a fifth
//! of the processor at a few thousand small bodies a second (`docs/decisions/009-ingest-speed.md`).

use super::fan::Fan;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Short jobs that may wait for a thread that is at another one. Few: that one may wait for the disk.
const FEW: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// A late job lets so many others go first, and no more.
const PASSES: usize = 8;

/// How long a job takes, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// No longer than waking a thread and going to sleep again: some microseconds.
    Short,
    Any,
}

/// Dropping it ends the threads once the queue is empty.
#[derive(Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Length, Job)>,
    /// What gains by beginning late.
    late: VecDeque<Job>,
    /// Jobs that went before the first of the late ones.
    passed: usize,
    threads: usize,
    idle: usize,
    /// Threads that are at a short job, and so come back at once.
    at_short: usize,
    is_closed: bool,
}

impl Queue {
    /// How many threads there may be at work before they take the cores from each other: there is one more, for when
    /// one waits for the disk.
    fn cores(&self) -> usize {
        self.threads.saturating_sub(1).max(1)
    }

    fn at_work(&self) -> usize {
        self.threads - self.idle
    }

    /// The next job of a thread that counts as at work.
    fn take(&mut self) -> Option<(Length, Job)> {
        let has_core = self.at_work() <= self.cores() || self.is_closed;
        if !self.late.is_empty() && (self.passed >= PASSES || self.jobs.is_empty() && has_core) {
            self.passed = 0;
            return self.late.pop_front().map(|job| (Length::Any, job));
        }
        self.passed += usize::from(!self.late.is_empty() && !self.jobs.is_empty());
        self.jobs.pop_front()
    }

    /// Threads that would find a core, and that nothing in the queue is for.
    fn spare(&self) -> usize {
        let cores = self.cores().saturating_sub(self.at_work());
        self.idle.min(cores).saturating_sub(self.jobs.len() + self.late.len())
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Queue");
        shown
            .field("jobs", &self.jobs.len())
            .field("late", &self.late.len())
            .field("idle", &self.idle)
            .finish()
    }
}

impl Pool {
    /// # Errors
    /// When the threads cannot be started.
    pub(super) fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let queue = Queue { threads, ..Queue::default() };
        let pool = Self(Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new() }));
        for n in 0..threads {
            let shared = Arc::clone(&pool.0);
            let thread = std::thread::Builder::new().name(format!("sediment-ingest-{n}"));
            thread.spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Queues a job. One that is short wakes nobody while a thread is at another short one, unless many wait.
    pub(super) fn spawn(&self, length: Length, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.queue.lock();
        queue.jobs.push_back((length, Box::new(job)));
        let is_fetched = length == Length::Short && queue.at_short > 0 && queue.jobs.len() <= FEW;
        let wakes = queue.idle > 0 && !is_fetched;
        // Who is woken finds the queue unlocked.
        drop(queue);
        if wakes {
            self.0.wake.notify_one();
        }
    }

    /// As [`Self::spawn`], for what costs less the later it begins: it runs when a core has nothing else to do, or when
    /// enough others have gone before.
    pub(super) fn spawn_late(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.queue.lock();
        queue.late.push_back(Box::new(job));
        if queue.idle > 0 && queue.at_work() < queue.cores() {
            self.0.wake.notify_one();
        }
    }

    /// Maps the items in order, at most so many at once on one thread: on this one, and on those that have nothing else
    /// to do while cores have not, either. `None` when the work panicked. Never waits for what is in the queue.
    pub(super) fn map<I, T>(
        &self,
        items: &[I],
        at_once: usize,
        work: impl Fn(&I) -> T + Send + Sync + 'static,
    ) -> Option<Vec<T>>
    where
        I: Clone + Send + Sync + 'static,
        T: Send + 'static,
    {
        let helpers = self.0.queue.lock().spare().min(items.len().div_ceil(at_once.max(1)).saturating_sub(1));
        if helpers == 0 {
            return catch_unwind(AssertUnwindSafe(|| items.iter().map(work).collect())).ok();
        }
        let fan = Arc::new(Fan::new(items.to_vec(), at_once.max(1), work));
        for _ in 0..helpers {
            // Who comes too late finds nothing, and keeps nothing.
            let fan = Arc::downgrade(&fan);
            self.spawn(Length::Any, move || fan.upgrade().iter().for_each(|fan| fan.help()));
        }
        fan.help();
        fan.collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Not waited for: the last owner may be a job of its own.
        self.0.queue.lock().is_closed = true;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        let mut done = None;
        while let Some((length, job)) = self.next(done) {
            // The job's waiter gets an error; the thread lives on.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job of a body on its way in panicked");
            }
            done = Some(length);
        }
    }

    /// The next job, once the thread is done with one of the length.
    fn next(&self, done: Option<Length>) -> Option<(Length, Job)> {
        let mut queue = self.queue.lock();
        queue.at_short -= usize::from(done == Some(Length::Short));
        loop {
            if let Some((length, job)) = queue.take() {
                queue.at_short += usize::from(length == Length::Short);
                // A short job may have been left to this thread, which is at a longer one now.
                let wakes = done == Some(Length::Short) && length == Length::Any;
                if wakes && queue.idle > 0 && !queue.jobs.is_empty() {
                    self.wake.notify_one();
                }
                return Some((length, job));
            }
            if queue.is_closed {
                return None;
            }
            queue.idle += 1;
            self.wake.wait(&mut queue);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FEW, Length, PASSES, Pool};
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn a_late_job_lets_some_others_go_first_and_not_all() {
        let pool = Pool::new(1).unwrap();
        let (told, heard) = channel();
        let ((go, begin), (begun, is_begun)) = (channel::<()>(), channel());
        // The one thread is busy until all are in the queue.
        pool.spawn(Length::Any, move || {
            begun.send(()).unwrap();
            let _ = begin.recv();
        });
        is_begun.recv().unwrap();
        let tell = |what| {
            let told = told.clone();
            move || told.send(what).unwrap()
        };
        pool.spawn_late(tell("late"));
        (0..2 * PASSES).for_each(|_| pool.spawn(Length::Any, tell("soon")));
        pool.spawn_late(tell("last"));
        drop((go, told));
        let order: Vec<_> = heard.iter().collect();
        assert_eq!(order.iter().position(|what| *what == "late"), Some(PASSES));
        assert_eq!(order.iter().position(|what| *what == "last"), Some(2 * PASSES + 1));
    }

    #[test]
    fn i5_late_jobs_run_whatever_the_others_do_and_when_nobody_has_the_pool_any_more() {
        for threads in 1..4 {
            let pool = Pool::new(threads).unwrap();
            let (told, heard) = channel();
            for n in 0..50 {
                let (told, too) = (told.clone(), told.clone());
                pool.spawn(Length::Any, move || told.send(n).unwrap());
                pool.spawn_late(move || too.send(n).unwrap());
            }
            drop((pool, told));
            assert_eq!(heard.iter().count(), 100);
        }
    }

    #[test]
    fn a_map_wakes_nobody_where_every_core_is_at_work() {
        let pool = Arc::new(Pool::new(2).unwrap());
        let inner = Arc::clone(&pool);
        let (told, heard) = channel();
        pool.spawn(Length::Any, move || {
            let here = std::thread::current().id();
            let there = inner.map(&[(); 100], 1, |()| std::thread::current().id()).unwrap();
            told.send(there.iter().all(|id| *id == here)).unwrap();
        });
        assert_eq!(heard.recv(), Ok(true));
    }

    #[test]
    fn what_is_spawned_runs_whatever_panicked_before() {
        let pool = Pool::new(2).unwrap();
        let (told, heard) = channel();
        for n in 0..50 {
            let told = told.clone();
            pool.spawn(Length::Any, move || {
                assert!(n % 5 != 0, "on purpose");
                told.send(n).unwrap();
            });
        }
        drop(told);
        // What waits in the queue is done even if nobody has the pool any more.
        drop(pool);
        let mut done: Vec<_> = heard.iter().collect();
        done.sort_unstable();
        assert_eq!(done, (0..50).filter(|n| n % 5 != 0).collect::<Vec<_>>());
    }

    #[test]
    fn i5_a_short_job_that_takes_long_holds_up_few() {
        let pool = Pool::new(2).unwrap();
        let ((told, heard), (begun, began), (end, ended)) = (channel(), channel(), channel::<()>());
        pool.spawn(Length::Short, move || {
            begun.send(()).unwrap();
            let _ = ended.recv();
        });
        began.recv().unwrap();
        for n in 0..=FEW {
            let told = told.clone();
            pool.spawn(Length::Short, move || told.send(n).unwrap());
        }
        drop(told);
        assert!(heard.iter().eq(0..=FEW), "all of them, while the first one goes on");
        end.send(()).unwrap();
    }

    #[test]
    fn a_map_keeps_the_order_and_keeps_nothing() {
        let pool = Pool::new(4).unwrap();
        for len in [0, 1, 7, 8, 9, 1000] {
            let items: Vec<_> = (0..len).map(Arc::new).collect();
            let mapped = pool.map(&items, 8, |n| **n * 2).unwrap();
            assert_eq!(mapped, (0..len).map(|n| n * 2).collect::<Vec<_>>());
        }
        assert_eq!(pool.map(&[1, 2, 3, 4], 1, |n| assert!(*n != 3, "on purpose")), None);
    }

    #[test]
    fn i5_maps_inside_of_all_jobs_at_once_come_to_an_end() {
        let pool = Arc::new(Pool::new(3).unwrap());
        let (told, heard) = channel();
        for _ in 0..30 {
            let (pool, told) = (Arc::clone(&pool), told.clone());
            let job = Arc::clone(&pool);
            pool.spawn(Length::Any, move || {
                let sum: u64 = job.map(&[1u64; 100], 4, |n| *n).unwrap().into_iter().sum();
                told.send(sum).unwrap();
            });
        }
        drop(told);
        assert!(heard.iter().eq([100; 30]));
    }
}
