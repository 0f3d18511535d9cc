//! The system's clock jumps by hours and months, either way, under the real binary and between its runs. Needs libfaketime
//! (`apt-get install faketime`), and says so where it is not there; with `SEDIMENT_FAKETIME=1` that is a failure.

use super::support::sediment::{PASSWORD, Sediment, USER, command, run};
use super::support::wire::{Answer, Request, Signed, Wire, request};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn library() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut libraries = places.map(|place| place.join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists());
    if library.is_none() {
        let why = "SKIPPED: no clock jumps, libfaketime is not installed (apt-get install faketime)\n";
        assert!(std::env::var_os("SEDIMENT_FAKETIME").is_none(), "{why}");
        // Not through `eprintln!`, which is shown for failures alone.
        let _ = std::io::stderr().write_all(why.as_bytes());
    }
    library
}

/// A machine whose wall clock the test sets. Its monotonic clocks are the real ones.
struct Machine {
    library: PathBuf,
    dir: tempfile::TempDir,
    /// By the real clock.
    began: SystemTime,
    offset: i64,
}

impl Machine {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn set_clock(&mut self, offset: i64) {
        self.offset = offset;
        let (new, file) = (self.dir.path().join("offset.new"), self.dir.path().join("offset"));
        fs::write(&new, format!("{offset:+}\n")).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// What the server's clock shows, `seconds` later.
    fn time(&self, seconds: i64) -> SystemTime {
        shifted(SystemTime::now(), self.offset + seconds)
    }

    fn serve(&self) -> Sediment {
        let mut command = command(&self.data(), &["serve"]);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        command.env("LD_PRELOAD", &self.library);
        command.env("FAKETIME_TIMESTAMP_FILE", self.dir.path().join("offset")).env("FAKETIME_NO_CACHE", "1");
        command.env("DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        Sediment::start(command, &[])
    }
}

fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}

fn seconds_of(date: &str) -> i64 {
    use time::format_description::well_known::Rfc2822;
    time::OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822).unwrap().unix_timestamp()
}

fn unix(time: SystemTime) -> i64 {
    time::OffsetDateTime::from(time).unix_timestamp()
}

/// What is there before the clock begins to jump.
struct Store {
    presigned: (Request, Signed),
    locked: String,
    upload: String,
    /// One that a rule aborts after a day.
    doomed: String,
    etags: Vec<String>,
    newest: i64,
}

fn send(machine: &Machine, wire: &Wire, request: &Request) -> Answer {
    wire.send_signed(request, &wire.sign_at(request, machine.time(0)), &request.body)
}

fn ok(machine: &Machine, wire: &Wire, request: &Request) -> Answer {
    let answer = send(machine, wire, request);
    assert!((200..300).contains(&answer.status), "{} {}: {}", request.method, request.target, answer.body);
    answer
}

fn fill(machine: &Machine, wire: &Wire) -> Store {
    ok(machine, wire, &request("PUT", "/bucket").header("x-amz-bucket-object-lock-enabled", "true"));
    let until = time::OffsetDateTime::from(machine.time(DAY)).replace_nanosecond(0).unwrap();
    let until = until.format(&time::format_description::well_known::Rfc3339).unwrap();
    let lock = request("PUT", "/bucket/locked").body("kept").header("x-amz-object-lock-mode", "COMPLIANCE");
    let lock = lock.header("x-amz-object-lock-retain-until-date", &until).with_md5();
    let locked = ok(machine, wire, &lock).headers["x-amz-version-id"].clone();
    ok(machine, wire, &request("PUT", "/rules"));
    ok(machine, wire, &request("PUT", "/rules/object").body("expires in a day"));
    let rules = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter/>\
        <Expiration><Days>1</Days></Expiration><AbortIncompleteMultipartUpload>\
        <DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>";
    ok(machine, wire, &request("PUT", "/rules?lifecycle").body(rules).with_md5());
    let begin = |target| ok(machine, wire, &request("POST", target)).element("UploadId").to_owned();
    let (upload, doomed) = (begin("/bucket/parts?uploads"), begin("/rules/parts?uploads"));
    let get = request("GET", "/bucket/locked").presigned(3600);
    let signed = wire.sign_at(&get, machine.time(0));
    Store { presigned: (get, signed), locked, upload, doomed, etags: Vec::new(), newest: 0 }
}

/// What a user would notice, with the clock where it is.
fn look(machine: &Machine, server: &Sediment, store: &mut Store, n: usize) {
    let (wire, offset) = (Wire::new(server), machine.offset);
    let target = format!("/bucket/at-{n}");
    let body = format!("written at {offset}");
    ok(machine, &wire, &request("PUT", &target).body(body.as_str()));
    let got = ok(machine, &wire, &request("GET", &target));
    assert_eq!(got.body, body);
    let (modified, date) = (seconds_of(&got.headers["last-modified"]), seconds_of(&got.headers["date"]));
    assert!((date - unix(machine.time(0))).abs() < 30, "at {offset}: the clock was not set");
    assert!(modified >= store.newest, "at {offset}: Last-Modified went back by {}", store.newest - modified);
    assert!(modified >= date - 30, "at {offset}: older than it is");
    store.newest = modified;

    for (late, is_taken) in [(-14, true), (14, true), (-16, false), (16, false)] {
        let get = request("GET", &target);
        let answer = wire.send_signed(&get, &wire.sign_at(&get, machine.time(late * MINUTE)), b"");
        let expected = if is_taken { (200, "") } else { (403, "RequestTimeTooSkewed") };
        assert_eq!(answer.refusal(), expected, "at {offset}, signed {late} minutes off");
    }
    let (get, signed) = &store.presigned;
    let age = unix(machine.time(0)) - unix(machine.began);
    let is_valid = (-14 * MINUTE..59 * MINUTE).contains(&age);
    assert_eq!(wire.send_signed(get, signed, b"").status == 200, is_valid, "at {offset}, presigned");

    let delete = request("DELETE", &format!("/bucket/locked?versionId={}", store.locked));
    assert_eq!(send(machine, &wire, &delete).refusal(), (403, "AccessDenied"), "at {offset}, locked");
    assert_eq!(ok(machine, &wire, &request("GET", "/rules/object")).body, "expires in a day", "at {offset}");
    ok(machine, &wire, &request("GET", &format!("/rules/parts?uploadId={}", store.doomed)));
    let part = request("PUT", &format!("/bucket/parts?partNumber={}&uploadId={}", n + 1, store.upload));
    let part = ok(machine, &wire, &part.body(vec![b'x'; 5 << 20]));
    store.etags.push(part.headers["etag"].clone());
    assert!(run(&machine.data(), &["gc"]).status.success(), "at {offset}");
    let (status, ready) = server.admin_get("/readyz");
    assert_eq!(status, 200, "at {offset}: {ready}");
    if n == 0 || offset.abs() >= 400 * DAY {
        assert_eq!(ready.contains("clock"), n > 0, "at {offset}: {ready}");
    }
}

fn assert_stamps_never_decrease(data: &Path) {
    let db = rusqlite::Connection::open(data.join("meta/sediment.db")).unwrap();
    let back = "SELECT count(*) FROM changes a JOIN changes b ON b.seq = a.seq + 1 WHERE b.at < a.at";
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    assert!(count("SELECT count(*) FROM changes") > 0);
    assert_eq!(count(back), 0);
}

#[test]
fn i1_i5_i6_clocks_that_jump_change_no_promise() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine { library, dir, began: SystemTime::now(), offset: 0 };
    machine.set_clock(0);
    let mut server = machine.serve();
    let mut store = fill(&machine, &Wire::new(&server));
    let jumps = [0, 3 * DAY, -5 * HOUR, 0, 2 * HOUR, 40 * DAY, -400 * DAY, 3650 * DAY, 0];
    for (n, offset) in jumps.into_iter().enumerate() {
        machine.set_clock(offset);
        // Every other jump is between two runs.
        if n % 2 == 1 {
            server.kill();
            server = machine.serve();
        }
        look(&machine, &server, &mut store, n);
    }
    let parts = store
        .etags
        .iter()
        .enumerate()
        .map(|(n, etag)| format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", n + 1));
    let done = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>());
    let complete = request("POST", &format!("/bucket/parts?uploadId={}", store.upload)).body(done);
    ok(&machine, &Wire::new(&server), &complete);
    server.stop();
    assert_stamps_never_decrease(&machine.data());
    let fsck = run(&machine.data(), &["fsck", "--deep"]);
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
}
