//! The filter that answers for the tree, and the one that is being built to take its place.
//!
//! An id that has a row in the tree and is denied here would lose its references, so: whoever writes a row adds its id
//! *before*, to both; one that is begun is there before the next row is written, and answers once every row was
//! passed that the tree had by then. Both are dropped when the tree is emptied or opened anew. Nothing is kept on disk.

use super::filter::{BLOCK_BYTES, Bloom};
use crate::types::ChunkId;
use parking_lot::{RwLock, RwLockReadGuard};

/// A tree this small has a filter of this size.
const LEAST_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Filters {
    most_bytes: u64,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    ready: Option<Bloom>,
    growing: Option<Growing>,
    /// Of the one that is growing.
    serial: u64,
}

#[derive(Debug)]
struct Growing {
    bloom: Bloom,
    after: Option<ChunkId>,
}

/// Where to go on with the filter that is growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    serial: u64,
    pub(super) after: Option<ChunkId>,
}

impl State {
    /// Whether the tree may have a row of this id.
    pub(super) fn may_have(&self, id: &ChunkId) -> bool {
        self.ready.as_ref().is_none_or(|bloom| bloom.may_have(id))
    }

    /// The one that is growing, if that is where it stands.
    fn at(&self, step: Step) -> Option<&Growing> {
        self.growing.as_ref().filter(|growing| self.serial == step.serial && growing.after == step.after)
    }

    fn drop_all(&mut self) {
        self.ready = None;
        self.growing = None;
    }
}

impl Filters {
    /// None answers yet. One takes at most so many bytes, both half as much again.
    pub(super) fn new(most_bytes: u64) -> Self {
        // A filter is of whole blocks: were one more byte wanted, one that is full would be built again for ever.
        Self { most_bytes: most_bytes / BLOCK_BYTES * BLOCK_BYTES, state: RwLock::default() }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    /// Before the rows are written.
    pub(super) fn add(&self, ids: &[ChunkId]) {
        let state = self.state.read();
        state.ready.iter().chain(state.growing.iter().map(|g| &g.bloom)).for_each(|bloom| bloom.add(ids));
    }

    /// The tree is not what it was.
    pub(super) fn forget(&self) {
        self.state.write().drop_all();
    }

    /// The tree is empty, and nobody writes to it.
    pub(super) fn begin_empty(&self) {
        let mut state = self.state.write();
        state.drop_all();
        state.ready = (self.most_bytes > 0).then(|| Bloom::new(LEAST_BYTES.min(self.most_bytes)));
    }

    /// What is to be done next for a tree of so many rows, if anything is.
    pub(super) fn next(&self, rows: u64) -> Next {
        let state = self.state.read();
        if let Some(growing) = &state.growing {
            return Next::Extend(Step { serial: state.serial, after: growing.after });
        }
        let wanted = self.bytes_for(rows);
        let is_wanted = match &state.ready {
            _ if self.most_bytes == 0 => false,
            None => true,
            // Another of this size would be as full, unless it is full of ids that are gone.
            Some(ready) => ready.is_full() && (wanted > ready.bytes() || rows < ready.added() / 2),
        };
        if is_wanted { Next::Begin(wanted) } else { Next::Nothing }
    }

    /// Nobody is writing a row meanwhile.
    pub(super) fn begin(&self, bloom: Bloom) {
        let mut state = self.state.write();
        let bytes = state.ready.as_ref().map_or(0, Bloom::bytes) + bloom.bytes();
        if bytes > self.most_bytes.saturating_add(self.most_bytes / 2) {
            state.ready = None;
        }
        state.serial += 1;
        state.growing = Some(Growing { bloom, after: None });
    }

    /// Takes in the next ids that the tree has behind those before; none: all are taken in.
    pub(super) fn extend(&self, step: Step, ids: &[ChunkId]) {
        let state = self.state.read();
        if let Some(growing) = state.at(step) {
            growing.bloom.add(ids);
        }
        drop(state);
        let mut state = self.state.write();
        if state.at(step).is_none() {
            return;
        }
        match ids.last() {
            Some(last) => state.growing.iter_mut().for_each(|growing| growing.after = Some(*last)),
            None => {
                let whole = state.growing.take();
                state.ready = whole.map(|growing| growing.bloom);
            }
        }
    }

    /// Powers of two, so that it is replaced when the tree has doubled.
    fn bytes_for(&self, rows: u64) -> u64 {
        let bytes = Bloom::bytes_for(rows).checked_next_power_of_two();
        bytes.unwrap_or(u64::MAX).max(LEAST_BYTES).min(self.most_bytes)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// A filter of so many bytes.
    Begin(u64),
    Extend(Step),
}
