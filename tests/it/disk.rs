//! Devices without room, files that may not grow, and no more descriptors: under a real server, with its own database
//! and index. What was acknowledged is there; what can be done is done; all else is refused clearly; and when there is
//! room again the server goes on by itself.

use super::support::noise;
use super::support::refusal::{patient_put, patiently, refusal, until, without_retries};
use super::support::sediment::{Sediment, run};
use aws_sdk_s3::Client;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MIB: usize = 1 << 20;
const BYTES: usize = 6 * MIB;
const SHORT: usize = 100_000;
const RESERVE: u64 = 16 << 20;
const SETTINGS: [&str; 4] = ["--set", "storage.min_free_bytes=25165824", "--set", "gc.interval_seconds=0"];

/// A small device, where this user may mount one.
struct Device {
    dir: tempfile::TempDir,
    _image: Option<tempfile::TempDir>,
}

fn is_done(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}

impl Device {
    fn tmpfs() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        if is_done("mount", &["-t", "tmpfs", "-o", "size=224m", "none", path]) {
            return Some(Self { dir, _image: None });
        }
        // Only root may; CI is.
        assert!(!rustix::process::geteuid().is_root(), "root could not mount a tmpfs");
        eprintln!("NOT RUN: this user may not mount a tmpfs");
        None
    }

    /// On a file, through a loop device. Unlike memory it gives blocks out late.
    fn ext4() -> Option<Self> {
        let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = image.path().join("image");
        File::create(&file).unwrap().set_len(224 << 20).unwrap();
        let (file, path) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
        if is_done("mkfs.ext4", &["-q", "-F", "-m", "0", file])
            && is_done("mount", &["-o", "loop", file, path])
        {
            return Some(Self { dir, _image: Some(image) });
        }
        eprintln!("NOT RUN: this user may not mount a loop device, or there is no mkfs.ext4");
        None
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.dir.path()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// To the last block.
    fn fill(&self) -> PathBuf {
        let path = self.dir.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for piece in [MIB, 4096, 512, 1] {
            while file.write_all(&vec![0x5A; piece]).is_ok() {}
        }
        let _ = file.sync_all();
        path
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn body(n: u64) -> Vec<u8> {
    noise(n, BYTES)
}

async fn put(client: &Client, n: u64) {
    client.put_object().bucket("bucket").key(n.to_string()).body(body(n).into()).send().await.unwrap();
}

async fn check(client: &Client, keys: &[u64]) {
    for n in keys {
        let got = client.get_object().bucket("bucket").key(n.to_string()).send().await.unwrap();
        assert!(got.body.collect().await.unwrap().to_vec() == body(*n), "object {n} is not what was put");
    }
}

async fn listed(client: &Client) -> Vec<String> {
    let listed = client.list_objects_v2().bucket("bucket").send().await.unwrap();
    listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

async fn until_reserve(data: &Path) {
    let reserve = data.join("reserve");
    until("a reserve", || std::fs::metadata(&reserve).is_ok_and(|file| file.len() == RESERVE)).await;
}

async fn until_ready(server: &Sediment) {
    until("ready", || server.admin_get("/readyz").0 == 200).await;
}

/// A server with four objects on a device that is then full to its last block.
async fn filled(device: &Device) -> (Sediment, Client, PathBuf) {
    let server = Sediment::serve(&device.data(), &SETTINGS);
    let client = without_retries(&server);
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for n in 0..4 {
        put(&client, n).await;
    }
    until_reserve(&device.data()).await;
    let filler = device.fill();
    (server, client, filler)
}

async fn fills_and_recovers(device: &Device) {
    let (server, client, filler) = filled(device).await;
    // Short enough to be sent before it is refused.
    let refused = client.put_object().bucket("bucket").key("5").body(noise(5, SHORT).into()).send().await;
    assert_eq!(refusal(&refused.unwrap_err()), (507, "StorageFull".to_owned(), Some("30".to_owned())));
    until("not ready", || {
        let (status, said) = server.admin_get("/readyz");
        status == 503 && said.contains("disk full")
    })
    .await;
    check(&client, &[0, 1, 2, 3]).await;
    assert_eq!(listed(&client).await, ["0", "1", "2", "3"]);
    for key in ["0", "1"] {
        // Until what was kept back is given.
        patiently(&[503, 507], || client.delete_object().bucket("bucket").key(key).send()).await;
    }
    let before = device.free();
    until("a collection", || run(&device.data(), &["gc"]).status.success()).await;
    let freed = device.free().saturating_sub(before);
    assert!(freed > BYTES as u64, "{freed} bytes came back");
    check(&client, &[2, 3]).await;

    std::fs::remove_file(filler).unwrap();
    patient_put(&client, "6", &body(6), &[503, 507]).await;
    until_ready(&server).await;
    put(&client, 7).await;
    check(&client, &[2, 3, 6, 7]).await;
    server.kill();
    let server = Sediment::serve(&device.data(), &SETTINGS);
    let client = server.client();
    check(&client, &[2, 3, 6, 7]).await;
    assert_eq!(listed(&client).await, ["2", "3", "6", "7"]);
    server.stop();
    let checked = run(&device.data(), &["fsck", "--deep"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_i5_a_full_device_refuses_bodies_deletes_collects_and_recovers_by_itself() {
    if let Some(device) = Device::tmpfs() {
        fills_and_recovers(&device).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_i5_a_full_ext4_refuses_bodies_deletes_collects_and_recovers_by_itself() {
    if let Some(device) = Device::ext4() {
        fills_and_recovers(&device).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i5_a_server_starts_on_a_device_that_is_full_to_its_last_block() {
    let Some(device) = Device::tmpfs() else { return };
    let (server, _, filler) = filled(&device).await;
    server.kill();
    let server = Sediment::serve(&device.data(), &SETTINGS);
    let client = without_retries(&server);
    check(&client, &[0, 1, 2, 3]).await;
    patiently(&[503, 507], || client.delete_object().bucket("bucket").key("0").send()).await;
    until("a collection", || run(&device.data(), &["gc"]).status.success()).await;
    std::fs::remove_file(filler).unwrap();
    patient_put(&client, "6", &body(6), &[503, 507]).await;
    check(&client, &[1, 2, 3, 6]).await;
    server.stop();
}

/// Takes it from a server, and gives it back when dropped.
struct Limit {
    pid: Pid,
    resource: Resource,
    before: Rlimit,
}

impl Limit {
    fn set(server: &Sediment, resource: Resource, current: u64) -> Self {
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
        let maximum = prlimit(Some(pid), resource, rustix::process::getrlimit(resource)).unwrap().maximum;
        let before = prlimit(Some(pid), resource, Rlimit { current: Some(current), maximum }).unwrap();
        Self { pid, resource, before }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        prlimit(Some(self.pid), self.resource, self.before).unwrap();
    }
}

/// As an exhausted quota: every write of packs, index and database fails, whatever the device has free. SQLite sees a
/// failed write, as with a quota.
#[tokio::test(flavor = "multi_thread")]
async fn i1_i5_files_that_may_not_grow_refuse_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "storage.min_free_bytes=0"]);
    let client = without_retries(&server);
    client.create_bucket().bucket("bucket").send().await.unwrap();
    for n in 0..3 {
        put(&client, n).await;
    }
    let limit = Limit::set(&server, Resource::Fsize, 1);
    let full = (507, "StorageFull".to_owned(), Some("30".to_owned()));
    for bytes in [noise(5, SHORT), b"in its row".to_vec()] {
        let put = client.put_object().bucket("bucket").key("5").body(bytes.into()).send().await;
        assert_eq!(refusal(&put.unwrap_err()), full);
    }
    let delete = client.delete_object().bucket("bucket").key("0").send().await;
    assert_eq!(refusal(&delete.unwrap_err()), full);
    until("not ready", || {
        let (status, said) = server.admin_get("/readyz");
        status == 503 && said.contains("disk full")
    })
    .await;
    check(&client, &[0, 1, 2]).await;
    drop(limit);
    patient_put(&client, "6", &body(6), &[503, 507]).await;
    until_ready(&server).await;
    patiently(&[503, 507], || client.delete_object().bucket("bucket").key("0").send()).await;
    put(&client, 7).await;
    check(&client, &[1, 2, 6, 7]).await;
    server.kill();
    let server = Sediment::serve(dir.path(), &[]);
    check(&server.client(), &[1, 2, 6, 7]).await;
    assert_eq!(listed(&server.client()).await, ["1", "2", "6", "7"]);
    server.stop();
    assert!(run(dir.path(), &["fsck", "--deep"]).status.success());
}

/// What is answered on a connection that is open. Sometimes the client makes another one before it has that one back, and nobody can take it
/// then: so it is asked again.
async fn without_descriptors<T, F: Future<Output = T>>(
    server: &Sediment,
    client: &Client,
    ask: impl Fn() -> F,
) -> T {
    for _ in 0..5 {
        let limit = Limit::set(server, Resource::Nofile, 3);
        let answer = tokio::time::timeout(Duration::from_secs(15), ask()).await;
        drop(limit);
        match answer {
            Ok(answer) => return answer,
            Err(_) => drop(listed(client).await),
        }
    }
    panic!("no answer on an open connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i5_without_descriptors_requests_are_told_to_wait_and_nothing_is_poisoned() {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &["--set", "engine.plain_bodies=true"]);
    let client = server.client();
    client.create_bucket().bucket("bucket").send().await.unwrap();
    put(&client, 0).await;
    server.stop();

    let server = Sediment::serve(dir.path(), &["--set", "engine.rechunk_bytes_per_second=0"]);
    let client = without_retries(&server);
    assert_eq!(listed(&client).await, ["0"]);
    let busy = (503, "SlowDown".to_owned(), Some("1".to_owned()));
    let get = || async {
        let get = client.get_object().bucket("bucket").key("0").send().await;
        refusal(&get.unwrap_err())
    };
    assert_eq!(without_descriptors(&server, &client, get).await, busy, "its file cannot be opened");
    let put = || async {
        let put = client.put_object().bucket("bucket").key("1").body(noise(1, SHORT).into()).send().await;
        refusal(&put.unwrap_err())
    };
    assert_eq!(without_descriptors(&server, &client, put).await, busy, "no pack can be created");
    check(&client, &[0]).await;
    patient_put(&client, "1", &body(1), &[503]).await;
    until_ready(&server).await;
    check(&client, &[0, 1]).await;
    server.stop();
    assert!(run(dir.path(), &["fsck", "--deep"]).status.success());
}
