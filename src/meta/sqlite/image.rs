//! A copy of the whole database as it was at one moment, made while it is written to.
//!
//! SQLite's online backup begins anew whenever another connection commits, unless it reads inside a transaction of its
//! own: so all of it is one read transaction, which keeps nobody from writing. Its price is that the log cannot be cut
//! off meanwhile: [`super::checkpoint`] is told, and does not try.

use super::state::{self, State};
use super::{open, owner, sql};
use crate::meta::{Consumer, MetaError};
use crate::sys::pause;
use crate::types::CommitSeq;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// 2 MiB at a time, a few milliseconds.
const STEP_PAGES: i32 = 256;
/// As long as a step took it rests, and no longer than this: requests come first.
const LONGEST_REST: Duration = Duration::from_millis(100);
const CACHE_BYTES: u64 = 1 << 20;

/// Pages copied, and in all.
pub(super) type OnPages<'p> = &'p mut dyn FnMut(u64, u64);

/// Copies the database at `from` into a new file, durably. `None`, and no file, when it was stopped.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    progress: OnPages<'_>,
    stop: &CancellationToken,
) -> Result<Option<CommitSeq>, MetaError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = copy_into(from, to, progress, stop);
    if !matches!(copied, Ok(Some(_))) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(open::beside(to, suffix));
        }
    }
    copied
}

fn copy_into(
    from: &Path,
    to: &Path,
    progress: OnPages<'_>,
    stop: &CancellationToken,
) -> Result<Option<CommitSeq>, MetaError> {
    let source = open::open_reader(from, CACHE_BYTES)?;
    let transaction = source.unchecked_transaction()?;
    // The first read: the transaction shows this moment from here on.
    let state = state::load(&transaction)?;
    let is_whole = pages(&transaction, to, progress, stop)?;
    transaction.finish()?;
    if !is_whole {
        return Ok(None);
    }
    leave_log(to)?;
    File::open(to)?.sync_all()?;
    File::open(open::directory_of(to))?.sync_all()?;
    check(to, &state)?;
    Ok(Some(state.last_seq))
}

/// `false`: it was stopped.
fn pages(
    source: &Connection,
    to: &Path,
    progress: OnPages<'_>,
    stop: &CancellationToken,
) -> Result<bool, MetaError> {
    let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Half a copy is removed, a whole one synced once.
    copy.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA mmap_size = 0;")?;
    let backup = Backup::new(source, &mut copy)?;
    loop {
        if stop.is_cancelled() {
            return Ok(false);
        }
        let began = Instant::now();
        let step = backup.step(STEP_PAGES)?;
        let done = backup.progress();
        let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
        progress(count(done.pagecount - done.remaining), count(done.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => pause(began.elapsed().min(LONGEST_REST)),
            other => return Err(MetaError::Database(format!("copying the database: {other:?}"))),
        }
    }
    drop(backup);
    copy.close().map_err(|(_, error)| error)?;
    Ok(true)
}

/// The copy says that it has a log beside it, as the source has: from here on it is one file.
fn leave_log(copy: &Path) -> Result<(), MetaError> {
    let db = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let journal: String = db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if journal != "delete" {
        return Err(MetaError::Database(format!("the copy keeps the journal mode {journal}")));
    }
    // Whoever copied the source has copied nothing of the store that is opened from this: nothing is to wait for him.
    for consumer in [Consumer::Backup, Consumer::Replication] {
        db.execute("DELETE FROM cursors WHERE consumer = ?1", [consumer.name()])?;
    }
    owner::disown(&db)?;
    Ok(db.close().map_err(|(_, error)| error)?)
}

/// Opens the copy, as whoever restores it will.
fn check(copy: &Path, state: &State) -> Result<(), MetaError> {
    let db = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let number = |pragma: &str| db.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let is_ours =
        id == i64::from(open::APPLICATION_ID) && usize::try_from(version) == Ok(sql::MIGRATIONS.len());
    if is_ours && state::load(&db)? == *state {
        return Ok(());
    }
    Err(MetaError::Corrupt(format!(
        "the copy of the database at {} is not what it was made of",
        copy.display()
    )))
}
