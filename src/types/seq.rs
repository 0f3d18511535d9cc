//! Positions in the change log, and wall-clock stamps.

use serde::{Deserialize, Serialize};

/// A position in the change log: gap-free, starting at 1. Zero means "before the first change".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitSeq(u64);

impl CommitSeq {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(u64::MAX);

    #[must_use]
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one. Saturates: 2^64 commits do not happen.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for CommitSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since the Unix epoch, UTC. Leap seconds are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    #[must_use]
    pub const fn new(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded towards the past: what HTTP dates can carry.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
