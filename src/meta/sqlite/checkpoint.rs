//! Keeps the write-ahead log small, and commits out of the way of that.
//!
//! SQLite's own checkpoints are made by whoever commits: every 16 MiB of log, one commit and all that wait behind it
//! would wait for 16 MiB to be copied into the database and synced. Here another thread copies, from a connection of its
//! own, while commits go on. Because they go on, it never quite gets to the end: when little is missing it says so, and the
//! writer copies the rest between two transactions. After that the next commit begins the log anew.
//!
//! It can do so only in a moment without a reader that uses the log; under readers that overlap there is none, and it would
//! grow for ever. A log that has grown too large is therefore copied and cut off while the writer waits for the readers.
//!
//! SQLite syncs the database only after a copy that got to the end, so the copier syncs it itself. After a sync that failed
//! nobody knows which pages the device has, and another one may well succeed: nothing is written from then on, the log is
//! never begun anew, and whoever opens the store next reads all of it.

use crate::sys::FailPoint;
use rusqlite::{Connection, ffi};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that one attempt to cut keeps writes waiting. A read takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);
/// A page in the log, with its header.
const FRAME_BYTES: u64 = super::open::PAGE_BYTES as u64 + 24;
/// What is left to the writer is synced in less than a millisecond.
const LEFT_PAGES: u64 = 32;
/// A log that is so many times as large as it may be is not added to before the copy under way is done: the device is
/// slower than the writer.
const MOST_LIMITS: u64 = 3;
/// While the whole database is copied elsewhere no cut can succeed, and none is tried before the log is so many times as
/// large as it may be: 1 GiB.
const LIMITS_FOR_IMAGES: u64 = 16;
/// A writer that is as fast as copying is not waited for.
const ROUNDS: usize = 8;

/// Of the log, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pages {
    logged: u64,
    copied: u64,
    is_busy: bool,
}

impl Pages {
    /// Without waiting for anybody. `NOOP` only looks, `PASSIVE` copies what it can.
    fn after(db: &Connection, mode: &'static str) -> rusqlite::Result<Self> {
        let mut checkpoint = db.prepare_cached(match mode {
            "PASSIVE" => "PRAGMA wal_checkpoint(PASSIVE)",
            "TRUNCATE" => "PRAGMA wal_checkpoint(TRUNCATE)",
            _ => "PRAGMA wal_checkpoint(NOOP)",
        })?;
        checkpoint.query_row([], |row| {
            let pages = |at: usize| row.get(at).map(|pages: i64| u64::try_from(pages).unwrap_or(0));
            Ok(Self { is_busy: row.get::<_, i64>(0)? != 0, logged: pages(1)?, copied: pages(2)? })
        })
    }

    const fn left(self) -> u64 {
        self.logged.saturating_sub(self.copied)
    }
}

/// Copies of the whole database under way: each reads for long at one moment of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Images(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Image<'i>(&'i Images);

impl Images {
    pub(super) fn begin(&self) -> Image<'_> {
        self.0.fetch_add(1, Ordering::AcqRel);
        Image(self)
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
pub(super) struct Checkpoints {
    log: PathBuf,
    copier: Copier,
    images: Images,
    /// The size that the log may have, in pages.
    limit: u64,
    /// Its size when it was last looked at.
    seen: u64,
    /// The sizes at which the next copy, and the next cut, are due.
    copy_at: u64,
    cut_at: u64,
}

impl Checkpoints {
    /// `limit`: the size that the log may have, in bytes. `sync`: makes the database's file durable, without closing it:
    /// closing any descriptor of it drops the locks that SQLite holds in this process.
    ///
    /// # Errors
    /// When the database cannot be opened once more.
    pub(super) fn new(
        database: &Path,
        limit: u64,
        sync: impl Fn() -> io::Result<()> + Send + 'static,
    ) -> rusqlite::Result<Self> {
        let db = super::open::open_copier(database)?;
        Ok(Self::with(database, limit, Copier::start(move || copy(&db, &sync))))
    }

    fn with(database: &Path, limit: u64, copier: Copier) -> Self {
        let limit = limit / FRAME_BYTES;
        let log = super::open::beside(database, "-wal");
        let images = Images::default();
        Self { log, copier, images, limit, seen: 0, copy_at: limit / 4, cut_at: limit }
    }

    /// Whoever copies the whole database says so here.
    pub(super) fn images(&self) -> Images {
        self.images.clone()
    }

    /// Called by the writer between transactions.
    ///
    /// # Errors
    /// When a sync failed, with why: nothing may be written any more.
    pub(super) fn keep_small(&mut self, db: &Connection) -> Result<(), String> {
        metrics::gauge!("sediment_meta_wal_bytes")
            .set(std::fs::metadata(&self.log).map_or(0, |log| log.len()) as f64);
        match self.tend(db) {
            Ok(()) => Ok(()),
            Err(error) if is_failed_sync(&error) => {
                Err(format!("syncing the metadata database while its log was copied: {error}"))
            }
            Err(error) => {
                // Nothing is lost: the log still holds what could not be copied.
                tracing::warn!(%error, "the metadata log could not be copied into the database");
                self.put_off();
                Ok(())
            }
        }
    }

    /// Not again at once, or every write would wait.
    const fn put_off(&mut self) {
        self.copy_at = self.seen + self.limit / 8;
        self.cut_at = self.seen + self.limit / 4;
    }

    fn tend(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let pages = Pages::after(db, "NOOP")?;
        if pages.is_busy {
            // It says nothing about the log.
            return Ok(());
        }
        if pages.logged < self.seen {
            (self.copy_at, self.cut_at) = (self.limit / 4, self.limit);
        }
        self.seen = pages.logged;
        let is_too_large = self.seen >= MOST_LIMITS * self.limit;
        if let Some(copied) = self.copier.done(is_too_large) {
            self.copy_at = self.seen + self.limit / 32;
            if copied? {
                Pages::after(db, "PASSIVE")?;
            }
        } else if !self.copier.is_at_work() {
            self.cut_or_copy(db)?;
        }
        Ok(())
    }

    fn cut_or_copy(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.seen >= self.cut_at && self.images.any() && self.seen < LIMITS_FOR_IMAGES * self.limit {
            self.put_off();
        } else if self.seen >= self.cut_at {
            let is_empty = cut(db)?;
            self.put_off();
            if is_empty {
                (self.seen, self.copy_at, self.cut_at) = (0, self.limit / 4, self.limit);
            }
        } else if self.seen >= self.copy_at {
            self.copier.begin();
        }
        Ok(())
    }
}

/// A page that a failed sync has lost does not make the next one fail.
fn is_failed_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn failed_sync(error: &io::Error) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), Some(error.to_string()))
}

/// Copies until little is left that came meanwhile, and syncs what it copied. Returns whether it is little.
fn copy(db: &Connection, sync: &dyn Fn() -> io::Result<()>) -> rusqlite::Result<bool> {
    let mut before = None;
    for _ in 0..ROUNDS {
        let copied = Pages::after(db, "PASSIVE")?.copied;
        FailPoint::MetaCopied.pass().and_then(|()| sync()).map_err(|error| failed_sync(&error))?;
        FailPoint::MetaCopySynced.pass().map_err(|error| failed_sync(&error))?;
        let now = Pages::after(db, "NOOP")?;
        if !now.is_busy && now.left() <= LEFT_PAGES {
            return Ok(true);
        }
        // A reader holds up what is behind its snapshot.
        if before.replace(copied) == Some(copied) {
            break;
        }
    }
    Ok(false)
}

/// Whether the log is empty now.
fn cut(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(PATIENCE)?;
    let pages = Pages::after(db, "TRUNCATE");
    db.busy_timeout(super::open::BUSY_TIMEOUT)?;
    Ok(!pages?.is_busy)
}

/// A thread that copies when it is told to. Dropping it waits for the copy under way.
#[derive(Debug)]
struct Copier {
    begin: Option<SyncSender<()>>,
    done: Receiver<rusqlite::Result<bool>>,
    is_at_work: bool,
    thread: Option<JoinHandle<()>>,
}

impl Copier {
    fn start(mut copy: impl FnMut() -> rusqlite::Result<bool> + Send + 'static) -> Self {
        let (begin, told) = sync_channel(1);
        let (tell, done) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("meta-copy".into())
            .spawn(move || while told.recv().is_ok() && tell.send(copy()).is_ok() {});
        // Without a thread nothing is ever done, and the log is cut off when it is too large.
        Self { begin: Some(begin), done, is_at_work: false, thread: thread.ok() }
    }

    const fn is_at_work(&self) -> bool {
        self.is_at_work
    }

    fn begin(&mut self) {
        self.is_at_work = self.begin.as_ref().is_some_and(|begin| begin.try_send(()).is_ok());
    }

    /// What became of the copy that was begun, once; `waits`: not before it is done.
    fn done(&mut self, waits: bool) -> Option<rusqlite::Result<bool>> {
        let done = match waits && self.is_at_work {
            true => self.done.recv().map_err(|_| TryRecvError::Disconnected),
            false => self.done.try_recv(),
        };
        match done {
            Ok(done) => {
                self.is_at_work = false;
                Some(done)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.is_at_work = false;
                if self.begin.take().is_some() {
                    tracing::error!(
                        "the thread that copies the metadata log has ended; writes wait for cuts instead"
                    );
                }
                None
            }
        }
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        drop(self.begin.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::{Checkpoints, Copier, copy};
    use std::io;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, sync_channel};

    /// Copies only when it is let.
    pub(in crate::meta::sqlite) fn held(database: &Path, limit: u64, let_it: Receiver<()>) -> Checkpoints {
        let db = super::super::open::open_copier(database).unwrap();
        let copier = Copier::start(move || {
            let _ = let_it.recv();
            copy(&db, &|| Ok(()))
        });
        Checkpoints::with(database, limit, copier)
    }

    /// The first copy has just ended so.
    pub(in crate::meta::sqlite) fn answered(
        database: &Path,
        limit: u64,
        answer: rusqlite::Result<bool>,
    ) -> Checkpoints {
        let (tell, done) = sync_channel(1);
        tell.send(answer).unwrap();
        Checkpoints::with(database, limit, Copier { begin: None, done, is_at_work: true, thread: None })
    }

    /// Its thread has died in the first copy.
    pub(in crate::meta::sqlite) fn dead(database: &Path, limit: u64) -> Checkpoints {
        let mut copier = Copier::start(|| panic!("on purpose"));
        copier.begin();
        copier.thread.take().unwrap().join().unwrap_err();
        Checkpoints::with(database, limit, copier)
    }

    /// One copy by a connection of its own. Returns whether little is left.
    pub(in crate::meta::sqlite) fn copied(
        database: &Path,
        sync: &dyn Fn() -> io::Result<()>,
    ) -> rusqlite::Result<bool> {
        copy(&super::super::open::open_copier(database).unwrap(), sync)
    }
}
