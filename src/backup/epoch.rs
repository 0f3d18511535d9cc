//! Epochs: one writer's stretch of history each, and how they follow one another.
//!
//! A writer ships its log below its own epoch, so one that does not know yet that it was replaced cannot spoil what the next one ships. A
//! store that was restored to an older point goes on in an epoch that branches off there. What is true is the path from the newest
//! epoch back to the first.

use super::StoreId;
use crate::types::{CommitSeq, ParseError, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of an epoch, from 1; higher is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Epoch(u32);

impl Epoch {
    pub const FIRST: Self = Self(1);

    /// `None` for zero.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// `None` behind the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// Eight digits of hex.
impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl TryFrom<u32> for Epoch {
    type Error = ParseError;

    fn try_from(number: u32) -> Result<Self, ParseError> {
        Self::new(number).ok_or(ParseError { what: "epoch", why: "they count from 1" })
    }
}

impl From<Epoch> for u32 {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

/// `epochs/<epoch>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub epoch: Epoch,
    /// The one whose log it continues.
    pub parent: Option<Epoch>,
    /// Up to this record the parent's log holds; its own begins behind it.
    pub from_seq: CommitSeq,
    pub store_id: StoreId,
    /// Which taking of the lease began it.
    pub tenure: String,
    /// For people: who that was.
    pub holder: String,
    /// By the writer's clock.
    pub started: UnixMillis,
}

/// What an epoch contributes to a path: records behind `after`, up to `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub epoch: Epoch,
    pub after: CommitSeq,
    /// `None`: to the end of its log.
    pub up_to: Option<CommitSeq>,
}

impl Stretch {
    #[must_use]
    pub fn holds(&self, seq: CommitSeq) -> bool {
        seq > self.after && self.up_to.is_none_or(|end| seq <= end)
    }
}

/// How the epochs of a repository follow one another.
#[derive(Debug, Clone, Default)]
pub struct Timeline(BTreeMap<Epoch, EpochRecord>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    #[error("there is no epoch {0}")]
    Unknown(Epoch),
    #[error("epoch {0} continues itself or a later one")]
    Parent(Epoch),
}

impl Timeline {
    /// # Errors
    /// When an epoch continues one that is not older.
    pub fn new(records: impl IntoIterator<Item = EpochRecord>) -> Result<Self, TimelineError> {
        let mut epochs = BTreeMap::new();
        for record in records {
            if record.parent.is_some_and(|parent| parent >= record.epoch) {
                return Err(TimelineError::Parent(record.epoch));
            }
            epochs.insert(record.epoch, record);
        }
        Ok(Self(epochs))
    }

    #[must_use]
    pub fn get(&self, epoch: Epoch) -> Option<&EpochRecord> {
        self.0.get(&epoch)
    }

    #[must_use]
    pub fn newest(&self) -> Option<Epoch> {
        self.0.keys().next_back().copied()
    }

    /// In order.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.0.keys().copied()
    }

    /// What leads to an epoch and through it, oldest first. It begins where the oldest ancestor that is still there begins: behind its
    /// `after`, which is 0 unless older epochs were pruned.
    ///
    /// # Errors
    /// When there is no such epoch.
    pub fn path_to(&self, epoch: Epoch) -> Result<Vec<Stretch>, TimelineError> {
        let mut record = self.get(epoch).ok_or(TimelineError::Unknown(epoch))?;
        let mut path = vec![Stretch { epoch, after: record.from_seq, up_to: None }];
        // A child may branch off before its parent even begins: then the parent contributes nothing. One that branches off where its
        // parent begins is behind no record of it, and yet behind its snapshots and notes of what it has put there.
        let mut end = record.from_seq;
        while let Some(parent) = record.parent.and_then(|parent| self.get(parent)) {
            record = parent;
            if record.from_seq <= end {
                path.push(Stretch { epoch: record.epoch, after: record.from_seq, up_to: Some(end) });
            }
            end = end.min(record.from_seq);
        }
        path.reverse();
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, EpochRecord, Stretch, Timeline, TimelineError};
    use crate::backup::StoreId;
    use crate::types::{CommitSeq, UnixMillis};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn epoch(number: u32) -> Epoch {
        Epoch::new(number).unwrap()
    }

    fn record(number: u32, parent: Option<u32>, from: u64) -> EpochRecord {
        EpochRecord {
            epoch: epoch(number),
            parent: parent.map(epoch),
            from_seq: CommitSeq::new(from),
            store_id: StoreId::new([0; 16]),
            tenure: String::new(),
            holder: String::new(),
            started: UnixMillis::new(0),
        }
    }

    #[test]
    fn a_path_goes_around_what_fenced_writers_left() {
        // 2 took over at 10; 3 was restored to 4, of the first; 4 took over from 3 at 9.
        let records =
            [record(1, None, 0), record(2, Some(1), 10), record(3, Some(1), 4), record(4, Some(3), 9)];
        let timeline = Timeline::new(records).unwrap();
        let stretch = |number, after, up_to: Option<u64>| Stretch {
            epoch: epoch(number),
            after: CommitSeq::new(after),
            up_to: up_to.map(CommitSeq::new),
        };
        assert_eq!(timeline.newest(), Some(epoch(4)));
        let path = timeline.path_to(epoch(4)).unwrap();
        assert_eq!(path, [stretch(1, 0, Some(4)), stretch(3, 4, Some(9)), stretch(4, 9, None)]);
        assert_eq!(timeline.path_to(epoch(2)).unwrap(), [stretch(1, 0, Some(10)), stretch(2, 10, None)]);
        assert_eq!(timeline.path_to(epoch(5)), Err(TimelineError::Unknown(epoch(5))));
        assert_eq!(Timeline::new([record(2, Some(2), 0)]).unwrap_err(), TimelineError::Parent(epoch(2)));
    }

    /// What it has put there, and a snapshot that it made first thing, are its children's too.
    #[test]
    fn i1_an_epoch_that_shipped_no_record_is_on_the_path() {
        let records =
            [record(1, None, 0), record(2, Some(1), 7), record(3, Some(2), 7), record(4, Some(3), 5)];
        let timeline = Timeline::new(records).unwrap();
        let of = |number| timeline.path_to(epoch(number)).unwrap();
        let epochs = |number| of(number).iter().map(|stretch| stretch.epoch.get()).collect::<Vec<_>>();
        assert_eq!(epochs(3), [1, 2, 3]);
        assert_eq!(of(3)[1], Stretch { up_to: Some(CommitSeq::new(7)), ..of(2)[1] });
        assert_eq!(epochs(4), [1, 4], "those that begin behind the branch are not");
    }

    proptest! {
        /// Each epoch begins with a copy of its parent's history up to a point and adds records of its own, some of them behind the point
        /// where another goes on.
        #[test]
        fn a_path_is_the_history_of_its_writer(steps in proptest::collection::vec((any::<u32>(), any::<u32>(), 0u64..6), 1..12)) {
            let mut histories: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            let mut logs: BTreeMap<(u32, u64), u32> = BTreeMap::new();
            let mut records = Vec::new();
            for (at, (parent, point, adds)) in steps.into_iter().enumerate() {
                let number = at as u32 + 1;
                let parent = (at > 0).then(|| parent % at as u32 + 1);
                let mut history = parent.map_or_else(Vec::new, |parent| histories[&parent].clone());
                history.truncate(point as usize % (history.len() + 1));
                let from = history.len() as u64;
                for seq in from + 1..=from + adds {
                    logs.insert((number, seq), number);
                    history.push(number);
                }
                records.push(record(number, parent, from));
                histories.insert(number, history);
            }
            let timeline = Timeline::new(records).unwrap();
            for (number, history) in histories {
                let path = timeline.path_to(epoch(number)).unwrap();
                let holds = |seq: u64| path.iter().filter(move |stretch| stretch.holds(CommitSeq::new(seq)));
                for (at, writer) in history.iter().enumerate() {
                    let seq = at as u64 + 1;
                    let found: Vec<_> = holds(seq).filter_map(|s| logs.get(&(s.epoch.get(), seq))).collect();
                    prop_assert_eq!(found, [writer], "record {} of epoch {}", seq, number);
                }
                let behind = history.len() as u64 + 1;
                prop_assert!(holds(behind).all(|s| !logs.contains_key(&(s.epoch.get(), behind))));
            }
        }
    }
}
