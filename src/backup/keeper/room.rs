//! Where looks write, and what they have left there.

use super::KeeperParts;
use crate::backup::Room;
use crate::backup::drill::SCRATCH_NAME;
use crate::backup::verify::SCRATCH_PREFIX;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Removes what looks have left there, whose process was killed.
pub(super) async fn tidy(parts: &KeeperParts) {
    let dir = parts.source.scratch.clone();
    match tokio::task::spawn_blocking(move || remove_left(&dir)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "what an earlier look at the backup has left could not be removed");
        }
        Err(error) => {
            tracing::warn!(%error, "what an earlier look at the backup has left was not looked for");
        }
    }
}

fn remove_left(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == SCRATCH_NAME {
            std::fs::remove_dir_all(entry.path())?;
        } else if name.to_string_lossy().starts_with(SCRATCH_PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Where looks write.
pub(super) fn room(parts: &KeeperParts) -> Room {
    Room {
        fs: Arc::clone(&parts.source.fs),
        dir: parts.source.scratch.clone(),
        min_free_bytes: parts.care.min_free_bytes,
    }
}
