//! Windows of a stream that load before they are asked for, and can be taken away again.

use super::window::{Plan, Window};
use crate::engine::EngineError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::task::AbortOnDropHandle;

type Loading = AbortOnDropHandle<Result<Window, EngineError>>;

/// What one stream loads ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The number of the last poll.
    polled: AtomicU64,
    /// In order. Without its load where that was taken away.
    windows: Mutex<VecDeque<(Plan, Option<Loading>)>>,
}

/// What comes next.
pub(super) enum Next {
    Loading(Loading),
    /// To be loaded again: the plans in order, perhaps none.
    GivenUp(Vec<Plan>),
}

impl Ahead {
    pub(super) fn polled(&self, number: u64) {
        self.polled.store(number, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        self.windows.lock().len()
    }

    pub(super) fn push(&self, plan: Plan, loading: Loading) {
        self.windows.lock().push_back((plan, Some(loading)));
    }

    pub(super) fn next(&self) -> Next {
        let mut windows = self.windows.lock();
        let given_up = drain_given_up(&mut windows);
        match windows.pop_front() {
            Some((_, Some(loading))) => Next::Loading(loading),
            _ => Next::GivenUp(given_up),
        }
    }

    /// What has to be planned anew, in order.
    pub(super) fn given_up(&self) -> Vec<Plan> {
        drain_given_up(&mut self.windows.lock())
    }

    /// Drops what is loaded, and with it its memory, if the last poll was before that one.
    pub(super) fn give_up(&self, before: u64) {
        if self.polled.load(Ordering::Relaxed) < before {
            self.windows.lock().iter_mut().for_each(|(_, loading)| *loading = None);
        }
    }
}

/// All of it as soon as one window is gone, so that the order stays.
fn drain_given_up(windows: &mut VecDeque<(Plan, Option<Loading>)>) -> Vec<Plan> {
    match windows.iter().any(|(_, loading)| loading.is_none()) {
        true => windows.drain(..).map(|(plan, _)| plan).collect(),
        false => Vec::new(),
    }
}
