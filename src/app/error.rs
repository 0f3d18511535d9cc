//! How a command ends.

use crate::config::ConfigError;

/// Exit codes, as documented in `docs/operations.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failure = 1,
    /// Arguments or settings that cannot work.
    Usage = 2,
    /// Another process holds the data directory.
    InUse = 3,
    /// Written by a newer version, or not a data directory.
    Format = 4,
    /// `fsck` found damage.
    Damage = 5,
    /// The data directory cannot be written, or its device is full.
    Storage = 6,
    /// An address cannot be listened on.
    Address = 7,
}

/// One line for a person, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    pub exit: Exit,
    pub message: String,
}

impl AppError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// `what` failed for a reason that has no code of its own.
    pub fn failure(what: &str, error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failure, format!("{what}: {error}"))
    }
}

impl From<ConfigError> for AppError {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
