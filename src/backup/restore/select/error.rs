//! Why a part could not be restored.

use crate::engine::EngineError;
use crate::meta::MetaError;
use crate::remote::{Class, Remedy, RemoteError, Verb};
use crate::sys::{lacks_descriptors, lacks_room};
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

/// The disk here, or what this process may open, is used up: it says nothing of the backup.
fn is_short(error: &EngineError) -> bool {
    match error {
        EngineError::Full | EngineError::Poisoned(_) => true,
        EngineError::Io(error) | EngineError::Meta(MetaError::Io(error)) => {
            lacks_room(error) || lacks_descriptors(error)
        }
        _ => false,
    }
}

/// It was a part or an end of an upload that is not there, and not of a bucket.
fn is_upload_gone(error: &RemoteError) -> bool {
    error.class == Class::Gone && matches!(error.verb, Verb::PutPart | Verb::CompleteUpload)
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
            Self::Bytes(error) => !is_busy(error) && !is_short(error),
            Self::Target(error) => {
                matches!(error.class, Class::Refused | Class::Unsupported | Class::Wrong)
                    || is_upload_gone(error)
            }
            Self::Rows(_) | Self::Unfit(_) | Self::Stopped => false,
        }
    }

    /// The backup is damaged.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Bytes(error) if !is_busy(error) && !is_short(error))
    }
}

#[cfg(test)]
mod tests {
    use super::SelectError;
    use crate::engine::EngineError;
    use crate::meta::MetaError;
    use crate::remote::{Class, RemoteError, Verb};
    use crate::types::PlainId;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_disk_that_is_full_here_ends_the_run_and_is_no_damage_of_the_backup() {
        let full = || Error::from(ErrorKind::StorageFull);
        let files = Error::from(rustix::io::Errno::MFILE);
        for short in [
            EngineError::Full,
            EngineError::Io(full()),
            EngineError::Io(files),
            EngineError::Meta(MetaError::Io(full())),
        ] {
            let error = SelectError::Bytes(short);
            assert!(!error.is_of_object() && !error.is_damage() && !error.may_pass(), "{error}");
        }
        for damage in [EngineError::MissingPlain(PlainId::new([7; 16])), EngineError::Io(Error::other("no"))]
        {
            let error = SelectError::Bytes(damage);
            assert!(error.is_of_object() && error.is_damage(), "{error}");
        }
    }

    #[test]
    fn an_upload_that_is_gone_is_of_its_object_and_a_bucket_of_all() {
        let of = |verb| SelectError::Target(RemoteError::new(Class::Gone, verb, "k", "gone")).is_of_object();
        assert!(of(Verb::CompleteUpload) && of(Verb::PutPart));
        assert!(!of(Verb::Put) && !of(Verb::BeginUpload) && !of(Verb::List));
    }
}
