//! A store with versions and its backup, and commands that restore it into a bucket of another server.

use super::backups::{BUCKET, Backups, End, far, stop};
use super::noise;
use super::s3_proxy::{Moment, S3Proxy};
use super::sediment::{PASSWORD, Sediment, USER};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, VersioningConfiguration,
};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// ETags of a key's versions, the oldest first; `None`: a delete marker.
pub type History = Vec<Option<String>>;
pub type Histories = BTreeMap<String, History>;

/// Where parts go: a bucket with versioning.
pub const TARGET: &str = "target";

/// The server that holds backups and takes parts, with a way to each.
pub struct Parts {
    pub far: Sediment,
    pub rig: Backups,
    /// What the store held when it was backed up.
    pub then: Histories,
}

async fn keep_versions(client: &Client, bucket: &str) {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.create_bucket().bucket(bucket).send().await.unwrap();
    let set = client.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled);
    set.send().await.unwrap();
}

async fn put_parts(client: &Client, key: &str, parts: &[Vec<u8>]) {
    let begun = client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    let (upload, mut done) = (begun.upload_id().unwrap(), Vec::new());
    for (number, part) in (1..).zip(parts) {
        let put = client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
        let put = put.body(part.clone().into()).send().await.unwrap();
        done.push(CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap()).build());
    }
    let all = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
    complete.multipart_upload(all).send().await.unwrap();
}

/// Of all keys below a prefix, which is cut off.
pub async fn histories(client: &Client, bucket: &str, prefix: &str) -> Histories {
    let listed = client.list_object_versions().bucket(bucket).prefix(prefix).send().await.unwrap();
    assert_ne!(listed.is_truncated(), Some(true));
    let own = |key: Option<&str>| key.unwrap().strip_prefix(prefix).unwrap().to_owned();
    let mut histories = Histories::new();
    // The newest come first.
    for version in listed.versions().iter().rev() {
        histories.entry(own(version.key())).or_default().push(version.e_tag().map(str::to_owned));
    }
    for marker in listed.delete_markers() {
        assert_eq!(marker.is_latest(), Some(true), "listings do not tell where others stand");
        histories.entry(own(marker.key())).or_default().push(None);
    }
    histories
}

/// What can be read.
pub fn readable(histories: &Histories) -> BTreeMap<String, String> {
    let top = |(key, history): (&String, &History)| Some((key.clone(), history.last()?.clone()?));
    histories.iter().filter_map(top).collect()
}

impl Parts {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let far = far(dir.path()).await;
        keep_versions(&far.client(), TARGET).await;
        let rig = Backups::beside(dir, &far.s3, "one").await;
        let near = rig.store("near");
        let server = rig.serve(&near);
        let client = server.client();
        keep_versions(&client, BUCKET).await;
        for (n, (key, len)) in [
            ("a/inline", 300),
            ("a/old", 40_000),
            ("a/old", 41_000),
            ("b/chunked", 500_000),
            ("b/gone", 5_000),
            ("c", 9_000),
        ]
        .into_iter()
        .enumerate()
        {
            let put = client.put_object().bucket(BUCKET).key(key).body(noise(n as u64, len).into());
            put.send().await.unwrap();
        }
        client.delete_object().bucket(BUCKET).key("b/gone").send().await.unwrap();
        put_parts(&client, "b/parts", &[noise(20, 5 << 20), noise(21, 70_000)]).await;
        let then = histories(&client, BUCKET, "").await;
        assert_eq!(then.values().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1, 2, 1, 1], "{then:?}");
        rig.json(&near, &["backup", "run"]).unwrap();
        stop(server);
        Self { far, rig, then }
    }

    /// Restores all of it, into the target below a prefix, through a proxy. `data`: below it the scratch stands.
    pub fn command(&self, data: &Path, (to, prefix): (&S3Proxy, &str), more: &[&str]) -> Command {
        let into = format!("s3://{TARGET}/{prefix}");
        let args =
            ["--json", "restore", "--latest", "--bucket", BUCKET, "--into", &into, "--endpoint", &to.url];
        let mut command = self.rig.command(data, &[&args[..], more].concat());
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
        command
    }

    pub async fn found(&self, prefix: &str) -> Histories {
        histories(&self.far.client(), TARGET, prefix).await
    }
}

/// Runs a command to its end: what it said, all of it. Fails with that if it did not end well.
pub fn run(mut command: Command) -> Result<String, String> {
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(PASSWORD), "i6: {said}");
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
}

/// Runs a command until a request to what is behind that proxy ends it.
pub async fn killed_at(proxy: &S3Proxy, mut command: Command, number: u64, moment: Moment) -> End {
    proxy.arm(number, moment);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let mut ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let end = tokio::select! {
        output = &mut ended => End::Itself(output.unwrap()),
        () = proxy.sprung() => {
            kill_process(pid, Signal::KILL).unwrap();
            ended.await.unwrap();
            End::Killed
        }
    };
    proxy.reset();
    end
}
