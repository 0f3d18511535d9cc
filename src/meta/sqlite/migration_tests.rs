//! Migrating a store: what it costs, and what a wrong clock has left in it.

use super::{OpenMode, SqliteSettings, open, sql, state};
use crate::types::UnixMillis;
use rusqlite::Connection;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the database to a test that is run again in a process of its own.
const DATABASE: &str = "SEDIMENT_TEST_DATABASE";
const VERSIONS: u32 = 200_000;
/// Sorted in memory, the rows take twice as much.
const HEAP_BYTES: u32 = 14 << 20;

/// A database as the first steps leave it.
fn of_version(path: &Path, version: usize) -> Connection {
    let db = Connection::open(path).unwrap();
    let (id, steps) = (open::APPLICATION_ID, sql::MIGRATIONS[..version].join("; "));
    db.execute_batch(&format!(
        "PRAGMA page_size = 8192; PRAGMA application_id = {id}; PRAGMA journal_mode = WAL;
         PRAGMA synchronous = OFF; {steps}; PRAGMA user_version = {version};"
    ))
    .unwrap();
    db
}

fn watch(directory: &Path) -> OwnedFd {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, directory, WatchFlags::CREATE).unwrap();
    watch
}

/// How many temporary files of SQLite were made there.
fn temporary_files(watch: &OwnedFd) -> usize {
    let mut buffer = [const { MaybeUninit::uninit() }; 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    let mut count = 0;
    while let Ok(event) = events.next() {
        count += usize::from(event.file_name().is_some_and(|name| name.to_bytes().starts_with(b"etilqs_")));
    }
    count
}

#[test]
fn i5_a_migration_sorts_beside_the_database_and_not_in_memory() {
    if let Ok(database) = std::env::var(DATABASE) {
        let heap = Connection::open_in_memory().unwrap();
        // Of the whole process: hence one of its own.
        heap.pragma_update(None, "hard_heap_limit", HEAP_BYTES).unwrap_or_default();
        let set: u32 = heap.query_row("PRAGMA hard_heap_limit", [], |row| row.get(0)).unwrap();
        assert_eq!(set, HEAP_BYTES);
        let settings = SqliteSettings { page_cache_bytes: 4 << 20, ..SqliteSettings::default() };
        open::open(Path::new(&database), OpenMode::Existing, UnixMillis::new(1), &settings).unwrap();
        return;
    }
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("meta.db");
    of_version(&path, 3)
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {VERSIONS})
             INSERT INTO versions (row, seq, modified, kind, size, listed)
             SELECT CAST(printf('%0100d', i) AS BLOB), i, 0, 1, 0, 1 FROM n;"
        ))
        .unwrap();
    let (beside, temporary) = (watch(dir.path()), watch(elsewhere.path()));
    let name = "meta::sqlite::migration_tests::i5_a_migration_sorts_beside_the_database_and_not_in_memory";
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([name, "--exact", "--nocapture"]).env(DATABASE, &path).env("SQLITE_TMPDIR", elsewhere.path());
    let output = again.env("TMPDIR", elsewhere.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert!(temporary_files(&beside) > 0);
    assert_eq!(temporary_files(&temporary), 0);
    let db = Connection::open(&path).unwrap();
    let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let listed = "SELECT count(*) FROM versions INDEXED BY current_objects WHERE listed IS NOT NULL";
    let listed: u32 = db.query_row(listed, [], |row| row.get(0)).unwrap();
    assert_eq!((version as usize, listed), (sql::MIGRATIONS.len(), VERSIONS));
}

/// Temporary data of an open store stays in memory, whatever a migration did before.
#[test]
fn an_open_database_keeps_temporary_data_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.db");
    drop(of_version(&path, 1));
    let db = open::open(&path, OpenMode::Existing, UnixMillis::new(1), &SqliteSettings::default()).unwrap();
    let memory: u8 = db.query_row("PRAGMA temp_store", [], |row| row.get(0)).unwrap();
    assert_eq!(memory, 2);
}

#[test]
fn i5_a_migration_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.db");
    drop(of_version(&path, 1));
    let _db = open::open(&path, OpenMode::Existing, UnixMillis::new(1), &SqliteSettings::default()).unwrap();
    let log = std::fs::metadata(open::beside(&path, "-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
}

/// A stamp that the machine's clock gave when it was wrong does not hold locks for years.
#[test]
fn the_clock_of_locks_does_not_begin_at_a_stamp_ahead_of_the_wall_clock() {
    for (stamped, reached) in [(900_000, 5_000), (4_000, 4_000)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta.db");
        of_version(&path, 4)
            .execute_batch(&format!("UPDATE state SET last_seq = 1, last_at = {stamped}"))
            .unwrap();
        let opened = |now| {
            let settings = SqliteSettings::default();
            let db = open::open(&path, OpenMode::Existing, UnixMillis::new(now), &settings).unwrap();
            state::load(&db).unwrap()
        };
        assert_eq!(opened(5_000).reached, UnixMillis::new(reached));
        let again = opened(1);
        assert_eq!(again.reached, UnixMillis::new(reached), "once, and for good");
        assert_eq!(again.last_at, UnixMillis::new(stamped), "stamps go on from where they were");
    }
}

/// The database of a store that another version made, with all that it does not know itself.
fn of_schema_1(directory: &Path) -> PathBuf {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stores/schema-1.tar.zst");
    let unpacked = zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    let mut tar = Command::new("tar");
    let tar = tar.args(["-x", "-C"]).arg(directory).arg("./meta").stdin(std::process::Stdio::piped());
    let mut tar = tar.spawn().unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &unpacked).unwrap();
    assert!(tar.wait().unwrap().success());
    directory.join("meta/sediment.db")
}

fn version(db: &Connection) -> usize {
    db.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

/// Every row of every table, and that all indexes agree.
fn all_rows(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let intact: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let mut names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for name in names {
        let mut select = db
            .prepare(&format!("SELECT * FROM {name} ORDER BY 1, 2"))
            .unwrap_or_else(|_| db.prepare(&format!("SELECT * FROM {name}")).unwrap());
        let columns = select.column_count();
        let values = select.query_map([], |row| {
            let value = |n| row.get::<_, rusqlite::types::Value>(n);
            Ok(format!("{name}: {:?}", (0..columns).map(value).collect::<Result<Vec<_>, _>>()?))
        });
        rows.extend(values.unwrap().map(Result::unwrap));
    }
    rows
}

fn migrated(path: &Path) -> Vec<String> {
    let settings = SqliteSettings::default();
    let db = open::open(path, OpenMode::Existing, UnixMillis::new(5_000), &settings).unwrap();
    assert_eq!(version(&db), sql::MIGRATIONS.len());
    drop(db);
    all_rows(path)
}

/// As a kill between two steps leaves it: the last migration that was begun goes on from there.
#[test]
fn i1_a_migration_that_was_cut_off_after_any_step_goes_on_from_there() {
    let whole = {
        let dir = tempfile::tempdir().unwrap();
        migrated(&of_schema_1(dir.path()))
    };
    assert!(whole.len() > 40, "{}", whole.len());
    for done in 1..=sql::MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = of_schema_1(dir.path());
        let db = Connection::open(&path).unwrap();
        assert_eq!(version(&db), 1, "the fixture's");
        for (at, step) in sql::MIGRATIONS.iter().enumerate().take(done).skip(1) {
            let now =
                if at + 1 == sql::REACHED { sql::reached_by(UnixMillis::new(5_000)) } else { String::new() };
            db.execute_batch(&format!("BEGIN; {step}; {now} PRAGMA user_version = {}; COMMIT", at + 1))
                .unwrap();
        }
        drop(db);
        assert!(migrated(&path) == whole, "cut off after step {done}");
    }
}

/// In the middle of a write: the system ends a process whose file grows beyond its limit (where the signal is ignored, the write
/// fails). It hits the log, a sort's file, and
/// the copy of the log into the database, as the limit has it.
#[test]
fn i1_a_migration_that_was_killed_in_the_middle_of_a_step_begins_that_step_again() {
    let name = "meta::sqlite::migration_tests::i1_a_migration_that_was_killed_in_the_middle_of_a_step_begins_that_step_again";
    const LIMIT: &str = "SEDIMENT_TEST_FILE_BYTES";
    const ROWS: u32 = 60_000;
    let settings = SqliteSettings { page_cache_bytes: 1 << 20, ..SqliteSettings::default() };
    if let Ok(database) = std::env::var(DATABASE) {
        let limit: u64 = std::env::var(LIMIT).unwrap().parse().unwrap();
        let limit = Rlimit { current: Some(limit), ..getrlimit(Resource::Fsize) };
        setrlimit(Resource::Fsize, limit).unwrap();
        setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) }).unwrap();
        open::open(Path::new(&database), OpenMode::Existing, UnixMillis::new(1), &settings).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.db");
    of_version(&path, 1)
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
             INSERT INTO versions (row, seq, modified, kind, size)
             SELECT CAST(printf('%092d00000000', i) AS BLOB), i, 0, 1, 0 FROM n;"
        ))
        .unwrap();
    let (mut cut_off_at, mut is_done) = (Vec::new(), false);
    for turn in 0..40 {
        let mut migrating = Command::new(std::env::current_exe().unwrap());
        migrating.args([name, "--exact"]).env(DATABASE, &path);
        migrating.env(LIMIT, ((128 << 10) + turn * (2 << 20)).to_string());
        let ended = migrating.output().unwrap().status;
        if ended.success() {
            is_done = true;
            break;
        }
        // Not to copy the log that was left: the next start does.
        let db = Connection::open(&path).unwrap();
        db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        cut_off_at.push(version(&db));
    }
    assert!(is_done && cut_off_at.first() == Some(&1) && cut_off_at.is_sorted(), "{is_done} {cut_off_at:?}");
    let db = open::open(&path, OpenMode::Existing, UnixMillis::new(1), &settings).unwrap();
    assert_eq!(version(&db), sql::MIGRATIONS.len());
    let listed = "SELECT count(*) FROM versions INDEXED BY current_objects WHERE listed IS NOT NULL";
    let listed: u32 = db.query_row(listed, [], |row| row.get(0)).unwrap();
    assert_eq!(listed, ROWS);
    let intact: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
}

/// A journal that a power cut brings back is never one of the database's.
#[test]
fn i1_a_new_database_has_its_log_before_it_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("meta.db");
    open::create(&path, UnixMillis::new(1)).unwrap();
    // Read and write version of the file format: 2 is the write-ahead log.
    assert_eq!(std::fs::read(&path).unwrap()[18..20], [2, 2]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}
