//! Calls that fail, and bytes that rot.

use rustix::io::Errno;
use std::io;

/// What a caller asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    Create,
    Open,
    Read,
    Write,
    SetLength,
    Sync,
    SyncDir,
    Rename,
    Remove,
    MakeDirs,
    Punch,
}

impl CallKind {
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::SetLength,
        Self::Sync,
        Self::SyncDir,
        Self::Rename,
        Self::Remove,
        Self::MakeDirs,
        Self::Punch,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Io,
    Full,
    Quota,
    /// No more files can be opened.
    Descriptors,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io => Errno::IO,
            Self::Full => Errno::NOSPC,
            Self::Quota => Errno::DQUOT,
            Self::Descriptors => Errno::MFILE,
        }
        .into()
    }
}

/// Calls that are going to fail.
#[derive(Debug, Clone, Copy)]
pub struct FaultPlan {
    /// `None`: of any kind.
    pub kind: Option<CallKind>,
    /// So many such calls succeed before.
    pub after: u64,
    /// So many fail then.
    pub times: u64,
    pub fault: Fault,
}

/// Harm to a file at rest. Places beyond its end change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Of the byte at that place, one bit.
    Flip { at: usize, bit: u8 },
    /// The sector reads as zeros.
    Zero { sector: usize },
    /// The sector cannot be read until it is written anew.
    Unreadable { sector: usize },
}

impl Damage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Flip { .. } => "rest: a bit flipped",
            Self::Zero { .. } => "rest: a sector lost",
            Self::Unreadable { .. } => "rest: a sector unreadable",
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Vec<FaultPlan>);

impl Faults {
    pub(super) fn add(&mut self, plan: FaultPlan) {
        self.0.push(plan);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that a call of the kind meets now.
    pub(super) fn meet(&mut self, kind: CallKind) -> Option<Fault> {
        let mut met = None;
        for plan in self.0.iter_mut().filter(|plan| plan.kind.is_none_or(|wanted| wanted == kind)) {
            if plan.after > 0 {
                plan.after -= 1;
            } else if plan.times > 0 && met.is_none() {
                plan.times -= 1;
                met = Some(plan.fault);
            }
        }
        self.0.retain(|plan| plan.times > 0);
        met
    }
}
