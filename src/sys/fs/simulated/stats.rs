//! What was injected and lost, by kind.

use super::faults::{CallKind, Fault};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<String, u64>);

impl FaultCounts {
    pub(super) fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn count_call(&mut self, kind: CallKind, fault: Fault) {
        self.count(&format!("call: {kind:?} {fault:?}"));
    }

    pub(super) fn add_times(&mut self, what: &str, times: u64) {
        if times > 0 {
            *self.0.entry(what.to_owned()).or_default() += times;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.add_times(what, *times));
    }

    /// How often anything whose name begins so.
    pub fn of(&self, begins: &str) -> u64 {
        self.0.iter().filter(|(what, _)| what.starts_with(begins)).map(|(_, times)| times).sum()
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, times)| writeln!(f, "{times:>9}  {what}"))
    }
}
