//! Keeps the write-ahead log small, however many readers there are.
//!
//! SQLite's own checkpoints never wait, so the log begins anew only in a moment without a reader; under readers that
//! overlap there is none, and it would grow for ever. A log that has grown too large is therefore copied and cut
//! off while the writer waits for the readers that still use it.

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that one attempt keeps writes waiting. A read takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Checkpoints {
    log: PathBuf,
    /// The size that the log may have, in bytes.
    limit: u64,
    /// The size at which the next attempt is due.
    due: u64,
}

impl Checkpoints {
    pub(super) fn new(database: &Path, limit: u64) -> Self {
        Self { log: super::open::beside(database, "-wal"), limit, due: limit }
    }

    /// Called by the writer between transactions.
    pub(super) fn keep_small(&mut self, db: &Connection) {
        let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        metrics::gauge!("sediment_meta_wal_bytes").set(size as f64);
        if size < self.due {
            return;
        }
        self.due = match cut(db) {
            Ok(true) => self.limit,
            // Readers were in the way: not again at once, or every write would wait.
            Ok(false) => size + self.limit / 4,
            Err(error) => {
                // Nothing is lost: the log still holds what could not be copied.
                tracing::warn!(%error, "the metadata log could not be copied into the database");
                size + self.limit / 4
            }
        };
    }
}

/// Whether the log is empty now.
fn cut(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(PATIENCE)?;
    let busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    db.busy_timeout(super::open::BUSY_TIMEOUT)?;
    Ok(busy? == 0)
}
