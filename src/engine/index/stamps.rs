//! When an entry without references may go: the rules alone, for the index and for the model that checks them.

use crate::types::CommitSeq;

/// How far a collection may go that put `mark` into the log, and saw it applied before it asked for the oldest hold.
#[must_use]
pub(in crate::engine) fn bound(mark: CommitSeq, oldest_hold: Option<CommitSeq>) -> CommitSeq {
    oldest_hold.map_or(mark, |hold| hold.min(mark))
}

/// Whether everybody is gone who was at work before `mark` was asked for.
#[must_use]
pub(in crate::engine) fn is_past(mark: CommitSeq, oldest_hold: Option<CommitSeq>) -> bool {
    oldest_hold.is_none_or(|hold| hold >= mark)
}

/// Whether an entry may go, as it stands under the index's lock.
pub(super) fn may_go(references: u64, zero_since: CommitSeq, bound: CommitSeq) -> bool {
    references == 0 && zero_since < bound
}

/// The stamp that a hit or a second insert leaves on an entry; `None`: the one it has will do.
pub(super) fn hit(references: u64, zero_since: CommitSeq, now: CommitSeq) -> Option<CommitSeq> {
    (references == 0 && zero_since < now).then_some(now)
}

/// References and stamp after the record at `now` was counted; `None`: one is dropped that was never counted.
pub(super) fn counted(
    references: u64,
    zero_since: CommitSeq,
    adds: bool,
    now: CommitSeq,
) -> Option<(u64, CommitSeq)> {
    let references = if adds { references + 1 } else { references.checked_sub(1)? };
    Some((references, if references == 0 { now } else { zero_since }))
}
