//! A directory for one restored store.

use std::io;
use std::path::{Path, PathBuf};

/// Its name.
pub(in crate::backup) const NAME: &str = "backup-drill";

/// Goes when it is dropped, with everything in it.
#[derive(Debug)]
pub(super) struct ScratchDir(PathBuf);

impl ScratchDir {
    /// A new directory. What an earlier drill has left beside it, when its process was killed, goes first.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let dir = parent.join(NAME);
        remove(&dir)?;
        std::fs::create_dir_all(dir.join("meta"))?;
        Ok(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, dir = %self.0.display(), "what a drill has restored could not be removed");
        }
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
