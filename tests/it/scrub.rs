//! Damage behind the store's back, found by the real binary: `scrub` beside requests and offline, `fsck`, and what a start
//! makes of files that are not what they were.

use super::support::sediment::{Sediment, command, refused, run};
use aws_sdk_s3::Client;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const BUCKET: &str = "scrubbed";

/// Noise: no two seeds share a chunk.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}

/// What each key holds: chunks, a node, a row.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("chunked", noise(1, 300_000)),
        ("long", noise(2, 6_000_000)),
        ("small", b"a small body that stands in its row".to_vec()),
        ("small too", b"another one that stands in its row".to_vec()),
        ("other", noise(3, 200_000)),
    ]
}

async fn fill(client: &Client) {
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    for (key, body) in bodies() {
        client.put_object().bucket(BUCKET).key(key).body(body.into()).send().await.unwrap();
    }
    let upload = client.create_multipart_upload().bucket(BUCKET).key("open").send().await.unwrap();
    let part = client.upload_part().bucket(BUCKET).key("open").part_number(1);
    part.upload_id(upload.upload_id().unwrap()).body(noise(1, 300_000).into()).send().await.unwrap();
}

/// Of the keys, those that cannot be read. Whoever gets bytes gets those that were stored.
async fn unreadable(client: &Client, context: &str) -> BTreeSet<String> {
    let mut unreadable = BTreeSet::new();
    for (key, body) in bodies() {
        match client.get_object().bucket(BUCKET).key(key).send().await {
            Ok(object) => match object.body.collect().await {
                Ok(read) => assert!(read.to_vec() == body, "I4: {key} has other bytes: {context}"),
                Err(_) => drop(unreadable.insert(key.to_owned())),
            },
            Err(_) => drop(unreadable.insert(key.to_owned())),
        }
    }
    unreadable
}

async fn filled(data: &Path) {
    let server = Sediment::serve(data, &["--set", "scrub.interval_seconds=0"]);
    fill(&server.client()).await;
    server.stop();
}

/// Where a stretch of bytes stands below a directory.
fn find(dir: &Path, needle: &[u8]) -> (PathBuf, usize) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            return (path, at);
        }
    }
    panic!("the bytes are nowhere");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// The last line that a verb printed.
fn last_json(out: &Output) -> Value {
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("nothing printed: {said}"))).unwrap()
}

/// `key`, or `key part n`, of what a report calls lost.
fn named(report: &Value) -> BTreeSet<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let lost = findings.filter(|f| f["problem"] == "lost" || f["problem"] == "damaged_object");
    lost.map(|finding| {
        assert_eq!(finding["bucket"], BUCKET);
        let key = finding["key"].as_str().unwrap();
        finding["part"].as_i64().map_or_else(|| key.to_owned(), |part| format!("{key} part {part}"))
    })
    .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_scrub_beside_requests_names_what_is_lost_and_an_upload_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let (pack, at) = find(&dir.path().join("packs"), &noise(1, 300_000)[150_000..150_064]);
    flip(&pack, at);
    let server = Sediment::serve(dir.path(), &["--set", "scrub.interval_seconds=0"]);
    let never = run(dir.path(), &["scrub", "--status"]);
    assert!(String::from_utf8_lossy(&never.stdout).contains("never scrubbed"), "{never:?}");
    let out = run(dir.path(), &["scrub", "--json"]);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    let report = last_json(&out);
    assert_eq!(named(&report), names(["chunked", "open part 1"]), "{report}");
    assert_eq!((&report["complete"], &report["lost_objects"]), (&Value::from(true), &Value::from(2)));
    assert_eq!(unreadable(&server.client(), "beside").await, names(["chunked"]));
    assert!(server.admin_get("/readyz").1.contains("objects or parts are damaged"));
    let metrics = server.admin_get("/metrics").1;
    assert!(metrics.contains("sediment_scrub_lost_objects 2"), "{metrics}");

    let put = server.client().put_object().bucket(BUCKET).key("again").body(noise(1, 300_000).into());
    put.send().await.unwrap();
    let out = run(dir.path(), &["scrub"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(unreadable(&server.client(), "healed").await, BTreeSet::new());
    assert_eq!(server.admin_get("/readyz"), (200, "ready\n".to_owned()));
    let status = last_json(&run(dir.path(), &["scrub", "--status", "--json"]));
    assert_eq!(
        (&status["running"], &status["report"]["complete"]),
        (&Value::from(false), &Value::from(true))
    );
    server.stop();
    assert!(run(dir.path(), &["scrub"]).status.success(), "and offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_fsck_repairs_what_can_be_and_names_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    // The header of a record: its payload is whole.
    let (pack, header) = find(&dir.path().join("packs"), b"SRec");
    flip(&pack, header + 20);
    // And what cannot be had any more.
    let (pack, at) = find(&dir.path().join("packs"), &noise(3, 200_000)[100_000..100_064]);
    flip(&pack, at);
    let out = run(dir.path(), &["fsck", "--repair", "--json"]);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    let report = last_json(&out);
    assert_eq!(named(&report), names(["other"]), "{report}");
    let server = Sediment::serve(dir.path(), &["--set", "scrub.interval_seconds=0"]);
    assert_eq!(unreadable(&server.client(), "repaired").await, names(["other"]));
    server.client().delete_object().bucket(BUCKET).key("other").send().await.unwrap();
    server.stop();
    let out = run(dir.path(), &["fsck", "--deep"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_inline_bodies_that_change_or_change_places_are_not_served_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let database = dir.path().join("meta/sediment.db");
    fold_log(&database);
    let intact = fs::read(&database).unwrap();
    let (_, at) = find(&dir.path().join("meta"), b"a small body that stands in its row");
    flip(&database, at + 3);
    let report = last_json(&run(dir.path(), &["fsck", "--deep", "--json"]));
    assert_eq!(named(&report), names(["small"]), "{report}");
    let server = Sediment::serve(dir.path(), &[]);
    assert_eq!(unreadable(&server.client(), "changed").await, names(["small"]));
    server.stop();

    fold_log(&database);
    fs::write(&database, intact).unwrap();
    let db = rusqlite::Connection::open(&database).unwrap();
    let swap = "CREATE TEMP TABLE bodies AS SELECT row, kind, size, body FROM versions WHERE kind = 4 ORDER BY row;
        UPDATE versions SET (size, body) = (SELECT size, body FROM bodies b WHERE b.row <> versions.row) WHERE kind = 4;";
    db.execute_batch(swap).unwrap();
    drop(db);
    let out = run(dir.path(), &["scrub", "--json"]);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
    assert_eq!(named(&last_json(&out)), names(["small", "small too"]));
    let server = Sediment::serve(dir.path(), &[]);
    assert_eq!(unreadable(&server.client(), "swapped").await, names(["small", "small too"]));
    server.stop();
}

/// Everything in one file, as a copier leaves it.
fn fold_log(database: &Path) {
    let db = rusqlite::Connection::open(database).unwrap();
    let busy = || db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    while busy() != 0 {}
}

/// Serves until it is asked to stop, or says why not.
enum Start {
    Serves(Sediment),
    Refuses(i32, String),
}

fn start(data: &Path) -> Start {
    let probe = run(data, &["stats"]);
    match probe.status.code() {
        Some(0) => Start::Serves(Sediment::serve(data, &["--set", "scrub.interval_seconds=0"])),
        code => Start::Refuses(code.unwrap_or(-1), String::from_utf8_lossy(&probe.stderr).into_owned()),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// `SEDIMENT_DATABASE_HARMS` (default 16): so many places of the database are harmed.
#[tokio::test(flavor = "multi_thread")]
async fn i4_a_harmed_database_serves_no_wrong_byte_and_never_becomes_an_empty_store() {
    let count = std::env::var("SEDIMENT_DATABASE_HARMS").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    let dir = tempfile::tempdir().unwrap();
    let intact = dir.path().join("intact");
    filled(&intact).await;
    fold_log(&intact.join("meta/sediment.db"));
    let bytes = fs::read(intact.join("meta/sediment.db")).unwrap();
    let (mut injected, mut refused, mut told, mut harmless) = (0, 0, 0, 0);
    for n in 0..count {
        let data = dir.path().join("harmed");
        let _ = fs::remove_dir_all(&data);
        copy(&intact, &data);
        let mut harmed = bytes.clone();
        let at = (n * 7919 * 97) % bytes.len();
        let context = match n % 4 {
            0 => {
                harmed.truncate(at);
                format!("cut at {at}")
            }
            1 => {
                let sector = at / 512 * 512;
                harmed[sector..sector + 512].fill(0);
                format!("zeros at {sector}")
            }
            2 => {
                let page = at / 8192 * 8192;
                harmed[page..page + 8192].fill(0xA5);
                format!("noise at {page}")
            }
            _ => {
                harmed[at] ^= 1 << (n % 8);
                format!("a bit at {at}")
            }
        };
        if harmed == bytes {
            continue;
        }
        injected += 1;
        fs::write(data.join("meta/sediment.db"), harmed).unwrap();
        match start(&data) {
            Start::Refuses(code, said) => {
                assert!([1, 4, 5].contains(&code), "{context}: {code} {said}");
                refused += 1;
            }
            Start::Serves(server) => {
                let lost = unreadable(&server.client(), &context).await;
                let _ = server.stop_with_log();
                let fsck = run(&data, &["fsck", "--deep", "--json"]);
                let is_told = fsck.status.code() == Some(5);
                assert!(
                    lost.is_empty() || is_told,
                    "{context}: {lost:?} lost, and fsck says nothing: {fsck:?}"
                );
                if is_told { told += 1 } else { harmless += 1 }
            }
        }
    }
    println!(
        "{injected} harmed: {refused} starts refused, {told} told by fsck, {harmless} where nothing stands"
    );
    assert!(refused > 0 && told > 0);
}

/// What cannot be read once a store has its packs again.
async fn unreadable_again(intact: &Path, data: &Path) -> BTreeSet<String> {
    let _ = fs::remove_dir_all(data.join("packs"));
    copy(&intact.join("packs"), &data.join("packs"));
    let server = Sediment::serve(data, &["--set", "scrub.interval_seconds=0"]);
    let lost = unreadable(&server.client(), "packs put back").await;
    server.stop();
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_fsck_says_what_is_wrong_with_a_database_that_cannot_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let database = dir.path().join("meta/sediment.db");
    fold_log(&database);
    let bytes = fs::read(&database).unwrap();
    // The header; the schema's page behind it; half of the file.
    let harms = [("header", 0..100), ("schema", 100..8192), ("cut off", bytes.len() / 2..bytes.len())];
    for (name, place) in harms {
        let mut harmed = bytes.clone();
        match name {
            "cut off" => harmed.truncate(place.start),
            _ => harmed[place].fill(0xA5),
        }
        fs::write(&database, &harmed).unwrap();
        let out = run(dir.path(), &["fsck", "--json"]);
        assert!(matches!(out.status.code(), Some(4 | 5)), "{name}: {out:?}");
        let report = last_json(&out);
        let problems = report["findings"].as_array().unwrap();
        assert!(problems.iter().any(|f| f["problem"] == "damaged_database"), "{name}: {report}");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("docs/runbooks/corrupt-database.md"), "{name}: {said}");
        assert!(name == "cut off" || fs::read(&database).unwrap() == harmed, "{name}: it was changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_files_that_are_gone_are_missed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let intact = dir.path().join("intact");
    filled(&intact).await;
    let harmed = |name: &str, harm: &dyn Fn(&Path)| {
        let data = dir.path().join(name);
        copy(&intact, &data);
        harm(&data);
        data
    };
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

    let data = harmed("no-wal", &|data| fs::remove_file(data.join("meta/sediment.db-wal")).unwrap());
    let said = refused(&run(&data, &serve), 4);
    assert!(said.contains("sediment.db-wal is lost"), "{said}");

    let data = harmed("no-packs", &|data| {
        fs::remove_dir_all(data.join("packs")).unwrap();
    });
    let said = refused(&run(&data, &serve), 4);
    assert!(said.contains("holds no pack"), "{said}");
    // An index that was opened without them would have forgotten where things stand.
    for verb in [&["stats"][..], &["gc"], &["gc", "--dry-run"]] {
        let said = refused(&run(&data, verb), 4);
        assert!(said.contains("holds no pack"), "{verb:?}: {said}");
    }
    assert_eq!(unreadable_again(&intact, &data).await, BTreeSet::new(), "the packs were put back");
    fs::remove_dir_all(data.join("packs")).unwrap();
    let out = run(&data, &["fsck", "--deep", "--json"]);
    assert_eq!(named(&last_json(&out)), names(["chunked", "long", "other", "open part 1"]));
    let server = Sediment::serve(&data, &["--set", "storage.start_without_packs=true"]);
    assert_eq!(unreadable(&server.client(), "no packs").await, names(["chunked", "long", "other"]));
    server.stop();
    let out = run(&data, &["scrub", "--json"]);
    assert_eq!(named(&last_json(&out)), names(["chunked", "long", "other", "open part 1"]));
    assert_eq!(out.status.code(), Some(5));

    let data = harmed("no-store", &|data| fs::remove_file(data.join("STORE")).unwrap());
    assert!(refused(&run(&data, &serve), 4).contains("STORE"));

    let data = harmed("newer", &|data| {
        let db = rusqlite::Connection::open(data.join("meta/sediment.db")).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
    });
    assert!(refused(&run(&data, &serve), 4).contains("schema version 99"));

    // What is derived comes back.
    for name in ["index", "scrub.json"] {
        let data = harmed(&format!("no-{name}"), &|data| {
            let path = data.join(name);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                let _ = fs::remove_file(path);
            }
        });
        let server = Sediment::serve(&data, &[]);
        assert_eq!(unreadable(&server.client(), name).await, BTreeSet::new());
        server.stop();
        assert!(run(&data, &["fsck", "--deep"]).status.success(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_a_page_that_is_damaged_while_serving_stops_writes_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let database = dir.path().join("meta/sediment.db");
    fold_log(&database);
    // The table of versions; its root is found by name, not by chance.
    let db = rusqlite::Connection::open(&database).unwrap();
    let root: i64 = db
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'versions'", [], |row| row.get(0))
        .unwrap();
    drop(db);
    let mut bytes = fs::read(&database).unwrap();
    let at = usize::try_from(root - 1).unwrap() * 8192;
    bytes[at..at + 8192].fill(0xA5);
    fs::write(&database, bytes).unwrap();
    let server = Sediment::start(
        {
            let mut serve = command(dir.path(), &["serve"]);
            serve.env("SEDIMENT_ROOT_USER", super::support::sediment::USER);
            serve.env("SEDIMENT_ROOT_PASSWORD", super::support::sediment::PASSWORD);
            serve
        },
        &[],
    );
    let client = server.client();
    assert!(client.get_object().bucket(BUCKET).key("chunked").send().await.is_err());
    let (status, text) = server.admin_get("/readyz");
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("docs/runbooks/corrupt-database.md"), "{text}");
    let put = client.put_object().bucket(BUCKET).key("new").body(b"x".to_vec().into()).send().await;
    assert!(put.is_err(), "nothing is written to a damaged database");
    server.kill();
    let out = run(dir.path(), &["fsck", "--json"]);
    assert_eq!(out.status.code(), Some(5), "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_damaged_manifest_is_stepped_over_named_and_keeps_everything_from_collection() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let db = rusqlite::Connection::open(dir.path().join("meta/sediment.db")).unwrap();
    let harm = "UPDATE manifests SET root = zeroblob(length(root)) WHERE n = (SELECT manifest FROM versions WHERE size = 200000)";
    assert_eq!(db.execute(harm, []).unwrap(), 1);
    drop(db);
    for args in [&["fsck", "--json"][..], &["fsck", "--repair", "--json"], &["scrub", "--json"]] {
        let out = run(dir.path(), args);
        assert_eq!(out.status.code(), Some(5), "{args:?}: {out:?}");
        assert_eq!(named(&last_json(&out)), names(["other"]), "{args:?}");
    }
    let server = Sediment::serve(dir.path(), &["--set", "scrub.interval_seconds=0"]);
    let client = server.client();
    assert_eq!(unreadable(&client, "a manifest").await, names(["other"]));
    client.delete_object().bucket(BUCKET).key("long").send().await.unwrap();
    let gc = last_json(&run(dir.path(), &["gc", "--json"]));
    assert_eq!((&gc["collected"], &gc["uncounted_nodes"]), (&Value::from(0), &Value::from(1)), "{gc}");
    // Its record must not stand in the way of those behind it.
    client.delete_object().bucket(BUCKET).key("other").send().await.unwrap();
    client.put_object().bucket(BUCKET).key("later").body(noise(9, 100_000).into()).send().await.unwrap();
    let gc = run(dir.path(), &["gc", "--json"]);
    assert!(gc.status.success(), "the index follows the log: {gc:?}");
    assert_eq!(server.admin_get("/readyz").0, 200);
    server.stop();
    let out = run(dir.path(), &["fsck", "--repair"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    let gc = last_json(&run(dir.path(), &["gc", "--json"]));
    assert!(gc["collected"].as_u64().unwrap() > 0 && gc["uncounted_nodes"] == 0, "counted anew: {gc}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_harmed_index_gives_no_wrong_byte_and_is_built_anew() {
    const HARMS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let intact = dir.path().join("intact");
    filled(&intact).await;
    let mut files = Vec::new();
    files_below(&intact.join("index"), &mut files);
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    for n in 0..HARMS {
        let data = dir.path().join("harmed");
        let _ = fs::remove_dir_all(&data);
        copy(&intact, &data);
        let file = data.join(files[n * 7 % files.len()].strip_prefix(&intact).unwrap());
        let bytes = fs::read(&file).unwrap();
        let at = n * 7919 % bytes.len();
        if n % 3 == 2 {
            fs::write(&file, &bytes[..at]).unwrap();
        } else {
            flip(&file, at);
        }
        let context = format!("{} at {at} of {}", file.display(), bytes.len());
        if let Start::Serves(server) = start(&data) {
            unreadable(&server.client(), &context).await;
            server.kill();
        }
        let out = run(&data, &["fsck", "--rebuild-index", "--deep"]);
        assert!(out.status.success(), "{context}: {out:?}");
        let server = Sediment::serve(&data, &["--set", "scrub.interval_seconds=0"]);
        assert_eq!(unreadable(&server.client(), &context).await, BTreeSet::new());
        server.stop();
    }
}

fn files_below(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}
