//! One list that several threads work on: each claims the next few items as long as there are any.

use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Fan<I, T, W> {
    items: Vec<I>,
    at_once: usize,
    work: W,
    /// The first item that nobody has claimed.
    next: AtomicUsize,
    done: Mutex<Done<T>>,
    changed: Condvar,
}

struct Done<T> {
    /// Each with its first item's number.
    parts: Vec<(usize, Vec<T>)>,
    items: usize,
    has_failed: bool,
}

impl<I, T, W: Fn(&I) -> T> Fan<I, T, W> {
    pub(super) fn new(items: Vec<I>, at_once: usize, work: W) -> Self {
        let done = Mutex::new(Done { parts: Vec::new(), items: 0, has_failed: false });
        Self { items, at_once, work, next: AtomicUsize::new(0), done, changed: Condvar::new() }
    }

    /// Works until everything is claimed.
    pub(super) fn help(&self) {
        loop {
            let start = self.next.fetch_add(self.at_once, Ordering::Relaxed);
            let Some(left) = self.items.get(start..).filter(|left| !left.is_empty()) else { return };
            let claimed = &left[..left.len().min(self.at_once)];
            let part = catch_unwind(AssertUnwindSafe(|| claimed.iter().map(&self.work).collect()));
            let mut done = self.done.lock();
            done.items += claimed.len();
            match part {
                Ok(part) => done.parts.push((start, part)),
                Err(_) => done.has_failed = true,
            }
            self.changed.notify_one();
        }
    }

    /// Waits for what others have claimed. `None` when the work panicked. Called once, after [`Self::help`].
    pub(super) fn collect(&self) -> Option<Vec<T>> {
        let mut done = self.done.lock();
        while done.items < self.items.len() {
            self.changed.wait(&mut done);
        }
        if done.has_failed {
            return None;
        }
        done.parts.sort_unstable_by_key(|(start, _)| *start);
        Some(done.parts.drain(..).flat_map(|(_, part)| part).collect())
    }
}
