//! Why something about a backup could not be done.

use super::container::ContainerError;
use super::{LeaseError, ObjectName, ProbeError, RepositoryError, TimelineError};
use crate::engine::EngineError;
use crate::meta::{CommitError, MetaError};
use crate::remote::{Class, RemoteError};
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("`{name}` in the bucket: {why}")]
    Object { name: String, why: ContainerError },
    #[error("`{0}` is not in the bucket")]
    Missing(String),
    #[error("`{name}` in the bucket is not what is written there: {why}")]
    Content { name: String, why: String },
    #[error("the store: {0}")]
    Engine(#[from] EngineError),
    #[error("the store's metadata: {0}")]
    Meta(#[from] MetaError),
    #[error("the store's metadata: {0}")]
    Commit(#[from] CommitError),
    #[error("a file of the backup's own: {0}")]
    Io(#[from] io::Error),
    /// Collection does not wait for it any more: what it lacks may be gone.
    #[error("the backup was too far behind, or was turned off, and was given up: it begins anew")]
    GivenUp,
    #[error("it was stopped")]
    Stopped,
    #[error("{0}")]
    Unfit(String),
    #[error("a worker thread of the backup died")]
    Worker,
}

impl BackupError {
    /// Whether a writer has to begin a new epoch: something stands in its own that it has not written, or does not know
    /// that it has; or the lease is another's; or the store has given it up.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(
            self,
            Self::Content { .. }
                | Self::Object { .. }
                | Self::Missing(_)
                | Self::GivenUp
                | Self::Lease(LeaseError::Lost(_))
        ) || self.class() == Some(Class::Conflict)
    }

    /// An object in the bucket is damaged, forged or missing: nothing else is wrong.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Content { .. } => true,
            Self::Object { why, .. } => !matches!(why, ContainerError::Remote(_)),
            Self::Repository(why) => {
                matches!(why, RepositoryError::Untrusted { .. } | RepositoryError::Vanished(_))
            }
            _ => false,
        }
    }

    /// The object in the bucket that is damaged, forged or missing, if it is one.
    #[must_use]
    pub fn object(&self) -> Option<ObjectName> {
        let name = match self {
            Self::Missing(name) | Self::Content { name, .. } | Self::Object { name, .. } => name,
            Self::Repository(RepositoryError::Untrusted { name, .. } | RepositoryError::Vanished(name)) => {
                name
            }
            _ => return None,
        };
        ObjectName::parse(name).ok()
    }

    /// What helps, in a line for people, if that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let of_damage = "something in the bucket is damaged, missing, or was not written with this key: `sediment backup verify` says what";
        self.class().map(Class::advice).or_else(|| self.is_damage().then_some(of_damage))
    }

    /// What the remote said, if it was the remote.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Repository(
                RepositoryError::Remote(error) | RepositoryError::Unfit(ProbeError::Remote(error)),
            )
            | Self::Lease(LeaseError::Repository(
                RepositoryError::Remote(error) | RepositoryError::Unfit(ProbeError::Remote(error)),
            ))
            | Self::Object { why: ContainerError::Remote(error), .. } => Some(error.class),
            _ => None,
        }
    }
}

impl From<RemoteError> for BackupError {
    fn from(error: RemoteError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<ProbeError> for BackupError {
    fn from(error: ProbeError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<TimelineError> for BackupError {
    fn from(error: TimelineError) -> Self {
        Self::Repository(error.into())
    }
}

impl From<tokio::task::JoinError> for BackupError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Worker
    }
}
