//! Gateways that are backed up to another one through a proxy, and their commands.

use super::s3_proxy::{Moment, S3Proxy};
use super::sediment::{PASSWORD, Sediment, USER, command};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tokio::task::block_in_place;

pub type Bodies = BTreeMap<String, Vec<u8>>;

pub const BUCKET: &str = "data";

/// The server that backups go to, the way there, and where stores stand.
pub struct Backups {
    dir: tempfile::TempDir,
    /// Ends with this.
    _far: Option<Sediment>,
    prefix: String,
    pub proxy: S3Proxy,
    key: PathBuf,
}

/// How a process ended that was to be killed.
pub enum End {
    Killed,
    /// It never sent so many requests.
    Itself(Output),
}

impl Backups {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = far(dir.path()).await;
        let rig = Self::beside(dir, &far.s3, "one").await;
        Self { _far: Some(far), ..rig }
    }

    /// Below a prefix of its own at a server that others write to, too.
    pub async fn beside(dir: tempfile::TempDir, far: &str, prefix: &str) -> Self {
        let key = dir.path().join("backup.key");
        let made = command(dir.path(), &["backup", "key", "--out", key.to_str().unwrap()]).output().unwrap();
        assert!(made.status.success());
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        let proxy = S3Proxy::new(far).await;
        Self { dir, _far: None, prefix: prefix.to_owned(), proxy, key }
    }

    pub fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Packs are small, so that there are some.
    pub fn command(&self, store: &Path, args: &[&str]) -> Command {
        let mut command = command(store, args);
        command.env("SEDIMENT_BACKUP__ENDPOINT", &self.proxy.url).env("SEDIMENT_BACKUP__BUCKET", "backups");
        command.env("SEDIMENT_BACKUP__ACCESS_KEY", USER).env("SEDIMENT_BACKUP__SECRET_KEY", PASSWORD);
        command.env("SEDIMENT_BACKUP__KEY_FILE", &self.key).env("SEDIMENT_BACKUP__INTERVAL_SECONDS", "1");
        command.env("SEDIMENT_BACKUP__PREFIX", &self.prefix).env("TMPDIR", self.dir.path().join("tmp"));
        command
            .env("SEDIMENT_PACKS__TARGET_BYTES", "1048576")
            .env("SEDIMENT_STORAGE__MIN_FREE_BYTES", "1048576");
        command
    }

    /// Of a server.
    pub fn serving(&self, store: &Path) -> Command {
        let mut command = self.command(store, &["serve"]);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        command
    }

    pub fn serve(&self, store: &Path) -> Sediment {
        start(self.serving(store))
    }

    /// What it printed, as JSON: the last line. It ends well, and tells no secret.
    pub fn json(&self, store: &Path, args: &[&str]) -> Result<Value, String> {
        let output = block_in_place(|| self.command(store, &[&["--json"], args].concat()).output().unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains(PASSWORD), "i6: {said}");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{args:?}: {}: {said}{out}", output.status));
        }
        serde_json::from_str(out.lines().last().unwrap_or("null"))
            .map_err(|error| format!("{args:?}: {error}: {out}"))
    }

    /// Runs until a request ends it.
    pub async fn kill_at(&self, command: Command, number: u64, moment: Moment) -> End {
        self.proxy.arm(number, moment);
        self.kill_when_sprung(command).await
    }

    /// As [`Self::kill_at`], and only writes count whose path contains this one.
    pub async fn kill_at_write(
        &self,
        command: Command,
        (path, number): (&'static str, u64),
        moment: Moment,
    ) -> End {
        self.proxy.arm_writes(path, number, moment);
        self.kill_when_sprung(command).await
    }

    async fn kill_when_sprung(&self, mut command: Command) -> End {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let mut ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let end = tokio::select! {
            output = &mut ended => End::Itself(output.unwrap()),
            () = self.proxy.sprung() => {
                kill_process(pid, Signal::KILL).unwrap();
                ended.await.unwrap();
                End::Killed
            }
        };
        self.proxy.reset();
        end
    }
}

/// How many kills are asked for, `None`: all there are, and the seed of their choices; both are told, so that a run can be repeated.
pub fn kills_asked(default: u64) -> (Option<u64>, u64) {
    let asked = std::env::var("SEDIMENT_BACKUP_KILLS").unwrap_or_else(|_| default.to_string());
    let kills = if asked == "all" { None } else { Some(asked.parse().expect("SEDIMENT_BACKUP_KILLS")) };
    let seed = std::env::var("SEDIMENT_BACKUP_SEED");
    let seed = seed.map_or(u64::from(std::process::id()), |text| text.parse().expect("SEDIMENT_BACKUP_SEED"));
    let _ = writeln!(std::io::stderr(), "SEDIMENT_BACKUP_SEED={seed} SEDIMENT_BACKUP_KILLS={asked}");
    (kills, seed)
}

/// A server with a bucket for backups.
pub async fn far(dir: &Path) -> Sediment {
    let far = Sediment::serve(&dir.join("far"), &[]);
    far.client().create_bucket().bucket("backups").send().await.unwrap();
    far
}

/// Until it serves; the proxy goes on meanwhile.
pub fn start(command: Command) -> Sediment {
    block_in_place(|| Sediment::start(command, &[]))
}

/// On a thread of its own, since it waits for processes.
pub async fn alone<T: Send + 'static>(work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let handle = tokio::runtime::Handle::current();
    match tokio::task::spawn_blocking(move || handle.block_on(work())).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

pub fn stop(server: Sediment) {
    block_in_place(|| server.stop());
}

/// Whether it was answered, well, at the first attempt.
pub async fn put(client: &Client, key: &str, body: Vec<u8>) -> bool {
    client.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body)).send().await.is_ok()
}

/// Everything that is there.
pub async fn read(server: &Sediment) -> Bodies {
    let client = server.client();
    let listed = client.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut bodies = Bodies::new();
    for key in listed.contents().iter().filter_map(|object| object.key()) {
        let got = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        bodies.insert(key.to_owned(), got.body.collect().await.unwrap().to_vec());
    }
    bodies
}

/// How two differ, shortly; empty if they do not.
pub fn difference(found: &Bodies, wanted: &Bodies) -> String {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let differ = keys.into_iter().filter(|key| found.get(*key) != wanted.get(*key));
    let length = |bodies: &Bodies, key: &String| {
        bodies.get(key).map_or("none".to_owned(), |body| body.len().to_string())
    };
    let shown = differ.map(|key| format!("{key}: {} bytes, not {}", length(found, key), length(wanted, key)));
    shown.collect::<Vec<_>>().join("; ")
}
