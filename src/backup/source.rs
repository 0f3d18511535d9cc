//! The store that is backed up.

use super::{BackupError, Epoch, RepositoryId};
use crate::engine::PlainStore;
use crate::engine::pack::PackSet;
use crate::meta::{ChangeLog, Inspect, MetaError, MetaStore, SqliteStore};
use crate::sys::{Clock, FileSystem, replace_file};
use crate::types::CommitSeq;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Metadata of which an image can be made.
pub trait MetaImage: Send + Sync + std::fmt::Debug {
    /// Copies the metadata as of one moment into a new file, durably; `None`, and no file, when it was stopped. Blocks.
    ///
    /// # Errors
    /// When it cannot be read or written.
    fn copy_to(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
        stop: &CancellationToken,
    ) -> Result<Option<CommitSeq>, MetaError>;
}

impl MetaImage for SqliteStore {
    fn copy_to(
        &self,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
        stop: &CancellationToken,
    ) -> Result<Option<CommitSeq>, MetaError> {
        Self::copy_to(self, path, progress, stop)
    }
}

/// Everything that is read of the store.
#[derive(Debug, Clone)]
pub struct Source {
    pub log: Arc<dyn ChangeLog>,
    pub meta: Arc<dyn MetaStore>,
    pub image: Arc<dyn MetaImage>,
    /// Which bodies are in use.
    pub inspect: Arc<dyn Inspect>,
    pub packs: PackSet,
    pub plain: PlainStore,
    pub fs: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
    /// Where the image of the metadata may stand while it is sent.
    pub scratch: PathBuf,
    /// `backup.json`: where the store's log was shipped last.
    pub state: PathBuf,
}

/// `backup.json`. It tells this store's history from that of another one that writes the same repository, such as a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedTo {
    pub repository: RepositoryId,
    /// The epoch that holds the store's log up to its cursor, or continues the one that does.
    pub epoch: Epoch,
}

impl ShippedTo {
    /// `None`: nothing was shipped, or where is not known: then a backup begins anew.
    #[must_use]
    pub fn load(fs: &dyn FileSystem, path: &Path) -> Option<Self> {
        match read(fs, path) {
            Ok(state) => Some(state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "where the log was shipped last is not known; the backup begins anew");
                None
            }
        }
    }

    /// Replaces the file, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), BackupError> {
        let text = serde_json::to_string(self).map_err(io::Error::other)? + "\n";
        Ok(replace_file(fs, path, text.as_bytes())?)
    }
}

fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<ShippedTo> {
    const MAX_BYTES: u64 = 4096;
    let file = fs.open(path)?;
    let bytes = file.read_at(0, usize::try_from(file.len()?.min(MAX_BYTES)).map_err(io::Error::other)?)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}
