//! Where the index stood at each call to the simulated disk, and what a crash there leaves of it.
//!
//! The index is on a real directory. Between two openings only its journal grows; so a copy of the directory with the
//! journal cut off is the index of an earlier moment.

use super::ops::Dice;
use crate::engine::index::{ChunkIndex, IndexSettings, journal};
use crate::engine::pack::testing::TestPacks;
use crate::engine::pack::{PackSet, PackSettings};
use crate::sys::{ManualClock, SeededRandom};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct Trail {
    dir: TempDir,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first call of each opening, the latest last.
    boots: Vec<usize>,
    /// For the calls behind the last opening: what of the journal is durable, and what is there.
    marks: Vec<Option<Mark>>,
    open: Option<ChunkIndex>,
    /// Between closing and the next opening.
    closed_at: Option<Mark>,
}

/// Bytes of the journal.
#[derive(Debug, Clone, Copy)]
struct Mark {
    durable: u64,
    all: u64,
}

/// In memory where that is to be had: nothing of it has to outlive the test.
pub(super) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.or_else(|_| tempfile::tempdir()).unwrap()
}

impl Trail {
    pub(super) fn new() -> Arc<Self> {
        let trail = Self { dir: scratch(), state: Mutex::default() };
        lay_empty(&trail.live());
        Arc::new(trail)
    }

    /// The directory of the index.
    pub(super) fn live(&self) -> PathBuf {
        self.dir.path().join("live")
    }

    fn kept(&self, boot: usize) -> PathBuf {
        self.dir.path().join(boot.to_string())
    }

    /// The index is closed; it is about to be opened.
    pub(super) fn booting(&self, call: usize) {
        let mut state = self.state.lock();
        state.closed_at = None;
        copy(&self.live(), &self.kept(state.boots.len()));
        state.boots.push(call);
    }

    pub(super) fn booted(&self, index: ChunkIndex) {
        self.state.lock().open = Some(index);
    }

    /// Nobody has the store any more.
    pub(super) async fn closing(&self) {
        let open = {
            let mut state = self.state.lock();
            state.closed_at = self.now(state.open.as_ref());
            state.open.take()
        };
        if let Some(index) = open {
            close(index).await;
        }
    }

    pub(super) fn mark(&self, call: usize) {
        let mut state = self.state.lock();
        let mark = self.now(state.open.as_ref()).or(state.closed_at);
        let len = state.marks.len().max(call + 1);
        state.marks.resize(len, None);
        state.marks[call] = mark;
    }

    fn now(&self, index: Option<&ChunkIndex>) -> Option<Mark> {
        let all = journal::bytes(&self.live());
        index.map(|index| Mark { durable: index.journal_persisted().min(all), all })
    }

    /// The index is closed, and deleted.
    pub(super) fn lose(&self) {
        std::fs::remove_dir_all(self.live()).unwrap();
        lay_empty(&self.live());
    }

    /// The index is closed, and the power fails.
    pub(super) fn cut(&self, dice: &Dice) {
        let mark = self.state.lock().closed_at;
        match mark {
            _ if dice.one_in(6) => self.lose(),
            Some(mark) => shorten(&self.live(), mark.toss(dice)),
            None => {}
        }
    }

    /// What a power cut within the call leaves; the index is closed.
    pub(super) fn cut_at(&self, call: usize, dice: &Dice, to: &Path) {
        if dice.one_in(6) {
            return lay_empty(to);
        }
        let (from, mark) = self.at(call);
        copy(&from, to);
        if let Some(mark) = mark {
            shorten(to, mark.toss(dice));
        }
    }

    /// As it was when the process died within the call.
    pub(super) fn killed_at(&self, call: usize, to: &Path) {
        let (from, mark) = self.at(call);
        copy(&from, to);
        if let Some(mark) = mark {
            shorten(to, mark.all);
        }
    }

    /// The directory that the index of that moment is a part of, and how much of its journal.
    fn at(&self, call: usize) -> (PathBuf, Option<Mark>) {
        let state = self.state.lock();
        let boots = state.boots.iter().filter(|first| **first <= call).count();
        match state.marks.get(call).copied().unwrap_or(state.closed_at) {
            // While it is being opened it is no worse than before.
            None => (self.kept(boots.saturating_sub(1)), None),
            Some(mark) if boots == state.boots.len() => (self.live(), Some(mark)),
            Some(mark) => (self.kept(boots), Some(mark)),
        }
    }
}

impl Mark {
    /// What of the journal a power cut leaves.
    fn toss(self, dice: &Dice) -> u64 {
        match dice.below(3) {
            0 => self.durable,
            1 => self.all,
            _ => self.durable + dice.below(self.all - self.durable + 1),
        }
    }
}

/// Cuts the journal of a closed index off behind so many bytes, if it is longer.
pub(super) fn shorten(index: &Path, len: u64) {
    let journal = std::fs::OpenOptions::new().write(true).open(journal::newest(index).unwrap()).unwrap();
    if journal.metadata().unwrap().len() > len {
        journal.set_len(len).unwrap();
    }
}

/// Waits for threads that are about to let go of it.
pub(super) async fn close(index: ChunkIndex) {
    let begun = Instant::now();
    while !index.is_last() {
        assert!(begun.elapsed() < Duration::from_secs(60), "somebody keeps the index open");
        tokio::task::yield_now().await;
    }
}

/// Leaves of a closed index what a power cut may leave that was open until now.
pub(super) fn cut_now(index: &Path, durable: u64, dice: &Dice) {
    shorten(index, Mark { durable, all: journal::bytes(index).max(durable) }.toss(dice));
}

/// Lays down an index that was made and knows nothing, with a journal as long as what is in it.
fn lay_empty(to: &Path) {
    static MADE: OnceLock<Vec<(PathBuf, Option<Vec<u8>>)>> = OnceLock::new();
    for (name, bytes) in MADE.get_or_init(make_empty) {
        match bytes {
            Some(bytes) => std::fs::write(to.join(name), bytes).unwrap(),
            None => std::fs::create_dir_all(to.join(name)).unwrap(),
        }
    }
}

/// Its directories, each before what is in it, and its files with their bytes.
fn make_empty() -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let dir = scratch();
    for _ in 0..2 {
        let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
        let store = Arc::new(TestPacks::default());
        let (packs, _) = PackSet::open(store, clock, random, &PackSettings::default()).unwrap();
        ChunkIndex::open(dir.path(), packs, &settings()).unwrap();
    }
    let (mut found, mut at) = (vec![(PathBuf::new(), None)], 0);
    while let Some((name, bytes)) = found.get(at).cloned() {
        at += 1;
        if bytes.is_none() {
            for entry in std::fs::read_dir(dir.path().join(&name)).unwrap() {
                let entry = entry.unwrap();
                let is_dir = entry.file_type().unwrap().is_dir();
                let bytes = (!is_dir).then(|| std::fs::read(entry.path()).unwrap());
                found.push((name.join(entry.file_name()), bytes));
            }
        }
    }
    found
}

pub(super) fn settings() -> IndexSettings {
    IndexSettings { cache_bytes: 1 << 20, ..IndexSettings::default() }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
