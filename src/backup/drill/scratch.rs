//! A directory for one restored store.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Its name.
pub(in crate::backup) const NAME: &str = "backup-drill";

/// Goes when it is dropped, with everything in it.
#[derive(Debug)]
pub(super) struct ScratchDir(PathBuf);

impl ScratchDir {
    /// A new directory, for nobody else: bodies and accounts come there. What an earlier drill has left beside it, when its process was killed, goes first.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        let dir = parent.join(NAME);
        remove(&dir)?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir.join("meta"))?;
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

/// The bytes that the files below a directory take on their device. What goes meanwhile takes none. Blocks.
pub(super) fn used_bytes(dir: &Path) -> io::Result<u64> {
    let (mut ahead, mut bytes) = (vec![dir.to_owned()], 0);
    while let Some(dir) = ahead.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) if found.is_dir() => ahead.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
