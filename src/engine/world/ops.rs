//! What happens in a life.

use super::body::Body;
use crate::sys::{CallKind, Fault, Random, SeededRandom};

pub(super) const KEYS: u8 = 4;
const SLOTS: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op {
    Put {
        key: u8,
        body: Body,
    },
    PutPlain {
        key: u8,
        body: Body,
    },
    /// Stored, not committed: what follows happens between the two.
    Stage {
        slot: u8,
        key: u8,
        body: Body,
    },
    CommitStaged {
        slot: u8,
    },
    GiveUpStaged {
        slot: u8,
    },
    /// Two at once, in whatever order their threads come.
    PutTwo {
        key: u8,
        body: Body,
        other: Body,
    },
    PutAndCollect {
        key: u8,
        body: Body,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Delete {
        key: u8,
    },
    Read {
        key: u8,
    },
    OpenRead {
        slot: u8,
        key: u8,
    },
    EndRead {
        slot: u8,
    },
    Begin {
        slot: u8,
        key: u8,
    },
    Part {
        slot: u8,
        number: u8,
        body: Body,
    },
    PartCopy {
        slot: u8,
        number: u8,
        from: u8,
    },
    Complete {
        slot: u8,
    },
    Abort {
        slot: u8,
    },
    Follow,
    Collect,
    Seal,
    Checkpoint,
    /// What is stored whole gets chunks.
    Rechunk,
    Check,
    Restart(Restart),
    /// The `after`th call of the kind from now on fails.
    Fail {
        kind: CallKind,
        after: u8,
        times: u8,
        fault: Fault,
    },
    /// The device has room for so many KiB more.
    Room {
        kib: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Clean,
    Kill,
    PowerCut,
    /// With the index deleted.
    LostIndex,
}

#[derive(Debug)]
pub(super) struct Dice(SeededRandom);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    pub(super) fn below(&self, sides: u64) -> u64 {
        self.0.u64() % sides
    }

    pub(super) fn one_in(&self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    fn small(&self, sides: u64) -> u8 {
        u8::try_from(self.below(sides)).unwrap()
    }

    fn body(&self) -> Body {
        let (from, count) = (self.small(6), 1 + self.small(4));
        match self.below(20) {
            0..=2 => Body::Tiny(self.small(4)),
            3..=6 => Body::Edited { from, count },
            7 | 8 => Body::Long(self.small(2)),
            _ => Body::Blocks { from, count },
        }
    }

    fn op(&self) -> Op {
        let (key, slot) = (self.small(KEYS.into()), self.small(SLOTS));
        match self.below(43) {
            0..=6 => Op::Put { key, body: self.body() },
            7 | 8 => Op::PutPlain { key, body: self.body() },
            9 | 10 => Op::Stage { slot, key, body: self.body() },
            11 | 12 => Op::CommitStaged { slot },
            13 => Op::GiveUpStaged { slot },
            14 => Op::Copy { from: key, to: self.small(KEYS.into()) },
            15..=18 => Op::Delete { key },
            19 => Op::Read { key },
            20 => Op::OpenRead { slot, key },
            21 => Op::EndRead { slot },
            22 | 23 => Op::Begin { slot, key },
            24 | 25 => Op::Part { slot, number: 1 + self.small(2), body: self.body() },
            26 => Op::PartCopy { slot, number: 1 + self.small(2), from: key },
            27 => Op::Complete { slot },
            28 => Op::Abort { slot },
            29 => Op::Follow,
            30..=34 => Op::Collect,
            35 => Op::Seal,
            36 => Op::Checkpoint,
            37 => Op::Check,
            38 => Op::Restart(self.restart()),
            39 => Op::PutTwo { key, body: self.body(), other: self.body() },
            41 => Op::Rechunk,
            40 => Op::PutAndCollect { key, body: self.body() },
            _ => Op::Put { key, body: Body::Long(self.small(2)) },
        }
    }

    /// What leaves holes in packs: much that the index knows durably is dropped beside what stays.
    fn holes(&self) -> Vec<Op> {
        let key = self.small(KEYS.into());
        let durable = if self.one_in(2) { Op::Checkpoint } else { Op::Restart(Restart::Clean) };
        let ops = [
            Op::Put { key, body: Body::Blocks { from: self.small(3), count: 20 } },
            Op::Put { key: (key + 1) % KEYS, body: self.body() },
            durable,
            Op::Delete { key },
            Op::Collect,
        ];
        ops.into_iter().filter(|_| !self.one_in(8)).collect()
    }

    fn restart(&self) -> Restart {
        match self.below(5) {
            0 => Restart::Clean,
            1 => Restart::Kill,
            2 => Restart::LostIndex,
            _ => Restart::PowerCut,
        }
    }

    fn failure(&self) -> Op {
        let kind = CallKind::ALL[usize::from(self.small(CallKind::ALL.len() as u64))];
        let kind = if self.one_in(3) { CallKind::Sync } else { kind };
        let fault = [Fault::Io, Fault::Full, Fault::Quota][usize::from(self.small(3))];
        match self.below(6) {
            0 => Op::Room { kib: u16::from(self.small(64)) },
            _ => Op::Fail { kind, after: self.small(6), times: 1 + self.small(3), fault },
        }
    }
}

/// The operations of a life; one in five of them a fault, if the disk is a bad one.
pub(super) fn plan(seed: u64, is_faulty: bool) -> Vec<Op> {
    let dice = Dice::new(seed);
    let len = 4 + dice.below(9);
    let some = |_| match dice.below(20) {
        0 => dice.holes(),
        1..=4 if is_faulty => vec![dice.failure()],
        _ => vec![dice.op()],
    };
    (0..len).flat_map(some).collect()
}
