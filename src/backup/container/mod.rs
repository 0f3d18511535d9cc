//! The container of every binary object in the bucket: compressed and sealed in frames, so that it is written as a stream and read from
//! any place.
//!
//! A seal is AES-256-GCM under a key for this object alone, made of the repository's key, a random nonce in the header and the
//! object's name; each frame's seal covers the header and the frame's place. So no byte can be changed, left out, moved, or
//! brought in from another object, place, repository or name without being noticed, whether the content is encrypted or only
//! authenticated. All calls use the CPU for milliseconds a MiB: they belong on threads that may block.

mod format;
#[cfg(test)]
mod golden_tests;
mod layout;
mod open;
mod ranged;
mod seal;
#[cfg(test)]
mod tests;

use super::{BackupKey, RepositoryId};
use crate::remote::{RemoteError, RemoteKey};

pub use format::{FORMAT, FRAME_BYTES, Header, Kind};
pub use layout::{Cover, Layout};
pub use open::open;
pub use ranged::RangedReader;
pub use seal::{Plan, Sealed, Sealer, seal};

/// What an object's bytes are bound to.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    pub key: &'a BackupKey,
    pub repository: RepositoryId,
    /// Below the repository's prefix: a repository may be copied as a whole.
    pub name: &'a RemoteKey,
}

/// Why bytes are not the object that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    #[error("cut short")]
    Short,
    #[error("the magic number is missing")]
    Magic,
    #[error("the {0} does not match its checksum")]
    Checksum(&'static str),
    #[error("{0} has a value out of its range")]
    Field(&'static str),
    #[error("format {0} is not known to this version")]
    Version(u16),
    #[error("it holds another kind of content than its name says")]
    Kind,
    #[error("it belongs to repository {0}")]
    OtherRepository(RepositoryId),
    #[error(
        "frame {0} does not match its seal: it is damaged, of another place or object, or sealed with another key"
    )]
    Seal(u32),
    #[error("frame {0} cannot be decompressed to its length")]
    Compression(u32),
    #[error("its content has another length than was announced")]
    Length,
    #[error("bytes {start}..{end} are not inside its content of {len}")]
    Range { start: u64, end: u64, len: u64 },
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("`{0}` is not in the bucket")]
    Missing(String),
}
