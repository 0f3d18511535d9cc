//! What a start makes of the data directory that it finds.

use super::support::sediment::{Sediment, command, refused, run};
use aws_sdk_s3::primitives::ByteStream;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

/// A store of one object, `body`, in a file of its own; stopped.
async fn store_of_one_plain_body(data: &Path) {
    let server = Sediment::serve(data, &["--set", "engine.plain_bodies=true"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let body = ByteStream::from(vec![7; 5000]);
    client.put_object().bucket("bucket").key("body").body(body).send().await.unwrap();
    server.stop();
}

fn files_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_store_without_packs_that_lost_its_metadata_does_not_start_empty() {
    let dir = tempfile::tempdir().unwrap();
    store_of_one_plain_body(dir.path()).await;
    let aside = dir.path().join("meta-aside");
    fs::rename(dir.path().join("meta"), &aside).unwrap();
    for args in [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..], &["gc"]] {
        let said = refused(&run(dir.path(), args), 4);
        assert!(said.contains("sediment.db") && said.contains("backup"), "{args:?}: {said}");
    }
    assert_eq!(files_below(&dir.path().join("plain")), 1, "the body is still there");

    fs::remove_dir_all(dir.path().join("meta")).unwrap();
    fs::rename(&aside, dir.path().join("meta")).unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let object = server.client().get_object().bucket("bucket").key("body").send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().to_vec(), vec![7; 5000]);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_directory_with_the_store_file_or_the_metadata_of_another_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    for data in [&one, &other] {
        store_of_one_plain_body(data).await;
    }
    let serve = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let swap = |name: &str| {
        let aside = dir.path().join("aside");
        fs::rename(one.join(name), &aside).unwrap();
        fs::rename(other.join(name), one.join(name)).unwrap();
        fs::rename(&aside, other.join(name)).unwrap();
    };
    for name in ["STORE", "meta"] {
        swap(name);
        for args in [&serve[..], &["gc"], &["fsck"]] {
            for data in [&one, &other] {
                let said = refused(&run(data, args), 4);
                assert!(said.contains("belongs to the store"), "{name} {args:?}: {said}");
            }
        }
        swap(name);
    }
    for data in [&one, &other] {
        let server = Sediment::serve(data, &[]);
        let object = server.client().get_object().bucket("bucket").key("body").send().await.unwrap();
        assert_eq!(object.body.collect().await.unwrap().to_vec(), vec![7; 5000]);
        server.stop();
    }
}

#[test]
fn credentials_that_a_failed_start_made_are_shown_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&run(dir.path(), &["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"]), 7);
    let out = Sediment::start(command(dir.path(), &["serve"]), &[]).stop();
    let kept = fs::read(dir.path().join("credentials.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    assert!(out.contains(kept["secret_key"].as_str().unwrap()), "{out}");
    let out = Sediment::start(command(dir.path(), &["serve"]), &[]).stop();
    assert_eq!(out, "", "shown once");
}

#[test]
fn i5_a_signal_ends_a_start_that_takes_long() {
    let dir = tempfile::tempdir().unwrap();
    Sediment::serve(dir.path(), &[]).stop();
    // Nobody ever writes to it: opening it takes for ever.
    let database = dir.path().join("meta/sediment.db");
    fs::rename(&database, dir.path().join("aside")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &database, kind, mode, 0).unwrap();
    let mut server = Sediment::spawn(command(dir.path(), &["serve"]), &[]);
    server.wait_for("opening the store");
    server.terminate();
    server.wait_for_line("stopped while starting");
    assert_eq!(server.wait().0.code(), Some(1));

    fs::rename(dir.path().join("aside"), &database).unwrap();
    Sediment::serve(dir.path(), &[]).stop();
}

#[test]
fn i5_a_ready_file_that_a_killed_server_left_is_gone_before_the_next_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (data, ready) = (dir.path().join("data"), dir.path().join("ready.json"));
    let args = ["--ready-file", ready.to_str().unwrap()];
    Sediment::serve(&data, &args).kill();
    assert!(ready.exists());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&run(&data, &["serve", "--listen", &address, args[0], args[1]]), 7);
    assert!(!ready.exists());
}

#[test]
fn i5_the_limit_on_open_files_is_raised_to_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 100 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sediment"), "serve"]);
    command.arg("--data").arg(dir.path()).stdin(std::process::Stdio::null());
    let server = Sediment::start(command, &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "soft and hard: {files:?}");
    server.stop();
}

#[test]
fn i5_a_first_start_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let id = "0123456789abcdef0123456789abcdef";
    let store = dir.path().join("STORE");
    fs::write(&store, format!(r#"{{"format":1,"store_id":"{id}","initialised":false}}"#)).unwrap();
    Sediment::serve(dir.path(), &[]).stop();
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&store).unwrap()).unwrap();
    assert_eq!(kept, serde_json::json!({ "format": 1, "store_id": id, "initialised": true }));
}
