//! A call that changes the disk, as it took effect: all of them in order make the disk what it is.

use super::contents::Edit;
use super::faults::{CallKind, Damage};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone)]
pub(super) enum Change {
    Create(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    MakeDirs(PathBuf),
    SyncDir(PathBuf),
    Edit {
        file: usize,
        edit: Edit,
    },
    Sync(usize),
    /// What was on its way is lost, or not, as the seed says; nothing waits any more.
    FailedSync {
        file: usize,
        seed: u64,
    },
    /// Reported as done, and not done.
    Lie,
    DropCached(usize),
    Damage {
        file: usize,
        damage: Damage,
    },
    PowerCut {
        seed: u64,
    },
}

impl Change {
    /// `None` for what no caller asks for.
    pub(super) const fn kind(&self) -> Option<CallKind> {
        Some(match self {
            Self::Create(_) => CallKind::Create,
            Self::Rename { .. } => CallKind::Rename,
            Self::Remove(_) => CallKind::Remove,
            Self::MakeDirs(_) => CallKind::MakeDirs,
            Self::SyncDir(_) => CallKind::SyncDir,
            Self::Edit { edit: Edit::Write { .. }, .. } => CallKind::Write,
            Self::Edit { edit: Edit::Length(_), .. } => CallKind::SetLength,
            Self::Edit { edit: Edit::Punch { .. }, .. } => CallKind::Punch,
            Self::Sync(_) => CallKind::Sync,
            Self::FailedSync { .. }
            | Self::Lie
            | Self::DropCached(_)
            | Self::Damage { .. }
            | Self::PowerCut { .. } => return None,
        })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {}", path.display()),
            Self::Rename { from, to } => write!(f, "rename {} to {}", from.display(), to.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::MakeDirs(path) => write!(f, "make directories {}", path.display()),
            Self::SyncDir(path) => write!(f, "sync directory {}", path.display()),
            Self::Edit { file, edit } => write!(f, "file {file}: {edit:?}"),
            Self::Sync(file) => write!(f, "file {file}: sync"),
            Self::FailedSync { file, .. } => write!(f, "file {file}: sync, which fails"),
            Self::Lie => write!(f, "a sync that does nothing"),
            Self::DropCached(file) => write!(f, "file {file}: drop what is cached"),
            Self::Damage { file, damage } => write!(f, "file {file}: {damage:?}"),
            Self::PowerCut { .. } => write!(f, "power cut"),
        }
    }
}
