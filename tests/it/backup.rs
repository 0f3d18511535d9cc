//! A store that is backed up to a second Sediment while it serves, lost, and restored: the commands as an operator gives them.

use super::support::noise;
use super::support::refusal::until;
use super::support::sediment::{PASSWORD, Sediment, USER, command};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Bodies = BTreeMap<String, Vec<u8>>;

/// The server that backups go to, and where stores stand.
struct Rig {
    dir: tempfile::TempDir,
    far: Sediment,
    key: PathBuf,
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = Sediment::serve(&dir.path().join("far"), &[]);
        far.client().create_bucket().bucket("backups").send().await.unwrap();
        let key = dir.path().join("backup.key");
        let made = command(dir.path(), &["backup", "key", "--out", key.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success());
        Self { dir, far, key }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, store: &Path, args: &[&str]) -> Command {
        let mut command = command(store, args);
        command.env("SEDIMENT_BACKUP__ENDPOINT", &self.far.s3).env("SEDIMENT_BACKUP__BUCKET", "backups");
        command.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
        command.env("SEDIMENT_BACKUP__KEY_FILE", &self.key).env("SEDIMENT_BACKUP__INTERVAL_SECONDS", "1");
        command
    }

    fn ask(&self, store: &Path, args: &[&str]) -> Output {
        let output = self.command(store, args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!said.contains(PASSWORD), "i6: {said}");
        output
    }

    /// The last line of what was printed.
    fn json(&self, store: &Path, args: &[&str]) -> Value {
        let args = [&["--json"], args].concat();
        let said = String::from_utf8(self.ask(store, &args).stdout).unwrap();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }

    fn serve(&self, store: &Path) -> Sediment {
        let mut command = self.command(store, &["serve"]);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        Sediment::start(command, &[])
    }
}

async fn put(server: &Sediment, bodies: &mut Bodies, key: &str, body: Vec<u8>) {
    let stream = ByteStream::from(body.clone());
    server.client().put_object().bucket("data").key(key).body(stream).send().await.unwrap();
    bodies.insert(key.to_owned(), body);
}

async fn read(server: &Sediment) -> Bodies {
    let listed = server.client().list_objects_v2().bucket("data").send().await.unwrap();
    let mut bodies = Bodies::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let got = server.client().get_object().bucket("data").key(key).send().await.unwrap();
        bodies.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_a_store_that_is_lost_comes_back_from_the_bucket_and_the_key_at_any_moment() {
    let rig = Rig::new().await;
    let near = rig.store("near");
    let server = rig.serve(&near);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    let mut bodies = Bodies::new();
    for n in 0..12u64 {
        put(&server, &mut bodies, &format!("key-{n}"), noise(n, 1000 + 40_000 * n as usize)).await;
    }
    let then = rig.json(&near, &["backup", "run"]);
    let (at_then, seq) = (bodies.clone(), then["seq"].as_u64().unwrap().to_string());
    for n in 0..6u64 {
        put(&server, &mut bodies, &format!("key-{n}"), noise(100 + n, 70_000)).await;
    }
    server.client().delete_object().bucket("data").key("key-9").send().await.unwrap();
    bodies.remove("key-9");
    let status = || rig.json(&near, &["backup", "status"]);
    until("everything is shipped by itself", || {
        let status = status();
        status["lag_records"] == 0 && status["state"] == "idle"
    })
    .await;
    // The machine is gone.
    server.kill();
    let (earlier, latest, lazy) = (rig.store("earlier"), rig.store("latest"), rig.store("lazy"));
    let plan = rig.json(&earlier, &["restore", "--seq", &seq, "--dry-run"]);
    assert!(plan["fetched_bytes"].as_u64().unwrap() > 0 && !earlier.join("STORE").exists());
    rig.ask(&earlier, &["restore", "--seq", &seq]);
    rig.ask(&latest, &["restore", "--latest"]);
    // By itself, without the backup's settings.
    let server = Sediment::serve(&earlier, &[]);
    assert!(read(&server).await == at_then);
    server.stop();
    let again = rig.command(&earlier, &["restore", "--latest"]).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "a store is never overwritten");
    let checked = command(&latest, &["fsck", "--deep"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    // Rows alone: the bodies are in the bucket when the first one is asked for.
    rig.ask(&lazy, &["restore", "--latest", "--lazy"]);
    let server = rig.serve(&lazy);
    assert!(read(&server).await == bodies);
    server.stop();
    rig.far.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_goes_on_and_its_backup_is_verified_and_pruned() {
    let rig = Rig::new().await;
    let (near, restored) = (rig.store("near"), rig.store("restored"));
    let server = rig.serve(&near);
    server.client().create_bucket().bucket("data").send().await.unwrap();
    let mut bodies = Bodies::new();
    put(&server, &mut bodies, "one", noise(1, 300_000)).await;
    rig.json(&near, &["backup", "run"]);
    server.stop();
    rig.ask(&restored, &["restore", "--latest"]);
    let server = rig.serve(&restored);
    put(&server, &mut bodies, "two", noise(2, 100_000)).await;
    let run = rig.json(&restored, &["backup", "run", "--full"]);
    assert!(run["sent_bytes"].as_u64().unwrap() < 300_000, "what is there is not sent again: {run}");
    server.stop();
    // Without a server, too.
    let run = rig.json(&restored, &["backup", "run"]);
    assert_eq!(run["logical_bytes"], 400_000);
    let found = rig.json(&restored, &["backup", "verify", "--read-data", "--all"]);
    assert!(found["read_objects"].as_u64().unwrap() >= 5, "{found}");
    let keep_one = ["--set", "backup_retention.keep_last=1", "--set", "backup_retention.retention_days=0"];
    let keep_one =
        [&keep_one[..], &["--set", "backup_retention.window=", "--set", "backup_retention.grace_seconds=0"]]
            .concat();
    let before = rig.json(&restored, &["backup", "list"])["snapshots"].as_array().unwrap().len();
    let pruned = rig.json(&restored, &[&["backup", "prune"], &keep_one[..]].concat());
    assert!(pruned["snapshots_deleted"].as_u64().unwrap() > 0 && before > 1, "{pruned}");
    let last = rig.store("last");
    rig.ask(&last, &["restore", "--latest"]);
    let server = Sediment::serve(&last, &[]);
    assert!(read(&server).await == bodies);
    server.stop();
    rig.far.stop();
}
