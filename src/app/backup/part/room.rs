//! The disk that the scratch is on: what is brought there leaves the gateway its room.

use crate::app::error::{AppError, Exit};
use crate::app::stats::bytes;
use crate::sys::{FileSystem, RealFileSystem};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Beyond what must stay free: what comes until it is looked again, and until it has ended. The gateway refuses writes below that.
const MARGIN_BYTES: u64 = 128 << 20;

/// The bytes that are free where a directory is.
type Look = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

pub(super) struct Room {
    dir: PathBuf,
    least_bytes: u64,
    look: Arc<Look>,
}

impl Room {
    /// `min_free_bytes`: what the gateway keeps free there.
    pub(super) fn new(dir: PathBuf, min_free_bytes: u64) -> Self {
        let look = Arc::new(|dir: &Path| RealFileSystem.available_bytes(dir));
        Self { dir, least_bytes: min_free_bytes.saturating_add(MARGIN_BYTES), look }
    }

    /// Does the work, and stops it when there is no more room.
    ///
    /// # Errors
    /// As the work; or that it was stopped, with what helps.
    pub(super) async fn within<T>(
        &self,
        stop: &CancellationToken,
        work: impl AsyncFnOnce(CancellationToken) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        if self.is_lacking().await {
            return Err(self.full("nothing was done; the same command goes on there"));
        }
        let own = stop.child_token();
        let mut working = pin!(work(own.clone()));
        tokio::select! {
            done = &mut working => return done,
            () = self.lacks() => own.cancel(),
        }
        working.await.map_err(|error| self.full(&error.message))
    }

    fn full(&self, why: &str) -> AppError {
        let message = format!(
            "less than {} bytes are free where {} is (storage.min_free_bytes and some more): make room there, or run it with --data on another disk or machine, which needs the bucket and the key alone; {why}",
            bytes(self.least_bytes),
            self.dir.display()
        );
        AppError::new(Exit::Storage, message)
    }

    async fn lacks(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.is_lacking().await {
                return;
            }
        }
    }

    /// Where that cannot be told, writing will.
    async fn is_lacking(&self) -> bool {
        let (look, dir) = (Arc::clone(&self.look), self.dir.clone());
        match tokio::task::spawn_blocking(move || look(&dir)).await {
            Ok(Ok(free)) => free < self.least_bytes,
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot tell how much space is left");
                false
            }
            Err(error) => {
                tracing::debug!(%error, "cannot tell how much space is left");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MARGIN_BYTES, Room};
    use crate::app::error::{AppError, Exit};
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio_util::sync::CancellationToken;

    fn room(min_free: u64) -> (Room, Arc<AtomicU64>) {
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let told = Arc::clone(&free);
        let room = Room::new(PathBuf::from("/scratch"), min_free);
        (Room { look: Arc::new(move |_| Ok(told.load(Ordering::SeqCst))), ..room }, free)
    }

    #[tokio::test(start_paused = true)]
    async fn i5_work_ends_before_the_gateway_lacks_room_and_says_what_helps() {
        let ((room, free), stop) = (room(1000), CancellationToken::new());
        let ended = room.within(&stop, async |stop| {
            free.store(1000 + MARGIN_BYTES - 1, Ordering::SeqCst);
            stop.cancelled().await;
            Err::<(), _>(AppError::failure("the restore", "3 objects were created"))
        });
        let error = ended.await.unwrap_err();
        assert_eq!(error.exit, Exit::Storage);
        for word in ["/scratch", "make room", "3 objects were created"] {
            assert!(error.message.contains(word), "{}", error.message);
        }
        let again = room.within(&stop, async |_| -> Result<(), _> { unreachable!() });
        assert_eq!(again.await.unwrap_err().exit, Exit::Storage, "nothing is begun");
        free.store(1000 + MARGIN_BYTES, Ordering::SeqCst);
        assert_eq!(room.within(&stop, async |_| Ok(7)).await.unwrap(), 7);
    }
}
