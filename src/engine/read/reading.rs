//! Windows of a body, a few of them loading ahead, handed on in frames.

use super::ahead::{Ahead, Next};
use super::budget::{ReadBudget, Room, Share};
use super::source::Source;
use super::window::{Admission, Plan, Window};
use crate::engine::{BodyStream, EngineError};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// What is loaded while somebody waits for it is not long, so that it comes soon.
const SMALL_WINDOW_BYTES: u64 = 256 << 10;
const WINDOW_BYTES: u64 = 1 << 20;
/// Windows loading while another is handed on.
const WINDOWS_AHEAD: usize = 3;
/// A stream that was not asked once for bytes while another was asked so often has stopped reading.
const POLLS_BEHIND: usize = 8;

#[derive(Debug)]
pub(super) struct Reading {
    source: Source,
    budget: ReadBudget,
    admission: Admission,
    /// The memory for the smallest window, taken with the first one.
    share: Option<Share>,
    /// What is being handed on.
    current: Option<Window>,
    ahead: Arc<Ahead>,
    is_registered: bool,
    /// The numbers of the last polls.
    polls: VecDeque<u64>,
    /// What comes next could not be planned ahead: it is tried once more when it is asked for.
    is_stuck: bool,
}

impl Reading {
    pub(super) fn new(source: Source, budget: ReadBudget, admission: Admission) -> Self {
        Self {
            source,
            budget,
            admission,
            share: None,
            current: None,
            ahead: Arc::default(),
            is_registered: false,
            polls: VecDeque::with_capacity(POLLS_BEHIND),
            is_stuck: false,
        }
    }

    /// Waits for the stream's memory and loads the first window.
    pub(super) async fn begin(&mut self) -> Result<(), EngineError> {
        let Some(plan) = self.source.plan(self.budget.window_bytes()).await? else { return Ok(()) };
        if self.source.is_done() {
            let share = self.budget.admit_short(plan.memory_bytes()).await?;
            self.current = Some(plan.load(share, self.admission).await?);
        } else {
            self.source.put_back(plan);
            self.share = Some(self.budget.admit().await?);
            self.current = self.load_now().await?;
        }
        Ok(())
    }

    pub(super) fn into_stream(self) -> BodyStream {
        // After an error the state is gone, and with it the stream.
        let frames = stream::try_unfold(Box::new(self), |mut reading| async {
            let frames = reading.next_frames().await;
            frames.map(|frames| frames.map(|frames| (frames, reading)))
        });
        frames.map_ok(|frames| stream::iter(frames.into_iter().map(Ok))).try_flatten().boxed()
    }

    /// As many as are handed on together.
    async fn next_frames(&mut self) -> Result<Option<Vec<Bytes>>, EngineError> {
        self.note_poll();
        loop {
            if let Some(window) = &mut self.current {
                let frames = window.next_frames();
                if !frames.is_empty() {
                    self.read_ahead().await;
                    return Ok(Some(frames));
                }
                self.current = None;
            }
            self.current = match self.ahead.next() {
                Next::Loading(loading) => Some(loading.await.map_err(std::io::Error::other)??),
                Next::GivenUp(plans) => {
                    self.put_back(plans);
                    self.load_now().await?
                }
            };
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }

    fn note_poll(&mut self) {
        let number = self.budget.poll();
        self.ahead.polled(number);
        if self.polls.len() == POLLS_BEHIND {
            self.polls.pop_front();
        }
        self.polls.push_back(number);
    }

    fn put_back(&mut self, plans: Vec<Plan>) {
        plans.into_iter().rev().for_each(|plan| self.source.put_back(plan));
    }

    /// Loads the next window, a small one: with memory that is free or else in the stream's own share.
    async fn load_now(&mut self) -> Result<Option<Window>, EngineError> {
        self.is_stuck = false;
        if self.budget.room() != Room::None {
            let Some(plan) = self.source.plan(SMALL_WINDOW_BYTES).await? else { return Ok(None) };
            match self.budget.try_take(plan.memory_bytes()) {
                Some(memory) => return plan.load(memory, self.admission).await.map(Some),
                None => self.source.put_back(plan),
            }
        }
        let Some(plan) = self.source.plan(self.budget.window_bytes()).await? else { return Ok(None) };
        let share = match &self.share {
            Some(share) => Arc::clone(share),
            None => self.budget.admit().await?,
        };
        plan.load(share, self.admission).await.map(Some)
    }

    /// Begins to load what comes next, as long as enough of the memory is left to others.
    async fn read_ahead(&mut self) {
        let given_up = self.ahead.given_up();
        self.put_back(given_up);
        let behind = self.polls.front().filter(|_| self.polls.len() == POLLS_BEHIND).copied().unwrap_or(0);
        let (windows, bytes) = match self.budget.make_room(behind) {
            Room::Plenty => (WINDOWS_AHEAD, WINDOW_BYTES),
            Room::Some => (1, SMALL_WINDOW_BYTES),
            Room::None => return,
        };
        while self.ahead.len() < windows && !self.is_stuck && !self.source.is_done() {
            let plan = match self.source.plan(bytes).await {
                Ok(Some(plan)) => plan,
                Ok(None) => return,
                Err(_) => {
                    self.is_stuck = true;
                    return;
                }
            };
            let Some(memory) = self.budget.try_take(plan.memory_bytes()) else {
                self.source.put_back(plan);
                return;
            };
            if !self.is_registered {
                self.is_registered = true;
                self.budget.register(&self.ahead);
            }
            let loading = plan.clone().start(memory, self.admission);
            self.ahead.push(plan, AbortOnDropHandle::new(loading));
        }
    }
}
