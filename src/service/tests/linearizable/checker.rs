//! Whether a history of one register can be put in an order that a register allows and that no two operations
//! contradict of which one had ended before the other began. The search is Wing and Gong's, with Lowe's memory of
//! the states that it has been in.

use std::collections::HashSet;

/// What a key holds. Every write of a history has a value of its own.
pub(super) type Value = Option<u32>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Put(u32),
    PutIfAbsent(u32),
    /// If the first is there, it becomes the second.
    PutIfMatch(u32, u32),
    Delete,
    DeleteIfMatch(u32),
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Found(Value),
    /// A condition on an object, and there is none.
    Absent,
    Refused,
}

/// An operation with the moments at which it began and ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) operation: Operation,
    pub(super) answer: Answer,
}

/// What a register that holds `value` answers, and what it holds then.
fn step(value: Value, operation: Operation) -> (Answer, Value) {
    match (operation, value) {
        (Operation::Put(new), _) | (Operation::PutIfAbsent(new), None) => (Answer::Done, Some(new)),
        (Operation::PutIfAbsent(_), Some(_)) => (Answer::Refused, value),
        (Operation::PutIfMatch(old, new), Some(held)) if old == held => (Answer::Done, Some(new)),
        (Operation::DeleteIfMatch(old), Some(held)) if old == held => (Answer::Done, None),
        (Operation::PutIfMatch(..) | Operation::DeleteIfMatch(_), None) => (Answer::Absent, None),
        (Operation::PutIfMatch(..) | Operation::DeleteIfMatch(_), Some(_)) => (Answer::Refused, value),
        (Operation::Delete, _) => (Answer::Done, None),
        (Operation::Read, _) => (Answer::Found(value), value),
    }
}

/// At most 128 operations, on a key that begins empty.
pub(super) fn is_linearizable(history: &[Event]) -> bool {
    assert!(history.len() <= 128, "one bit for each operation");
    let all = if history.len() == 128 { u128::MAX } else { (1 << history.len()) - 1 };
    let (mut seen, mut open) = (HashSet::new(), vec![(0u128, None)]);
    while let Some((done, value)) = open.pop() {
        if done == all {
            return true;
        }
        let rest = || history.iter().enumerate().filter(|(nth, _)| done & (1 << nth) == 0);
        // Whatever comes next began before any that is left had ended.
        let deadline = rest().map(|(_, event)| event.ended).min().unwrap_or(u64::MAX);
        for (nth, event) in rest().filter(|(_, event)| event.began < deadline) {
            let (answer, next) = step(value, event.operation);
            let state = (done | 1 << nth, next);
            if answer == event.answer && seen.insert(state) {
                open.push(state);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Answer, Event, Operation, is_linearizable};

    fn event(began: u64, ended: u64, operation: Operation, answer: Answer) -> Event {
        Event { began, ended, operation, answer }
    }

    #[test]
    fn the_checker_tells_histories_apart() {
        use Answer::{Absent, Done, Found, Refused};
        use Operation::{Delete, DeleteIfMatch, Put, PutIfAbsent, PutIfMatch, Read};
        assert!(is_linearizable(&[]));
        let put = event(1, 4, Put(1), Done);
        for (found, is_possible) in [(None, true), (Some(1), true), (Some(2), false)] {
            assert_eq!(is_linearizable(&[put, event(2, 3, Read, Found(found))]), is_possible, "meanwhile");
        }
        assert!(!is_linearizable(&[put, event(5, 6, Read, Found(None))]), "a stale read");
        let (first, second) = (event(2, 3, Read, Found(Some(1))), event(5, 6, Read, Found(None)));
        assert!(!is_linearizable(&[event(1, 9, Put(1), Done), first, second]), "seen, then unseen");
        let racers = |one, other| [event(1, 4, PutIfAbsent(1), one), event(2, 3, PutIfAbsent(2), other)];
        assert!(is_linearizable(&racers(Done, Refused)) && is_linearizable(&racers(Refused, Done)));
        assert!(!is_linearizable(&racers(Done, Done)), "two winners");
        assert!(!is_linearizable(&racers(Refused, Refused)), "no winner");
        let swap = |old, answer| [event(1, 2, Put(1), Done), event(3, 4, PutIfMatch(old, 2), answer)];
        assert!(is_linearizable(&swap(1, Done)) && is_linearizable(&swap(9, Refused)));
        assert!(!is_linearizable(&swap(9, Done)) && !is_linearizable(&swap(1, Absent)));
        let gone =
            [event(1, 2, Put(1), Done), event(3, 4, Delete, Done), event(5, 6, DeleteIfMatch(1), Absent)];
        assert!(is_linearizable(&gone));
        let lost =
            [event(1, 2, Put(1), Done), event(3, 6, Put(2), Done), event(4, 5, DeleteIfMatch(1), Done)];
        let still = event(7, 8, Read, Found(Some(2)));
        assert!(is_linearizable(&[lost[0], lost[1], lost[2], still]));
        assert!(!is_linearizable(&[lost[0], lost[1], lost[2], event(7, 8, Read, Found(None))]));
    }
}
