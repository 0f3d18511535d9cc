//! What may be written beside a store for a while: never so much that the store has no room.

use super::BackupError;
use crate::sys::FileSystem;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A directory, of whose device so much stays free.
#[derive(Debug, Clone)]
pub struct Room {
    pub fs: Arc<dyn FileSystem>,
    pub dir: PathBuf,
    pub min_free_bytes: u64,
}

impl Room {
    /// The bytes that are free, beyond what must stay so.
    ///
    /// # Errors
    /// When that cannot be told.
    pub async fn spare_bytes(&self) -> Result<u64, BackupError> {
        let (fs, dir) = (Arc::clone(&self.fs), self.dir.clone());
        let free = tokio::task::spawn_blocking(move || fs.available_bytes(&dir)).await??;
        Ok(free.saturating_sub(self.min_free_bytes))
    }

    /// Does the work, and stops it when others leave it no room.
    ///
    /// # Errors
    /// As the work; `StorageFull` when it was stopped for that.
    pub async fn within<T, F>(
        &self,
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
            () = self.lacks() => own.cancel(),
        }
        match working.await {
            Err(BackupError::Stopped) if !stop.is_cancelled() => {
                let why = "the disk is nearly full: what was written for a look at the backup made room";
                Err(io::Error::new(io::ErrorKind::StorageFull, why).into())
            }
            done => done,
        }
    }

    async fn lacks(&self) {
        loop {
            match self.spare_bytes().await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "cannot tell how much space is left"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
