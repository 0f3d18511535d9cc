//! `backup-lease.json`: what a data directory knows of the lease, so that after a crash the next process need not wait for what is its own.
//!
//! Whoever opens it holds the directory's lock, so whoever wrote it has ended. What he had sent may come all the same; what that can do
//! stands in `docs/decisions/038-its-own-lease.md`.

use crate::sys::{FileSystem, replace_file};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The write that stands, those whose fate is not known, and one that is about to be sent.
const MAX_TOKENS: usize = super::lease::MAX_TRIED + 2;
const MAX_BYTES: u64 = 4096;
/// A disk that hangs must not cost the lease.
const NOTE_TIME: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Noted {
    /// Of writes of the lease that were sent, the last ones.
    tokens: VecDeque<String>,
    /// Something was begun whose coming late would do harm, and has not ended.
    lingers: bool,
}

/// What one data directory has written of the lease.
#[derive(Debug)]
pub struct Claim {
    noted: Mutex<Noted>,
    /// `None`: it ends with this value.
    file: Option<(Arc<dyn FileSystem>, PathBuf)>,
    /// Held while the file is written.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Claim {
    /// Reads what the last process of the data directory has left. What cannot be read is not its own: then the lease is waited for.
    #[must_use]
    pub fn open(fs: Arc<dyn FileSystem>, path: PathBuf) -> Arc<Self> {
        let noted = match read(&*fs, &path) {
            Ok(noted) => noted,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Noted::default(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "whether the lease is this store's own is not known");
                Noted::default()
            }
        };
        Arc::new(Self { noted: Mutex::new(noted), file: Some((fs, path)), writing: Arc::default() })
    }

    #[cfg(test)]
    pub(super) fn in_memory() -> Arc<Self> {
        Arc::new(Self { noted: Mutex::default(), file: None, writing: Arc::default() })
    }

    /// As a copy of the data directory.
    #[cfg(test)]
    pub(super) fn copy_of(&self, other: &Self) {
        let other = other.noted.lock().clone();
        *self.noted.lock() = other;
    }

    /// Whether a lease with this token may be taken over at once.
    pub(super) fn is_own(&self, token: &str) -> bool {
        let noted = self.noted.lock();
        !noted.lingers && noted.tokens.iter().any(|own| own == token)
    }

    pub(super) fn lingers(&self) -> bool {
        self.noted.lock().lingers
    }

    /// Before a lease with this token is sent. Where it cannot be noted the next process waits.
    pub(super) async fn note(self: &Arc<Self>, token: &str) {
        {
            let mut noted = self.noted.lock();
            if noted.tokens.len() == MAX_TOKENS {
                noted.tokens.pop_front();
            }
            noted.tokens.push_back(token.to_owned());
        }
        if let Err(error) = self.saved().await {
            tracing::warn!(%error, "the lease could not be noted beside the store: after a crash it is waited for");
        }
    }

    /// From now on the next process waits for the lease, or does not any more.
    pub(super) async fn linger(self: &Arc<Self>, lingers: bool) -> io::Result<()> {
        self.noted.lock().lingers = lingers;
        self.saved().await
    }

    /// The lease was taken, so what lingered has had its time: known durably with the next token.
    pub(super) fn settle(&self) {
        self.noted.lock().lingers = false;
    }

    /// One at a time: behind one that hangs the others fail.
    async fn saved(self: &Arc<Self>) -> io::Result<()> {
        let Some((fs, path)) = self.file.clone() else { return Ok(()) };
        let turn = Arc::clone(&self.writing).try_lock_owned().map_err(|_| io::ErrorKind::ResourceBusy)?;
        let text = serde_json::to_string(&*self.noted.lock()).map_err(io::Error::other)? + "\n";
        let saving = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            replace_file(&*fs, &path, text.as_bytes())
        });
        match tokio::time::timeout(NOTE_TIME, saving).await {
            Ok(saved) => saved.map_err(io::Error::other)?,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn read(fs: &dyn FileSystem, path: &Path) -> io::Result<Noted> {
    let file = fs.open(path)?;
    let bytes = file.read_at(0, usize::try_from(file.len()?.min(MAX_BYTES)).map_err(io::Error::other)?)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::{Claim, MAX_TOKENS};
    use crate::sys::RealFileSystem;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_next_process_knows_the_last_tokens_and_whether_something_lingers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup-lease.json");
        let open = || Claim::open(Arc::new(RealFileSystem), path.clone());
        let claim = open();
        for n in 0..=MAX_TOKENS {
            claim.note(&format!("token-{n}")).await;
        }
        let next = open();
        assert!(!next.is_own("token-0") && next.is_own("token-1"));
        assert!(next.is_own(&format!("token-{MAX_TOKENS}")) && !next.is_own("another"));
        claim.linger(true).await.unwrap();
        assert!(open().lingers() && !open().is_own("token-1"));
        claim.settle();
        claim.note("token").await;
        assert!(open().is_own("token-2") && open().is_own("token"));
        std::fs::write(&path, "{\"tokens\":[\"tok").unwrap();
        assert!(!open().is_own("token"));
    }
}
