//! Why a part could not be restored.

use crate::engine::EngineError;
use crate::meta::MetaError;
use crate::remote::{Class, Remedy, RemoteError};
use std::io::ErrorKind;

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("the rows of the backup: {0}")]
    Rows(#[from] MetaError),
    #[error("the bytes of the backup: {0}")]
    Bytes(#[from] EngineError),
    #[error("the target: {0}")]
    Target(#[from] RemoteError),
    #[error("{0}")]
    Unfit(String),
    #[error("it was stopped")]
    Stopped,
}

/// The bucket of the backup does not answer, or something here is short for a moment.
fn is_busy(error: &EngineError) -> bool {
    match error {
        EngineError::Busy(_) => true,
        EngineError::Io(error) => error.kind() == ErrorKind::ResourceBusy,
        _ => false,
    }
}

impl SelectError {
    /// The same may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Bytes(error) => is_busy(error),
            Self::Target(error) => error.class.remedy() == Remedy::Again,
            _ => false,
        }
    }

    /// It says nothing of other objects: they go on.
    pub(super) fn is_of_object(&self) -> bool {
        match self {
            Self::Bytes(error) => {
                !is_busy(error) && !matches!(error, EngineError::Full | EngineError::Poisoned(_))
            }
            Self::Target(error) => matches!(error.class, Class::Refused | Class::Unsupported | Class::Wrong),
            Self::Rows(_) | Self::Unfit(_) | Self::Stopped => false,
        }
    }

    /// The backup is damaged.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(self, Self::Bytes(_))
    }
}
