//! What may be written beside the store for a while: never so much that the store has no room.

use super::KeeperParts;
use crate::backup::BackupError;
use crate::backup::drill::SCRATCH_NAME;
use crate::backup::verify::SCRATCH_PREFIX;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);

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

/// The bytes that are free, beyond what must stay so.
pub(super) async fn spare_bytes(parts: &KeeperParts) -> Result<u64, BackupError> {
    let (fs, dir) = (parts.source.fs.clone(), parts.source.scratch.clone());
    let free = tokio::task::spawn_blocking(move || fs.available_bytes(&dir)).await??;
    Ok(free.saturating_sub(parts.care.min_free_bytes))
}

/// Does the work, and stops it when others leave it no room.
///
/// # Errors
/// As the work; `StorageFull` when it was stopped for that.
pub(super) async fn within<T, F>(
    parts: &KeeperParts,
    stop: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<T, BackupError>
where
    F: Future<Output = Result<T, BackupError>>,
{
    let own = stop.child_token();
    let mut working = std::pin::pin!(work(own.clone()));
    tokio::select! {
        done = &mut working => return done,
        () = lacks(parts) => own.cancel(),
    }
    match working.await {
        Err(BackupError::Stopped) if !stop.is_cancelled() => {
            let why = "the disk is nearly full: what was written for a look at the backup made room";
            Err(io::Error::new(io::ErrorKind::StorageFull, why).into())
        }
        done => done,
    }
}

async fn lacks(parts: &KeeperParts) {
    loop {
        match spare_bytes(parts).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot tell how much space is left"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
