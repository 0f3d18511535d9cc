//! A backup that is looked after: verified and mended on schedule, restored for practice, with alerts; and a disk that is healed from it.

use super::support::noise;
use super::support::refusal::until;
use super::support::sediment::{PASSWORD, Sediment, USER, command};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A store, and the server that its backup goes to.
struct Rig {
    dir: tempfile::TempDir,
    far: Sediment,
    near: PathBuf,
    hook: Hook,
}

/// Where alerts go. The first request is refused: it comes again.
struct Hook {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://me:hunter2@{}/hook?token=hunter3", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&got);
        tokio::spawn(async move {
            let mut is_first = true;
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &kept, std::mem::take(&mut is_first)).await;
            }
        });
        Self { url, got }
    }

    /// `alert state`, in order.
    fn got(&self) -> Vec<String> {
        let text = |alert: &Value, name| alert[name].as_str().unwrap().to_owned();
        let got = self.got.lock().unwrap();
        got.iter().map(|alert| format!("{} {}", text(alert, "alert"), text(alert, "state"))).collect()
    }
}

/// Until the connection is closed.
async fn answer(mut stream: TcpStream, got: &Mutex<Vec<Value>>, refuses: bool) {
    let mut said = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => said.extend_from_slice(&piece[..read]),
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
        let Ok(alert) = serde_json::from_str::<Value>(body) else { continue };
        let status = if refuses { "503 Service Unavailable" } else { "204 No Content" };
        if !refuses {
            got.lock().unwrap().push(alert);
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        return;
    }
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = Sediment::serve(&dir.path().join("far"), &[]);
        far.client().create_bucket().bucket("backups").send().await.unwrap();
        let key = dir.path().join("backup.key");
        let made = command(dir.path(), &["backup", "key", "--out", key.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success());
        let (near, hook) = (dir.path().join("near"), Hook::listen().await);
        Self { dir, far, near, hook }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&self.near, args);
        command.env("SEDIMENT_BACKUP__ENDPOINT", &self.far.s3).env("SEDIMENT_BACKUP__BUCKET", "backups");
        command.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
        command.env("SEDIMENT_BACKUP__KEY_FILE", self.dir.path().join("backup.key"));
        command.env("SEDIMENT_BACKUP__INTERVAL_SECONDS", "1").env("SEDIMENT_SCRUB__INTERVAL_SECONDS", "0");
        command.env("SEDIMENT_BACKUP__WEBHOOK_URL", &self.hook.url);
        command
    }

    fn serve(&self, verify_seconds: u64) -> Sediment {
        self.serve_with(verify_seconds, &[])
    }

    fn serve_with(&self, verify_seconds: u64, more: &[(&str, &str)]) -> Sediment {
        let mut command = self.command(&["serve"]);
        command.envs(more.iter().copied());
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        command.env("SEDIMENT_BACKUP__VERIFY_INTERVAL_SECONDS", verify_seconds.to_string());
        command.env("SEDIMENT_BACKUP__VERIFY_READ_PERCENT", "100");
        Sediment::start(command, &[])
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(&[&["--json"], args].concat()).output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains(PASSWORD) && !said.contains("hunter"), "i6: {said}");
        output
    }

    /// The last line that was printed, by a command that ends so.
    fn json(&self, args: &[&str], exit: i32) -> Value {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
        let out = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }

    fn care(&self) -> Value {
        self.json(&["backup", "status"], 0)["care"].clone()
    }

    /// Turns a bit of the largest pieces of packs that are in the bucket; returns the name of the first.
    async fn damage(&self, pieces: usize, bit: u8) -> String {
        let client = self.far.client();
        let listed = client.list_objects_v2().bucket("backups").prefix("packs/").send().await.unwrap();
        let mut found = listed.contents().to_vec();
        found.sort_by_key(|object| std::cmp::Reverse(object.size()));
        for object in found.iter().take(pieces) {
            let key = object.key().unwrap();
            let got = client.get_object().bucket("backups").key(key).send().await.unwrap();
            let mut bytes = got.body.collect().await.unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= bit;
            put(&client, "backups", key, bytes).await;
        }
        found[0].key().unwrap().to_owned()
    }
}

async fn put(client: &Client, bucket: &str, key: &str, body: Vec<u8>) {
    client.put_object().bucket(bucket).key(key).body(ByteStream::from(body)).send().await.unwrap();
}

fn state_of_newest(list: &Value) -> &Value {
    list["snapshots"].as_array().unwrap().last().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_damaged_backup_is_noticed_mended_told_and_proven_by_a_restore() {
    let rig = Rig::new().await;
    let server = rig.serve(1);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    for n in 0..8u64 {
        put(&server.client(), "data", &format!("key {n}"), noise(n, 500 + 60_000 * n as usize)).await;
    }
    rig.json(&["backup", "run"], 0);
    let damaged = rig.damage(1, 1).await;
    until("it is noticed and sent again", || {
        let care = rig.care();
        let verify = &care["verify"];
        assert!(care["alerts"].as_array().unwrap().is_empty() || verify["repaired_by"].is_null(), "{care}");
        care["corrupt_snapshots"].as_u64() > Some(0) && verify["is_newest_whole"] == true
    })
    .await;
    until("both alerts are posted", || rig.hook.got() == ["verify raised", "verify over"]).await;
    let told = rig.hook.got.lock().unwrap()[0].clone();
    assert!(told["text"].as_str().unwrap().contains(&damaged), "{told}");
    let list = rig.json(&["backup", "list"], 0);
    assert_eq!(state_of_newest(&list)["state"], "checked", "{list}");
    assert!(list["snapshots"].as_array().unwrap().iter().any(|one| one["state"] == "corrupt"), "{list}");
    let (_, metrics) = server.admin_get("/metrics");
    assert!(metrics.contains("sediment_backup_repaired_objects_total 1\n"), "{metrics}");

    let drill = rig.json(&["backup", "drill"], 0);
    let latest = &drill["moments"][0];
    assert!(drill["passed"] == true && latest["is_latest"] == true, "{drill}");
    assert!(latest["bodies"] == 8 && latest["compared"].as_u64() > Some(8), "{drill}");
    let smoke = &latest["smoke"];
    assert!(smoke["buckets"] == 1 && smoke["heads"] == 8 && smoke["whole"] == 8, "{smoke}");
    assert!(smoke["ranges"] == 8 && smoke["written"] == 1, "{smoke}");
    assert_eq!(fs::read_dir(rig.near.join("tmp")).unwrap().count(), 0, "what was restored is gone");
    let list = rig.json(&["backup", "list"], 0);
    let newest = state_of_newest(&list);
    assert!(newest["state"] == "verified" && newest["drill_passed"] == true, "{list}");
    let log = server.stop_with_log().1;
    assert!(!log.contains("hunter"), "i6: {log}");
    rig.far.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_a_broken_backup_fails_and_somebody_is_told() {
    let rig = Rig::new().await;
    let server = rig.serve(0);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    put(&server.client(), "data", "key", noise(1, 300_000)).await;
    rig.json(&["backup", "run"], 0);
    let damaged = rig.damage(1, 1).await;
    let drill = rig.json(&["backup", "drill"], 5);
    assert!(drill["moments"][0]["problems"][0].as_str().unwrap().contains(&damaged), "{drill}");
    until("it is told", || rig.hook.got() == ["drill raised"]).await;
    // Another process tells it no more, and tells its end.
    let noted = rig.near.join("backup-alerts.json");
    until("it is noted", || fs::read_to_string(&noted).is_ok_and(|told| told.contains("drill"))).await;
    server.stop();
    let server = rig.serve(0);
    until("it is known", || rig.care()["drill_passed"] == false).await;
    assert_eq!(rig.care()["alerts"][0][0], "drill");
    assert_eq!(state_of_newest(&rig.json(&["backup", "list"], 0))["state"], "corrupt");
    // The server has what is damaged.
    let verify = rig.json(&["backup", "verify", "--read-data"], 5);
    assert!(verify["is_newest_whole"] == true && verify["repaired"] == 1, "{verify}");
    rig.json(&["backup", "verify", "--read-data"], 0);
    rig.json(&["backup", "drill"], 0);
    until("it is over", || rig.hook.got() == ["drill raised", "verify raised", "verify over", "drill over"])
        .await;
    server.stop();

    // Without a server.
    let drill = rig.json(&["backup", "drill"], 0);
    assert!(drill["moments"][0]["compared"].as_u64() > Some(0), "{drill}");
    rig.damage(usize::MAX, 2).await;
    rig.json(&["backup", "verify", "--read-data"], 5);
    let verify = rig.json(&["backup", "verify", "--read-data", "--repair"], 5);
    assert!(verify["is_newest_whole"] == true, "{verify}");
    // With the bucket and the key alone.
    fs::rename(&rig.near, rig.dir.path().join("away")).unwrap();
    let scratch = rig.dir.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let elsewhere = ["backup", "drill", "--scratch", scratch.to_str().unwrap()];
    for args in [&elsewhere[..2], &elsewhere] {
        assert_eq!(rig.json(args, 0)["moments"][0]["bodies"], 1);
    }
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left");
    let left = fs::read_dir(rig.dir.path()).unwrap().map(|found| found.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("drill")));
    // Never into what is to stay free.
    let full = ["--set", "storage.min_free_bytes=9000000000000000", "backup", "drill"];
    assert!(!rig.run(&full).status.success());
    rig.far.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_falls_behind_is_told_once_and_so_is_that_it_has_caught_up() {
    let rig = Rig::new().await;
    let soon = [("SEDIMENT_BACKUP__RPO_SECONDS", "2"), ("SEDIMENT_BACKUP__REQUEST_TIMEOUT_SECONDS", "1")];
    let server = rig.serve_with(0, &soon);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    rig.json(&["backup", "run"], 0);
    rig.far.signal(rustix::process::Signal::STOP);
    put(&server.client(), "data", "key", noise(1, 100_000)).await;
    until("it is told", || rig.hook.got() == ["rpo raised"]).await;
    rig.far.signal(rustix::process::Signal::CONT);
    until("it is over", || rig.hook.got() == ["rpo raised", "rpo over"]).await;
    server.stop();
    rig.far.stop();
}

/// Where a stretch of bytes stands below a directory.
fn find(dir: &Path, needle: &[u8]) -> (PathBuf, usize) {
    let mut found = None;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        found =
            bytes.windows(needle.len()).position(|window| window == needle).map(|at| (path, at)).or(found);
    }
    found.expect("the bytes are nowhere")
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_what_the_disk_has_lost_comes_back_from_the_backup() {
    let rig = Rig::new().await;
    let server = rig.serve(0);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    let (one, other) = (noise(1, 300_000), noise(2, 300_000));
    put(&server.client(), "data", "one", one.clone()).await;
    put(&server.client(), "data", "other", other.clone()).await;
    rig.json(&["backup", "run"], 0);
    server.stop();
    let flip = |body: &[u8]| {
        let (pack, at) = find(&rig.near.join("packs"), &body[150_000..150_064]);
        let mut bytes = fs::read(&pack).unwrap();
        bytes[at] ^= 0x10;
        fs::write(pack, bytes).unwrap();
    };
    // By a process of its own.
    flip(&one);
    let scrubbed = rig.json(&["scrub"], 0);
    assert!(scrubbed["from_backup"] == 1 && scrubbed["healed"] == 1, "{scrubbed}");
    // By the server.
    flip(&other);
    let server = rig.serve(0);
    until("what is in the bucket is known", || rig.json(&["backup", "status"], 0)["state"] == "idle").await;
    let scrubbed = rig.json(&["scrub"], 0);
    assert!(scrubbed["from_backup"] == 1 && scrubbed["lost_objects"] == 0, "{scrubbed}");
    let (_, metrics) = server.admin_get("/metrics");
    assert!(metrics.contains("sediment_scrub_from_backup_total 1\n"), "{metrics}");
    for (key, body) in [("one", one), ("other", other)] {
        let got = server.client().get_object().bucket("data").key(key).send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == body, "{key}");
    }
    server.stop();
    let checked = rig.json(&["fsck", "--deep"], 0);
    assert_eq!(checked["damaged"], 0, "{checked}");
    rig.far.stop();
}
