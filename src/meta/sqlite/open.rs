//! Opening a database: recognised before it is touched, created whole or not at all, migrated step by step.

use super::settings::SqliteSettings;
use super::sql;
use crate::meta::MetaError;
use crate::sys::{FailPoint, FileSystem, RealFileSystem};
use crate::types::UnixMillis;
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `Sdmt`: in the file's header at offset 68.
pub(super) const APPLICATION_ID: i32 = 0x5364_6D74;
/// WAL code before this one can corrupt a database with several connections.
const OLDEST_SQLITE: i32 = 3_051_003;
/// Larger than SQLite's default, so that a row with an inline body stays in one page.
pub(super) const PAGE_BYTES: u32 = 8192;
/// The size that the log may have before the writer waits for readers to cut it off. At a fourth it is copied into the
/// database.
pub(super) const LOG_BYTES: u64 = 64 << 20;
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do when the database is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Create it. One that is there is opened.
    Create,
    /// Refuse: a store that lost its metadata must not start empty.
    Existing,
}

/// Whether there is a database; one of something else, or of a newer version, is an error. Nothing is changed.
pub(super) fn check(path: &Path) -> Result<bool, MetaError> {
    match application_id(path)? {
        Some(APPLICATION_ID) => refuse_newer(path).map(|()| true),
        Some(_) => Err(foreign(path)),
        None => Ok(false),
    }
}

/// `now`: by the wall clock.
pub(super) fn open(
    path: &Path,
    mode: OpenMode,
    now: UnixMillis,
    settings: &SqliteSettings,
) -> Result<Connection, MetaError> {
    check_version(rusqlite::version_number())?;
    if !check(path)? {
        if mode == OpenMode::Existing {
            return Err(MetaError::Incompatible(format!(
                "there is no metadata database at {}: restore it from a backup; the store does not start empty",
                path.display()
            )));
        }
        create(path, now)?;
    }
    settle_log(path)?;
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    configure(&db, settings.page_cache_bytes / 2)?;
    let journal: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if journal != "wal" {
        return Err(MetaError::Incompatible(format!(
            "{} cannot be used with a write-ahead log: put it on a local file system",
            path.display()
        )));
    }
    db.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    keep_log(&db)?;
    migrate(&db, path, now)?;
    Ok(db)
}

/// What a process that was killed wrote to the log, and did not sync, is about to be read and shown: a client that finds its
/// object there does not send it again. So it is made durable first, and read as the device has it: after a failed sync memory
/// may show what the device never took. Before any connection is open, since closing a file drops its locks.
fn settle_log(path: &Path) -> Result<(), MetaError> {
    let log = match RealFileSystem.open(&beside(path, "-wal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        log => log?,
    };
    log.sync_data()?;
    FailPoint::MetaLogSettled.pass()?;
    Ok(log.drop_cached()?)
}

/// Closing the last connection would copy the log and remove it. After a sync that failed, the log is all that is sure.
fn keep_log(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path, cache_bytes: u64) -> Result<Connection, MetaError> {
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    configure(&db, cache_bytes)?;
    db.execute_batch("PRAGMA query_only = ON")?;
    Ok(db)
}

/// A connection that copies the log into the database, and does nothing else.
pub(super) fn open_copier(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    // The log is synced before it is copied, the database before the log is begun anew.
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA mmap_size = 0; PRAGMA wal_autocheckpoint = 0;")?;
    keep_log(&db)?;
    Ok(db)
}

/// One thread at a time uses a connection, so SQLite need not lock it.
fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn configure(db: &Connection, cache_bytes: u64) -> Result<(), MetaError> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(96);
    // A plan that may depend on a bound LIMIT is made anew each time that the limit is bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // No mmap: an I/O error would kill the process instead of failing one read. Temporary data in memory, since
    // there may be no writable /tmp.
    db.execute_batch(&format!(
        "PRAGMA cache_size = -{}; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        (cache_bytes / 1024).max(512)
    ))?;
    Ok(())
}

pub(super) fn check_version(version: i32) -> Result<(), MetaError> {
    if version >= OLDEST_SQLITE {
        return Ok(());
    }
    Err(MetaError::Incompatible(format!(
        "SQLite {version} can corrupt a database; build with {OLDEST_SQLITE} or newer"
    )))
}

fn foreign(path: &Path) -> MetaError {
    MetaError::Incompatible(format!(
        "{} is not a metadata database of this program; it was left as it is",
        path.display()
    ))
}

/// From the file's header, without SQLite, which could change the file. `None`: there is no file.
fn application_id(path: &Path) -> Result<Option<i32>, MetaError> {
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(foreign(path)),
        Err(error) => return Err(error.into()),
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(foreign(path));
    }
    let id = header[68..].first_chunk::<4>().copied().unwrap_or_default();
    Ok(Some(i32::from_be_bytes(id)))
}

/// On a connection that cannot write: closing one that can would fold a newer program's log into the file.
fn refuse_newer(path: &Path) -> Result<(), MetaError> {
    let db = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    let version = schema_version(&db)?;
    if version > sql::MIGRATIONS.len() {
        return Err(MetaError::Incompatible(format!(
            "{} has schema version {version}, this program knows {} at most: start a newer version of the \
             program, or restore a backup that this one made",
            path.display(),
            sql::MIGRATIONS.len()
        )));
    }
    Ok(())
}

fn schema_version(db: &Connection) -> Result<usize, MetaError> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    usize::try_from(version).map_err(|_| MetaError::Corrupt(format!("schema version {version}")))
}

fn migrate(db: &Connection, path: &Path, now: UnixMillis) -> Result<(), MetaError> {
    let from = schema_version(db)?;
    if from == sql::MIGRATIONS.len() {
        return Ok(());
    }
    if from > 0 {
        tracing::info!(from, to = sql::MIGRATIONS.len(), "migrating the metadata");
    }
    sorting_beside(db, path, || {
        for (at, step) in sql::MIGRATIONS.iter().enumerate().skip(from) {
            let version = at + 1;
            let by_now = if version == sql::REACHED { sql::reached_by(now) } else { String::new() };
            db.execute_batch(&format!(
                "BEGIN IMMEDIATE; {step}; {by_now} PRAGMA user_version = {version}; COMMIT;"
            ))?;
            FailPoint::MetaMigrated.pass()?;
            // A step may write as much as the database has, and nothing else copies the log yet.
            db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        Ok(())
    })
}

/// Building an index sorts what may be a hundred bytes for each version of the store: in files beside the database, which
/// is where there is room, and neither in memory nor in a /tmp that may be memory as well.
fn sorting_beside(
    db: &Connection,
    path: &Path,
    work: impl FnOnce() -> Result<(), MetaError>,
) -> Result<(), MetaError> {
    // SQLite has one such directory for the whole process. No other connection makes temporary files.
    static DIRECTORY: Mutex<()> = Mutex::new(());
    // A directory that SQLite cannot be told stays what it was before: a sort in memory.
    let Some(directory) = directory_of(path).to_str() else { return work() };
    let _alone = DIRECTORY.lock();
    db.pragma_update(None, "temp_store_directory", directory)?;
    db.execute_batch("PRAGMA temp_store = FILE")?;
    let done = work();
    // The transaction of a step that failed holds the setting.
    let ended = if db.is_autocommit() { Ok(()) } else { db.execute_batch("ROLLBACK") };
    let undone = db.execute_batch("PRAGMA temp_store_directory = ''; PRAGMA temp_store = MEMORY");
    done.and(ended.and(undone).map_err(MetaError::from))
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Under another name first, so that a file at `path` is whole, whenever the power fails.
pub(super) fn create(path: &Path, now: UnixMillis) -> Result<(), MetaError> {
    for suffix in ["-wal", "-journal"] {
        if beside(path, suffix).exists() {
            return Err(MetaError::Incompatible(format!(
                "{0}{suffix} is there, but not {0}: restore the database from a backup, or move that file away",
                path.display()
            )));
        }
    }
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let new = beside(path, ".new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(&new, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let db = Connection::open_with_flags(&new, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    db.execute_batch(&format!("PRAGMA page_size = {PAGE_BYTES}; PRAGMA application_id = {APPLICATION_ID};"))?;
    migrate(&db, &new, now)?;
    // Here, not under its own name: the change goes by a rollback journal, and a power cut may bring a removed one back. One that
    // comes back beside the database keeps it from being opened, or takes its log away.
    db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    db.close().map_err(|(_, error)| error)?;
    File::open(&new)?.sync_all()?;
    FailPoint::MetaCreated.pass()?;
    fs::rename(&new, path)?;
    FailPoint::MetaRenamed.pass()?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
